"""Caption sets: how the texts of a dataset's set shall read, who writes them, which one lies beside the pictures.

What must hold: a dataset with sets has one active set; the active set cannot be deleted; a style that is read back is the style that was
kept, and one that a newer version wrote loses only the fields that are not known here.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, fields

from ..rules.captions import Style
from .codec import dumps, loads


@dataclass(frozen=True, slots=True)
class SetRow:
    """One caption set with its counts. `pictures` is how many the dataset has; the others how many of them have a text of that source."""

    id: int
    dataset: str
    name: str
    active: bool
    captioner: str
    style: Style
    created: float | None
    pictures: int
    imported: int
    generated: int
    manual: int
    empty: int
    at: float | None  # when its newest text was written
    quality: float | None = None  # the mean of how good the pictures with a text are, 0..1, of those that were measured

    @property
    def captions(self) -> int:
        """Texts in all."""
        return self.imported + self.generated + self.manual


def listing(c: sqlite3.Connection, slug: str) -> list[SetRow]:
    """The sets of a dataset: the active one first, then by name."""
    rows = c.execute(
        """SELECT s.id, d.slug, s.name, s.active, s.captioner, s.style, s.created,
             (SELECT count(*) FROM items i WHERE i.dataset_id=d.id),
             coalesce(sum(k.source='imported'), 0), coalesce(sum(k.source='generated'), 0), coalesce(sum(k.source='manual'), 0),
             coalesce(sum(trim(k.text)=''), 0), max(k.at), avg(q.overall)
           FROM caption_sets s JOIN datasets d ON d.id=s.dataset_id LEFT JOIN captions k ON k.set_id=s.id AND k.size>=0
             LEFT JOIN items p ON p.id=k.item_id LEFT JOIN quality q ON q.sha256=p.sha256
           WHERE d.slug=? GROUP BY s.id ORDER BY s.active DESC, s.name""",
        (slug,),
    )
    return [SetRow(r[0], r[1], r[2], bool(r[3]), r[4], style(r[5]), *r[6:14]) for r in rows]


def one(c: sqlite3.Connection, slug: str, name: str) -> SetRow | None:
    """One set by its name, None when there is none."""
    return next((row for row in listing(c, slug) if row.name == name), None)


def style_of(c: sqlite3.Connection, slug: str, name: str) -> Style:
    """How the texts of a set shall read; of a set that is not there yet: nothing asked."""
    row = c.execute(
        "SELECT s.style FROM caption_sets s JOIN datasets d ON d.id=s.dataset_id WHERE d.slug=? AND s.name=?", (slug, name)
    ).fetchone()
    return style(row[0]) if row else Style()


def create(c: sqlite3.Connection, slug: str, name: str, captioner: str, wanted: Style, now: float) -> bool:
    """Make a set; False when the dataset has one of that name. Its first one is active. Raises KeyError where there is no dataset."""
    dataset_id = _dataset(c, slug)
    first = c.execute("SELECT 1 FROM caption_sets WHERE dataset_id=? AND active=1", (dataset_id,)).fetchone() is None
    made = c.execute(
        "INSERT INTO caption_sets(dataset_id, name, active, captioner, style, created) VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING",
        (dataset_id, name, int(first), captioner, written(wanted), now),
    )
    return made.rowcount == 1


def rename(c: sqlite3.Connection, set_id: int, name: str) -> bool:
    """Give a set another name; False when its dataset has one of that name."""
    return c.execute("UPDATE OR IGNORE caption_sets SET name=? WHERE id=?", (name, set_id)).rowcount == 1


def delete(c: sqlite3.Connection, set_id: int) -> bool:
    """Forget a set with its texts; False for the active one, whose texts lie beside the pictures."""
    return c.execute("DELETE FROM caption_sets WHERE id=? AND active=0", (set_id,)).rowcount == 1


def activate(c: sqlite3.Connection, slug: str, name: str) -> bool:
    """Have a set be the one that lies beside the pictures from now on; False when it is that already, or is not there."""
    dataset_id = _dataset(c, slug)
    there = c.execute("SELECT active FROM caption_sets WHERE dataset_id=? AND name=?", (dataset_id, name)).fetchone()
    if there is None or there[0]:
        return False
    c.execute(
        "UPDATE caption_sets SET active=0 WHERE dataset_id=? AND active=1", (dataset_id,)
    )  # one at a time: there is an index
    c.execute("UPDATE caption_sets SET active=1 WHERE dataset_id=? AND name=?", (dataset_id, name))
    return True


def _dataset(c: sqlite3.Connection, slug: str) -> int:
    row = c.execute("SELECT id FROM datasets WHERE slug=?", (slug,)).fetchone()
    if row is None:
        raise KeyError(slug)
    return int(row[0])


def describe(c: sqlite3.Connection, set_id: int, captioner: str, wanted: Style) -> None:
    """Keep who writes a set's texts and how they shall read."""
    c.execute("UPDATE caption_sets SET captioner=?, style=? WHERE id=?", (captioner, written(wanted), set_id))


def style(text: str) -> Style:
    """The Style of its JSON. Raises pydantic.ValidationError when the text is not one of ours."""
    return loads(Style, text)


def written(wanted: Style) -> str:
    """The JSON of a Style: the fields that ask for something."""
    asked = ((f.name, getattr(wanted, f.name)) for f in fields(wanted))
    return dumps({name: value for name, value in asked if value is False or value})
