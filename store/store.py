"""The Store: every question and every record of the other rooms, as async verbs over the database.

What must hold: `record` writes an Outcome, its history line, the job's next step and the end of the intent in ONE transaction, so
that after any crash either all of it happened or none of it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ..rules.deployment import NOWHERE
from ..rules.terms import (
    Caption,
    Item,
    Job,
    Kind,
    Known,
    Lane,
    LinkState,
    Mode,
    Model,
    Outcome,
    Prepared,
    Stamp,
    Status,
    Watch,
)
from . import datasets, deeds, files, history, jobs, links, models, placed, renames
from .database import Database
from .history import Happening
from .jobs import NewJob
from .placed import Placing
from .rows import LinkRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is remembered of a unit that arrives."""

    unchanged: bool  # all of it is recorded as lying there with these stamps; then nothing else was asked
    twins: bool = False  # rows that lie elsewhere have the stamp of one of its files: it may have another name now
    known: Known = field(default_factory=Known)


@dataclass(frozen=True, slots=True)
class Entry:
    """One Outcome with all that its transaction must also say."""

    verb: str
    outcome: Outcome
    path: Path | None = None  # what the history line is about
    rule: str | None = None
    file_id: int | None = None
    job_id: int | None = None
    owner: str = ""
    payload: Mapping[str, object] | None = None  # the job's next step; None: this was its last
    intent: int | None = None
    new_jobs: Sequence[NewJob] = ()
    dataset_watch: str = ""  # the watch that the datasets folder is under
    datasets_root: Path | None = None
    by_recovery: bool = False  # after a crash nobody owns the job: it is finished whoever had it
    placing: Placing | None = None  # what the action put under a watch
    quiet: bool = False  # no history line (a step that changed nothing a person asks about)


