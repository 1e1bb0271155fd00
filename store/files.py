"""The table of files: what lies under every watch, and where each dropped path ended.

What must hold: at most one row a path is present; a row is never deleted while its bytes are somewhere (law 2); functions take the
writer's or a reader's connection and run inside its transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..rules.terms import ArchiveFacts, End, Ended, Facts, Kind, Known, Stamp, Verdict, Watch
from .codec import DbPath, dumps, path_of, printable, to_db
from .jobs import NewJob
from .rows import FILE_COLUMNS, FileRow, file_row


@dataclass(frozen=True, slots=True)
class Unit:
    """A settled unit with all that is recorded of it at once. `ends` are recorded ends of units that nothing happens to."""

    watch: str
    lead: Path
    stamps: Mapping[Path, Stamp]
    facts: Facts
    verdict: Verdict
    job: NewJob | None
    state: str
    ends: tuple[Ended, ...] = ()
    text: str = ""  # the facts as the row keeps them (facts_text), when that is known already


MEMBERS_KEPT = 40  # member names of an archive kept in its row: enough to show, small enough for a million rows
STAYING = (End.LEFT, End.HELD)
# one statement, for a burst of 10,000 files is to be recorded while its writer still looks; digests outlive an unchanged stamp, and so
# does what put the file there, also where the stamp was only forgotten (mtime -1)
_ARRIVE = """
INSERT INTO files(watch, folder, name, size, mtime_ns, ino, dev, state, first_seen, last_seen, kind, condition, reason,
                  type, base, confidence, facts, pipeline, rule, why)
VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)
ON CONFLICT(watch, folder, name) WHERE present = 1 DO UPDATE SET
  sha256=CASE WHEN ?20 AND size=?4 AND mtime_ns=?5 AND ino=?6 AND dev=?7 AND state<>'away' THEN sha256 END,
  xxh3=CASE WHEN ?20 AND size=?4 AND mtime_ns=?5 AND ino=?6 AND dev=?7 AND state<>'away' THEN xxh3 END,
  placed_by=CASE WHEN size=?4 AND mtime_ns IN (?5, -1) AND ino=?6 AND dev=?7 THEN placed_by END,
  size=?4, mtime_ns=?5, ino=?6, dev=?7, lead=NULL, state=?8, last_seen=?9, kind=?10, condition=?11, reason=?12, type=?13, base=?14,
  confidence=?15, facts=?16, pipeline=?17, rule=?18, why=?19, end_kind=NULL, end_at=NULL, note=''
