"""The fingerprints of blobs in the hub, and what became of blobs that somebody changed behind our back.

What must hold: a blob that is not as we left it is known as such until it is dealt with; what a changed blob became is recorded before
its bytes are moved, so that after a crash the wishes of the old content still pass on to the new.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..rules.terms import Stamp
from .codec import path_of, to_db


class BlobState(StrEnum):
    """How a blob was when it was last looked at."""

    OK = "ok"
    CHANGED = "changed"  # not as we left it: it is hashed again
    GONE = "gone"
    REPLACED = "replaced"  # its bytes are kept under their new digest now: see `successor`


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A blob in the hub and how we left it, its fingerprint; None: it was not looked at since it came.

    A fingerprint is a Stamp without `dev`: a disk may have another number after the next start. Of a folder it is the sum of sizes,
    the newest mtime and the folder's own inode.
    """

    sha256: str
    blob: Path
    size: int
    folder: bool
    left: Stamp | None
    state: BlobState


def blobs(c: sqlite3.Connection, sha256s: Collection[str]) -> list[BlobRow]:
    """The blobs of these models, but for those that were replaced."""
    rows = c.execute(
        """SELECT sha256, blob, size, folder, blob_size, blob_mtime_ns, blob_ino, blob_state FROM models
           WHERE sha256 IN (SELECT value FROM json_each(?)) AND in_hub AND blob_state<>'replaced' ORDER BY id""",
        (json.dumps(sorted(sha256s)),),
    )
    return [
        BlobRow(r[0], path_of(r[1]), r[2], bool(r[3]), None if r[4] is None else Stamp(r[4], r[5], r[6], 0), BlobState(r[7]))
        for r in rows
    ]


def leave(c: sqlite3.Connection, seen: Mapping[str, Stamp]) -> None:
    """Keep how blobs lie there now, by SHA-256: from now on that is as we left them."""
    c.executemany(
        "UPDATE models SET blob_size=?, blob_mtime_ns=?, blob_ino=?, blob_state='ok' WHERE sha256=?",
        [(f.size, f.mtime_ns, f.ino, sha256) for sha256, f in seen.items()],
    )


def mark(c: sqlite3.Connection, sha256s: Iterable[str], state: BlobState) -> None:
    """Set how blobs are."""
    c.executemany("UPDATE models SET blob_state=? WHERE sha256=?", [(str(state), sha256) for sha256 in sha256s])


def counts(c: sqlite3.Connection) -> dict[str, int]:
    """How many blobs are in each state."""
    return dict(c.execute("SELECT blob_state, count(*) FROM models WHERE in_hub GROUP BY blob_state"))


def troubles(c: sqlite3.Connection) -> dict[str, int]:
    """How many blobs are not as we left them, by state; answered from an index of these alone."""
    return dict(c.execute("SELECT blob_state, count(*) FROM models WHERE blob_state IN ('changed', 'gone') GROUP BY blob_state"))


def succeed(c: sqlite3.Connection, old: str, new: str) -> None:
    """The blob of `old` has the content `new` now; `pass_on` does the rest once `new` is recorded."""
    c.execute("UPDATE models SET successor=? WHERE sha256=?", (new, old))


def became(c: sqlite3.Connection, paths: Iterable[Path]) -> dict[Path, Path]:
    """Of these blobs, those whose content was replaced in place: where what they became is kept."""
    found = {}
    for path in paths:
        row = c.execute(
            "SELECT n.blob FROM models o JOIN models n ON n.sha256=o.successor WHERE o.blob=? AND o.blob_state='replaced'",
            (to_db(path),),
        ).fetchone()
        if row is not None:
            found[path] = path_of(row[0])
    return found


def pass_on(c: sqlite3.Connection) -> list[str]:
    """Hand the wishes of contents that were replaced to what they became; the SHA-256 of all concerned. Idempotent.

    Passed on are: who wants it, tags, the person's word on type and base, adopted places, and where dropped files ended.
    """
    pairs = c.execute(
        """SELECT o.sha256, n.sha256, o.blob, n.blob, o.wanted, n.wanted, o.tags, n.condition FROM models o
           JOIN models n ON n.sha256 = o.successor WHERE o.successor IS NOT NULL AND o.blob_state<>'replaced'"""
    ).fetchall()
    for old, new, was_at, is_at, wanted, wanted_already, tags, condition in pairs:
        if wanted_already is None and condition not in ("invalid", "unsafe"):
            c.execute("UPDATE models SET wanted=? WHERE sha256=?", (wanted, new))
        c.execute("UPDATE models SET tags=? WHERE sha256=? AND tags=''", (tags, new))
        c.execute("INSERT OR IGNORE INTO overrides SELECT ?, type, base, at FROM overrides WHERE sha256=?", (new, old))
        c.execute(
            """UPDATE models SET type=coalesce((SELECT type FROM overrides WHERE sha256=?1), type),
                 base=coalesce((SELECT base FROM overrides WHERE sha256=?1), base) WHERE sha256=?1""",
            (new,),
        )
        c.execute("UPDATE adopted SET sha256=? WHERE sha256=?", (new, old))
        c.execute("UPDATE files SET end_at=? WHERE end_at=? AND end_kind='hub'", (is_at, was_at))
        c.execute("UPDATE models SET wanted=NULL, blob_state='replaced' WHERE sha256=?", (old,))
    return [sha256 for pair in pairs for sha256 in pair[:2]]
