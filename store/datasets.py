"""Datasets, their pictures (items), caption sets and captions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..rules.terms import Caption, Holdings, Item, Stamp
from .codec import from_db, path_of, printable, to_db
from .rows import DatasetRow, ItemRow

DEFAULT_SET = "main"  # the set of captions that came with the pictures, until a captioner gives it another name
GONE = -1  # the size of a caption's .txt that somebody deleted: the text is kept, and missing


def ensure(c: sqlite3.Connection, slug: str, path: Path, now: float) -> int:
    """The id of a dataset, made when it is new."""
    c.execute(
        "INSERT INTO datasets(slug, name, path, created) VALUES (?,?,?,?) ON CONFLICT DO NOTHING", (slug, slug, to_db(path), now)
    )
    (found,) = c.execute("SELECT id FROM datasets WHERE slug=?", (slug,)).fetchone()
    return int(found)


def add_item(c: sqlite3.Connection, dataset_id: int, item: Item, now: float) -> int:
    """Record a picture; one of the same relative path is replaced (it was replaced on disk)."""
    s, i = item.stamp, item.image
    row: tuple[int] = c.execute(
        """INSERT INTO items(dataset_id, rel, sha256, xxh3, size, mtime_ns, ino, dev, format, width, height, orientation,
             animated, mode, dhash, flags, origin, added, verified) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
           ON CONFLICT(dataset_id, rel) DO UPDATE SET sha256=excluded.sha256, xxh3=excluded.xxh3, size=excluded.size,
             mtime_ns=excluded.mtime_ns, ino=excluded.ino, dev=excluded.dev, format=excluded.format, width=excluded.width,
             height=excluded.height, orientation=excluded.orientation, dhash=excluded.dhash, flags=excluded.flags,
             verified=excluded.verified
           RETURNING id""",
        (
            dataset_id, to_db(item.rel), item.sha256, item.xxh3, s.size, s.mtime_ns, s.ino, s.dev, i.format, i.width, i.height,
            i.orientation, i.animated, i.mode, item.dhash, printable("\n".join(item.flags)), printable(item.origin), now, now,
        ),
    ).fetchone()  # fmt: skip
    return row[0]


def set_id(c: sqlite3.Connection, dataset_id: int, name: str) -> int:
    """The id of a caption set, made when it is new. The first set of a dataset is its active one; the set that only holds
    imported captions (DEFAULT_SET) takes the name of the first set that is asked for, so that both lie beside the pictures."""
    if _takes_over(c, dataset_id, name):
        c.execute("UPDATE caption_sets SET name=? WHERE dataset_id=? AND name=?", (name, dataset_id, DEFAULT_SET))
    first = c.execute("SELECT 1 FROM caption_sets WHERE dataset_id=? AND active=1", (dataset_id,)).fetchone() is None
    c.execute(
        "INSERT INTO caption_sets(dataset_id, name, active) VALUES (?,?,?) ON CONFLICT DO NOTHING", (dataset_id, name, int(first))
    )
    (found,) = c.execute("SELECT id FROM caption_sets WHERE dataset_id=? AND name=?", (dataset_id, name)).fetchone()
    return int(found)


def expect_set(c: sqlite3.Connection, slug: str, name: str) -> None:
    """A set that jobs which are queued now will write: of several the first that is asked for becomes the active one, not the fastest."""
    row = c.execute("SELECT id FROM datasets WHERE slug=?", (slug,)).fetchone()
    if row is not None:
        set_id(c, row[0], name)


def takes_over(c: sqlite3.Connection, slug: str, name: str) -> bool:
    """Whether a set that is not there yet will take the place of the one that only holds what came with the pictures."""
    row = c.execute("SELECT id FROM datasets WHERE slug=?", (slug,)).fetchone()
    return row is not None and _takes_over(c, row[0], name)


def _takes_over(c: sqlite3.Connection, dataset_id: int, name: str) -> bool:
    if name == DEFAULT_SET or active_set(c, dataset_id) != DEFAULT_SET:
        return False
    row = c.execute(
        """SELECT 1 FROM caption_sets s WHERE s.dataset_id=?1 AND (s.name=?2 OR (s.name=?3 AND EXISTS
             (SELECT 1 FROM items i JOIN captions k ON k.item_id=i.id AND k.set_id=s.id
              WHERE i.dataset_id=?1 AND k.source='generated')))""",
        (dataset_id, name, DEFAULT_SET),
    ).fetchone()
    return row is None


def active_set(c: sqlite3.Connection, dataset_id: int) -> str | None:
    """The name of the set whose texts lie beside the pictures."""
    row = c.execute("SELECT name FROM caption_sets WHERE dataset_id=? AND active=1", (dataset_id,)).fetchone()
    return row[0] if row else None


def put_caption(c: sqlite3.Connection, caption: Caption, now: float) -> bool:
    """Write the caption of one picture in one set; False when the picture is not there any more.

    '' is the set whose text lies beside the picture, else the active one: while another set becomes the active one, what lies beside
    a picture still belongs to the old one until it is written anew. A caption with a stamp is from now on the one that lies there.
    """
    row = c.execute(
        "SELECT i.id, d.id FROM items i JOIN datasets d ON d.id=i.dataset_id WHERE d.slug=? AND i.rel=?",
        (caption.dataset, to_db(caption.rel)),
    ).fetchone()
    if row is None:
        return False
    item_id, dataset_id = row
    which = set_id(c, dataset_id, caption.set or _lying(c, item_id) or active_set(c, dataset_id) or DEFAULT_SET)
    s = caption.stamp or Stamp(0, 0, 0, 0)
    if caption.stamp is not None:
        c.execute(
            "UPDATE captions SET size=0, mtime_ns=0, ino=0, dev=0 WHERE item_id=? AND set_id<>? AND mtime_ns<>0", (item_id, which)
        )
    same = c.execute(  # only the file is another: when it was written, and what is flagged of it, stays true
        """UPDATE captions SET size=?, mtime_ns=?, ino=?, dev=?
           WHERE item_id=? AND set_id=? AND text=? AND source=? AND captioner=?""",
        (s.size, s.mtime_ns, s.ino, s.dev, item_id, which, caption.text, caption.source, caption.captioner),
    )
    if same.rowcount:
        return True
    c.execute(
        """INSERT INTO captions VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT(item_id, set_id) DO UPDATE SET text=excluded.text,
             source=excluded.source, captioner=excluded.captioner, size=excluded.size, mtime_ns=excluded.mtime_ns,
             ino=excluded.ino, dev=excluded.dev, at=excluded.at""",
        (item_id, which, caption.text, caption.source, caption.captioner, s.size, s.mtime_ns, s.ino, s.dev, now),
    )
    return True


def _lying(c: sqlite3.Connection, item_id: int) -> str | None:
    """The set whose text lies beside a picture, as far as we left or read one there."""
    row = c.execute(
        "SELECT s.name FROM captions k JOIN caption_sets s ON s.id=k.set_id WHERE k.item_id=? AND k.mtime_ns<>0", (item_id,)
    ).fetchone()
    return row[0] if row else None


def forget_path(c: sqlite3.Connection, path: Path) -> None:
    """Forget a picture that somebody took out of a dataset's folder; the text beside one is GONE: missing, until one lies there again."""
    found = locate(c, path)
    if found is None:
        return
    slug, rel = found
    if path.suffix.lower() == ".txt":
        stem = rel[: -len(path.suffix)]
        rows = c.execute(
            "SELECT i.id, i.rel FROM items i JOIN datasets d ON d.id=i.dataset_id WHERE d.slug=? AND i.rel>? AND i.rel<?",
            (slug, to_db(stem + "."), to_db(stem + "/")),  # "/" is the sign behind "."
        ).fetchall()
        mine = [item for item, other in rows if from_db(other).rpartition(".")[0] == stem]
        c.executemany(
            "UPDATE captions SET size=?, mtime_ns=0, ino=0, dev=0 WHERE item_id=? AND mtime_ns<>0", [(GONE, i) for i in mine]
        )
        return
    c.execute("DELETE FROM items WHERE rel=? AND dataset_id=(SELECT id FROM datasets WHERE slug=?)", (to_db(rel), slug))


