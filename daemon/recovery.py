"""Recovery: what a process that died had begun is finished from the journal, or taken back. There is no other recovery path.

What must hold: an intent is forgotten only when its Outcome is recorded or none of its moves stands; one whose disk is away stays open,
its job waits and its staging is kept, until the disk is back (tried again by the clock).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence, Set
from dataclasses import replace
from pathlib import Path, PurePosixPath

import structlog

from ..handlers import disk
from ..rules.terms import Action, Job, Prepared
from ..store import codec, files, history, jobs
from ..store.rows import JournalRow
from ..store.store import Entry
from . import hub
from .chain import Chain
from .house import House
from .marking import STAGING
from .performing import Performer, stops

_log = structlog.get_logger()


class Recovery:
    """Run `start` before anything else works, and `again` now and then while intents wait (house.waiting)."""

    def __init__(self, house: House, performer: Performer) -> None:
        self._house, self._performer = house, performer

    async def start(self) -> int:
        """Finish or take back every intent of the process that died; returns how many there were. Then staging is cleared."""
        rows = await self._house.store.read(history.intents)
        filled = {folder for row in rows if row.verb != STAGING for folder in codec.loads(Prepared, row.prepared).staging}
        for row in rows:
            if row.verb == STAGING:
                await self._unmark(row, filled)
            else:
                await self._one(row)
        kept = {folder for row in rows if row.id in self._house.waiting for folder in codec.loads(Prepared, row.prepared).staging}
        await asyncio.to_thread(_clear_staging, self._house.places.roots, kept)
        return len(rows)

    async def again(self) -> None:
        """Try the intents whose disk was away."""
        for row in await self._house.store.read(history.intents):
            if row.id in self._house.waiting:
                await self._one(row)

    async def _unmark(self, row: JournalRow, filled: Set[Path]) -> None:
        """Clear what was being filled, for its job begins anew, elsewhere; not what was full, since the intent of its moves needs it."""
        prepared = codec.loads(Prepared, row.prepared)
        if filled.isdisjoint(prepared.staging):
            await self._performer.tidy(prepared)
        await self._house.store.write(history.settle_intent, row.id)

    async def _one(self, row: JournalRow) -> None:
        store = self._house.store
        prepared = codec.loads(Prepared, row.prepared)
        job = await store.read(jobs.get, row.job_id) if row.job_id is not None else None
        try:
            if why := await hub.undecided(self._house, prepared.moves):
                raise disk.Away(self._house.config.hub, why)
            await asyncio.to_thread(disk.carry_out, prepared.moves, True)
        except disk.Away as error:
            if row.id not in self._house.waiting:
                _log.warning("an intent waits for its disk", verb=row.verb, reason=str(error))
                self._house.waiting.add(row.id)
                if job is not None:
                    await store.write(jobs.park, job.id, str(error))
            return
        except (disk.Changed, disk.Taken, OSError) as error:
            _log.warning("an intent was taken back", verb=row.verb, reason=str(error))
            await self._prune(prepared)
            await self._performer.tidy(prepared)
            await store.write(history.settle_intent, row.id)
        else:
            await self._prune(prepared)
            await self._finish(row, prepared, job)
        self._house.waiting.discard(row.id)
        if job is not None and await store.write(jobs.resume, job.id):  # parked, by us or by an earlier start
            store.on_jobs()

    async def _prune(self, prepared: Prepared) -> None:
        """Remove the folders that its moves left empty."""
        await asyncio.to_thread(disk.prune_after, prepared.moves, (self._house.config.datasets, self._house.config.hub))

    async def _finish(self, row: JournalRow, prepared: Prepared, job: Job | None) -> None:
        house = self._house
        unit = await house.store.read(files.unit, row.file_id) if row.file_id is not None else []
        if not unit:  # captions have no file of their own: the entry is all there is
            watch = house.dataset_watch
            picture = next((house.config.datasets / k.dataset / PurePosixPath(k.rel) for k in prepared.outcome.captions), None)
            entry = Entry(
                row.verb, prepared.outcome, picture, job_id=job.id if job else None, intent=row.id,
                dataset_watch=watch.name if watch else "", datasets_root=house.config.datasets,
            )  # fmt: skip
        else:
            action = Chain.of(job).actions[row.step or 0] if job else Action(row.verb)
            action = action if action.verb == row.verb else Action(row.verb)  # a quarantine because of `on_error`
            payload = None if job is None or stops(prepared.outcome, unit[0]) else Chain.of(job).after(job, row.step or 0)
            entry = self._performer.entry(action, prepared, unit, job, payload, row.id)
        await house.store.record(replace(entry, by_recovery=True))
        await self._performer.tidy(prepared)
        if unit:
            self._performer.announce(prepared, unit[0])


def _clear_staging(roots: Sequence[Path], kept: Collection[Path]) -> None:
    """Clear what a dead process left in our staging folders, but for those that open intents still need."""
    for root in roots:
        staging = root / disk.OWN / "staging"
        for left in staging.iterdir() if staging.is_dir() else ():
            if left in kept:
                continue
            disk.clear(left)
            if left.is_file():
                left.unlink(missing_ok=True)
