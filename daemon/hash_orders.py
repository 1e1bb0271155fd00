"""Hashes on demand: a model's file is read once for all the hashes that sites call it by, and what was found is kept by content.

Implements api.reclassify.AskHashes. What must hold: hashes are kept only of the very content they are asked of; a file that is no longer
that content is a failed job that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..handlers import hashes as hands
from ..handlers.task import Failure
from ..rules.terms import Hashes, Job, Lane
from ..store import hashes, jobs, models
from ..store.jobs import NewJob
from . import hub
from .house import House

VERB = "hashes"
PRIORITY = 3  # somebody waits for it
Tick = Callable[[float], None]


class HashOrders:
    """`want` the hashes of a model, `perform` the job."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def known(self, sha256: str) -> tuple[Hashes, bool]:
        """What is known, and whether it is all that can be had here (BLAKE3 needs its extra)."""
        found = await self._house.store.read(hashes.get, sha256)
        if found is None:
            return Hashes(sha256, autov2=sha256[: hashes.AUTOV2]), False
        return found, found.blake3 is not None or not hands.has_blake3()

    async def want(self, sha256: str) -> int | None:
        """Queue the reading; None when it is queued already, or no model has this content."""
        row = await self._house.store.read(models.get, sha256)
        if row is None:
            return None
        new = NewJob(f"{VERB}:{sha256}", Lane.HASH, f"hashes: {row.name}", {VERB: sha256}, priority=PRIORITY)
        (job,) = await self._house.store.enqueue(new)
        return job

    async def perform(self, job: Job, tick: Tick) -> None:
        """Read the file. Raises Failure when it is gone, or is another content by now, NoRoom while the hub is away."""
        store, sha256 = self._house.store, str(job.payload[VERB])
        row = await store.read(models.get, sha256)
        if row is None:
            raise Failure("the model is no longer kept")
        if row.in_hub:
            await hub.need(self._house)
        size = max(1, row.size)
        try:
            found = await asyncio.to_thread(hands.read_hashes, row.blob, hands.KINDS, lambda n: tick(min(1.0, n / size)))
        except OSError as error:
            raise Failure(f"{row.blob} cannot be read: {error.strerror or error}") from error
        if found.sha256 != sha256:
            raise Failure(f"{row.blob} is another content by now")
        await store.write(hashes.put, found, store.now())
        await store.write(jobs.finish, job.id, self._house.owner, store.now())
