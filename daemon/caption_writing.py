"""Writing captions: what jobs ask for becomes Orders, and answers become texts beside the pictures, a group at a time.

What must hold: what is written is journalled first and recorded in one transaction with the end of its job; a job that was cancelled
meanwhile leaves nothing; a text by hand stays unless the request says otherwise, looked at again just before writing; one text that
cannot be written is its own picture's failed attempt.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..handlers import caption, disk
from ..handlers.captioners.protocol import Answer, Picture
from ..rules.captions import Quality
from ..rules.terms import End, Job, JobState, Outcome, Prepared, Status
from ..store import history, jobs, orders, quality
from ..store.orders import Asked
from ..store.runs import MEASURE
from ..store.store import Entry, record
from .house import House

PassOn = Callable[[str, Mapping[str, object]], None]


@dataclass(frozen=True, slots=True)
class Order:
    """One picture that wants a caption, or only to be measured."""

    job: Job
    path: Path
    dataset: str
    rel: str
    sha256: str
    set: str
    captioner: str
    asked: Asked

    @property
    def only_measure(self) -> bool:
        return self.job.payload.get("only") == MEASURE

    @property
    def picture(self) -> Picture:
        """As the worker gets it."""
        a = self.asked
        return Picture(self.job.id, self.path, a.style, a.tags, a.existing, not a.measured)


class Writer:
    """Takes jobs in and writes answers down. `pass_on` tells listeners what is no history."""

    def __init__(self, house: House, pass_on: PassOn) -> None:
        self._house, self._pass_on = house, pass_on

    async def orders(self, claimed: Sequence[Job]) -> list[Order]:
        """What jobs ask for. Those for which there is nothing to do any more end here."""
        asked = await self._house.store.read(orders.asked, claimed)
        found, idle = [], []
        for job, a in zip(claimed, asked, strict=True):
            why = _nothing_to_do(job, a)
            if why or a.item is None:
                idle.append(self._entry(job, Prepared(Outcome(Status.SKIPPED, why)), None, None, quiet=True))
            else:
                item, p = a.item, job.payload
                path = self._house.config.datasets / item.dataset / PurePosixPath(item.rel)
                found.append(Order(job, path, item.dataset, item.rel, item.sha256, str(p["set"]), str(p["captioner"]), a))
        if idle:
            await self._house.store.record(*idle)
        return found

    async def write(self, answered: Sequence[tuple[Order, Answer]]) -> None:
        """Write the texts that came, and end or fail the jobs."""
        store = self._house.store
        now = await store.read(orders.asked, [order.job for order, _ in answered])
        wanted = [(o, a, n) for (o, a), n in zip(answered, now, strict=True) if n.running]
        bad = [(o, a.error or "the captioner said nothing") for o, a, _ in wanted if _useless(o, a)]
        if bad:
            await self.fail([(order.job, why) for order, why in bad])
        good = [(o, a, n) for o, a, n in wanted if not _useless(o, a)]
        if good:
            staged = await asyncio.to_thread(disk.own_folder, self._house.config.datasets, "staging", self._house.token())
            prepared = await self._prepare(good, staged)
            await self._carry_out([(o, a, p) for (o, a, _), p in zip(good, prepared, strict=True)])
            await asyncio.to_thread(disk.clear, staged)  # not after a surprise: open intents need it until the next start

    async def fail(self, failed: Sequence[tuple[Job, str]], retry: bool = True) -> None:
        """Failed attempts, each with its reason."""
        store = self._house.store
        ended = await store.write(_fail, self._house.owner, failed, retry, store.now())
        for job, why, state in ended:
            told = {"job": job.id, "run": job.payload.get("run"), "dataset": job.payload["dataset"], "rel": job.payload["rel"]}
            self._pass_on("error", {**told, "error": why, "state": str(state)})

    # ------------------------------------------------------------ inside

    async def _prepare(self, good: Sequence[tuple[Order, Answer, Asked]], staged: Path) -> list[Prepared]:
        written, places = [], []
        found: list[Prepared] = []
        for n, (order, answer, a) in enumerate(good):
            found.append(_without_text(order, a))
            if not found[-1].outcome.note:
                places.append(n)
                written.append(
                    caption.Written(
                        order.dataset,
                        order.rel,
                        order.path,
                        order.set,
                        answer.text.strip(),
                        order.captioner,
                        a.ours,
                        a.beside,
                        a.overwrite,
                        a.edited,
                    )
                )
        if written:
            trash = self._trash() if any(w.over for w in written) else None
            for n, prepared in zip(places, await asyncio.to_thread(caption.prepare, written, staged, trash), strict=True):
                found[n] = prepared
        return found

    def _trash(self) -> caption.Trash:
        """Where texts by hand go that a person wants replaced."""
        house, now = self._house, self._house.store.now()
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        return caption.Trash(house.config.datasets / disk.OWN / End.TRASH / f"{day}-{house.token()}", now + house.config.trash)

    async def _carry_out(self, batch: Sequence[tuple[Order, Answer, Prepared]]) -> None:
        """Journal, move and record each text. A text that somebody put in our way first is recorded as theirs by the next look."""
        house = self._house
        intents = await house.store.write(_intend, batch, house.store.now())
        paths = {path for _, _, p in batch for m in p.moves for path in (m.src, m.dst)}
        house.mine |= paths
        try:
            lost = await asyncio.to_thread(_carry_out_each, [p for _, _, p in batch])
            entries: list[tuple[Entry, Order, Answer]] = []
            failed: list[tuple[Job, str]] = []
            settled: list[int] = []
            for (order, answer, prepared), intent, why in zip(batch, intents, lost, strict=True):
                if isinstance(why, OSError):  # the disk's fault: this picture's failed attempt
                    settled += [] if intent is None else [intent]
                    failed.append((order.job, str(why)))
                    continue
                done = prepared if why is None else Prepared(Outcome(Status.SKIPPED, str(why)))
                entries.append((self._entry(order.job, done, order.path, intent, order.only_measure), order, answer))
            await house.store.write(_record, entries, settled, house.store.now())
            if failed:
                await self.fail(failed)
        finally:
            house.mine -= paths
        for entry, order, answer in entries:
            self._tell(entry, order, answer)

    def _tell(self, entry: Entry, order: Order, answer: Answer) -> None:
        if entry.outcome.status is Status.DONE and not order.only_measure:
            about = {"job": order.job.id, "run": order.job.payload.get("run"), "dataset": order.dataset, "rel": order.rel}
            more = {"set": order.set, "captioner": order.captioner, "text": answer.text.strip(), "flags": answer.flags}
            self._pass_on("caption_generated", {**about, **more})

    def _entry(self, job: Job, prepared: Prepared, path: Path | None, intent: int | None, quiet: bool = False) -> Entry:
        house = self._house
        watch = house.dataset_watch
        return Entry(
            "caption", prepared.outcome, path, None, None, job.id, house.owner, None, intent, (), watch.name if watch else "",
            house.config.datasets, quiet=quiet,
        )  # fmt: skip


def _nothing_to_do(job: Job, a: Asked) -> str:
    """Why a job has nothing to do, '' when it has."""
    only = job.payload.get("only")
    if a.item is None:
        return "the picture is gone"
    if only == MEASURE:
        return "its quality is known" if a.measured else ""
    if only not in ("all", "below") and a.captioned:
        return "it has a caption"
    return "its text was written by hand, or came with it" if a.edited and not a.overwrite else ""


def _useless(order: Order, answer: Answer) -> bool:
    if order.only_measure:
        return bool(answer.error) or answer.quality is None
    return bool(answer.error) or not answer.text.strip()


def _without_text(order: Order, a: Asked) -> Prepared:
    """The end of an order for which no text is written; one without a note where it is."""
    if order.only_measure:
        return Prepared(Outcome(Status.DONE, "its quality is measured"))
    return Prepared(Outcome(Status.SKIPPED, _nothing_to_do(order.job, a)))


def _carry_out_each(batch: Sequence[Prepared]) -> list[Exception | None]:
    """Make each text's move; the reason where it could not be made. All at once first: the folders are made durable once then."""
    try:
        disk.carry_out([move for prepared in batch for move in prepared.moves])
    except (disk.Taken, disk.Changed, OSError):  # one of them: what was made is taken back, but for texts that replaced ours
        return [_carried_out(prepared) for prepared in batch]
    return [None] * len(batch)


