"""The compact headers by content, what others say of a content, and by which version of the rules each was classified.

What must hold: a header is kept once a content and never changed, for the content cannot change; what is said of it is kept by who
says it, and the newest word of each counts; a content whose verdict is of another version of the rules is listed as stale.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..rules.terms import Evidence
from .codec import dumps, loads

NEVER = -1  # the version of a content that no rules were asked about yet
Said = dict[str, tuple[Evidence, ...]]


@dataclass(frozen=True, slots=True)
class HeaderRow:
    """What is kept of one content. `packed` None: its file must be read; `said` is by origin."""

    sha256: str
    packed: bytes | None
    said: Mapping[str, tuple[Evidence, ...]]
    version: int
    verdict: str

    def evidence(self) -> tuple[Evidence, ...]:
        """All that is said of it, in the order of the origins."""
        return tuple(e for origin in sorted(self.said) for e in self.said[origin])


def keep(c: sqlite3.Connection, row: HeaderRow, now: float) -> None:
    """Keep a header with its verdict. What other origins said of the content before stays."""
    before = _said(c, row.sha256)
    c.execute(
        """INSERT INTO headers(sha256, packed, said, version, verdict, kept) VALUES (?,?,?,?,?,?)
           ON CONFLICT(sha256) DO UPDATE SET packed=coalesce(excluded.packed, packed), said=excluded.said,
             version=excluded.version, verdict=excluded.verdict""",
        (row.sha256, row.packed, dumps({**before, **row.said}), row.version, row.verdict, now),
    )


def say(c: sqlite3.Connection, sha256: str, origin: str, evidence: Sequence[Evidence], now: float) -> None:
    """Keep what one origin says of a content, in place of what it said before; nothing said takes its word back."""
    said = _said(c, sha256)
    said.pop(origin, None)
    if evidence:
        said[origin] = tuple(evidence)
    c.execute(
        "INSERT INTO headers(sha256, said, version, kept) VALUES (?,?,?,?) ON CONFLICT(sha256) DO UPDATE SET said=excluded.said",
        (sha256, dumps(said), NEVER, now),
    )


def get(c: sqlite3.Connection, sha256: str) -> HeaderRow | None:
    """What is kept of a content."""
    found = c.execute("SELECT sha256, packed, said, version, verdict FROM headers WHERE sha256=?", (sha256,)).fetchone()
    return None if found is None else HeaderRow(found[0], found[1], loads(Said, found[2]), found[3], found[4])


def batch(c: sqlite3.Connection, version: int | None, after: int, limit: int) -> list[tuple[int, str]]:
    """(id, SHA-256) of models behind an id: all, or (with a version) those whose verdict is of another version of the rules."""
    rows = c.execute(
        """SELECT m.id, m.sha256 FROM models m LEFT JOIN headers h USING (sha256)
           WHERE m.id > ?1 AND (?2 IS NULL OR h.version IS NOT ?2) ORDER BY m.id LIMIT ?3""",
        (after, version, limit),
    )
    return [(r[0], r[1]) for r in rows]


def stale(c: sqlite3.Connection, version: int) -> int:
    """How many models have a verdict of another version of the rules, or none."""
    found = c.execute("SELECT count(*) FROM models m LEFT JOIN headers h USING (sha256) WHERE h.version IS NOT ?", (version,))
    return int(found.fetchone()[0])


def known(c: sqlite3.Connection, sha256s: Collection[str]) -> set[str]:
    """Of these contents those whose header is kept."""
    rows = c.execute(
        "SELECT sha256 FROM headers WHERE packed IS NOT NULL AND sha256 IN (SELECT value FROM json_each(?))", (dumps([*sha256s]),)
    )
    return {r[0] for r in rows}


def _said(c: sqlite3.Connection, sha256: str) -> Said:
    found = c.execute("SELECT said FROM headers WHERE sha256=?", (sha256,)).fetchone()
    return loads(Said, found[0]) if found else {}
