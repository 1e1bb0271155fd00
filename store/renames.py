"""Renames: a file that lies under another name now keeps its row, with all that is known of it.

What must hold: a row follows a file only by inode, device, size and mtime together, and only when nothing lies any more where the row
says (the caller looks at the disk); rows of datasets never follow, for there the path is what counts; a unit whose job was begun (or
paused by a person) does not follow either; a job that still waits is made anew, since its rule may have asked for the path; a row is
never doubled.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..rules.terms import Stamp
from . import history
from .codec import path_of, printable, to_db
from .files import place
from .history import Happening

_BEGUN = "(j.state IN ('running','paused') OR (j.state='queued' AND json_extract(j.payload, '$.step')<>0))"


@dataclass(frozen=True, slots=True)
class Twin:
    """A row whose stamp a file has that lies elsewhere (`new`), or lies again where the row says it is gone from."""

    id: int
    old: Path
    new: Path
    watch: str  # the watch that the new path is under
    state: str
    lead: bool
    present: bool
    hashed: bool
    placed: bool = False  # our own action put it into this watch, where no rule is asked about it until it changes


def twins(c: sqlite3.Connection, arrived: Sequence[tuple[str, Path, Stamp]]) -> list[Twin]:
    """Of (watch, path, stamp): the rows that these files may have had under another name. A path that has a row has no twin."""
    found = []
    for watch, path, s in arrived:
        row = c.execute(
            f"""SELECT f.id, f.folder, f.name, f.state, f.was, f.lead IS NULL, f.present, f.sha256 IS NOT NULL,
                      f.watch=? AND f.end_kind='left' AND (f.state='done' OR (f.state='gone' AND f.was='done'))
               FROM files f JOIN watches w ON w.name = f.watch
               WHERE f.ino=? AND f.dev=? AND f.size=? AND f.mtime_ns=? AND (f.present=1 OR f.state='gone') AND w.mode<>'dataset'
                 AND NOT EXISTS (SELECT 1 FROM files n WHERE n.folder=? AND n.name=? AND n.present=1)
                 AND NOT EXISTS (SELECT 1 FROM jobs j WHERE json_extract(j.payload, '$.file')=coalesce(f.lead, f.id) AND {_BEGUN})
               ORDER BY f.present DESC, f.id DESC LIMIT 1""",
            (watch, s.ino, s.dev, s.size, s.mtime_ns, *place(path)),
        ).fetchone()
        if row is not None:
            state = row[4] if row[3] in ("gone", "away") else row[3]
            state = state if state in ("left", "held", "failed") else "done"  # a job that was queued has ended
            old = path_of(row[1]) / path_of(row[2])
            found.append(Twin(row[0], old, path, watch, state, bool(row[5]), bool(row[6]), bool(row[7]), bool(row[8])))
    return found


def follow(c: sqlite3.Connection, found: Sequence[Twin], now: float) -> list[Twin]:
    """Let rows lie where their files are, and a tracked model's content with them; a line of history for each unit.

    Returns those that did: not one whose job was begun meanwhile, or whose new place has a row by now.
    """
    followed = []
    for t in found:
        folder, name = place(t.new)
        moved = c.execute(
            f"""UPDATE files SET watch=?1, folder=?2, name=?3, state=?4, present=1, last_seen=?5, end_at=iif(end_at IS NULL, NULL, ?6)
               WHERE id=?7 AND NOT EXISTS
                 (SELECT 1 FROM files n WHERE n.watch=?1 AND n.folder=?2 AND n.name=?3 AND n.present=1 AND n.id<>?7)
                 AND NOT EXISTS
                 (SELECT 1 FROM jobs j WHERE json_extract(j.payload, '$.file')=coalesce(files.lead, files.id) AND {_BEGUN})""",
            (t.watch, folder, name, t.state, now, to_db(t.new), t.id),
        )
        if not moved.rowcount:
            continue
        followed.append(t)
        c.execute(
            """UPDATE jobs SET state='cancelled', finished=?, error=? WHERE state='queued' AND json_extract(payload, '$.file')=?""",
            (now, printable(f"made anew: the file is called {t.new.name} now"), t.id),
        )
        shown = printable(t.new.name)
        c.execute("UPDATE models SET blob=?, name=? WHERE blob=? AND in_hub=0", (to_db(t.new), shown, to_db(t.old)))
        c.execute(
            """UPDATE OR REPLACE model_names SET origin=?, name=?
               WHERE origin=? AND sha256 IN (SELECT sha256 FROM models WHERE blob=? AND in_hub=0)""",
            (to_db(t.new), shown, to_db(t.old), to_db(t.new)),
        )
        if t.lead:
            note = "it is back" if t.new == t.old else f"renamed from {t.old}"
            history.tell(c, Happening("renamed", t.new, status=t.state, note=note, file_id=t.id), now)
    return followed