def _carried_out(prepared: Prepared) -> Exception | None:
    made = [move for move in prepared.moves if move.over and not os.path.lexists(move.src)]
    for move in made:
        disk.sync_folder(move.dst.parent)
    try:
        disk.carry_out([move for move in prepared.moves if move not in made])
    except (disk.Taken, disk.Changed, OSError) as error:
        return error
    return None


# ---------------------------------------------------------------- in the writer's thread


def _intend(c: sqlite3.Connection, batch: Sequence[tuple[Order, Answer, Prepared]], now: float) -> list[int | None]:
    """The intents of texts that move, and what was found of each picture: that is true whatever becomes of the text."""
    for order, answer, _ in batch:
        if isinstance(answer.quality, Quality):
            quality.put(c, order.sha256, answer.quality, now)
    return [history.intend(c, "caption", p, None, o.job.id, 0, now) if p.moves else None for o, _, p in batch]


def _record(c: sqlite3.Connection, entries: Sequence[tuple[Entry, Order, Answer]], settled: Sequence[int], now: float) -> None:
    for intent in settled:
        history.settle_intent(c, intent)
    for entry, order, answer in entries:
        record(c, entry, now)
        if answer.flags and entry.outcome.status is Status.DONE:
            quality.flag_caption(c, order.dataset, order.rel, order.set, answer.flags)


def _fail(
    c: sqlite3.Connection, owner: str, failed: Sequence[tuple[Job, str]], retry: bool, now: float
) -> list[tuple[Job, str, JobState]]:
    """Those that were still running, with the state they have now."""
    ended = []
    for job, why in failed:
        before = jobs.get(c, job.id)
        if before is None or before.state is not JobState.RUNNING:
            continue
        state = jobs.fail(c, job.id, owner, why, now, retry=retry)
        history.tell(c, history.Happening("job", None, "caption", str(state), note=f"{job.title}: {why}", job_id=job.id), now)
        ended.append((job, why, state))
    return ended
