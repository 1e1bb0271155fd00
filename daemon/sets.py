"""Caption sets at work: another set becomes the active one, texts are written by hand, many are changed at once; the sidecars follow.

Implements api.sets.SetOrders and api.captions.TextOrders. Changes of a whole set are jobs of the cpu lane, a portion of pictures at a
time. What must hold: the job keeps how far it came in the transaction that records a portion, so that after a crash it goes on there;
each file's change is journalled on its own; an edit that somebody makes outside meanwhile is kept.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from ..api.captions import Preview
from ..handlers import caption_edits, disk, retext
from ..rules.captions import Edit
from ..rules.terms import Caption, End, Job, Lane, Outcome, Prepared, Status
from ..store import captions, datasets, history, jobs, sets
from ..store.captions import Beside
from ..store.codec import dumps, loads
from ..store.jobs import NewJob
from ..store.store import Entry, record
from .house import House

VERB = "texts"
PORTION = 64  # pictures changed in one go
PRIORITY = 4  # somebody waits for it; what is dropped now has 5
EXAMPLES = 5  # texts that a preview shows
Tick = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Change:
    """One picture's text in a set: `wanted` None forgets it."""

    beside: Beside
    set: str
    wanted: Caption | None


class Texts:
    """`activate`, `edit` and `write` are orders; `perform` does the jobs."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._locks: dict[str, asyncio.Lock] = {}

    # ------------------------------------------------------------ orders

    async def activate(self, slug: str, name: str) -> int | None:
        """Have a set lie beside the pictures from now on; the job that writes the files, None while another change goes on."""
        return await self._begin(slug, name, None)

    async def edit(self, slug: str, name: str, edit: Edit) -> int | None:
        """Change many texts of a set; the job, None while another change goes on."""
        return await self._begin(slug, name, edit)

    async def _begin(self, slug: str, name: str, edit: Edit | None) -> int | None:
        title = f"captions of {slug}: {'set ' + name + ' beside the pictures' if edit is None else 'change set ' + name}"
        payload = {
            VERB: {"dataset": slug, "set": name, "edit": None if edit is None else dumps(asdict(edit)), "after": 0, "count": 0}
        }
        new = NewJob(f"{VERB}:{slug}", Lane.CPU, title, payload, PRIORITY)
        job = await self._house.store.write(_queue, new, slug, name, edit is None, self._house.store.now())
        self._house.store.on_jobs()
        return job

    async def preview(self, slug: str, name: str, edit: Edit) -> Preview:
        """How many texts an edit would change, and a few of them."""
        return await self._house.store.read(_preview, slug, name, edit)

    def mistake(self, edit: Edit) -> str:
        """Why an edit cannot be carried out; '' when it can."""
        return caption_edits.mistake(edit)

    async def write(self, slug: str, item: int, name: str, text: str | None) -> str:
        """Write or forget (None) one picture's text by hand; why that was not done, '' when it was."""
        async with self._alone(slug):
            active = await self._house.store.read(datasets.active_name, slug)
            (it,) = await self._house.store.read(captions.beside, slug, name, only=[item])
            wanted = None if text is None else Caption(slug, it.rel, name, text, "manual")
            done = await self._apply([Change(it, name, wanted)], name == active, None)
        return done[0].outcome.note if done[0].outcome.status is not Status.DONE else ""

    # ------------------------------------------------------------ a job

    async def perform(self, job: Job, tick: Tick) -> None:
        """Go through a dataset's pictures from where it was. Raises hashing.Cancelled."""
        store = self._house.store
        order = dict(job.payload[VERB])  # type: ignore[call-overload]  # as _begin wrote it
        slug, name, after, count = str(order["dataset"]), str(order["set"]), int(order["after"]), int(order["count"])
        edit = None if order["edit"] is None else loads(Edit, str(order["edit"]))
        total = await store.read(captions.count, slug)
        seen = total - await store.read(captions.count, slug, after)
        while True:
            async with self._alone(slug):
                found = await store.read(captions.beside, slug, name, after, PORTION)
                active = await store.read(datasets.active_name, slug)
                changes = [change for it in found if (change := _change(it, name, edit)) is not None]
                after = found[-1].item if found else after
                payload: dict[str, object] = {VERB: {**order, "after": after, "count": count + len(changes)}}
                done = await self._apply(changes, name == active, (job, payload))
            count += sum(p.outcome.status is Status.DONE for p in done)
            seen += len(found)
            if len(found) < PORTION:
                break
            tick(seen / max(1, total))
        note = f"set {name}: {count} texts {'lie beside the pictures' if edit is None else 'changed'}"
        await store.write(_finish, job, self._house.owner, note, slug, store.now())

    def _alone(self, slug: str) -> asyncio.Lock:
        return self._locks.setdefault(slug, asyncio.Lock())

    # ------------------------------------------------------------ files and memory

    async def _apply(self, changes: Sequence[Change], active: bool, step: tuple[Job, dict[str, object]] | None) -> list[Prepared]:
        """Make the changes and record them; `active`: the set lies beside the pictures. `step` is kept with them."""
        house = self._house
        if not active:
            done = [_only_memory(change) for change in changes]
            await house.store.write(
                _record, self._entries(done, [None] * len(done), changes, step is not None), changes, step, house.store.now()
            )
            return done
        staged = await asyncio.to_thread(disk.own_folder, house.config.datasets, "staging", house.token())
        done = await self._carried_out(changes, staged, step)
        await asyncio.to_thread(disk.clear, staged)  # not after a surprise: open intents need it until the next start
        return done

    async def _carried_out(
        self, changes: Sequence[Change], staged: Path, step: tuple[Job, dict[str, object]] | None
    ) -> list[Prepared]:
        house, now = self._house, self._house.store.now()
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        trash = house.config.datasets / disk.OWN / End.TRASH / f"{day}-{house.token()}"
        files = [retext.Retext(self._picture(c), c.wanted, c.beside.lying, _another(c)) for c in changes]
        prepared = await asyncio.to_thread(retext.prepare, files, staged, trash, now + house.config.trash)
        intents = await house.store.write(_intend, prepared, now)
        paths = {path for p in prepared for m in p.moves for path in (m.src, m.dst)}
        house.mine |= paths
        try:
            lost = await asyncio.to_thread(_carry_out_each, prepared)
            done = [_ended(p, why) for p, why in zip(prepared, lost, strict=True)]
            await house.store.write(_record, self._entries(done, intents, changes, step is not None), changes, step, now)
        finally:
            house.mine -= paths
        return done

    def _picture(self, change: Change) -> Path:
        found = change.wanted or change.beside.lying or change.beside.own
        assert found is not None, "a change without any text is none"
        return self._house.config.datasets / found.dataset / PurePosixPath(found.rel)

    def _entries(
        self, done: Sequence[Prepared], intents: Sequence[int | None], changes: Sequence[Change], quiet: bool
    ) -> list[Entry]:
        watch, root = self._house.dataset_watch, self._house.config.datasets
        name = watch.name if watch else ""
        return [
            Entry("caption", p.outcome, self._picture(c), intent=intent, dataset_watch=name, datasets_root=root, quiet=quiet)
            for p, intent, c in zip(done, intents, changes, strict=True)
        ]


