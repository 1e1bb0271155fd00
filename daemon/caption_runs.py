"""Caption runs at work: each is fed into the queue a portion at a time, counted, told of, and ended when its last picture is.

What must hold: a run's pictures are picked in a reader and queued in small transactions, so that 100,000 of them hold nobody up; a run
whose pictures are all done is finished even when nobody looks; pausing, cancelling and priority hold for what is queued and what will be.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from ..api.captioning import Progress
from ..rules.terms import Lane
from ..store import datasets, history, runs
from ..store.runs import MEASURE, OPEN_JOBS, NewRun, RunRow
from .house import House
from .lanes import Lanes
from .rate import Rate

PORTION = 256  # pictures picked and queued in one transaction at most
BEAT = 0.5  # seconds between two looks while a run is at work, and between two progress events


class CaptionRuns:
    """Implements api.captioning.Captions. Run `run` as a task, after `start`."""

    def __init__(self, house: House, lanes: Lanes, try_again: Callable[[], None] = lambda: None) -> None:
        self._house, self._lanes, self._try_again = house, lanes, try_again
        self._wake = asyncio.Event()
        self._rates: dict[int, tuple[Rate, int]] = {}  # run -> its speed, and how many had ended at the last look
        self._told: dict[int, RunRow] = {}  # run -> as it was last told

    async def start(self) -> None:
        """Before anything is claimed: what a dead process had of paused runs is held back again."""
        await self._house.store.write(runs.mend)

    async def run(self) -> None:
        """Feed, count and finish runs, for ever."""
        while True:
            self._wake.clear()
            found = await self._house.store.read(runs.open_runs)
            for run in found:
                await self._look(run)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT if any(r.state == "running" for r in found) else None):
                    await self._wake.wait()

    # ------------------------------------------------------------ what the face asks

    async def begin(self, wish: NewRun) -> RunRow | str:
        """Begin a run: as it stands, or why it cannot be begun."""
        store = self._house.store
        if wish.captioner not in self._house.config.captioners:
            known = ", ".join(sorted(self._house.config.captioners))
            return f"There is no captioner `{wish.captioner}`, only {known}."
        found = await store.read(datasets.listing, wish.dataset)
        if not found:
            return f"There is no dataset `{wish.dataset}`."
        wish = replace(wish, dataset=found[0].slug)
        total = await store.read(_total, wish)
        run_id = await store.write(runs.create, wish, total, store.now())
        self._wake.set()
        return await self._row(run_id)

    async def order(self, run_id: int, verb: str) -> bool:
        """Pause, resume or cancel a run; False when its state does not allow that."""
        store = self._house.store
        if verb == "cancel":
            running = await store.write(runs.cancel, run_id, store.now())
            for job_id in running or ():
                self._lanes.cancel(job_id)
            done = running is not None
            if done:
                await self._tell_end(run_id, "cancelled")
        else:
            done = await store.write(runs.pause if verb == "pause" else runs.resume, run_id)
        self._wake.set()
        self._lanes.wake()
        return done

    async def prioritise(self, run_id: int, priority: int) -> bool:
        """Higher ones go first. False when the run is over."""
        done = await self._house.store.write(runs.prioritise, run_id, priority)
        self._lanes.wake()
        return done

    def progress(self, run: RunRow) -> Progress:
        """How fast a run goes, and for how long still."""
        ended = run.done + run.failed + run.cancelled
        rate = self._rates[run.id][0].per_second(time.monotonic()) if run.id in self._rates and run.state == "running" else 0.0
        left = max(0, run.total - ended)
        return Progress(ended, rate, left / rate if rate > 0 and left else None)

    def try_again(self) -> None:
        """Captioners that wait for something look at once whether it is there."""
        self._try_again()

    # ------------------------------------------------------------ one look

    async def _look(self, run: RunRow) -> None:
        self._count(run)
        if run.state != "running":
            return
        if not run.exhausted and run.waiting < OPEN_JOBS:
            await self._feed(run)
        elif run.exhausted and run.waiting == 0:
            await self._end(run)

    async def _feed(self, run: RunRow) -> None:
        store = self._house.store
        pictures = await store.read(runs.next_pictures, run, PORTION)
        await store.write(runs.feed, run, pictures, len(pictures) < PORTION, store.now())
        store.on_jobs()
        self._wake.set()  # look again at once: it may be over, or take more

    async def _end(self, run: RunRow) -> None:
        store = self._house.store
        if run.phase == MEASURE:
            total = await store.read(runs.count, run.wish, "caption")
            await store.write(runs.next_phase, run.id, total)
            self._wake.set()
        elif await store.write(runs.finish, run.id, store.now()):
            await self._tell_end(run.id, "done")

    def _count(self, run: RunRow) -> None:
        """Keep its speed, and tell listeners when something moved."""
        rate, before = self._rates.get(run.id, (Rate(), -1))
        ended = run.done + run.failed
        if before < 0 or ended > before:
            rate.count(0 if before < 0 else ended - before, time.monotonic())
        self._rates[run.id] = (rate, ended)
        if self._told.get(run.id) != run:
            self._told[run.id] = run
            self._lanes.feed.pass_on("progress", self._shown(run))

    def _shown(self, run: RunRow) -> Mapping[str, object]:
        p = self.progress(run)
        return {
            "run": run.id,
            "lane": str(Lane.CAPTION),
            "dataset": run.wish.dataset,
            "state": run.state,
            "phase": run.phase,
            "total": run.total,
            "done": run.done,
            "failed": run.failed,
            "progress": round(p.ended / run.total, 4) if run.total else 1.0,
            "per_second": round(p.per_second, 3),
            "eta": p.eta,
        }

    async def _tell_end(self, run_id: int, status: str) -> None:
        store = self._house.store
        run = await self._row(run_id)
        self._rates.pop(run_id, None)
        self._told.pop(run_id, None)
        self._lanes.feed.pass_on("progress", self._shown(run))
        bad = f", {run.failed} failed" if run.failed else ""
        note = f"run {run.id}: {run.done} of {run.total} pictures with {run.wish.captioner}{bad}"
        line = history.Happening("completed", None, "caption", status, note=note, dataset=run.wish.dataset)
        await store.write(history.tell, line, store.now())

    async def _row(self, run_id: int) -> RunRow:
        found = await self._house.store.read(runs.get, run_id)
        assert found is not None, "runs are never deleted"
        return found


def _total(c: sqlite3.Connection, wish: NewRun) -> int:
    """How many pictures a new run will look at, as far as that can be known."""
    if wish.picks != "below":
        return runs.count(c, wish, "caption")
    return runs.count(c, wish, MEASURE) + runs.count(c, wish, "caption")
