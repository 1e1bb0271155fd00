"""Stamps: the cheap identity of what lies at a path, and the word for "it is not what it was"."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..rules.terms import Stamp


class Changed(Exception):
    """The source is not what it was when it was looked at; the unit settles again."""


def stamp(path: Path) -> Stamp:
    """The stamp of a path, links not followed. Raises OSError when it is not there."""
    return stamp_of(os.lstat(path))


def stamp_of(s: os.stat_result) -> Stamp:
    """The stamp of a stat result. A folder's size and mtime change with its entries, so only its inode counts."""
    if stat.S_ISDIR(s.st_mode):
        return Stamp(0, 0, s.st_ino, s.st_dev)
    return Stamp(s.st_size, s.st_mtime_ns, s.st_ino, s.st_dev)
