"""Whereabouts: why a path is where it is, or why it still waits. Implements api.why.Why over the store and what is settling.

What must hold: the disk is not asked, so that a question over HTTP tells nothing of folders that are not ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from ..api.why import Reason
from ..rules.ignores import Ignores
from ..rules.terms import End, Job, JobState, Watch
from ..store import deeds, files, history, placed
from ..store.rows import FileRow, WatchRow
from .house import House
from .settling import Waiting

UNWELL = ("missing", "limited")  # states of a watch that explain a delay


class Whereabouts:
    """`waiting` gives every path that has not arrived; `clock` is the monotonic clock that it counts by."""

    def __init__(
        self, house: House, waiting: Callable[[], Sequence[Waiting]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._house, self._waiting, self._clock = house, waiting, clock

    async def why(self, path: Path) -> list[Reason]:
        """All that is known of a path, the most telling first."""
        store, house = self._house.store, self._house
        watch = house.watch_of(path)
        row = await store.read(files.at, path)
        lead = await store.read(files.get, row.lead) if row is not None and row.lead is not None else row
        found = [*self._settling(path)]
        if watch is not None:
            rows = {w.name: w for w in await store.read(history.watches)}
            found += _of_watch(watch, rows.get(watch.name), path)
        if row is None or lead is None:
            return found or [_unknown(watch)]
        found += _of_file(row, lead)
        job = await store.read(deeds.newest_job, lead.id)
        if job is not None and job.state is not JobState.DONE:
            found.append(Reason("job", _said(job, store.now())))
        hops = await store.read(placed.way, lead.placed_by)
        if hops and f"(line {hops[0].line}" not in row.note:
            found.append(Reason("file", f"{hops[0].verb} put it here from {hops[0].path} (line {hops[0].line})"))
        line = await store.read(deeds.newest, lead.id)
        if line is None and hops:
            put = await store.read(deeds.get, hops[0].line)
            line = put if put is not None and put.deed is not None and put.undone is None else None
        if line is not None:
            found.append(Reason("undo", f"`dropdock undo {line.id}` takes the last of it back ({line.verb})"))
        return found

    def _settling(self, path: Path) -> Iterator[Reason]:
        for waiting in self._waiting():
            if waiting.path == path or path in waiting.path.parents:
                seconds = max(0.0, self._clock() - waiting.since)
                name = "" if waiting.path == path else f"{waiting.path.name} "
                yield Reason("waiting", f"{name}still settles for {seconds:.0f} s: {waiting.why}")


def _unknown(watch: Watch | None) -> Reason:
    if watch is None:
        return Reason("watch", "it is in no watched folder")
    return Reason(
        "file",
        "nothing was seen there yet: `dropdock rescan` compares the folder with what is known (links and special files are never taken)",
    )


def _of_watch(watch: Watch, row: WatchRow | None, path: Path) -> Iterator[Reason]:
    """What the watch has to do with it."""
    if row is not None and row.paused:
        yield Reason("watch", f"the watch {watch.name} is paused: nothing is taken in until it is resumed")
    elif not watch.enabled:
        yield Reason("watch", f"the watch {watch.name} is switched off in the configuration")
    elif row is not None and row.state in UNWELL:
        yield Reason("watch", f"the watch {watch.name} is {row.state}" + (f": {row.detail}" if row.detail else ""))
    below = path.relative_to(watch.path).as_posix()
    if reason := Ignores(watch.ignore, watch.max_depth).why(below, False):
        yield Reason("watch", f"the watch {watch.name} does not look at it: {reason}")


def _of_file(row: FileRow, lead: FileRow) -> Iterator[Reason]:
    """Where it ended, by which rule."""
    if row.end is not None and row.end not in ("left", "held"):
        where = "it was moved, it lies here now" if row.end == End.MOVED else f"it is in the {row.end} now"
        yield Reason("file", f"{where}: {row.end_at}" + (f" ({row.note})" if row.note else ""))
    elif row.present:
        yield Reason("file", f"it lies there, {row.state}" + (f": {row.note}" if row.note else ""))
    else:
        yield Reason(
            "file",
            "somebody took it away, or it is on a disk that is not there" if row.state == "away" else "somebody took it away",
        )
    if row.id != lead.id:
        yield Reason("file", f"it goes with {lead.path.name}")
    if lead.rule is not None:
        yield Reason("rule", f"the rule {lead.rule!r}" + (f" of {lead.pipeline}" if lead.pipeline else "") + f": {lead.why}")
    elif lead.why:
        yield Reason("rule", lead.why)


def _said(job: Job, now: float) -> str:
    text = f"job {job.id} ({job.title}) is {job.state}"
    if job.state is JobState.QUEUED and job.run_at > now:
        text += f", attempt {job.attempts + 1} comes at {datetime.fromtimestamp(job.run_at):%H:%M:%S}"
    if job.state is JobState.RUNNING and job.progress is not None:
        text += f", {job.progress:.0%} done"
    if job.state is JobState.FAILED:
        text += f" after {job.attempts} attempts, `dropdock jobs retry {job.id}` tries again"
    return f"{text}: {job.error}" if job.error else text
