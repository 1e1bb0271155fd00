"""What the face may ask of the daemon: implements api.ports.Control over the parts of the house."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from .. import __version__
from ..api.ports import CaptionerState, DaemonStatus, Family, Reload, Sample
from ..handlers import disk
from ..rules.explain import as_json, explanation
from ..rules.identify import known_as
from ..rules.pipeline import decide
from ..rules.terms import Facts, Job, JobState, Lane, Mode
from ..store import deeds, files, jobs
from ..store.history import Happening, tell
from . import overriding
from .conveyor import Conveyor
from .header_worker import identify
from .house import House
from .intake import Intake
from .lanes import Lanes
from .pulse import Pulse
from .reload import Reloader, effective


class Control:
    """Orders from outside."""

    def __init__(
        self,
        house: House,
        intake: Intake,
        conveyor: Conveyor,
        lanes: Lanes,
        started: float,
        reloader: Reloader,
        pulse: Pulse,
        on_deploy: Callable[..., None] = lambda *sha256s: None,
    ) -> None:
        self._house, self._intake, self._conveyor = house, intake, conveyor
        self._lanes, self._started = lanes, started
        self._reloader, self._pulse = reloader, pulse
        self._on_deploy = on_deploy
        self.ready = False
        self.captioners: Callable[[], tuple[CaptionerState, ...]] = tuple

    def status(self) -> DaemonStatus:
        """The process's own state."""
        workers = {str(lane): n for lane, n in self._house.config.lanes.items()}
        captioners = self.captioners()
        stuck = (c.note if c.state == "broken" else f"captioner {c.name} {c.note}" for c in captioners if c.stuck)
        return DaemonStatus(
            __version__,
            os.getpid(),
            self._started,
            self.ready,
            self._intake.count() + len(self._conveyor),
            workers,
            (*self._intake.notices(), *self._reloader.notices(), *self._troubles(), *stuck),
            captioners,
        )

    def _troubles(self) -> Iterator[str]:
        if self._house.store.db.full:
            yield f"{self._house.config.data_dir} has no room: nothing more is recorded until it has"
        if self._house.hub_away:
            yield f"{self._house.hub_away}: nothing is stored or linked until it is back (`dropdock doctor` says what to do)"
        if self._house.waiting:
            yield f"{len(self._house.waiting)} things that were begun wait for a disk that is away"

    async def rescan(self, watch: str | None, force: bool = False) -> list[str]:
        """Compare one watch, or all, with the disk; `force`: and decide again about what is held, left or failed there.

        Raises KeyError for an unknown name.
        """
        names = [w.name for w in self._house.config.watches if w.enabled]
        if watch is not None:
            if watch not in names:
                raise KeyError(watch)
            names = [watch]
        if force:
            await self._house.store.write(deeds.forget_ends, watch)
        for name in names:
            self._intake.doubt(name, "asked for")
        return names

    async def pause_watch(self, name: str, paused: bool) -> bool:
        """Pause or resume a watch."""
        return await self._intake.pause(name, paused)

    async def cancel_job(self, job_id: int) -> bool:
        """Cancel an open job: a running one stops at its next step, the file it was for is held."""
        store = self._house.store
        job = await store.write(jobs.cancel, job_id, store.now())
        if job is None:
            return False
        self._lanes.cancel(job_id)
        if "file" in job.payload and job.state is not JobState.RUNNING:
            await store.write(files.set_state, int(str(job.payload["file"])), "held", "cancelled")
        await self._tell(job, "cancelled")
        return True

    async def pause_job(self, job_id: int) -> bool:
        """Hold back a queued job."""
        return await self._house.store.write(jobs.pause, job_id)

    async def resume_job(self, job_id: int) -> bool:
        """Queue a paused job again."""
        done = await self._house.store.write(jobs.resume, job_id)
        self._lanes.wake()
        return done

    async def retry_job(self, job_id: int) -> bool:
        """Queue a failed or cancelled job again."""
        store = self._house.store
        done = await store.write(jobs.retry, job_id, store.now())
        job = await store.read(jobs.get, job_id)
        if done and job is not None and "file" in job.payload:
            await store.write(files.set_state, int(str(job.payload["file"])), "queued")
        self._lanes.wake()
        return done

    async def pause_lane(self, lane: Lane, paused: bool) -> None:
        """Pause or resume a whole lane."""
        await self._house.store.write(jobs.pause_lane, lane, paused)
        self._lanes.wake()

    async def explain(self, path: Path) -> str | None:
        """What a file in a folder of ours is, and what would be done."""
        house = self._house
        try:
            real = await asyncio.to_thread(path.resolve, True)
            if not any(root in real.parents for root in house.places.roots):
                return None
            facts, stamp = await asyncio.to_thread(lambda: (identify(real), disk.stamp(real)))
        except (OSError, ValueError, RuntimeError):  # missing, a name no disk can hold, a loop of links
            return None
        watch = house.watch_of(real)
        known = await house.store.known(real, stamp, watch)
        known_facts: Facts = known_as(facts, known)
        verdict = decide(house.pipeline(watch), known_facts, known, house.store.now())
        return as_json(explanation(known_facts, verdict))

    async def set_type(self, sha256: str, type: str | None, base: str | None) -> None:
        """Keep a person's word on what a content is; links and held files follow."""
        await overriding.set_type(self._house, sha256, type, base)
        self._on_deploy(sha256)

    def inbox(self, watch: str | None) -> Path | None:
        """The folder that uploads go to."""
        inboxes = [w for w in self._house.config.watches if w.mode is Mode.INBOX and w.enabled]
        found = [w for w in inboxes if watch is None or w.name == watch]
        return found[0].path if found else None

    async def failing(self) -> tuple[str, ...]:
        """What must live and does not."""
        return await self._pulse.failing()

    def settings(self) -> Mapping[str, object]:
        """Every setting in force, without secrets."""
        return effective(self._house.config)

    async def reload(self) -> Reload:
        """Read the configuration anew and take it over, or nothing of it."""
        return await self._reloader.reload()

    def meters(self) -> Sequence[Family]:
        """What was counted and measured, and what the disks have left."""
        hearing = tuple(Sample(float(ok), {"watch": name}) for name, ok in self._intake.hearing().items())
        return (
            Family("watch_alive", "gauge", "1 while a watch hears everything that happens below it.", hearing),
            Family("disk_free_bytes", "gauge", "Free space where our folders lie.", tuple(_free(self._house))),
            *self._lanes.meters.families(),
            *self._intake.meters.families(),
            *self._reloader.meters.families(),
        )

    async def _tell(self, job: Job, status: str) -> None:
        store = self._house.store
        await store.write(tell, Happening("job", None, status=status, note=job.title, job_id=job.id), store.now())


def _free(house: House) -> Iterator[Sample]:
    for name in ("data_dir", "hub", "datasets"):
        with contextlib.suppress(OSError):
            yield Sample(float(shutil.disk_usage(getattr(house.config, name)).free), {"folder": name})
