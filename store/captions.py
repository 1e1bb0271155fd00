"""Captions: the texts of pictures in sets, listed, looked up, and as what lies beside the pictures.

What must hold: of one picture at most one text is said to lie beside it (the one with a stamp), whichever set is the active one; a
portion of pictures is read by id, so that what walks through a dataset can go on after a crash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from ..rules.terms import Caption, Stamp
from .codec import dumps, from_db, to_db

SOURCES = ("imported", "generated", "manual")


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """One text. `item` is the picture's id, `at` when it was written."""

    item: int
    rel: str
    set: str
    active: bool
    text: str
    source: str
    captioner: str
    at: float


@dataclass(frozen=True, slots=True)
class Beside:
    """A picture with its text in one set (`own`), and the text that lies beside it, of whichever set. Stamps: what lies there.

    `deleted`: somebody deleted the .txt of the own text since.
    """

    item: int
    rel: str
    own: Caption | None
    lying: Caption | None
    deleted: bool = False


_ROWS = """SELECT k.item_id, i.rel, s.name, s.active, k.text, k.source, k.captioner, k.at
  FROM captions k JOIN items i ON i.id=k.item_id AND k.size>=0 JOIN caption_sets s ON s.id=k.set_id JOIN datasets d ON d.id=s.dataset_id"""


def listing(
    c: sqlite3.Connection,
    slug: str,
    name: str,
    search: str | None = None,
    source: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[CaptionRow]:
    """Texts of a set by the picture's id from behind `after`; `search` is found in text or path, without case."""
    rows = c.execute(
        f"""{_ROWS} WHERE d.slug=?1 AND s.name=?2 AND k.item_id>?3 AND (?4 IS NULL OR k.source=?4)
            AND (?5 IS NULL OR instr(lower(k.text), lower(?5)) OR instr(lower(i.rel), lower(?5))) ORDER BY k.item_id LIMIT ?6""",
        (slug, name, after, source, search, limit),
    )
    return [_row(r) for r in rows]


def of_item(c: sqlite3.Connection, slug: str, item: int) -> list[CaptionRow]:
    """The texts of one picture, that of the active set first."""
    rows = c.execute(f"{_ROWS} WHERE d.slug=? AND k.item_id=? ORDER BY s.active DESC, s.name", (slug, item))
    return [_row(r) for r in rows]


def _row(v: tuple[object, ...]) -> CaptionRow:
    item, rel, name, active, text, source, captioner, at = v
    path = from_db(rel if isinstance(rel, bytes) else str(rel))
    return CaptionRow(int(str(item)), path, str(name), bool(active), str(text), str(source), str(captioner), float(str(at)))


def rel_of(c: sqlite3.Connection, slug: str, item: int) -> str | None:
    """The relative path of a picture of a dataset by its id."""
    row = c.execute(
        "SELECT i.rel FROM items i JOIN datasets d ON d.id=i.dataset_id WHERE d.slug=? AND i.id=?", (slug, item)
    ).fetchone()
    return from_db(row[0]) if row else None


def count(c: sqlite3.Connection, slug: str, after: int = 0) -> int:
    """Pictures of a dataset with ids behind `after`."""
    (found,) = c.execute(
        "SELECT count(*) FROM items i JOIN datasets d ON d.id=i.dataset_id WHERE d.slug=? AND i.id>?", (slug, after)
    ).fetchone()
    return int(found)


def beside(
    c: sqlite3.Connection, slug: str, name: str, after: int = 0, limit: int = 100, only: Collection[int] | None = None
) -> list[Beside]:
    """Pictures by id from behind `after` (only those of these ids), each with its text in a set and the one that lies beside it."""
    rows = c.execute(
        """SELECT i.id, i.rel, k.text, k.source, k.captioner, k.size, k.mtime_ns, k.ino, k.dev,
             s2.name, b.text, b.source, b.captioner, b.size, b.mtime_ns, b.ino, b.dev
           FROM items i JOIN datasets d ON d.id=i.dataset_id
           LEFT JOIN caption_sets s ON s.dataset_id=d.id AND s.name=?2
           LEFT JOIN captions k ON k.item_id=i.id AND k.set_id=s.id
           LEFT JOIN captions b ON b.item_id=i.id AND b.mtime_ns<>0
           LEFT JOIN caption_sets s2 ON s2.id=b.set_id
           WHERE d.slug=?1 AND i.id>?3 AND (?5 IS NULL OR i.id IN (SELECT value FROM json_each(?5))) GROUP BY i.id
           ORDER BY i.id LIMIT ?4""",
        (slug, name, after, limit, None if only is None else dumps(sorted(only))),
    )
    return [_beside(slug, name, tuple(r)) for r in rows]


def _beside(slug: str, name: str, r: tuple[object, ...]) -> Beside:
    rel = from_db(r[1] if isinstance(r[1], bytes) else str(r[1]))
    deleted = r[5] is not None and int(str(r[5])) < 0
    return Beside(int(str(r[0])), rel, _caption(slug, rel, name, r[2:9]), _caption(slug, rel, str(r[9]), r[10:17]), deleted)


def _caption(slug: str, rel: str, name: str, v: tuple[object, ...]) -> Caption | None:
    if v[0] is None:
        return None
    numbers = [int(str(n)) if n is not None else 0 for n in v[3:7]]
    stamp = Stamp(*numbers) if numbers[1] else None
    return Caption(slug, rel, name, str(v[0]), str(v[1]), str(v[2]), stamp)


def delete(c: sqlite3.Connection, slug: str, rel: str, name: str) -> bool:
    """Forget one text; False when there is none."""
    gone = c.execute(
        """DELETE FROM captions WHERE item_id=(SELECT i.id FROM items i JOIN datasets d ON d.id=i.dataset_id WHERE d.slug=?1 AND i.rel=?2)
           AND set_id=(SELECT s.id FROM caption_sets s JOIN datasets d ON d.id=s.dataset_id WHERE d.slug=?1 AND s.name=?3)""",
        (slug, to_db(rel), name),
    )
    return gone.rowcount == 1
