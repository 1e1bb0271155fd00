"""What the store knows of the hub as a whole: whether models should be in it, and whether it is away just now.

What must hold: that the hub is away is kept beside the models, so that every list and page that tells how a model stands tells the same.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .codec import path_of

_KEY = "hub away"  # in `meta`, with the reason


_KEPT = "SELECT blob FROM models WHERE in_hub AND blob_state IN ('ok', 'changed')"


def some(c: sqlite3.Connection, hub: Path) -> list[Path]:
    """A few files of models that were in this hub when they were last looked at, the oldest and the newest; none where there is none."""
    rows = [*c.execute(f"{_KEPT} ORDER BY id LIMIT 4"), *c.execute(f"{_KEPT} ORDER BY id DESC LIMIT 4")]
    return [path for (blob,) in rows if hub in (path := path_of(blob)).parents] or expected(c, hub)


def expected(c: sqlite3.Connection, hub: Path) -> list[Path]:
    """All of them."""
    return [path for (blob,) in c.execute(_KEPT) if hub in (path := path_of(blob)).parents]


def away(c: sqlite3.Connection) -> str:
    """Why the hub is away, as it was last seen; "" when it is there."""
    row = c.execute("SELECT value FROM meta WHERE key=?", (_KEY,)).fetchone()
    return str(row[0]) if row else ""


def turn(c: sqlite3.Connection, why: str) -> None:
    """Keep that the hub is away, or with "" that it is there."""
    if why:
        c.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (_KEY, why))
    else:
        c.execute("DELETE FROM meta WHERE key=?", (_KEY,))