RETURNING id"""


def place(path: Path) -> tuple[DbPath, DbPath]:
    """The folder and name columns of a path."""
    folder, name = os.path.split(path)
    return to_db(folder or os.curdir), to_db(name)


def arrive(
    c: sqlite3.Connection,
    watch: str,
    lead: Path,
    stamps: Mapping[Path, Stamp],
    facts: Facts,
    verdict: Verdict,
    state: str,
    now: float,
    text: str = "",
) -> int:
    """Record a settled unit with what was decided; returns the lead's row id. A changed file keeps its row, with the new stamp.

    `text` are the facts as facts_text() gives them; made here when it is empty.
    """
    model, stamp = facts.model, stamps[lead]
    # a folder's own stamp does not tell of what is in it
    same = not facts.folder or all(_same(c, path, one) for path, one in stamps.items())
    (lead_id,) = c.execute(
        _ARRIVE,
        (
            watch, *place(lead), stamp.size, stamp.mtime_ns, stamp.ino, stamp.dev, state, now, facts.kind, facts.condition,
            facts.reason and printable(facts.reason), model and model.type, model and model.base, model and model.confidence,
            text or facts_text(facts), verdict.pipeline, verdict.rule, printable(verdict.why), same,
        ),
    ).fetchone()  # fmt: skip
    for path, stamp in stamps.items():
        if path != lead:
            _upsert(c, watch, path, stamp, lead_id, state, now)
    return int(lead_id)


def track(c: sqlite3.Connection, watch: str, stamps: Mapping[Path, Stamp], kind: Kind, now: float) -> None:
    """Note files of our own making under a watch (a dataset's pictures and captions), so that a rescan finds them unchanged."""
    for path, stamp in stamps.items():
        row = _upsert(c, watch, path, stamp, None, "done", now)
        c.execute("UPDATE files SET kind=? WHERE id=?", (kind, row))


def track_all(c: sqlite3.Connection, watch: str, stamps: Mapping[Path, Stamp], now: float) -> None:
    """Note files of a dataset's folder that somebody else put there, whatever they are."""
    for path, stamp in stamps.items():
        _upsert(c, watch, path, stamp, None, "done", now)


def _upsert(c: sqlite3.Connection, watch: str, path: Path, stamp: Stamp, lead: int | None, state: str, now: float) -> int:
    folder, name = place(path)
    row: tuple[int] = c.execute(
        """INSERT INTO files(watch, folder, name, size, mtime_ns, ino, dev, lead, state, first_seen, last_seen)
           VALUES (?,?,?,?,?,?,?,?,?,?,?)
           ON CONFLICT(watch, folder, name) WHERE present = 1 DO UPDATE SET size=excluded.size, mtime_ns=excluded.mtime_ns,
             ino=excluded.ino, dev=excluded.dev, lead=excluded.lead, state=excluded.state, last_seen=excluded.last_seen
           RETURNING id""",
        (watch, folder, name, stamp.size, stamp.mtime_ns, stamp.ino, stamp.dev, lead, state, now, now),
    ).fetchone()
    return row[0]


def facts_text(facts: Facts) -> str:
    """The facts as JSON, as a row keeps them."""
    return dumps(_slim(facts))


def _slim(facts: Facts) -> Facts:
    """The facts as a row keeps them: of a long member list the first ones, and at least one of every kind."""
    archive = facts.archive
    if archive is None or len(archive.members) <= MEMBERS_KEPT:
        return facts
    kept = list(archive.members[:MEMBERS_KEPT])
    missing = archive.contains - {m.kind for m in kept}
    kept += [next(m for m in archive.members if m.kind == kind) for kind in sorted(missing)]
    return replace(facts, archive=ArchiveFacts(archive.format, tuple(kept), archive.total))


def set_digests(c: sqlite3.Connection, file_id: int, sha256: str, xxh3: str) -> None:
    """Keep both digests of a file, once read."""
    c.execute("UPDATE files SET sha256=?, xxh3=? WHERE id=?", (sha256, xxh3, file_id))


def end(c: sqlite3.Connection, ended: Ended, now: float) -> None:
    """Write the recorded end of one path. Left and held files stay present, all others are gone from their path."""
    stays = ended.end in STAYING
    folder, name = place(ended.path)
    c.execute(
        """UPDATE files SET end_kind=?, end_at=?, note=?, last_seen=?, present=?, state=?
           WHERE id = (SELECT id FROM files WHERE folder=? AND name=? AND (present=1 OR state='gone')
                       ORDER BY present DESC, id DESC LIMIT 1)""",
        (
            ended.end, to_db(ended.at), printable(ended.note), now, int(stays),
            {End.LEFT: "left", End.HELD: "held"}.get(ended.end, "done"), folder, name,
        ),
    )  # fmt: skip


def hold(c: sqlite3.Connection, file_id: int, note: str) -> None:
    """List a unit among those that wait for a person, wherever its bytes are."""
    c.execute("UPDATE files SET state='held', note=? WHERE id=?", (printable(note), file_id))
    c.execute("UPDATE files SET end_kind='held', end_at=NULL WHERE id=? AND present=1 AND end_kind IS NULL", (file_id,))


def held_of(c: sqlite3.Connection, sha256: str) -> list[FileRow]:
    """The units of a content that wait for a person."""
    rows = c.execute(f"SELECT {FILE_COLUMNS} FROM files WHERE sha256=? AND state='held' AND lead IS NULL ORDER BY id", (sha256,))
    return [file_row(r) for r in rows]


def queued(c: sqlite3.Connection, file_id: int) -> None:
    """A unit that waited for a person is worked on again."""
    c.execute("UPDATE files SET state='queued', note='' WHERE id=? OR (lead=? AND present=1)", (file_id, file_id))


def forget_stamp(c: sqlite3.Connection, file_id: int) -> None:
    """Have a unit looked at anew: no stamp on disk equals the one it has from now on."""
    c.execute("UPDATE files SET mtime_ns=-1 WHERE id=? AND present=1", (file_id,))


def set_state(c: sqlite3.Connection, file_id: int, state: str, note: str = "") -> None:
    """Set the state of a unit: the lead and its companions."""
    c.execute("UPDATE files SET state=?, note=? WHERE (id=? OR lead=?) AND present=1", (state, printable(note), file_id, file_id))


def settle(c: sqlite3.Connection, file_id: int) -> None:
    """Nothing more is to be done with a unit: what its actions left where it is counts as done."""
    c.execute("UPDATE files SET state='done' WHERE (id=?1 OR (lead=?1 AND present=1)) AND state='queued'", (file_id,))


def depart(c: sqlite3.Connection, watch: str, path: Path) -> list[tuple[int, Path]]:
    """Mark a path as gone from the disk by somebody else's hand: a file, or a folder with all below it; returns what was there."""
    folder, name = place(path)
    below = os.fspath(path) + os.sep
    rows = c.execute(
        """UPDATE files SET present=0, was=state, state='gone' WHERE watch=? AND present=1
             AND ((folder=? AND name=?) OR folder=? OR (folder >= ? AND folder < ?))
           RETURNING id, folder, name""",
        (watch, folder, name, to_db(path), to_db(below), to_db(below[:-1] + chr(ord(os.sep) + 1))),
    )
    return [(r[0], path_of(r[1]) / path_of(r[2])) for r in rows.fetchall()]


def tag(c: sqlite3.Connection, file_id: int, tags: Iterable[str]) -> None:
    """Add tags to a file."""
    (have,) = c.execute("SELECT tags FROM files WHERE id=?", (file_id,)).fetchone()
    merged = sorted({*filter(None, have.split(",")), *tags})
    c.execute("UPDATE files SET tags=? WHERE id=?", (",".join(merged), file_id))


# ---------------------------------------------------------------- questions


def get(c: sqlite3.Connection, file_id: int) -> FileRow | None:
    """One row by id."""
    row = c.execute(f"SELECT {FILE_COLUMNS} FROM files WHERE id=?", (file_id,)).fetchone()
    return file_row(row) if row else None


def at(c: sqlite3.Connection, path: Path) -> FileRow | None:
    """The present row of a path, else its newest row."""
    found = c.execute(
        f"SELECT {FILE_COLUMNS} FROM files WHERE folder=? AND name=? ORDER BY present DESC, id DESC LIMIT 1", place(path)
    ).fetchone()
    return file_row(found) if found else None


def standing(c: sqlite3.Connection, path: Path) -> tuple[int, int, int, int, str, str, str | None] | None:
    """What the present row of a path says of its stamp (size, mtime_ns, ino, dev), its state, and why (why, reason)."""
    found: tuple[int, int, int, int, str, str, str | None] | None = c.execute(
        "SELECT size, mtime_ns, ino, dev, state, why, reason FROM files WHERE folder=? AND name=? AND present=1", place(path)
    ).fetchone()
    return found


def ends(c: sqlite3.Connection, file_ids: Iterable[int]) -> dict[int, tuple[str | None, Path | None]]:
    """Row id -> how the recorded end of a path is called and where its bytes are, as far as that is known by now."""
    rows = c.execute("SELECT id, end_kind, end_at FROM files WHERE id IN (SELECT value FROM json_each(?))", (dumps([*file_ids]),))
    return {r[0]: (r[1], None if r[2] is None else path_of(r[2])) for r in rows}


def unit(c: sqlite3.Connection, file_id: int) -> list[FileRow]:
    """The lead and its companions, the lead first."""
    rows = c.execute(f"SELECT {FILE_COLUMNS} FROM files WHERE id=? OR lead=? ORDER BY lead IS NOT NULL, id", (file_id, file_id))
    return [file_row(r) for r in rows]


def listing(
    c: sqlite3.Connection,
    *,
    state: str | None = None,
    watch: str | None = None,
    kind: str | None = None,
    name: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[FileRow]:
    """Leads by id, `limit` at a time from behind `after`; newest last. `name` matches a part of the name."""
    where, args = ["id > ?", "lead IS NULL"], [after]
    more: list[object] = []
    for column, value in (("state", state), ("watch", watch), ("kind", kind)):
        if value is not None:
            where.append(f"{column} = ?")
            more.append(value)
    if name:
        where.append("instr(lower(name), lower(?))")
        more.append(name)
    rows = c.execute(
        f"SELECT {FILE_COLUMNS} FROM files WHERE {' AND '.join(where)} ORDER BY id LIMIT ?",
        (*args, *more, limit),
    )
    return [file_row(r) for r in rows]


def counts(c: sqlite3.Connection) -> dict[str, int]:
    """How many units are in each state."""
    return dict(c.execute("SELECT state, n FROM tally WHERE what='unit' AND n>0"))


def unchanged(c: sqlite3.Connection, units: Sequence[Mapping[Path, Stamp]]) -> list[bool]:
    """For each unit, whether every path of it is recorded as lying there with this very stamp."""
    return [all(_same(c, path, stamp) for path, stamp in unit.items()) for unit in units]


def _same(c: sqlite3.Connection, path: Path, stamp: Stamp) -> bool:
    folder, name = place(path)
    found = c.execute(
        "SELECT size, mtime_ns, ino, dev FROM files WHERE folder=? AND name=? AND present=1 AND state<>'away'", (folder, name)
    ).fetchone()
    return found is not None and Stamp(*found) == stamp


def elsewhere(c: sqlite3.Connection, stamp: Stamp) -> bool:
    """Whether any row, present or not, has this stamp: only then can a file have had another name. One look into an index."""
    found = c.execute(
        "SELECT 1 FROM files WHERE ino=? AND dev=? AND size=? AND mtime_ns=? LIMIT 1",
        (stamp.ino, stamp.dev, stamp.size, stamp.mtime_ns),
    )
    return found.fetchone() is not None


def known_many(c: sqlite3.Connection, units: Sequence[tuple[Path, Stamp, Watch | None]]) -> list[Known]:
    """`known` of many units."""
    return [known(c, *unit) for unit in units]


def known(c: sqlite3.Connection, path: Path, stamp: Stamp, watch: Watch | None) -> Known:
    """What is remembered of a file before any hash: by path, size and mtime, or by name, size and mtime of an ended one."""
    folder, name = place(path)
    row = c.execute(
        "SELECT tags, first_seen, sha256, size, mtime_ns FROM files WHERE folder=? AND name=? ORDER BY present DESC, id DESC LIMIT 1",
        (folder, name),
    ).fetchone()
    tags, first_seen, sha256, size, mtime_ns = row or ("", None, None, None, None)
    if (size, mtime_ns) != (stamp.size, stamp.mtime_ns):
        sha256 = None
    seen = bool(sha256) and c.execute("SELECT 1 FROM models WHERE sha256=?", (sha256,)).fetchone() is not None
    override = c.execute("SELECT type, base FROM overrides WHERE sha256=?", (sha256,)).fetchone() if sha256 else None
    dataset = c.execute(
        """SELECT d.slug FROM items i JOIN datasets d ON d.id = i.dataset_id
           WHERE i.ino=? AND i.dev=? AND i.size=? AND i.mtime_ns=? LIMIT 1""",
        (stamp.ino, stamp.dev, stamp.size, stamp.mtime_ns),
    ).fetchone()
    return Known(
        seen=seen,
        tags=frozenset(filter(None, tags.split(","))),
        type=override[0] if override else None,
        base=override[1] if override else None,
        dataset=dataset[0] if dataset else None,
        first_seen=first_seen,
        watch=watch,
    )
