"""Mounts: which volumes are mounted below a folder, and word of it when that changes (Linux; elsewhere nothing is known).

What must hold: no timer. The kernel marks /proc/self/mountinfo as exceptional for poll(2) whenever the table of mounts changes (proc(5)).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

TABLE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def open_table() -> int:
    """A descriptor to poll for POLLPRI; -1 where there is no such table."""
    try:
        return os.open(TABLE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def below(root: str, table: Path = TABLE) -> frozenset[tuple[bytes, bytes]]:
    """(mount id, mount point) of everything mounted below a folder; empty where it cannot be told."""
    try:
        lines = table.read_bytes().splitlines()
    except OSError:
        return frozenset()
    prefix = os.fsencode(os.path.realpath(root)).rstrip(b"/") + b"/"
    found = (line.split(b" ", 5) for line in lines)
    named = ((fields[0], _ESCAPE.sub(lambda m: bytes([int(m[1], 8)]), fields[4])) for fields in found if len(fields) > 5)
    return frozenset((number, at) for number, at in named if at.startswith(prefix))
