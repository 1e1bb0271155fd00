"""What CivitAI said of each content, and which contents it has still to be asked for.

What must hold: an answer is kept in one transaction with what follows from it; a content that is unknown there is remembered as such for
a while, so that nothing is asked twice for no reason; only digests of single files are asked for (a folder's digest is nobody's file),
and of ones that are gone only when a person names them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..rules.terms import Published
from .codec import dumps, loads, printable
from .standing import LISTED


@dataclass(frozen=True, slots=True)
class Remembered:
    """How long an answer stands, in seconds: of a content that CivitAI knows, and of one that it does not."""

    known: float
    unknown: float


@dataclass(frozen=True, slots=True)
class LookupRow:
    """What is known of one look-up. `at` None: not answered yet; `published` None: not known there, or not usable (`note`).

    `asked` is when a person ordered it and has no answer yet; None when nobody waits.
    """

    sha256: str
    at: float | None
    published: Published | None
    note: str = ""
    asked: float | None = None


# a content waits when a person asked for it; and, while it is there, when it was never answered or its answer is too old
_WAITING = f"""FROM models LEFT JOIN lookups l ON l.sha256 = models.sha256
 WHERE models.folder = 0 AND models.condition NOT IN ('invalid', 'unsafe') AND (l.asked IS NOT NULL OR
       ((l.at IS NULL OR l.at < CASE WHEN l.published IS NULL THEN ?1 ELSE ?2 END) AND {LISTED}))"""


def waiting(c: sqlite3.Connection, keep: Remembered, now: float, limit: int) -> list[str]:
    """SHA-256 of contents to be asked for: those that a person asked for, then the newest ones."""
    rows = c.execute(
        f"SELECT models.sha256 {_WAITING} ORDER BY l.asked IS NULL, models.id DESC LIMIT ?3",
        (now - keep.unknown, now - keep.known, limit),
    )
    return [row[0] for row in rows]


def ask(c: sqlite3.Connection, sha256s: Sequence[str] | None, now: float) -> list[str]:
    """Order these contents (None: all that are there) to be asked for now, whatever is remembered. Those that can be asked for."""
    there = LISTED if sha256s is None else "1"  # whoever names one may name one that is gone
    rows = c.execute(
        f"SELECT sha256 FROM models WHERE folder = 0 AND condition NOT IN ('invalid', 'unsafe') AND {there} ORDER BY id"
    )
    meant = None if sha256s is None else set(sha256s)
    found = [sha256 for (sha256,) in rows if meant is None or sha256 in meant]
    c.executemany(
        "INSERT INTO lookups(sha256, asked) VALUES (?, ?) ON CONFLICT(sha256) DO UPDATE SET asked=excluded.asked",
        [(sha256, now) for sha256 in found],
    )
    return found


def answered(c: sqlite3.Connection, sha256: str, published: Published | None, now: float, note: str = "") -> Published | None:
    """Keep an answer; what was known of it before is returned, and stays known when the new answer could not be used (`note`)."""
    before = of(c, sha256)
    known = before.published if before else None
    kept = known if note and published is None else published
    c.execute(
        """INSERT INTO lookups(sha256, asked, at, published, note) VALUES (?, NULL, ?, ?, ?) ON CONFLICT(sha256) DO UPDATE SET
           asked=NULL, at=excluded.at, published=excluded.published, note=excluded.note""",
        (sha256, now, None if kept is None else dumps(kept), printable(note[:500])),
    )
    return known


def of(c: sqlite3.Connection, sha256: str) -> LookupRow | None:
    """What is known of the look-up of one content; None when it was never asked for."""
    row = c.execute("SELECT sha256, at, published, note, asked FROM lookups WHERE sha256=?", (sha256,)).fetchone()
    return LookupRow(row[0], row[1], None if row[2] is None else loads(Published, row[2]), row[3], row[4]) if row else None


def published(c: sqlite3.Connection, sha256: str) -> Published | None:
    """What CivitAI publishes about one content, as far as we know."""
    row = of(c, sha256)
    return row.published if row else None


def late(c: sqlite3.Connection, file_ids: Collection[int]) -> list[tuple[int, str]]:
    """(id, SHA-256) of those of these files that are held although CivitAI has said what they are."""
    rows = c.execute(
        """SELECT f.id, f.sha256 FROM json_each(?) given JOIN files f ON f.id = given.value JOIN lookups l ON l.sha256 = f.sha256
           WHERE f.state = 'held' AND l.published IS NOT NULL ORDER BY f.id""",
        (dumps(sorted(file_ids)),),
    )
    return [(row[0], row[1]) for row in rows]


def counts(c: sqlite3.Connection) -> tuple[int, int]:
    """How many contents CivitAI knows, and how many it does not."""
    known, unknown = c.execute(
        "SELECT count(published), count(*) - count(published) FROM lookups WHERE at IS NOT NULL"
    ).fetchone()
    return known, unknown


def hurry(c: sqlite3.Connection, key: str, at: float) -> int | None:
    """Let the open job of a key run at a time, though it was put off for longer; its id, None when there is none."""
    c.execute("UPDATE jobs SET run_at=? WHERE key=? AND state='queued' AND run_at>?", (at, key, at))
    row = c.execute("SELECT id FROM jobs WHERE key=? AND state IN ('queued','running','paused')", (key,)).fetchone()
    return row[0] if row else None
