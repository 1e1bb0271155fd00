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

from .codec import DbPath, from_db, to_db

Signature = tuple[int, int, int]  # size, mtime_ns, ino
LOOK = "SELECT name, size, mtime_ns, ino FROM files INDEXED BY files_look WHERE watch=? AND folder=? AND present=1 ORDER BY name"
NEXT = "SELECT folder FROM files INDEXED BY files_look WHERE watch=? AND folder>? AND present=1 ORDER BY folder LIMIT 1"


class Index:
    """A read-only view of the files table. Open and use it in one thread: `with Index(path) as index`."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path, self._root = path, os.fspath(root)
        self._below = self._root.rstrip(os.sep) + os.sep

    def __enter__(self) -> Self:
        self._c = sqlite3.connect(self._path, isolation_level=None)
        self._c.execute("PRAGMA query_only=ON")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._c.close()

    def folder(self, watch: str, folder: str) -> dict[str, Signature]:
        """Name -> (size, mtime_ns, ino) of the files known to lie in one folder, relative to the root ("" is the root)."""
        rows = self._c.execute(LOOK, (watch, to_db(self._below + folder if folder else self._root)))
        known = {name: (size, mtime_ns, ino) for name, size, mtime_ns, ino in rows}
        if known and isinstance(next(reversed(known)), bytes):  # names that are not UTF-8 are BLOBs, and those sort last
            return {from_db(name): signature for name, signature in known.items()}
        return known

    def folders(self, watch: str) -> Collection[str]:
        """Every folder under a watch that holds a known file, relative to the root."""
        # a loose scan from one folder to the next: a DISTINCT would walk all rows of the index. No folder is "", and BLOBs sort last
        found: list[str] = []
        last: DbPath = ""
        while row := self._c.execute(NEXT, (watch, last)).fetchone():
            last = row[0]
            found.append(self._relative(from_db(last)))
        return found

    def _relative(self, folder: str) -> str:
        if folder == self._root:
            return ""
        if folder.startswith(self._below):  # nearly always; relpath is what this loop would spend its time in
            return folder[len(self._below) :]
        return os.path.relpath(folder, self._root)
