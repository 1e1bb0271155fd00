"""How good pictures are: scores and flags, once for each content (SHA-256), and the flags of generated texts.

What must hold: what was measured by an older rule (`QUALITY_VERSION`) counts as never measured; a model's opinion and a measurement
replace each their own kind only, so that a tagger after a language model loses nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..rules.captions import QUALITY_VERSION, Quality
from .codec import dumps, printable, to_db

_COLUMNS = "q.version, q.measured, q.opinion, q.flags, q.overall, q.dhash"


def put(c: sqlite3.Connection, sha256: str, found: Quality, now: float) -> None:
    """Keep what was found of a content. What this one does not say stays as it was."""
    q = _joined(of(c, sha256), found)
    c.execute(
        "INSERT OR REPLACE INTO quality VALUES (?,?,?,?,?,?,?,?)",
        (sha256, q.version, dumps(q.measured), dumps(q.opinion), printable("\n".join(q.flags)), q.overall, q.dhash, now),
    )


def _joined(old: Quality | None, new: Quality) -> Quality:
    if old is None:
        return new
    measured = new if new.measured else old
    return replace(
        measured,
        opinion=new.opinion or old.opinion,
        flags=tuple(dict.fromkeys((*measured.flags, *new.flags))),
        overall=old.overall if new.overall is None else new.overall,
        dhash=new.dhash or old.dhash,
    )


def of(c: sqlite3.Connection, sha256: str) -> Quality | None:
    """What is known of a content."""
    row = c.execute(f"SELECT {_COLUMNS} FROM quality q WHERE q.sha256=?", (sha256,)).fetchone()
    return None if row is None else _quality(row)


def measured(c: sqlite3.Connection, sha256: str) -> bool:
    """Whether a content was measured by the present rule."""
    row = c.execute("SELECT version, measured FROM quality WHERE sha256=?", (sha256,)).fetchone()
    return row is not None and row[0] >= QUALITY_VERSION and row[1] != "{}"


def of_items(c: sqlite3.Connection, ids: Sequence[int]) -> dict[int, Quality]:
    """Item id -> what is known of its picture, for those of which anything is."""
    rows = c.execute(
        f"SELECT i.id, {_COLUMNS} FROM items i JOIN quality q ON q.sha256=i.sha256 WHERE i.id IN (SELECT value FROM json_each(?))",
        (dumps(list(ids)),),
    )
    return {row[0]: _quality(row[1:]) for row in rows}


def average(c: sqlite3.Connection, slug: str) -> float | None:
    """The mean overall quality of a dataset's pictures, 0..1; None when none is known."""
    row = c.execute(
        "SELECT avg(q.overall) FROM items i JOIN datasets d ON d.id=i.dataset_id JOIN quality q ON q.sha256=i.sha256 WHERE d.slug=?",
        (slug,),
    ).fetchone()
    return None if row is None or row[0] is None else float(row[0])


def as_plain(q: Quality) -> Mapping[str, object]:
    """A quality as JSON has it."""
    return {
        "overall": q.overall,
        "measured": dict(q.measured),
        "opinion": dict(q.opinion),
        "flags": list(q.flags),
        "version": q.version,
    }


def _quality(v: Any) -> Quality:
    return Quality(json.loads(v[1]), json.loads(v[2]), tuple(filter(None, v[3].split("\n"))), v[4], v[5], v[0])


# ---------------------------------------------------------------- flags of texts


def flag_caption(c: sqlite3.Connection, slug: str, rel: str, name: str, flags: Sequence[str]) -> None:
    """Keep what a person should know of the text of a picture in a set; none: nothing."""
    c.execute(
        """INSERT OR REPLACE INTO caption_flags SELECT k.item_id, k.set_id, ?4 FROM captions k
           JOIN items i ON i.id=k.item_id JOIN datasets d ON d.id=i.dataset_id JOIN caption_sets s ON s.id=k.set_id
           WHERE d.slug=?1 AND i.rel=?2 AND s.name=?3 AND ?4<>''""",
        (slug, to_db(rel), name, printable("\n".join(flags))),
    )


def flags_of_items(c: sqlite3.Connection, ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Item id -> flags of its caption of the active set, where there are any."""
    rows = c.execute(
        """SELECT f.item_id, f.flags FROM caption_flags f JOIN caption_sets s ON s.id=f.set_id AND s.active=1
           WHERE f.item_id IN (SELECT value FROM json_each(?))""",
        (dumps(list(ids)),),
    )
    return {row[0]: tuple(row[1].split("\n")) for row in rows}
