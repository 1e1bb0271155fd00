"""What a store would know of a tree: for tests of comparisons without a database."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from dropdock.daemon.rescan import Brief
from dropdock.rules.ignores import Ignores


class Memory:
    """What a store would know: filled from a tree as it is now."""

    def __init__(self, root: Path, ignores: Ignores | None = None) -> None:
        self.known: dict[str, dict[str, Brief]] = {}
        for folder, _, names in os.walk(root):
            rel = Path(folder).relative_to(root).as_posix()
            for name in names:
                found = (Path(folder) / name).lstat()
                if not (Path(folder) / name).is_symlink():
                    at = self.known.setdefault("" if rel == "." else rel, {})
                    at[name] = (found.st_size, found.st_mtime_ns, found.st_ino)

    def folder(self, watch: str, folder: str) -> dict[str, Brief]:
        return dict(self.known.get(folder, {}))

    def folders(self, watch: str) -> Collection[str]:
        return self.known.keys()
