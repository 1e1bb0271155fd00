"""Hashes of contents that were asked for: computed once, kept as long as the content is."""

from __future__ import annotations

import sqlite3

from ..rules.terms import Hashes

AUTOV2 = 10  # digits of SHA-256


def get(c: sqlite3.Connection, sha256: str) -> Hashes | None:
    """The hashes of a content, None while nobody asked for them."""
    row = c.execute("SELECT autov1, autov3, blake3, crc32 FROM hashes WHERE sha256=?", (sha256,)).fetchone()
    return None if row is None else Hashes(sha256, row[0], sha256[:AUTOV2], row[1], row[2], row[3])


def put(c: sqlite3.Connection, found: Hashes, now: float) -> None:
    """Keep the hashes of a content; one that is known already and not among them stays."""
    c.execute(
        """INSERT INTO hashes(sha256, autov1, autov3, blake3, crc32, at) VALUES (?,?,?,?,?,?)
           ON CONFLICT(sha256) DO UPDATE SET autov1=coalesce(excluded.autov1, autov1), autov3=coalesce(excluded.autov3, autov3),
             blake3=coalesce(excluded.blake3, blake3), crc32=coalesce(excluded.crc32, crc32), at=excluded.at""",
        (found.sha256, found.autov1, found.autov3, found.blake3, found.crc32, now),
    )
