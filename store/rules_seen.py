"""By which rules each watch decided, so that what they left is decided again when they are others.

What must hold: noting the rules and having an inbox's files looked at anew are one transaction, so that a crash forgets neither; what a
library's new rules want is queued before they are noted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..rules.terms import Facts, Verdict
from . import files, history, jobs, models
from .history import Happening
from .jobs import NewJob
from .rows import FILE_COLUMNS, FileRow, file_row

_KEY = "rules:"  # in `meta`, before the name of a watch


def note_rules(c: sqlite3.Connection, digests: Mapping[str, str]) -> dict[str, int]:
    """Keep the digest of each watch's rules; watch -> how many files that its former rules left are to be looked at anew.

    A watch that was never noted has no former rules. What a person held, and what was undone, is not among them.
    """
    again: dict[str, int] = {}
    for watch, digest in digests.items():
        row = c.execute("SELECT value FROM meta WHERE key=?", (_KEY + watch,)).fetchone()
        if row is not None and row[0] == digest:
            continue
        c.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (_KEY + watch, digest))
        if row is None:
            continue
        done = c.execute(
            "UPDATE files SET mtime_ns=-1 WHERE watch=? AND present=1 AND state='left' AND NOT (size=0 AND mtime_ns=0)", (watch,)
        )
        if done.rowcount:
            again[watch] = done.rowcount
    return again


# ---------------------------------------------------------------- libraries


@dataclass(frozen=True, slots=True)
class Untaken:
    """A unit of a library that no rule wanted, and a person's word on its content."""

    row: FileRow
    companions: tuple[FileRow, ...]
    type: str | None
    base: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """One of these that a rule wants now."""

    row: FileRow
    facts: Facts
    verdict: Verdict
    job: NewJob


# lies there and no rule had it; one that is queued waits to be hashed where it lies, and for nothing else
# (`+`: else SQLite goes through all open jobs for each file, and there may be as many of those as files; `jobs_file` has each file's own,
# but not for a column's integer, to which it would have to convert)
_UNTAKEN = """lead IS NULL AND present=1 AND rule IS NULL AND end_kind IS NULL AND (state='done' OR (state='queued' AND EXISTS
 (SELECT 1 FROM jobs j WHERE json_extract(j.payload, '$.file')=+files.id AND j.state IN ('queued','running','paused')
  AND j.key GLOB 'track:*')))"""


def changed(c: sqlite3.Connection, digests: Mapping[str, str]) -> list[str]:
    """The watches that decided by other rules before; those that were never noted are not among them."""
    rows = ((watch, c.execute("SELECT value FROM meta WHERE key=?", (_KEY + watch,)).fetchone()) for watch in digests)
    return [watch for watch, row in rows if row is not None and row[0] != digests[watch]]


def any_away(c: sqlite3.Connection, watch: str) -> bool:
    """Whether units of a library that no rule wanted are on a disk that is not there: they are asked about when they are back."""
    found = c.execute(
        "SELECT 1 FROM files WHERE state='away' AND lead IS NULL AND present=1 AND rule IS NULL AND watch=? LIMIT 1", (watch,)
    )
    return found.fetchone() is not None


def untaken(c: sqlite3.Connection, watch: str, after: int, limit: int) -> list[Untaken]:
    """Units of a library that no rule wanted, by id from behind `after`."""
    rows = c.execute(
        f"SELECT {FILE_COLUMNS} FROM files NOT INDEXED WHERE watch=? AND id>? AND {_UNTAKEN} ORDER BY id LIMIT ?",
        (watch, after, limit),
    ).fetchall()  # by id, so that a portion costs its own rows and not those of the whole watch
    found = []
    for row in map(file_row, rows):
        beside = tuple(r for r in files.unit(c, row.id) if r.id != row.id and r.present)
        found.append(Untaken(row, beside, *(models.word_of(c, row.sha256) if row.sha256 else (None, None))))
    return found


def take_up(c: sqlite3.Connection, wanted: Sequence[Wanted], now: float) -> int:
    """Queue what rules want now, with a line of history each; how many. What changed since it was asked for is left out."""
    count = 0
    for w in wanted:
        stamp = w.row.stamp
        done = c.execute(
            f"""UPDATE files SET rule=?, why=?, pipeline=? WHERE id=? AND size=? AND mtime_ns=? AND ino=? AND {_UNTAKEN}""",
            (w.verdict.rule, w.verdict.why, w.verdict.pipeline, w.row.id, stamp.size, stamp.mtime_ns, stamp.ino),
        )
        if not done.rowcount:
            continue
        job = jobs.enqueue(c, replace(w.job, payload={**w.job.payload, "file": w.row.id}), now)
        files.queued(c, w.row.id)
        note = f"the rules changed: {w.verdict.why}"
        line = Happening("arrived", w.row.path, rule=w.verdict.rule, status="queued", note=note, file_id=w.row.id, job_id=job)
        history.tell(c, line, now)
        count += 1
    return count
