"""Away: rows of files whose disk or folder is not there just now. They stay present, and come back with it.

What must hold: a row that is away keeps all that is known of it, and comes back in the state that it had (one whose job ended meanwhile:
as done). Many rows are changed in portions, so that no transaction is long.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from .codec import DbPath, path_of, to_db
from .files import place

PORTION = 5000  # rows changed in one transaction


def devices(c: sqlite3.Connection, watch: str, paths: Sequence[Path]) -> list[frozenset[int]]:
    """For each path, a file or a folder: the devices (st_dev) that what is known there was recorded on."""
    return [
        frozenset(
            r[0]
            for r in c.execute(
                "SELECT dev FROM files WHERE watch=? AND folder=? AND name=? AND present=1 UNION "
                "SELECT dev FROM files WHERE watch=? AND present=1 AND (folder=? OR (folder>=? AND folder<?))",
                (watch, *place(path), watch, *_below(path)),
            )
        )
        for path in paths
    ]


def leave(c: sqlite3.Connection, watch: str, path: Path | None = None) -> int:
    """Note that what lies at or below a path (None: all of a watch) is away, PORTION rows at most; how many rows were changed."""
    where, args = _at(path)
    return c.execute(
        f"""UPDATE files SET was=state, state='away' WHERE id IN
            (SELECT id FROM files WHERE watch=? AND present=1 AND state NOT IN ('away','gone') AND {where} LIMIT {PORTION})""",
        (watch, *args),
    ).rowcount


def away(c: sqlite3.Connection, watch: str) -> list[Path]:
    """The paths of a watch that are away."""
    rows = c.execute(
        "SELECT folder, name FROM files INDEXED BY files_here WHERE watch=? AND present=1 AND state='away'", (watch,)
    )
    return [path_of(folder) / path_of(name) for folder, name in rows]


def any_away(c: sqlite3.Connection) -> bool:
    """Whether anything is away at all."""
    return c.execute("SELECT 1 FROM tally WHERE what='unit' AND state='away' AND n>0").fetchone() is not None


def come_back(c: sqlite3.Connection, watch: str, paths: Sequence[Path]) -> None:
    """Note that paths are there again."""
    for path in paths:
        c.execute(
            """UPDATE files SET state=CASE WHEN was='queued' AND NOT EXISTS
                   (SELECT 1 FROM jobs j WHERE json_extract(j.payload, '$.file')=coalesce(files.lead, files.id)
                    AND j.state IN ('queued','running','paused')) THEN 'done' ELSE coalesce(was, 'done') END
               WHERE watch=? AND folder=? AND name=? AND present=1 AND state='away'""",
            (watch, *place(path)),
        )


def renumber(c: sqlite3.Connection, watch: str, old: int, new: int) -> None:
    """The system gave the disk of a watch another number (st_dev): its rows have it too from now on."""
    c.execute("UPDATE files SET dev=? WHERE watch=? AND present=1 AND dev=?", (new, watch, old))


def _below(path: Path) -> tuple[DbPath, DbPath, DbPath]:
    below = os.fspath(path) + os.sep
    return to_db(path), to_db(below), to_db(below[:-1] + chr(ord(os.sep) + 1))


def _at(path: Path | None) -> tuple[str, tuple[DbPath, ...]]:
    if path is None:
        return "1", ()
    return "((folder=? AND name=?) OR folder=? OR (folder>=? AND folder<?))", (*place(path), *_below(path))