def locate(c: sqlite3.Connection, path: Path) -> tuple[str, str] | None:
    """The dataset (slug) and relative path of something below a dataset's folder."""
    for parent in path.parents:
        row = c.execute("SELECT slug FROM datasets WHERE path=?", (to_db(parent),)).fetchone()
        if row:
            return row[0], path.relative_to(parent).as_posix()
    return None


# ---------------------------------------------------------------- questions


def holdings(c: sqlite3.Connection, slug: str) -> Holdings | None:
    """What a dataset holds, or None when there is none of that slug (compared without case)."""
    row = c.execute("SELECT id, slug, path FROM datasets WHERE slug=?", (slug,)).fetchone()
    if row is None:
        return None
    items = c.execute("SELECT rel, sha256, dhash FROM items WHERE dataset_id=?", (row[0],)).fetchall()
    captioned = c.execute(
        """SELECT i.rel FROM items i JOIN captions k ON k.item_id=i.id JOIN caption_sets s ON s.id=k.set_id AND s.active=1
           WHERE i.dataset_id=? AND k.size>=0""",
        (row[0],),
    )
    return Holdings(
        row[1],
        path_of(row[2]),
        frozenset(from_db(rel) for rel, _, _ in items),
        {sha: from_db(rel) for rel, sha, _ in items},
        {from_db(rel): dhash for rel, _, dhash in items if dhash},
        frozenset(from_db(rel) for (rel,) in captioned),
    )


