"""Standing: whether what a model's record tells of is still there. A record outlives its file, for its file may come back.

What must hold: a content of the hub is as the last look at its blob found it, or away with the whole hub; a content that is only tracked is
there while any file that lies under a watch has it, away while every such file is on a disk that is not there, and gone with the last of
them. The list, its count and the page of one model all ask here, so that they never disagree.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from . import hub
from .codec import path_of


class State(StrEnum):
    """How the bytes of a model stand."""

    OK = "ok"
    CHANGED = "changed"  # the hub's file is not as we left it: it is hashed anew
    GONE = "gone"  # nothing has this content any more
    REPLACED = "replaced"  # the hub's file has another content now
    AWAY = "away"  # on a disk that is not there just now


@dataclass(frozen=True, slots=True)
class Standing:
    """How a model stands, and where its bytes are, or were last: of a folder that is one model, the folder."""

    state: State
    at: Path


_HAS = "EXISTS (SELECT 1 FROM files f WHERE f.sha256=models.sha256 AND f.present=1)"
# `blob_state` stands behind the facts in a row: what is only counted must not read over those, so an index says which were replaced
LISTED = f"""(CASE WHEN in_hub THEN models.id NOT IN
  (SELECT r.id FROM models r WHERE r.successor IS NOT NULL AND r.blob_state='replaced') ELSE {_HAS} END)"""


def count(c: sqlite3.Connection) -> tuple[int, int]:
    """How many models the list has, and their bytes."""
    n, size = c.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM models WHERE {LISTED}").fetchone()
    return n, size


def standings(c: sqlite3.Connection, sha256s: Collection[str]) -> dict[str, Standing]:
    """How these contents stand, by SHA-256; those without a record are left out."""
    rows = c.execute(
        "SELECT sha256, in_hub, folder, blob, blob_state FROM models WHERE sha256 IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(sha256s)),),
    ).fetchall()
    away = bool(hub.away(c))
    return {
        sha256: _kept(State(state), path_of(blob), away) if in_hub else _tracked(c, sha256, bool(folder), path_of(blob))
        for sha256, in_hub, folder, blob, state in rows
    }


def _kept(state: State, blob: Path, away: bool) -> Standing:
    """Of a content that is in the hub: while that is away nothing new is known of what was there."""
    return Standing(State.AWAY if away and state in (State.OK, State.CHANGED) else state, blob)


def _tracked(c: sqlite3.Connection, sha256: str, folder: bool, blob: Path) -> Standing:
    """Of a content that is not in the hub: where it was recorded when it is still there, else the oldest place that has it."""
    rows = c.execute("SELECT folder, name, state FROM files WHERE sha256=? AND present=1 ORDER BY id", (sha256,)).fetchall()
    places = [(path_of(at) if folder else path_of(at) / path_of(name), state == "away") for at, name, state in rows]
    if not places:
        return Standing(State.GONE, blob)
    at, away = min(places, key=lambda place: (place[1], place[0] != blob))
    return Standing(State.AWAY if away else State.OK, at)
