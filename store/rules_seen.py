"""By which rules each watch decided, so that what they left is decided again when they are others.

What must hold: noting the rules and having the files looked at anew are one transaction, so that a crash forgets neither.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

_KEY = "rules:"  # in `meta`, before the name of a watch


def note_rules(c: sqlite3.Connection, digests: Mapping[str, str]) -> dict[str, int]:
    """Keep the digest of each watch's rules; watch -> how many files that its former rules left are to be looked at anew.

    A watch that was never noted has no former rules. What a person held, and what was undone, is not among them.
    """
    again: dict[str, int] = {}
    for watch, digest in digests.items():
        row = c.execute("SELECT value FROM meta WHERE key=?", (_KEY + watch,)).fetchone()
        if row is not None and row[0] == digest:
            continue
        c.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (_KEY + watch, digest))
        if row is None:
            continue
        done = c.execute(
            "UPDATE files SET mtime_ns=-1 WHERE watch=? AND present=1 AND state='left' AND NOT (size=0 AND mtime_ns=0)", (watch,)
        )
        if done.rowcount:
            again[watch] = done.rowcount
    return again
