"""Volumes: which mount a folder is on, told by the mount itself, for bind mounts of one disk refuse a rename between them too."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_FDINFO = Path("/proc/self/fdinfo")


def mount_below(root: Path, folder: Path) -> Path:
    """The deepest mount point between a root and a folder below it (links followed), or the root when both are on one volume.

    A folder that is not there counts as being on the volume of its parents.
    """
    here = _volume_at(folder)
    if folder == root or here == _volume_at(root):
        return root
    while folder.parent != root and _volume_at(folder.parent) == here:
        folder = folder.parent
    return folder


def _volume_at(path: Path) -> tuple[int, int]:
    """The disk (st_dev) on which a path is or would be, and the mount (proc(5), fdinfo) where the system tells; (0, 0) for nothing."""
    for folder in (path, *path.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            return os.stat(folder).st_dev, _mount_id(folder)
    return 0, 0


def _mount_id(path: Path) -> int:
    """The mount's number; 0 where the system does not tell."""
    if not hasattr(os, "O_PATH"):
        return 0
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        lines = (_FDINFO / str(fd)).read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("mnt_id:")), 0)
    except (OSError, ValueError, IndexError):
        return 0
    finally:
        os.close(fd)