class Store:
    """The memory of the house. `now` is the wall clock, handed in by tests."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self.db = database
        self.now = now
        self.on_jobs: Callable[[], None] = lambda: None  # called after a commit that may have queued jobs

    async def read(self, work: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Ask any of the store's questions: `await store.read(files.listing, state="held")`."""
        return await self.db.read(lambda c: work(c, *args, **kwargs))

    async def write(self, work: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Do any of the store's small writes in the next transaction."""
        return await self.db.write(lambda c: work(c, *args, **kwargs))

    # ------------------------------------------------------------ the walk

    async def known(self, path: Path, stamp: Stamp, watch: Watch | None) -> Known:
        """What we remember of a unit, before deciding."""
        return await self.read(files.known, path, stamp, watch)

    async def recall(self, units: Sequence[tuple[Path, Mapping[Path, Stamp], Watch]]) -> list[Recalled]:
        """What is remembered of units (lead, stamps, watch) that arrive, in one question. Of a dataset's only whether they changed."""
        return await self.db.read(lambda c: [_recalled(c, *unit) for unit in units])

    async def take(self, units: Sequence[files.Unit]) -> list[tuple[int, int | None]]:
        """Record units that arrived, what was decided, and their jobs, all in one transaction.

        Returns (file id, job id) of each; the job id is None when there is nothing to do, or a job of that key is open already.
        """
        now = self.now()
        taken = await self.db.write(lambda c: [_take(c, unit, now) for unit in units])
        self.on_jobs()
        return taken

    async def depart(self, gone: Sequence[tuple[str, Path]]) -> None:
        """Record that paths are gone by somebody else's hand: files, or folders with all that lay in them."""
        now = self.now()

        def work(c: sqlite3.Connection) -> None:
            for watch, path in gone:
                for file_id, where in files.depart(c, watch, path):
                    datasets.forget_path(c, where)
                    history.tell(c, Happening("departed", where, note="gone from its folder", file_id=file_id), now)

        await self.db.write(work)

    async def intend(self, verb: str, prepared: Prepared, file_id: int | None, job: Job | None, step: int) -> int:
        """Journal an intent before its first move."""
        return await self.write(history.intend, verb, prepared, file_id, job.id if job else None, step, self.now())

    async def record(self, *entries: Entry) -> None:
        """Record what actions did, all of them in one transaction."""
        now = self.now()

        def work(c: sqlite3.Connection) -> None:
            for entry in entries:
                record(c, entry, now)

        await self.db.write(work)
        if any(entry.new_jobs or (entry.placing is not None and entry.placing.job is not None) for entry in entries):
            self.on_jobs()

    # ------------------------------------------------------------ the queue

    async def claim(self, lane: Lane, owner: str, limit: int) -> list[Job]:
        """Claim due jobs of a lane."""
        return await self.write(jobs.claim, lane, owner, self.now(), limit)

    async def enqueue(self, *new: NewJob) -> list[int | None]:
        """Queue jobs in one transaction."""
        now = self.now()
        queued = await self.db.write(lambda c: [jobs.enqueue(c, job, now) for job in new])
        self.on_jobs()
        return queued


def _recalled(c: sqlite3.Connection, lead: Path, stamps: Mapping[Path, Stamp], watch: Watch) -> Recalled:
    (unchanged,) = files.unchanged(c, [stamps])
    if unchanged or watch.mode is Mode.DATASET:
        return Recalled(unchanged)
    twins = any(files.elsewhere(c, stamp) for stamp in stamps.values()) and bool(
        renames.twins(c, [(watch.name, path, stamp) for path, stamp in stamps.items()])
    )
    return Recalled(False, twins, files.known(c, lead, stamps[lead], watch))


def _take(c: sqlite3.Connection, u: files.Unit, now: float) -> tuple[int, int | None]:
    old = files.standing(c, u.lead)
    file_id = files.arrive(c, u.watch, u.lead, u.stamps, u.facts, u.verdict, u.state, now, u.text)
    for ended in u.ends:
        files.end(c, ended, now)
    job_id = jobs.enqueue(c, replace(u.job, payload={**u.job.payload, "file": file_id}), now) if u.job else None
    note = u.verdict.why or u.facts.reason or ""
    stamp = u.stamps[u.lead]
    if job_id is None and old == (stamp.size, stamp.mtime_ns, stamp.ino, stamp.dev, u.state, u.verdict.why, u.facts.reason):
        return file_id, None  # looked at again, and nothing is new
    line = Happening("arrived", u.lead, rule=u.verdict.rule, status=u.state, note=note, file_id=file_id, job_id=job_id)
    history.tell(c, line, now)
    return file_id, job_id


def record(c: sqlite3.Connection, e: Entry, now: float) -> None:
    """Write one Entry inside the caller's transaction."""
    o = e.outcome
    did = deeds.before(c, e.verb, o, e.path, e.file_id)
    for model in o.models:
        models.keep(c, model, e.path or model.blob, now)
    for sha256 in o.deploy:
        models.want(c, sha256, deeds.wanted_then(c, sha256, o.targets))
    for at in o.adopted:
        links.adopt_place(c, o.models[0].sha256, at)
        links.put(c, [] if o.models[0].folder else [_left_at(at, o.models[0], now)])  # a folder's are found to be ours
    for ended in o.ended:
        files.end(c, ended, now)
    for aside in o.aside:
        history.put_aside(c, aside, now)
    _datasets(c, e, now)
    if e.file_id is not None and o.models:
        files.set_digests(c, e.file_id, o.models[0].sha256, o.models[0].xxh3)
    if e.file_id is not None and e.verb == "hold":
        files.hold(c, e.file_id, o.note)
    if e.file_id is not None and o.status is Status.FAILED and not o.ended:
        files.hold(c, e.file_id, o.note)
    if e.file_id is not None and o.tags:
        files.tag(c, e.file_id, o.tags)
    if e.job_id is not None:
        if e.payload is not None:
            jobs.step(c, e.job_id, e.payload)
        else:  # False when it was cancelled while its last moves were made: the Outcome stands, the job stays cancelled
            jobs.finish(c, e.job_id, None if e.by_recovery else e.owner, now)
            if e.file_id is not None:
                files.settle(c, e.file_id)
    for job in e.new_jobs:
        if job.lane is Lane.CAPTION:
            datasets.expect_set(c, str(job.payload["dataset"]), str(job.payload["set"]))
        jobs.enqueue(c, job, now)
    if e.intent is not None:
        history.settle_intent(c, e.intent)
    line = None if e.quiet else history.tell(c, replace(_line(e), did=did), now)
    if e.placing is not None:
        placed.place(c, e.placing, e.file_id, line, e.job_id, now)
    if o.taken_back is not None:
        deeds.take_back(c, o.taken_back, o.note, line, now)


def _left_at(at: Path, model: Model, now: float) -> LinkRow:
    """The link that an adoption left: ours, so that it follows its blob. Which target holds the place is for the projection."""
    kind = model.facts.model.type if model.facts.model is not None else ""
    return LinkRow(at, NOWHERE, kind, model.blob, model.sha256, str(LinkState.OK), True, "symlink", now)


def _datasets(c: sqlite3.Connection, e: Entry, now: float) -> None:
    ids: dict[str, int] = {}
    for thing in _things(e.outcome):
        if thing.dataset not in ids:
            assert e.datasets_root is not None, "an Outcome with items needs the datasets folder"
            ids[thing.dataset] = datasets.ensure(c, thing.dataset, e.datasets_root / thing.dataset, now)
    stamps: dict[Kind, dict[Path, Stamp]] = {Kind.IMAGE: {}, Kind.CAPTION: {}}
    for item in e.outcome.items:
        datasets.add_item(c, ids[item.dataset], item, now)
        stamps[Kind.IMAGE][_on_disk(e, item)] = item.stamp
    for caption in e.outcome.captions:
        if datasets.put_caption(c, caption, now) and caption.stamp:
            stamps[Kind.CAPTION][_on_disk(e, caption).with_suffix(".txt")] = caption.stamp
    for kind, found in stamps.items():
        if e.dataset_watch:
            files.track(c, e.dataset_watch, found, kind, now)


def _things(outcome: Outcome) -> Iterator[Item | Caption]:
    yield from outcome.items
    yield from outcome.captions


def _on_disk(e: Entry, thing: Item | Caption) -> Path:
    assert e.datasets_root is not None
    return e.datasets_root / thing.dataset / PurePosixPath(thing.rel)


def _line(e: Entry) -> Happening:
    o = e.outcome
    dataset = next((thing.dataset for thing in _things(o)), None)
    sha256 = next((m.sha256 for m in o.models), None) or next(iter(o.deploy), None)
    return Happening(
        "performed", e.path, e.verb, o.status, e.rule, o.note, e.file_id, e.job_id, sha256, dataset,
        o.undo,
    )  # fmt: skip


__all__ = ["Entry", "Happening", "NewJob", "Store", "datasets", "files", "history", "jobs", "models"]
