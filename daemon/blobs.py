"""Blobs that somebody changed behind our back: found by their cheap fingerprints, told, and taken in anew under their new digest.

Apps write through links: a header is edited in place, a "move" takes what the link points to. What must hold: no byte of such a blob is
ever written over; a changed one is moved to the place of its new content by the same journalled moves as any file; one that is gone is
told once, with the place where its bytes lie now if an app has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from ..handlers import blobs as hands
from ..handlers import disk, hashing
from ..handlers.store import Store as Keep
from ..handlers.store import files_below
from ..handlers.task import Task
from ..rules.layouts import built_in_layouts, layout_of
from ..rules.terms import Action, Digests, Facts, Job, Lane, Prepared, Stamp, Target
from ..store import blobs, history, jobs, models
from ..store.blobs import BlobRow, BlobState
from ..store.history import Happening, tell
from ..store.jobs import NewJob
from ..store.rows import ModelRow
from ..store.store import Entry
from . import hub
from .header_worker import identify
from .house import House

QUIET = 10.0  # seconds without a change before a changed blob is read
WORD = "readopt"  # the verb of its history lines
_log = structlog.get_logger()
Tick = Callable[[float], None]


class Blobs:
    """`check` some models' blobs; `readopt` performs the job of a changed one. `ask` is told of models whose links change."""

    def __init__(self, house: House, ask: Callable[..., None], targets: Callable[[], Awaitable[Sequence[Target]]]) -> None:
        self._house, self._ask, self._targets = house, ask, targets

    # ------------------------------------------------------------ finding

    async def check(self, sha256s: Collection[str]) -> None:
        """Look at the blobs of these models, and record, tell and queue what follows."""
        house = self._house
        rows = await house.store.read(blobs.blobs, sha256s)
        if not rows:
            return
        seen = await asyncio.to_thread(lambda: [hands.fingerprint(row.blob) for row in rows])
        if None in seen and await hub.away(house):  # asked behind the looks: nothing can be said of what they did not find
            return
        fresh: dict[str, Stamp] = {}
        changed: list[BlobRow] = []
        gone: list[BlobRow] = []
        for row, stamp in zip(rows, seen, strict=True):
            if house.moving(row.blob):
                continue
            if stamp is None:
                gone += [row] if row.state is not BlobState.GONE else []
            elif stamp == row.left or (row.left is None and stamp.size == row.size):
                if row.left is None or row.state is not BlobState.OK:
                    fresh[row.sha256] = stamp
            else:
                changed.append(row)
        if fresh:
            await house.store.write(blobs.leave, fresh)
        if changed:
            await self._changed(changed)
        if gone:
            await self._gone(gone)

    async def _changed(self, rows: Sequence[BlobRow]) -> None:
        store = self._house.store
        new = [row for row in rows if row.state is not BlobState.CHANGED]

        def work(c) -> None:  # type: ignore[no-untyped-def]  # a piece of work for the writer
            blobs.mark(c, [row.sha256 for row in new], BlobState.CHANGED)
            for row in new:
                note = "somebody changed this file of the hub, through a link perhaps: it is hashed anew"
                tell(c, Happening("changed", row.blob, WORD, "changed", note=note, sha256=row.sha256), store.now())

        await store.db.write(work)
        await store.enqueue(*(_job(row) for row in rows))

    async def _gone(self, rows: Sequence[BlobRow]) -> None:
        store = self._house.store
        notes = {row.sha256: await self._whereabouts(row) for row in rows}

        def work(c) -> None:  # type: ignore[no-untyped-def]  # a piece of work for the writer
            blobs.mark(c, notes, BlobState.GONE)
            for row in rows:
                line = Happening("changed", row.blob, WORD, "gone", note=notes[row.sha256], sha256=row.sha256)
                tell(c, line, store.now())

        await store.db.write(work)

    async def _whereabouts(self, row: BlobRow) -> str:
        """What can be said of a blob that is gone."""
        if row.left is not None and not row.folder:
            roots = [
                target.path / root for target in await self._targets() for root in layout_of(target, built_in_layouts()).roots()
            ]
            found = await asyncio.to_thread(hands.find, row.left, roots)
            if found is not None:
                return f"gone from the hub: an app has moved it to {found}. Move it back, or drop it into the inbox"
        return "gone from the hub: its links are taken away until it is dropped again"

    # ------------------------------------------------------------ taking in anew

    async def readopt(self, job: Job, tick: Tick) -> None:
        """Hash a changed blob, and keep its bytes under what they are now. The job is finished, or waits until nobody writes.

        Raises NoRoom while the hub is away.
        """
        house = self._house
        old = str(job.payload["blob"])
        await hub.need(house)
        row = await house.store.read(models.get, old)
        left = None if row is None else await asyncio.to_thread(hands.fingerprint, row.blob)
        if row is None or left is None:
            await house.store.write(jobs.finish, job.id, house.owner, house.store.now())
            return
        if house.store.now() - left.mtime_ns / 1e9 < QUIET:
            await self._later(job, "somebody is writing it")
            return
        digests = await asyncio.to_thread(_digest, row, tick)
        if await asyncio.to_thread(hands.fingerprint, row.blob) != left:
            await self._later(job, "it changed while it was read")
        elif digests.sha256 == old:
            await self._touched(job, row, left)
        else:
            await self._move(job, row, digests)

    async def _later(self, job: Job, why: str) -> None:
        store = self._house.store
        await store.write(jobs.defer, job.id, self._house.owner, why, store.now() + QUIET)
        store.on_jobs()

    async def _touched(self, job: Job, row: ModelRow, left: Stamp) -> None:
        """Another time or inode, the same bytes: a backup that was put back, say."""
        store = self._house.store

        def work(c) -> None:  # type: ignore[no-untyped-def]  # a piece of work for the writer
            blobs.leave(c, {row.sha256: left})
            line = Happening("changed", row.blob, WORD, "done", note="it has the same content still", sha256=row.sha256)
            tell(c, line, store.now())
            jobs.finish(c, job.id, self._house.owner, store.now())

        await store.db.write(work)

    async def _move(self, job: Job, row: ModelRow, digests: Digests) -> None:
        house = self._house
        prepared = await self._prepared(row, digests)
        now = house.store.now()

        def intend(c) -> int:  # type: ignore[no-untyped-def]  # a piece of work for the writer
            blobs.succeed(c, row.sha256, digests.sha256)
            return history.intend(c, WORD, prepared, None, job.id, 0, now)

        paths = {path for move in prepared.moves for path in (move.src, move.dst)}
        intent = await house.store.db.write(intend)
        house.mine |= paths
        try:
            await asyncio.to_thread(disk.carry_out, prepared.moves)
            await asyncio.to_thread(_clear, row.blob.parent)
        except (disk.Changed, disk.Taken, OSError) as error:
            await house.store.write(history.settle_intent, intent)
            await self._later(job, str(error))
            return
        finally:
            house.mine -= paths
        entry = Entry(WORD, prepared.outcome, row.blob, job_id=job.id, owner=house.owner, intent=intent)
        await house.store.record(entry)
        await house.store.write(blobs.pass_on)
        self._ask(row.sha256, digests.sha256)

    async def _prepared(self, row: ModelRow, digests: Digests) -> Prepared:
        """The hub's own way of keeping a content, with the old blob and all beside it as what came."""
        house = self._house
        known = await house.store.read(models.get, digests.sha256)
        unit, facts = await asyncio.to_thread(_unit, row)
        kept = known.blob if known is not None and known.in_hub and await asyncio.to_thread(known.blob.exists) else None
        task = Task(Action("store"), facts, row.blob, unit, house.token(), house.store.now(), None, digests, kept)
        prepared = await asyncio.to_thread(Keep().prepare, task, house.tools())
        note = (
            f"what was {row.sha256[:12]} is {digests.sha256[:12]} now: it was changed behind our back, and is kept as what it is"
        )
        return replace(prepared, outcome=replace(prepared.outcome, note=note, undo=()))


