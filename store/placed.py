"""Placed: what our own `move` and `copy` put under a watch, known from the transaction that records the action.

What must hold: in its own watch it lies there as done, with the end `left`, and no rule is asked about it until its content changes or
a person forces it; in another watch it is present with a stamp that no file has, so that every comparison looks at it until that watch
has decided; each row names the line of history that put it there, and from line to line the way of a file is found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..rules.terms import End, Ended, Facts, Move, Stamp, Verdict
from . import files, jobs
from .codec import path_of, printable, to_db
from .jobs import NewJob

HOPS = 50  # places of one file's way that are looked at


@dataclass(frozen=True, slots=True)
class Placing:
    """A unit that an action put under a watch. `decide`: it is another watch's, which is to decide about it."""

    watch: str
    lead: Path
    stamps: Mapping[Path, Stamp]
    facts: Facts
    verdict: Verdict  # of the rule that put it there
    note: str
    decide: bool
    job: NewJob | None = None  # what is to be done where it lies now: a library's model is hashed


@dataclass(frozen=True, slots=True)
class Hop:
    """One place that a file came from: the watch and the path, and the line of history and the action that took it from there."""

    line: int
    verb: str
    watch: str
    path: Path


def place(c: sqlite3.Connection, p: Placing, origin: int | None, line: int | None, job: int | None, now: float) -> None:
    """Record a placed unit; `origin` is the row that it came from, `line` what the history says of it."""
    stamps = {path: replace(s, mtime_ns=-1) for path, s in p.stamps.items()} if p.decide else p.stamps
    state = "left" if p.decide else "done"
    lead = files.arrive(c, p.watch, p.lead, stamps, p.facts, p.verdict, state, now)
    by = ", ".join(f"{word} {number}" for word, number in (("line", line), ("job", job)) if number is not None)
    note = printable(f"{p.note} ({by})" if by else p.note)
    for path in p.stamps:
        folder, name = files.place(path)
        c.execute(
            """UPDATE files SET placed_by=?, end_kind='left', end_at=?, note=? WHERE watch=? AND folder=? AND name=? AND present=1""",
            (line, to_db(path), note, p.watch, folder, name),
        )
    if p.decide:
        return
    c.execute(
        """UPDATE files SET sha256=o.sha256, xxh3=o.xxh3, tags=o.tags FROM (SELECT sha256, xxh3, tags FROM files WHERE id=?) AS o
           WHERE files.id=?""",
        (origin, lead),
    )
    if p.job is not None:
        jobs.enqueue(c, replace(p.job, payload={**p.job.payload, "file": lead}), now)


def taken_back(c: sqlite3.Connection, move: Move, end: End, note: str, now: float) -> None:
    """A placed folder went back with all that is in it: its files are not where they were put any more."""
    folder = files.at(c, move.src)
    for row in files.unit(c, folder.id) if folder is not None else ():
        if row.present and move.src in row.path.parents:
            files.end(c, Ended(row.path, end, move.dst / row.path.relative_to(move.src), note), now)


def way(c: sqlite3.Connection, line: int | None) -> list[Hop]:
    """Where a file came from by our own actions, the last place first; `line` is what its row says (`placed_by`)."""
    hops: list[Hop] = []
    while line is not None and len(hops) < HOPS and line not in {hop.line for hop in hops}:
        row = c.execute(
            """SELECT h.verb, f.watch, f.folder, f.name, f.placed_by FROM history h JOIN files f ON f.id=h.file_id WHERE h.id=?""",
            (line,),
        ).fetchone()
        if row is None:
            break
        hops.append(Hop(line, row[0], row[1], path_of(row[2]) / path_of(row[3])))
        line = row[4]
    return hops
