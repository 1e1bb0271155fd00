"""A person's word on what a model is: kept by content, it wins over everything but damage and danger.

What must hold: the override is written before anything follows from it; the model's links follow by the projection; what was held
because it was unsure is decided again, with what is known now.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from ..rules.identify import known_as
from ..rules.pipeline import decide
from ..rules.terms import Facts, Known, Verdict
from ..store import codec, files, history, jobs, models
from ..store.history import Happening
from ..store.jobs import NewJob
from ..store.rows import FileRow
from .conveyor import as_data, lane_of
from .house import House


async def set_type(house: House, sha256: str, type: str | None, base: str | None) -> None:
    """Set the type, the base or both of a content; None leaves one as it is."""
    now = house.store.now()
    before = await house.store.read(models.word_of, sha256)
    word = (type or before[0], base or before[1])
    held = await house.store.read(files.held_of, sha256)
    again = [(row, job) for row in held if (job := _decided_again(house, row, *word, now)) is not None]

    def work(c: sqlite3.Connection) -> None:
        models.override(c, sha256, type, base, now)
        model = models.get(c, sha256)
        if model is not None:
            models.redescribe(c, sha256, _corrected(codec.loads(Facts, model.facts), *word))
        said = " ".join(f"{axis} {value}" for axis, value in (("type", type), ("base", base)) if value)
        history.tell(c, Happening("set", model.blob if model else None, "set-type", "done", note=said, sha256=sha256), now)
        for row, job in again:
            if jobs.enqueue(c, job, now) is not None:
                files.queued(c, row.id)

    await house.store.db.write(work)
    house.store.on_jobs()


def _corrected(facts: Facts, type: str | None, base: str | None) -> Facts:
    """A model's facts under a new word, without what was said of it before. Pure."""
    asked = tuple(e for e in facts.evidence if e.source != "override")
    return known_as(replace(facts, evidence=asked), Known(type=type, base=base))


def _decided_again(house: House, row: FileRow, type: str | None, base: str | None, now: float) -> NewJob | None:
    """The job of a held unit under the new word; None when the rules want nothing more of it."""
    if row.facts is None:
        return None
    return job_of(row, decided(house, row, codec.loads(Facts, row.facts), type, base, now))


def decided(house: House, row: FileRow, facts: Facts, type: str | None, base: str | None, now: float) -> Verdict:
    """What the rules say of a unit that waited for a person, with what is known of it now. Pure."""
    watch = house.watch(row.watch)
    known = Known(seen=True, tags=frozenset(row.tags), type=type, base=base, first_seen=row.first_seen, watch=watch)
    return decide(house.pipeline(watch), known_as(facts, known), known, now)


def job_of(row: FileRow, verdict: Verdict) -> NewJob | None:
    """The job that performs what is left to do with such a unit; None when there is nothing."""
    actions = [a for a in verdict.actions if row.present or a.verb != "store"]  # what lies in the hub is stored
    if not actions:
        return None
    payload = {"file": row.id, "actions": [as_data(a) for a in actions], "step": 0}
    return NewJob(f"set-type:{row.id}", lane_of(actions), f"{actions[0].verb}: {row.path.name}", payload, priority=5)