async def kept_blob(house: House, sha256: str, ask: Callable[..., None]) -> Path | None:
    """The hub's blob of a content, or None. One that was changed behind our back is not it any more.

    Raises NoRoom, so that the job waits, until the changed one is taken in as what it became; `ask` sees to that.
    """
    for row in await house.store.read(blobs.blobs, [sha256]):
        found = await asyncio.to_thread(hands.fingerprint, row.blob)
        if found is not None and found != row.left and (row.left is not None or found.size != row.size):
            ask(sha256)
            raise disk.NoRoom(f"{row.blob} was changed behind our back: it is hashed anew first")
        return row.blob if found is not None else None
    return None


def _job(row: BlobRow) -> NewJob:
    return NewJob(f"{WORD}:{row.sha256}", Lane.HASH, f"hash anew {row.blob.name}", {"blob": row.sha256}, delay=QUIET)


def _digest(row: ModelRow, tick: Tick) -> Digests:
    size = max(1, row.size)
    if row.folder:
        return hashing.digest_folder(row.blob, files_below(row.blob), lambda n: tick(min(1.0, n / size)))
    return hashing.digest(row.blob, lambda n: tick(min(1.0, n / size)))


def _unit(row: ModelRow) -> tuple[dict[Path, Stamp], Facts]:
    """The blob with all that lies beside it, the blob first, and what it is now. Raises OSError when it is gone."""
    beside = sorted(p for p in row.blob.parent.iterdir() if p != row.blob and p.is_file())
    unit = {path: disk.stamp(path) for path in (row.blob, *beside)}
    return unit, identify(row.blob, tuple(beside))


def _clear(folder: Path) -> None:
    """Remove the folder of a content that is no more, if nothing is left in it."""
    try:
        folder.rmdir()
    except OSError:
        return
