"""Hints: what the back ends of the watcher say to it, as watchdog events. Dirt: look at these paths. Doubt: only a rescan knows.

Every back end speaks these two (inotify.py, polling.py) or watchdog's own events, which watcher.py turns into them. What must hold: two
of them are never equal, because watchdog's queue drops an event that equals the one before it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum

from watchdog.events import FileSystemEvent


class WatchState(StrEnum):
    """How a watch is doing."""

    STARTING = "starting"
    WATCHING = "watching"
    LIMITED = "limited"  # some folders have no watch: found by rescan only
    MISSING = "missing"  # the root is not there; looked for every 2 s
    STOPPED = "stopped"


class Dirt(FileSystemEvent):
    """Every path that one read found dirty -> whether a writer closed it or it was renamed into place. src_path is the root."""

    def __init__(self, root: str, paths: Mapping[str, bool]) -> None:
        super().__init__(root)
        self.paths = paths

    # Two reads are never the same, whatever they found.
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Doubt(FileSystemEvent):
    """From here on only a rescan knows: the new state of the watch, and the reason in words. src_path is the root."""

    def __init__(self, root: str, state: WatchState, reason: str, folders: int = 0, unwatched: int = 0) -> None:
        super().__init__(root)
        self.state, self.reason, self.folders, self.unwatched = state, reason, folders, unwatched

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Heard(FileSystemEvent):
    """The watch heard of its cookie (cookies.py): it lives. src_path is the root."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def list_folder(folder: str) -> list[tuple[str, bool]]:
    """(name, is a folder) of the folders and regular files in `folder`; nothing when it is gone or closed to us."""
    try:
        with os.scandir(folder) as entries:
            return [
                (e.name, is_dir)
                for e in entries
                if (is_dir := e.is_dir(follow_symlinks=False)) or e.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []
