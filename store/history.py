"""What happened, the open intents, the trash and the quarantine, and the state of every watch.

What must hold: a history line is written in the transaction that makes it true, and its id is the event id of the feed; the journal
row of an intent is there before the first rename and gone with the Outcome's commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..rules.terms import Aside, Move, Prepared
from .codec import dumps, path_of, printable, to_db
from .rows import HISTORY_COLUMNS, AsideRow, Deed, HistoryRow, JournalRow, WatchRow, history_row


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of history to be. `event` is what kind of thing happened: arrived, performed, departed, linked, watch, job."""

    event: str
    path: Path | None = None
    verb: str | None = None
    status: str | None = None
    rule: str | None = None
    note: str = ""
    file_id: int | None = None
    job_id: int | None = None
    sha256: str | None = None
    dataset: str | None = None
    undo: Sequence[Move] = ()
    did: Deed | None = None  # what undo must know besides the moves


def tell(c: sqlite3.Connection, h: Happening, now: float) -> int:
    """Write a line of history; returns its id."""
    row: tuple[int] = c.execute(
        """INSERT INTO history(at, event, path, verb, status, rule, note, file_id, job_id, sha256, dataset, undo, did)
           VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) RETURNING id""",
        (
            now, h.event, None if h.path is None else to_db(h.path), h.verb, h.status, h.rule, printable(h.note), h.file_id, h.job_id,
            h.sha256, h.dataset, dumps(list(h.undo)) if h.undo else None, None if h.did is None else dumps(h.did),
        ),
    ).fetchone()  # fmt: skip
    return row[0]


def since(c: sqlite3.Connection, after: int, limit: int = 500) -> list[HistoryRow]:
    """Lines behind an id, oldest first."""
    rows = c.execute(f"SELECT {HISTORY_COLUMNS} FROM history WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return [history_row(r) for r in rows]


def latest(c: sqlite3.Connection, before: int | None = None, limit: int = 100, path: Path | None = None) -> list[HistoryRow]:
    """The newest lines, newest first, from before an id on; of one path when it is given."""
    rows = c.execute(
        f"""SELECT {HISTORY_COLUMNS} FROM history WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR path = ?2)
            ORDER BY id DESC LIMIT ?3""",
        (before, None if path is None else to_db(path), limit),
    )
    return [history_row(r) for r in rows]


def last_id(c: sqlite3.Connection) -> int:
    """The id of the newest line, 0 when there is none."""
    return int(c.execute("SELECT coalesce(max(id), 0) FROM history").fetchone()[0])


def first_id(c: sqlite3.Connection) -> int:
    """The id of the oldest line kept, 0 when there is none."""
    return int(c.execute("SELECT coalesce(min(id), 0) FROM history").fetchone()[0])


# ---------------------------------------------------------------- intents


def intend(c: sqlite3.Connection, verb: str, p: Prepared, file_id: int | None, job_id: int | None, step: int, now: float) -> int:
    """Journal an intent: after this commit the moves will be made, whatever happens to us."""
    row: tuple[int] = c.execute(
        "INSERT INTO journal(at, verb, file_id, job_id, step, prepared) VALUES (?,?,?,?,?,?) RETURNING id",
        (now, verb, file_id, job_id, step, dumps(p)),
    ).fetchone()
    return row[0]


def settle_intent(c: sqlite3.Connection, intent: int) -> None:
    """The intent is done (or taken back): forget it."""
    c.execute("DELETE FROM journal WHERE id=?", (intent,))


def intents(c: sqlite3.Connection) -> list[JournalRow]:
    """The open intents, oldest first: at start, those of the process that died."""
    return [JournalRow(*r) for r in c.execute("SELECT id, verb, file_id, job_id, step, prepared FROM journal ORDER BY id")]


# ---------------------------------------------------------------- trash and quarantine


def put_aside(c: sqlite3.Connection, a: Aside, now: float) -> None:
    """Record something in the trash or the quarantine."""
    c.execute(
        "INSERT INTO aside(place, path, original, reason, at, until) VALUES (?,?,?,?,?,?)",
        (a.place, to_db(a.path), to_db(a.original), printable(a.reason), now, a.until),
    )


def kept_aside(c: sqlite3.Connection, place: str | None = None, until: float | None = None) -> list[AsideRow]:
    """What is kept in the trash, the quarantine or both; with `until`, only what may go by then."""
    rows = c.execute(
        """SELECT id, place, path, original, reason, at, until, state FROM aside
           WHERE state='kept' AND (?1 IS NULL OR place=?1) AND (?2 IS NULL OR until<=?2) ORDER BY id""",
        (place, until),
    )
    return [AsideRow(r[0], r[1], path_of(r[2]), path_of(r[3]), *r[4:8]) for r in rows]


def set_aside_state(c: sqlite3.Connection, aside_id: int, state: str) -> None:
    """Mark something as restored or expired."""
    c.execute("UPDATE aside SET state=? WHERE id=?", (state, aside_id))


# ---------------------------------------------------------------- watches


def put_watch(c: sqlite3.Connection, name: str, path: Path, mode: str) -> None:
    """Make sure a watch of the config has its row; its pause survives a restart."""
    c.execute(
        "INSERT INTO watches(name, path, mode) VALUES (?,?,?) ON CONFLICT(name) DO UPDATE SET path=excluded.path, mode=excluded.mode",
        (name, to_db(path), mode),
    )


def drop_watches(c: sqlite3.Connection, keep: Sequence[str]) -> None:
    """Forget watches that the config no longer names. Their files keep their rows."""
    marks = ",".join("?" * len(keep))
    c.execute(f"DELETE FROM watches WHERE name NOT IN ({marks})", tuple(keep))


def set_watch(c: sqlite3.Connection, name: str, state: str, detail: str = "") -> None:
    """Set what a watch is doing."""
    c.execute("UPDATE watches SET state=?, detail=? WHERE name=?", (state, printable(detail), name))


def set_scanned(c: sqlite3.Connection, name: str, at: float, files: int, root: tuple[int, int] | None) -> None:
    """Keep what the last full comparison of a watch saw, and in which folder (st_dev, st_ino)."""
    dev, ino = root or (None, None)
    c.execute(
        "UPDATE watches SET scanned=?, files=?, root_dev=coalesce(?, root_dev), root_ino=coalesce(?, root_ino) WHERE name=?",
        (at, files, dev, ino, name),
    )


def watch_root(c: sqlite3.Connection, name: str) -> tuple[int, int] | None:
    """The folder (st_dev, st_ino) that the last good comparison of a watch walked."""
    row = c.execute("SELECT root_dev, root_ino FROM watches WHERE name=? AND root_ino IS NOT NULL", (name,)).fetchone()
    return (row[0], row[1]) if row else None


def compared(c: sqlite3.Connection, root: Path) -> bool:
    """Whether a watched folder was there at some comparison."""
    found = c.execute("SELECT 1 FROM watches WHERE path=? AND root_ino IS NOT NULL", (to_db(root),))
    return found.fetchone() is not None


def pause_watch(c: sqlite3.Connection, name: str, paused: bool) -> bool:
    """Pause or resume a watch; False when there is none of that name."""
    return c.execute("UPDATE watches SET paused=? WHERE name=?", (int(paused), name)).rowcount == 1


def watches(c: sqlite3.Connection) -> list[WatchRow]:
    """All watches by name."""
    rows = c.execute("SELECT name, path, mode, paused, state, detail, scanned, files FROM watches ORDER BY name")
    return [WatchRow(r[0], path_of(r[1]), r[2], bool(r[3]), *r[4:8]) for r in rows]
