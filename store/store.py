"""The Store: every question and every record of the other rooms, as async verbs over the database.

What must hold: `record` writes an Outcome, its history line, the job's next step and the end of the intent in ONE transaction, so
that after any crash either all of it happened or none of it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ..rules.terms import Aside, Caption, Facts, Item, Job, Kind, Known, Lane, Outcome, Prepared, Stamp, Status, Verdict, Watch
from . import datasets, files, history, jobs, models
from .database import Database
from .history import Happening
from .jobs import NewJob

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One Outcome with all that its transaction must also say."""

    verb: str
    outcome: Outcome
    path: Path | None = None  # what the history line is about
    rule: str | None = None
    file_id: int | None = None
    job_id: int | None = None
    owner: str = ""
    payload: Mapping[str, object] | None = None  # the job's next step; None: this was its last
    intent: int | None = None
    new_jobs: Sequence[NewJob] = ()
    dataset_watch: str = ""  # the watch that the datasets folder is under
    datasets_root: Path | None = None
    quiet: bool = False  # no history line (a step that changed nothing a person asks about)


class Store:
    """The memory of the house. `now` is the wall clock, handed in by tests."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self.db = database
        self.now = now

    async def read(self, work: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Ask any of the store's questions: `await store.read(files.listing, state="held")`."""
        return await self.db.read(lambda c: work(c, *args, **kwargs))

    async def write(self, work: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Do any of the store's small writes in the next transaction."""
        return await self.db.write(lambda c: work(c, *args, **kwargs))

    # ------------------------------------------------------------ the walk

    async def known(self, path: Path, stamp: Stamp, watch: Watch | None) -> Known:
        """What we remember of a unit, before deciding."""
        return await self.read(files.known, path, stamp, watch)

    async def arrive(
        self, watch: str, lead: Path, stamps: Mapping[Path, Stamp], facts: Facts, verdict: Verdict, job: NewJob | None, state: str
    ) -> tuple[int, int | None]:
        """Record what arrived and what was decided, and queue its job; returns (file id, job id or None when one is open)."""
        now = self.now()

        def work(c: sqlite3.Connection) -> tuple[int, int | None]:
            file_id = files.arrive(c, watch, lead, stamps, facts, verdict, state, now)
            job_id = None
            if job is not None:
                payload = {**job.payload, "file": file_id}
                job_id = jobs.enqueue(c, NewJob(job.key, job.lane, job.title, payload, job.priority, job.max_attempts), now)
            note = verdict.why or (facts.reason or "")
            told = Happening("arrived", lead, rule=verdict.rule, status=state, note=note, file_id=file_id, job_id=job_id)
            history.tell(c, told, now)
            return file_id, job_id

        return await self.db.write(work)

    async def intend(self, verb: str, prepared: Prepared, file_id: int | None, job: Job | None, step: int) -> int:
        """Journal an intent before its first move."""
        return await self.write(history.intend, verb, prepared, file_id, job.id if job else None, step, self.now())

    async def record(self, *entries: Entry) -> None:
        """Record what actions did, all of them in one transaction."""
        now = self.now()

        def work(c: sqlite3.Connection) -> None:
            for entry in entries:
                record(c, entry, now)

        await self.db.write(work)

    # ------------------------------------------------------------ the queue

    async def claim(self, lane: Lane, owner: str, limit: int) -> list[Job]:
        """Claim due jobs of a lane."""
        return await self.write(jobs.claim, lane, owner, self.now(), limit)

    async def enqueue(self, *new: NewJob) -> list[int | None]:
        """Queue jobs in one transaction."""
        now = self.now()
        return await self.db.write(lambda c: [jobs.enqueue(c, job, now) for job in new])


def record(c: sqlite3.Connection, e: Entry, now: float) -> None:
    """Write one Entry inside the caller's transaction."""
    o = e.outcome
    for model in o.models:
        models.keep(c, model, e.path or model.blob, now)
    for sha256 in o.deploy:
        models.want(c, sha256)
    for ended in o.ended:
        files.end(c, ended, now)
    for aside in o.aside:
        history.put_aside(c, aside, now)
    _datasets(c, e, now)
    if e.file_id is not None and o.models:
        files.set_digests(c, e.file_id, o.models[0].sha256, o.models[0].xxh3)
    if e.file_id is not None and o.tags:
        files.tag(c, e.file_id, o.tags)
    if e.job_id is not None:
        if e.payload is not None:
            jobs.step(c, e.job_id, e.payload)
        else:  # False when it was cancelled while its last moves were made: the Outcome stands, the job stays cancelled
            jobs.finish(c, e.job_id, e.owner, now)
    for job in e.new_jobs:
        jobs.enqueue(c, job, now)
    if e.intent is not None:
        history.settle_intent(c, e.intent)
    if not e.quiet:
        history.tell(c, _line(e), now)


def _datasets(c: sqlite3.Connection, e: Entry, now: float) -> None:
    ids: dict[str, int] = {}
    for thing in _things(e.outcome):
        if thing.dataset not in ids:
            assert e.datasets_root is not None, "an Outcome with items needs the datasets folder"
            ids[thing.dataset] = datasets.ensure(c, thing.dataset, e.datasets_root / thing.dataset, now)
    stamps: dict[Kind, dict[Path, Stamp]] = {Kind.IMAGE: {}, Kind.CAPTION: {}}
    for item in e.outcome.items:
        datasets.add_item(c, ids[item.dataset], item, now)
        stamps[Kind.IMAGE][_on_disk(e, item)] = item.stamp
    for caption in e.outcome.captions:
        if datasets.put_caption(c, caption, now) and caption.stamp:
            stamps[Kind.CAPTION][_on_disk(e, caption).with_suffix(".txt")] = caption.stamp
    for kind, found in stamps.items():
        if e.dataset_watch:
            files.track(c, e.dataset_watch, found, kind, now)


def _things(outcome: Outcome) -> Iterator[Item | Caption]:
    yield from outcome.items
    yield from outcome.captions


def _on_disk(e: Entry, thing: Item | Caption) -> Path:
    assert e.datasets_root is not None
    return e.datasets_root / thing.dataset / PurePosixPath(thing.rel)


def _line(e: Entry) -> Happening:
    o = e.outcome
    dataset = next((thing.dataset for thing in _things(o)), None)
    sha256 = next((m.sha256 for m in o.models), None) or next(iter(o.deploy), None)
    return Happening(
        "performed", e.path, e.verb, o.status, e.rule, o.note, e.file_id, e.job_id, sha256, dataset,
        o.undo if o.status is Status.DONE else (),
    )  # fmt: skip


__all__ = ["Aside", "Entry", "Happening", "NewJob", "Store", "datasets", "files", "history", "jobs", "models"]
