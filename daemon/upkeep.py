"""Upkeep: what happens by the clock. APScheduler says when; what is to be done is asked of the store each time.

What must hold: nothing here is needed for safety (a missed run costs latency only); every job is coalesced and never runs twice at once.
"""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from ..handlers import disk
from ..store import history, jobs
from ..store.rows import AsideRow
from . import hub
from .house import House
from .intake import Intake
from .lanes import Lanes
from .projection import Projection
from .recovery import Recovery

LEASES = 45  # seconds between two renewals
AUDIT = 900  # seconds between two looks at all links
EARS = 60  # seconds between two questions to each watch whether it hears
HUB = 60  # seconds between two looks whether the hub is there
RETENTION = 3600  # seconds between two looks at what may go from trash and quarantine
JOBS_KEPT = 7 * 86_400.0  # seconds that done jobs are listed
_log = structlog.get_logger()


class Upkeep:
    """Start and stop the clock's work."""

    def __init__(self, house: House, intake: Intake, lanes: Lanes, projection: Projection, recovery: Recovery) -> None:
        self._house, self._intake, self._lanes, self._projection = house, intake, lanes, projection
        self._recovery = recovery
        self._beats: dict[str, float] = {}  # watch -> its `rescan` as the clock has it
        self._clock = AsyncIOScheduler(
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}, timezone=UTC
        )

    def start(self) -> None:
        """Begin."""
        self.follow()
        for work, seconds in (
            (self._leases, LEASES),
            (self._intake.listen, EARS),
            (self._audit, AUDIT),
            (self._hub, HUB),
            (self._retention, RETENTION),
        ):
            self._clock.add_job(work, IntervalTrigger(seconds=seconds, timezone=UTC))
        self._clock.start()

    def follow(self) -> None:
        """Each watch of the present config is compared every `rescan` seconds, give or take a quarter."""
        for name in self._beats.keys() - {w.name for w in self._house.config.watches if w.enabled}:
            self._clock.remove_job(_beat(name))
            del self._beats[name]
        for watch in self._house.config.watches:
            if watch.enabled and self._beats.get(watch.name) != watch.rescan:  # an unchanged one keeps its turn
                trigger = IntervalTrigger(seconds=int(watch.rescan), jitter=int(watch.rescan / 4), timezone=UTC)
                self._clock.add_job(self._rescan, trigger, args=(watch.name,), id=_beat(watch.name), replace_existing=True)
                self._beats[watch.name] = watch.rescan

    def stop(self) -> None:
        """End."""
        if self._clock.running:
            self._clock.shutdown(wait=False)

    async def end(self) -> None:
        """The same, as one of the closers."""
        self.stop()

    async def _rescan(self, name: str) -> None:
        self._intake.doubt(name, "from time to time")

    async def _audit(self) -> None:
        self._projection.ask()

    async def _hub(self) -> None:
        await hub.away(self._house)

    async def _leases(self) -> None:
        store = self._house.store
        if self._house.waiting:
            await self._recovery.again()
        if self._lanes.running:
            await store.write(jobs.renew, self._house.owner, store.now())
        if await store.read(jobs.overdue, store.now()):
            await store.write(jobs.sweep, store.now())
            self._lanes.wake()

    async def _retention(self) -> None:
        """Let go what was kept long enough, and forget jobs that ended long ago."""
        store = self._house.store
        due = await store.read(history.kept_aside, None, store.now())
        if any(self._house.config.hub in row.path.parents for row in due) and await hub.away(self._house):
            due = [row for row in due if self._house.config.hub not in row.path.parents]  # they lie there still when it is back
        for row in due:
            try:
                await asyncio.to_thread(_expire, row)
            except (OSError, ValueError) as error:  # one thing that cannot go must not keep all the others
                _log.warning("cannot expire", path=str(row.path), reason=str(error))
                continue
            await store.write(history.set_aside_state, row.id, "expired")
            _log.info("expired", place=row.place, path=str(row.path), original=str(row.original))
        await store.write(jobs.prune, store.now() - JOBS_KEPT)


def _beat(name: str) -> str:
    return f"rescan {name}"


def _expire(row: AsideRow) -> None:
    """Remove one thing from our trash or quarantine, and its folder once that is empty. Refuses any other place."""
    if disk.OWN not in row.path.parts or row.place not in row.path.parts:
        raise ValueError(f"{row.path} is in no {row.place} folder")
    if row.path.is_dir() and not row.path.is_symlink():
        shutil.rmtree(row.path)
    else:
        row.path.unlink(missing_ok=True)
    try:
        row.path.parent.rmdir()
    except OSError:
        return
