"""Caption runs: a person's wish to have a dataset captioned, as one thing with a progress, made into jobs a portion at a time.

What must hold: a run's cursor moves in the transaction that makes its jobs, so that after a crash it goes on exactly where it was; a
text by hand, or one that came with its picture, is picked only when that was asked for; pausing and cancelling touch a portion of jobs,
however large the run. How jobs ended is counted by a trigger (schema/0011.sql).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..rules.captions import QUALITY_VERSION, Style
from ..rules.terms import Job, JobState, Lane
from .codec import dumps, from_db, loads
from .datasets import DEFAULT_SET, takes_over
from .jobs import COLUMNS as JOB_COLUMNS
from .jobs import NewJob, enqueue, job_row

PICKS = ("all", "missing", "below")
STATES = ("running", "paused", "done", "cancelled")
MEASURE = "measure"  # `only` of a job that looks how good a picture is, and writes no text
MEASURER = "basic"  # the captioner that is always there, and measures
OPEN_JOBS = 256  # jobs of a run that wait at most before more are made


@dataclass(frozen=True, slots=True)
class NewRun:
    """A wish. `picks` is one of PICKS, `below` 0..1 goes with it; `pictures` are item ids, None: the whole dataset."""

    dataset: str
    captioner: str
    set: str = DEFAULT_SET
    picks: str = "missing"
    below: float | None = None
    style: Style = field(default_factory=Style)
    pictures: tuple[int, ...] | None = None
    overwrite: bool = False
    priority: int = 0


@dataclass(frozen=True, slots=True)
class RunRow:
    """A caption run. `fed` jobs are made, `cursor` is the item up to which they are; of `total`, so many are done, failed, cancelled."""

    id: int
    wish: NewRun
    state: str
    phase: str
    cursor: int
    exhausted: bool
    fed: int
    total: int
    done: int
    failed: int
    cancelled: int
    created: float
    finished: float | None

    @property
    def waiting(self) -> int:
        """Jobs that are made and not ended."""
        return self.fed - self.done - self.failed - self.cancelled

    @property
    def captioner(self) -> str:
        """Who works on it in this phase."""
        return MEASURER if self.phase == MEASURE else self.wish.captioner


_COLUMNS = """id, dataset, captioner, caption_set, picks, below, style, pictures, overwrite, priority, state, phase, cursor,
 exhausted, fed, total, done, failed, cancelled, created, finished"""


def create(c: sqlite3.Connection, wish: NewRun, total: int, now: float) -> int:
    """Begin a run; its id. Nothing is picked yet."""
    row: tuple[int] = c.execute(
        """INSERT INTO caption_runs(dataset, captioner, caption_set, picks, below, style, pictures, overwrite, priority, phase,
             total, created) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) RETURNING id""",
        (
            wish.dataset, wish.captioner, wish.set, wish.picks, wish.below, dumps(wish.style),
            None if wish.pictures is None else dumps(list(wish.pictures)), int(wish.overwrite), wish.priority,
            MEASURE if wish.picks == "below" else "caption", total, now,
        ),
    ).fetchone()  # fmt: skip
    return row[0]


def get(c: sqlite3.Connection, run_id: int) -> RunRow | None:
    """One run by id."""
    row = c.execute(f"SELECT {_COLUMNS} FROM caption_runs WHERE id=?", (run_id,)).fetchone()
    return None if row is None else _row(row)


def listing(
    c: sqlite3.Connection, *, dataset: str | None = None, state: str | None = None, before: int | None = None, limit: int = 100
) -> list[RunRow]:
    """Runs, newest first, from before an id on; `state` may be 'open'."""
    states = ("running", "paused") if state == "open" else STATES if state is None else (state,)
    rows = c.execute(
        f"""SELECT {_COLUMNS} FROM caption_runs WHERE (?1 IS NULL OR dataset=?1 COLLATE NOCASE) AND (?2 IS NULL OR id<?2)
            AND state IN (SELECT value FROM json_each(?3)) ORDER BY id DESC LIMIT ?4""",
        (dataset, before, json.dumps(states), limit),
    )
    return [_row(r) for r in rows]


def open_runs(c: sqlite3.Connection) -> list[RunRow]:
    """Runs that are not over, oldest first."""
    rows = c.execute(f"SELECT {_COLUMNS} FROM caption_runs WHERE state IN ('running', 'paused') ORDER BY id")
    return [_row(r) for r in rows]


def items(c: sqlite3.Connection, run_id: int, state: str | None = None, after: int = 0, limit: int = 100) -> list[Job]:
    """The jobs of a run by id: each picture with its state and error. Those of pictures whose turn has not come are not there yet."""
    rows = c.execute(
        f"""SELECT {JOB_COLUMNS} FROM jobs WHERE json_extract(payload, '$.run')=?1 AND id>?2 AND (?3 IS NULL OR state=?3)
            ORDER BY id LIMIT ?4""",
        (run_id, after, state, limit),
    )
    return [job_row(r) for r in rows]


def _row(v: Any) -> RunRow:
    pictures = None if v[7] is None else tuple(json.loads(v[7]))
    wish = NewRun(v[1], v[2], v[3], v[4], v[5], loads(Style, v[6]), pictures, bool(v[8]), v[9])
    return RunRow(v[0], wish, v[10], v[11], v[12], bool(v[13]), *v[14:21])


# ---------------------------------------------------------------- which pictures

# a text by hand or one that came along, in the set itself or in the one that takes its name with the first generated text
_EDITED = """EXISTS (SELECT 1 FROM captions k JOIN caption_sets s ON s.id=k.set_id WHERE k.item_id=i.id AND k.source<>'generated'
  AND k.text<>'' AND k.size>=0 AND s.name IN (:set, :stand_in))"""
_CAPTIONED = """EXISTS (SELECT 1 FROM captions k JOIN caption_sets s ON s.id=k.set_id WHERE k.item_id=i.id AND k.text<>''
  AND k.size>=0 AND s.name IN (:set, :stand_in))"""
_MEASURED = """EXISTS (SELECT 1 FROM quality q WHERE q.sha256=i.sha256 AND q.version>=:version AND q.measured<>'{}')"""
_BELOW = "EXISTS (SELECT 1 FROM quality q WHERE q.sha256=i.sha256 AND q.overall<:below)"


def _where(wish: NewRun, phase: str) -> str:
    """The condition on `items i` for a picture to be picked."""
    parts = ["i.dataset_id=(SELECT id FROM datasets WHERE slug=:slug)"]
    if wish.pictures is not None:
        parts.append("i.id IN (SELECT value FROM json_each(:pictures))")
    if phase == MEASURE:
        parts.append(f"NOT {_MEASURED}")
    elif wish.picks == "missing":
        parts.append(f"NOT {_CAPTIONED}")
    elif wish.picks == "below":
        parts.append(_BELOW)
    if phase != MEASURE and not wish.overwrite:
        parts.append(f"NOT {_EDITED}")
    return " AND ".join(parts)


def _asked(c: sqlite3.Connection, wish: NewRun) -> dict[str, object]:
    return {
        "slug": wish.dataset,
        "set": wish.set,
        "stand_in": DEFAULT_SET if takes_over(c, wish.dataset, wish.set) else wish.set,
        "pictures": None if wish.pictures is None else json.dumps(wish.pictures),
        "below": wish.below,
        "version": QUALITY_VERSION,
    }


def count(c: sqlite3.Connection, wish: NewRun, phase: str) -> int:
    """How many pictures a phase of a run picks as things are now."""
    (found,) = c.execute(f"SELECT count(*) FROM items i WHERE {_where(wish, phase)}", _asked(c, wish)).fetchone()
    return int(found)


def next_pictures(c: sqlite3.Connection, run: RunRow, limit: int) -> list[tuple[int, str]]:
    """The next pictures (item id, relative path) that a run picks, behind its cursor."""
    rows = c.execute(  # NOT INDEXED: from the cursor on by id; an index by dataset would be read and sorted whole each time
        f"""SELECT i.id, i.rel FROM items i NOT INDEXED WHERE i.id>:cursor AND {_where(run.wish, run.phase)}
            ORDER BY i.id LIMIT :limit""",
        {**_asked(c, run.wish), "cursor": run.cursor, "limit": limit},
    )
    return [(row[0], from_db(row[1])) for row in rows]


# ---------------------------------------------------------------- steps


def feed(c: sqlite3.Connection, run: RunRow, pictures: Sequence[tuple[int, str]], last: bool, now: float) -> int:
    """Make the jobs of the next pictures and move the cursor behind them; how many were made.

    `last`: no more will follow in this phase. Nothing happens when the run is not where it was (paused, cancelled, or fed) meanwhile.
    """
    cursor = pictures[-1][0] if pictures else run.cursor
    moved = c.execute(
        "UPDATE caption_runs SET cursor=?, exhausted=? WHERE id=? AND cursor=? AND phase=? AND state='running' AND exhausted=0",
        (cursor, int(last), run.id, run.cursor, run.phase),
    )
    if moved.rowcount != 1:
        return 0
    made = sum(enqueue(c, _job(run, rel), now) is not None for _, rel in pictures)
    c.execute("UPDATE caption_runs SET fed=fed+?, total=max(total, fed+?) WHERE id=?", (made, made, run.id))
    return made


def _job(run: RunRow, rel: str) -> NewJob:
    wish, only = run.wish, MEASURE if run.phase == MEASURE else run.wish.picks
    payload = {"dataset": wish.dataset, "rel": rel, "captioner": run.captioner, "set": wish.set, "only": only, "run": run.id}
    doing = "measure" if only == MEASURE else "caption"
    title = f"{doing} {wish.dataset}/{rel} with {run.captioner}"
    return NewJob(f"{doing}:run {run.id}:{rel}", Lane.CAPTION, title, payload, wish.priority)


def next_phase(c: sqlite3.Connection, run_id: int, total: int) -> bool:
    """All is measured: the pictures that are below come next, `total` of them."""
    done = c.execute(
        """UPDATE caption_runs SET phase='caption', cursor=0, exhausted=0, total=fed+?
           WHERE id=? AND phase='measure' AND exhausted=1 AND state='running' AND fed=done+failed+cancelled""",
        (total, run_id),
    )
    return done.rowcount == 1


def finish(c: sqlite3.Connection, run_id: int, now: float) -> bool:
    """Every job of a run has ended: it is done. False when that is not so."""
    done = c.execute(
        """UPDATE caption_runs SET state='done', finished=?, total=fed
           WHERE id=? AND phase='caption' AND exhausted=1 AND state='running' AND fed=done+failed+cancelled""",
        (now, run_id),
    )
    return done.rowcount == 1


def pause(c: sqlite3.Connection, run_id: int) -> bool:
    """Hold a run back: what a captioner has in its hands ends first. False when it does not run."""
    if c.execute("UPDATE caption_runs SET state='paused' WHERE id=? AND state='running'", (run_id,)).rowcount != 1:
        return False
    _set_jobs(c, run_id, JobState.QUEUED, JobState.PAUSED)
    return True


def resume(c: sqlite3.Connection, run_id: int) -> bool:
    """Let a paused run go on. False when it is not paused."""
    if c.execute("UPDATE caption_runs SET state='running' WHERE id=? AND state='paused'", (run_id,)).rowcount != 1:
        return False
    _set_jobs(c, run_id, JobState.PAUSED, JobState.QUEUED)
    return True


def cancel(c: sqlite3.Connection, run_id: int, now: float) -> tuple[int, ...] | None:
    """End a run where it is: the ids of its jobs that a captioner has in its hands. None when it is over."""
    ended = c.execute(
        "UPDATE caption_runs SET state='cancelled', finished=? WHERE id=? AND state IN ('running', 'paused')", (now, run_id)
    )
    if ended.rowcount != 1:
        return None
    running = tuple(
        row[0] for row in c.execute("SELECT id FROM jobs WHERE json_extract(payload, '$.run')=? AND state='running'", (run_id,))
    )
    c.execute(
        """UPDATE jobs SET state='cancelled', finished=?, lease_until=NULL
           WHERE json_extract(payload, '$.run')=? AND state IN ('queued', 'paused', 'running')""",
        (now, run_id),
    )
    return running


def prioritise(c: sqlite3.Connection, run_id: int, priority: int) -> bool:
    """Higher ones go first; what is dropped has 10. False when the run is over."""
    done = c.execute("UPDATE caption_runs SET priority=? WHERE id=? AND state IN ('running', 'paused')", (priority, run_id))
    c.execute(
        "UPDATE jobs SET priority=? WHERE json_extract(payload, '$.run')=? AND state IN ('queued', 'paused')", (priority, run_id)
    )
    return done.rowcount == 1


def mend(c: sqlite3.Connection) -> None:
    """At start: jobs that a dead process had of paused runs are held back again."""
    for row in c.execute("SELECT id FROM caption_runs WHERE state='paused'").fetchall():
        _set_jobs(c, row[0], JobState.QUEUED, JobState.PAUSED)


def _set_jobs(c: sqlite3.Connection, run_id: int, before: JobState, after: JobState) -> None:
    c.execute("UPDATE jobs SET state=? WHERE json_extract(payload, '$.run')=? AND state=?", (after, run_id, before))


def style_json(style: Style) -> Mapping[str, object]:
    """What a style asks for, as plain values."""
    found: dict[str, object] = json.loads(dumps(style))
    return {name: value for name, value in found.items() if value is False or value}