# ---------------------------------------------------------------- deciding


def _change(it: Beside, name: str, edit: Edit | None) -> Change | None:
    """What a job has to do about one picture; None: nothing."""
    if edit is None:
        return Change(it, name, it.own) if it.own is not None or it.lying is not None else None
    if it.own is None or it.deleted:
        return None
    text = caption_edits.edited(it.own.text, edit)
    if text == it.own.text or not text.strip():
        return None  # a text of which nothing would be left stays: whoever wants that deletes it
    return Change(it, name, replace(it.own, text=text, source="manual", captioner="", stamp=None))


def _another(c: Change) -> bool:
    """Whether what lies beside the picture is of another set than the change is about."""
    return c.beside.lying is None or c.beside.lying.set != c.set


def _only_memory(c: Change) -> Prepared:
    """A change of a set that does not lie beside the pictures: no file moves. What still lies there stays known as ours."""
    lying = c.beside.lying
    stamp = lying.stamp if lying is not None and lying.set == c.set else None
    if c.wanted is None:
        return Prepared(Outcome(Status.DONE, f"the text of set {c.set} is forgotten"))
    return Prepared(Outcome(Status.DONE, c.wanted.text, captions=(replace(c.wanted, stamp=stamp),)))


def _ended(prepared: Prepared, why: Exception | None) -> Prepared:
    """What became of a change. One that somebody was faster with is left for the next look."""
    if why is None:
        return prepared
    return Prepared(Outcome(Status.SKIPPED if isinstance(why, (disk.Taken, disk.Changed)) else Status.FAILED, str(why)))


def _carry_out_each(batch: Sequence[Prepared]) -> list[Exception | None]:
    lost: list[Exception | None] = []
    for prepared in batch:
        try:
            disk.carry_out(prepared.moves)
            lost.append(None)
        except (disk.Taken, disk.Changed, OSError) as error:
            lost.append(error)
    return lost


# ---------------------------------------------------------------- in the writer's thread


def _queue(c: sqlite3.Connection, new: NewJob, slug: str, name: str, activate: bool, now: float) -> int | None:
    job = jobs.enqueue(c, new, now)
    if job is not None and activate:
        sets.activate(c, slug, name)
    return job


def _preview(c: sqlite3.Connection, slug: str, name: str, edit: Edit) -> Preview:
    changed, looked, after = 0, 0, 0
    examples: list[tuple[str, str, str]] = []
    while rows := captions.listing(c, slug, name, after=after, limit=1000):
        for row in rows:
            text = caption_edits.edited(row.text, edit)
            if text != row.text and text.strip():
                changed += 1
                examples += [(row.rel, row.text, text)] if len(examples) < EXAMPLES else []
        looked, after = looked + len(rows), rows[-1].item
    return Preview(changed, looked, tuple(examples))


def _intend(c: sqlite3.Connection, batch: Sequence[Prepared], now: float) -> list[int | None]:
    """The intents of what moves. They name no job: it is not over when one of them is."""
    return [history.intend(c, "caption", p, None, None, 0, now) if p.moves else None for p in batch]


def _record(
    c: sqlite3.Connection,
    entries: Sequence[Entry],
    changes: Sequence[Change],
    step: tuple[Job, dict[str, object]] | None,
    now: float,
) -> None:
    for entry, change in zip(entries, changes, strict=True):
        record(c, entry, now)
        own = change.beside.own
        if change.wanted is None and own is not None and entry.outcome.status is Status.DONE:
            captions.delete(c, own.dataset, own.rel, change.set)
    if step is not None:
        jobs.step(c, step[0].id, step[1])


def _finish(c: sqlite3.Connection, job: Job, owner: str, note: str, slug: str, now: float) -> None:
    line = history.Happening("performed", None, "caption", str(Status.DONE), note=note, job_id=job.id, dataset=slug)
    history.tell(c, line, now)
    jobs.finish(c, job.id, owner, now)
