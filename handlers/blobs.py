"""Looking at the hub's blobs: the cheap fingerprint of each, and where the bytes of one may lie that is gone.

What must hold: nothing is opened for writing and nothing is followed out of the folders that are named; a file that cannot be
looked at is an answer (None), not an exception.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..rules.terms import Stamp

MOST = 200_000  # entries that a search looks at before it gives up


def fingerprint(blob: Path) -> Stamp | None:
    """What a changed blob cannot keep: size, mtime_ns, inode; None when it is gone.

    `dev` is 0, since a disk may have another number after the next start. Of a folder that is one model: the sum of sizes, the
    newest mtime, the folder's own inode.
    """
    try:
        status = blob.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            return Stamp(status.st_size, status.st_mtime_ns, status.st_ino, 0)
        if not stat.S_ISDIR(status.st_mode):
            return None
        size, newest = 0, 0
        for path in blob.rglob("*"):
            inside = path.stat(follow_symlinks=False)
            if stat.S_ISREG(inside.st_mode):
                size += inside.st_size
                newest = max(newest, inside.st_mtime_ns)
        return Stamp(size, newest, status.st_ino, 0)
    except OSError:
        return None


def find(left: Stamp, roots: Iterable[Path]) -> Path | None:
    """A regular file below one of the folders that has the size and mtime of a blob that is gone, the same inode preferred.

    An app that "moves" a link takes what it points to: the bytes are then in the app's own folders.
    """
    likely: Path | None = None
    for path, status in _files(roots):
        if (status.st_size, status.st_mtime_ns) == (left.size, left.mtime_ns):
            if status.st_ino == left.ino:
                return path
            likely = likely or path
    return likely


def _files(roots: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    folders, seen = [os.fspath(root) for root in roots], 0
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > MOST:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield Path(entry.path), entry.stat(follow_symlinks=False)
        except OSError:  # a folder that vanished or may not be entered: the others are looked through
            continue