def listing(c: sqlite3.Connection, slug: str | None = None) -> list[DatasetRow]:
    """All datasets with their counts, or one."""
    rows = c.execute(
        """SELECT d.id, d.slug, d.name, d.path, d.created, count(i.id), coalesce(sum(i.size), 0),
             (SELECT count(*) FROM captions k JOIN caption_sets s ON s.id=k.set_id AND s.active=1 AND s.dataset_id=d.id WHERE k.size>=0)
           FROM datasets d LEFT JOIN items i ON i.dataset_id=d.id WHERE (?1 IS NULL OR d.slug=?1) GROUP BY d.id ORDER BY d.slug""",
        (slug,),
    )
    return [DatasetRow(r[0], r[1], r[2], path_of(r[3]), r[4], r[5], r[7], r[6]) for r in rows]


def active_name(c: sqlite3.Connection, slug: str) -> str | None:
    """The active set of a dataset by its slug."""
    row = c.execute("SELECT id FROM datasets WHERE slug=?", (slug,)).fetchone()
    return active_set(c, row[0]) if row else None


# when a picture was last seen as it is recorded: one by one, or by the comparison of its folder that found the very file
_VERIFIED = """max(coalesce(i.verified, i.added), coalesce((SELECT max(w.scanned) FROM files f JOIN watches w ON w.name=f.watch
  WHERE f.ino=i.ino AND f.dev=i.dev AND f.size=i.size AND f.mtime_ns=i.mtime_ns AND f.present=1), 0))"""
ITEMS = f"""SELECT i.id, d.slug, i.rel, i.sha256, i.size, i.mtime_ns, i.ino, i.dev, i.format, i.width, i.height, i.orientation,
  i.dhash, i.flags, i.origin, i.added, k.text, k.source, k.captioner, {_VERIFIED}
  FROM items i JOIN datasets d ON d.id=i.dataset_id
  LEFT JOIN caption_sets s ON s.dataset_id=d.id AND s.active=1
  LEFT JOIN captions k ON k.item_id=i.id AND k.set_id=s.id AND k.size>=0"""


def items(c: sqlite3.Connection, slug: str, after: int = 0, limit: int = 100) -> list[ItemRow]:
    """Pictures of a dataset by id from behind `after`, each with its caption of the active set."""
    rows = c.execute(f"{ITEMS} WHERE d.slug=? AND i.id>? ORDER BY i.id LIMIT ?", (slug, after, limit))
    return [item_row(r) for r in rows]


def item(c: sqlite3.Connection, slug: str, rel: str) -> ItemRow | None:
    """One picture by its relative path."""
    row = c.execute(f"{ITEMS} WHERE d.slug=? AND i.rel=?", (slug, to_db(rel))).fetchone()
    return item_row(row) if row else None


def verify(c: sqlite3.Connection, items: Sequence[int], now: float) -> None:
    """These pictures lie there as they are recorded."""
    c.executemany("UPDATE items SET verified=? WHERE id=?", [(now, item) for item in items])


def sidecar(c: sqlite3.Connection, slug: str, rel: str) -> Stamp | None:
    """The stamp of the .txt that we left beside a picture, None when we left none."""
    row = c.execute(
        """SELECT k.size, k.mtime_ns, k.ino, k.dev FROM captions k JOIN items i ON i.id=k.item_id JOIN datasets d ON d.id=i.dataset_id
           WHERE d.slug=? AND i.rel=? AND k.mtime_ns<>0""",
        (slug, to_db(rel)),
    ).fetchone()
    return Stamp(*row) if row else None


def has_caption(c: sqlite3.Connection, slug: str, rel: str, name: str) -> bool:
    """Whether a picture counts as captioned for `only: missing` in a set: a text there, or in the set that will take its name."""
    other = DEFAULT_SET if takes_over(c, slug, name) else name
    row = c.execute(
        """SELECT 1 FROM captions k JOIN caption_sets s ON s.id=k.set_id JOIN items i ON i.id=k.item_id
           JOIN datasets d ON d.id=i.dataset_id WHERE d.slug=? AND i.rel=? AND s.name IN (?, ?) AND k.size>=0 LIMIT 1""",
        (slug, to_db(rel), name, other),
    ).fetchone()
    return row is not None


def item_row(v: Any) -> ItemRow:
    """A row of ITEMS."""
    columns = (v[0], v[1], from_db(v[2]), v[3], Stamp(*v[4:8]), *v[8:13], tuple(filter(None, v[13].split("\n"))), *v[14:20])
    return ItemRow(*columns)
