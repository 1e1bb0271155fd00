"""What a rescan compares the disk with: one covering-index query a folder, in the thread that walks.

This one reader uses sqlite3 directly: a hop to another thread for each of a thousand folders would cost more than the queries.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from .codec import from_db, to_db

Signature = tuple[int, int, int]  # size, mtime_ns, ino


class Index:
    """A read-only view of the files table. Open and use it in one thread: `with Index(path) as index`."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path, self._root = path, os.fspath(root)

    def __enter__(self) -> Self:
        self._c = sqlite3.connect(self._path, isolation_level=None)
        self._c.execute("PRAGMA query_only=ON")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._c.close()

    def folder(self, watch: str, folder: str) -> dict[str, Signature]:
        """Name -> (size, mtime_ns, ino) of the files known to lie in one folder, relative to the root ("" is the root)."""
        rows = self._c.execute(
            "SELECT name, size, mtime_ns, ino FROM files INDEXED BY files_look WHERE watch=? AND folder=? AND present=1",
            (watch, to_db(os.path.join(self._root, folder) if folder else self._root)),  # noqa: PTH118  # per folder of 100,000 files
        )
        return {from_db(name): (size, mtime_ns, ino) for name, size, mtime_ns, ino in rows}

    def folders(self, watch: str) -> Collection[str]:
        """Every folder under a watch that holds a known file, relative to the root."""
        # a loose scan from one folder to the next: a DISTINCT would walk all rows of the index
        found: list[str] = []
        last = None
        while True:
            row = self._c.execute(
                "SELECT folder FROM files INDEXED BY files_look WHERE watch=? AND present=1 AND (?2 IS NULL OR folder>?2) "
                "ORDER BY folder LIMIT 1",
                (watch, last),
            ).fetchone()
            if row is None:
                return found
            last = row[0]
            rel = os.path.relpath(from_db(last), self._root)
            found.append("" if rel == "." else rel)
