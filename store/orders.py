"""What a caption job asks for, with all that is known of its picture: one question for a portion of jobs.

What must hold: the answer is of one moment (one read transaction would be wrong by the time the text is there, so the writer asks again
just before it writes); nothing here changes anything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..rules.captions import Style
from ..rules.terms import Job, JobState, Stamp
from . import datasets, quality, runs, sets
from .rows import ItemRow


@dataclass(frozen=True, slots=True)
class Asked:
    """One job's picture. `item` None: it is gone.

    existing: its text in the set asked for. edited: that one is by hand or came with the picture. captioned: nothing is `missing`.
    ours: the stamp of the .txt as it was left or read beside it. beside: the texts of this set lie beside the pictures.
    measured: how good it is is known. style: the request's over the set's. running: the job is still wanted.
    """

    item: ItemRow | None
    existing: str = ""
    edited: bool = False
    captioned: bool = False
    tags: str = ""
    ours: Stamp | None = None
    beside: bool = True
    measured: bool = False
    overall: float | None = None
    style: Style = field(default_factory=Style)
    overwrite: bool = False
    running: bool = True


TAGS = "tags"  # the set whose texts are given to language models as {tags}


def asked(c: sqlite3.Connection, jobs: Sequence[Job]) -> list[Asked]:
    """What each of these jobs asks for, in their order."""
    known: dict[int, runs.RunRow | None] = {}
    active: dict[str, str | None] = {}
    return [_one(c, job, known, active) for job in jobs]


def _one(c: sqlite3.Connection, job: Job, known: dict[int, runs.RunRow | None], active: dict[str, str | None]) -> Asked:
    p = job.payload
    slug, rel, name, run = str(p["dataset"]), str(p["rel"]), str(p["set"]), p.get("run")
    state = c.execute("SELECT state FROM jobs WHERE id=?", (job.id,)).fetchone()
    running = state is not None and state[0] == JobState.RUNNING
    item = datasets.item(c, slug, rel)
    if item is None:
        return Asked(None, running=running)
    if isinstance(run, int) and run not in known:
        known[run] = runs.get(c, run)
    wish = found.wish if isinstance(run, int) and (found := known[run]) is not None else None
    if slug not in active:
        active[slug] = datasets.active_name(c, slug)
    stands_in = active[slug] == datasets.DEFAULT_SET and datasets.takes_over(c, slug, name)
    text, source = _text(c, item.id, name, datasets.DEFAULT_SET if stands_in else None)
    below = sets.style_of(c, slug, name)
    score = quality.of(c, item.sha256)
    return Asked(
        item,
        text,
        bool(text) and source != "generated",
        bool(text),
        "" if name == TAGS else _text(c, item.id, TAGS, None)[0],
        datasets.sidecar(c, slug, rel),
        stands_in or active[slug] in (None, name),
        quality.measured(c, item.sha256),
        None if score is None else score.overall,
        wish.style.over(below) if wish is not None else below,
        wish is not None and wish.overwrite,
        running,
    )


def _text(c: sqlite3.Connection, item_id: int, name: str, active: str | None) -> tuple[str, str]:
    """The text and its source of a picture in a set, or in the one that takes its name with the first generated text."""
    names = [name, *([datasets.DEFAULT_SET] if active == datasets.DEFAULT_SET else [])]
    for wanted in names:
        row = c.execute(
            "SELECT k.text, k.source FROM captions k JOIN caption_sets s ON s.id=k.set_id WHERE k.item_id=? AND s.name=? AND k.size>=0",
            (item_id, wanted),
        ).fetchone()
        if row is not None:
            return row[0], row[1]
    return "", ""
