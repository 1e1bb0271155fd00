"""Lanes: the workers that take jobs from the durable queue and run them, each lane with its own number.

What must hold: a job is claimed, run, and recorded by the one who runs it; a surprise is a failed attempt with backoff, a full disk
waits without costing an attempt, a cancelled job leaves nothing behind; an idle lane sleeps until a job is queued or due.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from ..handlers import disk, hashing
from ..handlers.task import Failure
from ..rules.terms import Job, JobState, Lane
from ..store import files, jobs
from ..store.history import Happening, tell
from .feed import Feed
from .house import House
from .meters import Meters

NO_ROOM_WAIT = 60.0  # seconds until a job that found no room looks again
TELL_EVERY = 0.5  # seconds between two progress events of a job
KEEP_EVERY = 5.0  # seconds between two progress notes in the store
_log = structlog.get_logger()

Tick = Callable[[float], None]


class Run(Protocol):
    """What a lane does with one job."""

    def __call__(self, job: Job, tick: Tick) -> Awaitable[None]: ...


class Lanes:
    """Runs the hash, cpu and net lanes. `wake` after jobs were queued."""

    def __init__(self, house: House, feed: Feed, run: Run) -> None:
        self._house, self.feed, self._run = house, feed, run
        self._wake: dict[Lane, asyncio.Event] = {lane: asyncio.Event() for lane in Lane}
        self._cancelled: set[int] = set()
        self._surplus: Counter[Lane] = Counter()
        self.running: dict[int, Job] = {}
        self.meters = Meters()
        self.on_cancel: Callable[[int], None] = lambda job_id: None  # hears of running jobs that nobody wants any more

    def retire(self, lane: Lane, count: int) -> None:
        """Let `count` workers of a lane end, each once it has finished what it does; a negative count takes that back."""
        self._surplus[lane] += count
        self._wake[lane].set()

    def wake(self) -> None:
        """Jobs may have been queued."""
        for event in self._wake.values():
            event.set()

    def cancel(self, job_id: int) -> None:
        """Stop a running job at its next progress tick."""
        if job_id in self.running:
            self._cancelled.add(job_id)
            self.on_cancel(job_id)

    def leave(self, lane: Lane) -> bool:
        """Whether one worker of a lane is to end; who asks is taken for that one."""
        if self._surplus[lane] <= 0:
            return False
        self._surplus[lane] -= 1
        return True

    async def stirred(self, lane: Lane) -> None:
        """Wait until jobs of a lane may have been queued, or a worker of it is to end."""
        await self._wake[lane].wait()
        self._wake[lane].clear()

    async def work(self, lane: Lane) -> None:
        """One worker of a lane, until it is retired."""
        while claimed := await self.batch(lane, 1):
            job, began = claimed[0], time.monotonic()
            self.running[job.id] = job
            try:
                await self._attempt(job)
            except Exception as error:  # noqa: BLE001
                # one of the broad excepts of the house (a worker loop): whatever surprised us is this job's failed attempt
                _log.exception("a job failed", job=job.id, title=job.title)
                await self._failed(job, f"{type(error).__name__}: {error}")
            finally:
                self.running.pop(job.id, None)
                self._cancelled.discard(job.id)
                self.meters.observe("job_seconds", time.monotonic() - began, lane=str(lane))

    async def batch(self, lane: Lane, most: int) -> list[Job]:
        """Wait until a lane has jobs that are due, and claim up to `most` of them. None of them: this worker is to end."""
        store = self._house.store
        while True:
            self._wake[lane].clear()
            if self._surplus[lane] > 0:
                self._surplus[lane] -= 1
                if self._surplus[lane] > 0:  # the next one to end may be asking the store just now, and had not heard us
                    self._wake[lane].set()
                return []
            due = await store.read(jobs.next_due, lane)
            if self._house.stopping:  # what was given back is for the next start
                due = None
            elif due is not None and due <= store.now():
                claimed = await store.claim(lane, self._house.owner, most)
                if claimed:
                    self._wake[lane].set()  # the lane's other workers look again: one wake may have been meant for several jobs
                    return claimed
                due = None  # the lane is paused, or another worker was faster: resuming wakes us, and so does that worker
            await self._sleep(lane, None if due is None else due - store.now())

    async def _sleep(self, lane: Lane, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(None if seconds is None else max(0.01, seconds)):
                await self._wake[lane].wait()
        except TimeoutError:
            pass

    async def _attempt(self, job: Job) -> None:
        store = self._house.store
        try:
            await self._run(job, self._ticker(job))
        except disk.NoRoom as error:
            _log.warning("a job waits", job=job.id, reason=str(error))
            await store.write(jobs.defer, job.id, self._house.owner, str(error), store.now() + NO_ROOM_WAIT)
            self.wake()
        except Failure as error:  # expected: told without the trace of a surprise, whose values may hold an address
            _log.warning("an action failed", job=job.id, title=job.title, reason=str(error))
            await self._failed(job, str(error))
        except hashing.Cancelled:
            if self._house.stopping:
                await store.write(jobs.release, job.id, self._house.owner)
            else:
                await self._left_alone(job, "cancelled")
        except asyncio.CancelledError:  # the daemon stops: the job goes back as it was
            await asyncio.shield(store.write(jobs.release, job.id, self._house.owner))
            raise

    async def _failed(self, job: Job, error: str) -> None:
        store = self._house.store
        state = await store.write(jobs.fail, job.id, self._house.owner, error, store.now(), retry=True)
        happening = Happening("job", None, status=str(state), note=f"{job.title}: {error}", job_id=job.id)
        await store.write(tell, happening, store.now())
        if state is JobState.FAILED:
            await self._left_alone(job, error, "failed")
        self.wake()

    async def _left_alone(self, job: Job, note: str, state: str = "held") -> None:
        if "file" in job.payload:
            await self._house.store.write(files.set_state, int(str(job.payload["file"])), state, note)

    def _ticker(self, job: Job) -> Tick:
        loop = asyncio.get_running_loop()
        told = kept = time.monotonic()

        def tick(fraction: float) -> None:
            """Called from the thread that works."""
            nonlocal told, kept
            if job.id in self._cancelled or self._house.stopping:
                raise hashing.Cancelled(job.title)
            now = time.monotonic()
            if now - told >= TELL_EVERY:
                told = now
                keep = now - kept >= KEEP_EVERY
                kept = now if keep else kept
                loop.call_soon_threadsafe(self._progress, job, min(1.0, fraction), keep)

        return tick

    def _progress(self, job: Job, fraction: float, keep: bool) -> None:
        self.feed.pass_on("progress", {"job": job.id, "lane": job.lane, "title": job.title, "progress": round(fraction, 4)})
        if keep:
            note = asyncio.ensure_future(self._house.store.write(jobs.progress, job.id, fraction))
            note.add_done_callback(lambda done: done.exception())
