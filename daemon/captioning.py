"""The caption lane: claims pictures in batches, asks the captioner's worker process, writes the texts beside them.

What must hold: one text, one picture: a broken picture or a crash costs only its own attempt (a batch that killed its worker is asked
again picture by picture); texts of a batch are staged, journalled, moved and recorded together; a caption that appeared meanwhile stays.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path, PurePosixPath

import structlog

from ..handlers import caption, disk
from ..handlers.captioners.protocol import Answer
from ..rules.terms import Job, JobState, Lane, Outcome, Prepared, Status
from ..store import datasets, history, jobs
from ..store.rows import ItemRow
from ..store.store import Entry
from .config import CaptionerConfig
from .house import House
from .lanes import Lanes
from .workers import Worker, WorkerDied

CLAIM = 16  # pictures claimed at once: enough to keep a worker busy, few enough that a picture dropped now soon has its turn
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Order:
    """One picture that wants a caption."""

    job: Job
    item: ItemRow
    path: Path
    set: str
    captioner: str


class Captioning:
    """One worker of the caption lane, with its own process for each captioner it needs."""

    def __init__(self, house: House, lanes: Lanes) -> None:
        self._house, self._lanes = house, lanes
        self._workers: dict[str, Worker] = {}
        self._made: dict[str, CaptionerConfig] = {}  # what each worker was made of: a reload may have changed it

    async def work(self) -> None:
        """Caption until this worker is retired."""
        while claimed := await self._lanes.batch(Lane.CAPTION, CLAIM):
            began = time.monotonic()
            self._lanes.running.update({job.id: job for job in claimed})
            try:
                await self._batch(claimed)
            except asyncio.CancelledError:
                for job in claimed:
                    await asyncio.shield(self._house.store.write(jobs.release, job.id, self._house.owner))
                raise
            except Exception as error:  # noqa: BLE001
                # one of the three broad excepts of the house (the worker loop): a failed attempt of what was claimed and not finished
                _log.exception("captions failed", jobs=len(claimed))
                await self._fail(claimed, f"{type(error).__name__}: {error}")
            finally:
                for job in claimed:
                    self._lanes.running.pop(job.id, None)
                    self._lanes.meters.observe("job_seconds", (time.monotonic() - began) / len(claimed), lane=str(Lane.CAPTION))

    async def stop(self) -> None:
        """End the worker processes."""
        for worker in self._workers.values():
            await worker.stop()

    async def _batch(self, claimed: Sequence[Job]) -> None:
        orders = [order for job in claimed if (order := await self._order(job)) is not None]
        for name, group in itertools.groupby(sorted(orders, key=attrgetter("captioner")), attrgetter("captioner")):
            await self._caption(name, list(group))

    async def _order(self, job: Job) -> Order | None:
        """What a job asks for; None (and the job is done) when there is nothing to do any more."""
        house, p = self._house, job.payload
        slug, rel, name = str(p["dataset"]), str(p["rel"]), str(p["set"])
        item = await house.store.read(datasets.item, slug, rel)
        done = item is None
        if item is not None and p.get("only") != "all":
            done = await house.store.read(datasets.has_caption, slug, rel, name)
        if item is None or done:
            note = "the picture is gone" if item is None else "it has a caption"
            await self._record(job, Prepared(Outcome(Status.SKIPPED, note)), None, quiet=True)
            return None
        path = house.config.datasets / item.dataset / PurePosixPath(rel)
        return Order(job, item, path, name, str(p["captioner"]))

    async def _caption(self, name: str, orders: list[Order]) -> None:
        worker = await self._worker(name)
        if worker is None:
            await self._fail([o.job for o in orders], f"there is no captioner {name!r} in the config", retry=False)
            return
        size = max(1, worker.batch)
        for start in range(0, len(orders), size):
            part = orders[start : start + size]
            try:
                answers = await worker.caption([o.path for o in part])
            except WorkerDied as error:
                await self._one_by_one(worker, part, str(error))
            else:
                await self._write(part, answers)

    async def _one_by_one(self, worker: Worker, orders: Sequence[Order], why: str) -> None:
        """A batch killed its worker: ask each picture on its own, so that only the poisonous one fails."""
        _log.warning("a caption batch is asked again one by one", captioner=worker.name, reason=why, pictures=len(orders))
        for order in orders:
            try:
                answers = [Answer(error=why)] if len(orders) == 1 else await worker.caption([order.path])
            except WorkerDied as error:
                answers = [Answer(error=str(error))]
            await self._write([order], answers)

    async def _write(self, orders: Sequence[Order], answers: Sequence[Answer]) -> None:
        house = self._house
        for order, answer in zip(orders, answers, strict=True):
            if answer.error or not answer.text.strip():
                await self._fail([order.job], answer.error or "the captioner said nothing")
        good = [(o, a.text.strip()) for o, a in zip(orders, answers, strict=True) if a.text.strip() and not a.error]
        if not good:
            return
        written = [await self._written(order, text) for order, text in good]
        staged = await asyncio.to_thread(disk.own_folder, house.config.datasets, "staging", house.token())
        try:
            prepared = await asyncio.to_thread(caption.prepare, written, staged)
            await self._carry_out([(o, p) for (o, _), p in zip(good, prepared, strict=True)])
        finally:
            await asyncio.to_thread(disk.clear, staged)

    async def _written(self, order: Order, text: str) -> caption.Written:
        store, item = self._house.store, order.item
        active = await store.read(datasets.active_name, item.dataset)
        ours = await store.read(datasets.sidecar, item.dataset, item.rel)
        beside = active in (None, datasets.DEFAULT_SET, order.set)
        return caption.Written(item.dataset, item.rel, order.path, order.set, text, order.captioner, ours, beside)

    async def _carry_out(self, batch: Sequence[tuple[Order, Prepared]]) -> None:
        """Journal, move and record each text. A text that somebody put in our way first is recorded as theirs by the next look."""
        house = self._house
        intents = await house.store.db.write(
            lambda c: [
                history.intend(c, "caption", p, None, o.job.id, 0, house.store.now()) if p.moves else None for o, p in batch
            ]
        )
        moves = [m for _, p in batch for m in p.moves]
        paths = {path for m in moves for path in (m.src, m.dst)}
        house.mine |= paths
        try:
            lost = await asyncio.to_thread(_carry_out_each, [p for _, p in batch])
            entries = []
            for (order, prepared), intent, why in zip(batch, intents, lost, strict=True):
                if isinstance(why, OSError):  # the disk's fault: this picture's failed attempt
                    await house.store.write(history.settle_intent, intent)
                    await self._fail([order.job], str(why))
                    continue
                done = prepared if why is None else Prepared(Outcome(Status.SKIPPED, str(why)))
                entries.append(self._entry(order.job, done, order.path, intent))
            await house.store.record(*entries)
        finally:
            house.mine -= paths

    async def _worker(self, name: str) -> Worker | None:
        wanted = self._house.config.captioners.get(name)
        if self._made.get(name) != wanted and name in self._workers:
            await self._workers.pop(name).stop()
        if wanted is None:
            return None
        if name not in self._workers:
            self._workers[name], self._made[name] = Worker(name, wanted.engine, wanted.options), wanted
        return self._workers[name]

    def _entry(self, job: Job, prepared: Prepared, path: Path | None, intent: int | None, quiet: bool = False) -> Entry:
        house = self._house
        watch = house.dataset_watch
        return Entry(
            "caption", prepared.outcome, path, None, None, job.id, house.owner, None, intent, (), watch.name if watch else "",
            house.config.datasets, quiet=quiet,
        )  # fmt: skip

    async def _record(self, job: Job, prepared: Prepared, path: Path | None, quiet: bool = False) -> None:
        await self._house.store.record(self._entry(job, prepared, path, None, quiet))

    async def _fail(self, claimed: Sequence[Job], error: str, retry: bool = True) -> None:
        store = self._house.store
        for job in claimed:
            now = await store.read(jobs.get, job.id)
            if now is None or now.state is not JobState.RUNNING:
                continue
            state = await store.write(jobs.fail, job.id, self._house.owner, error, store.now(), retry=retry)
            line = history.Happening("job", None, "caption", str(state), note=f"{job.title}: {error}", job_id=job.id)
            await store.write(history.tell, line, store.now())


def _carry_out_each(batch: Sequence[Prepared]) -> list[Exception | None]:
    """Make each text's move on its own; the reason where it could not be made."""
    lost: list[Exception | None] = []
    for prepared in batch:
        try:
            disk.carry_out(prepared.moves)
            lost.append(None)
        except (disk.Taken, disk.Changed, OSError) as error:
            lost.append(error)
    return lost
