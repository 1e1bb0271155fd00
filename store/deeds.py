"""Deeds: what an action changed in the store, kept with its line of history, and how an undo makes it unsaid.

What must hold: `before` is asked in the transaction that records the action, before anything of it is written; `take_back` runs in the
transaction that records the undo, so that a file is never both taken in and given back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ..rules.terms import Back, End, Job, Move, Outcome, Stamp, TakenBack
from . import files, history, jobs, links, models, placed
from .codec import dumps, from_db, loads, path_of, printable, to_db
from .rows import AsideRow, Deed, DeedRow

REVERSIBLE = frozenset(
    {"unpack", "dataset", "store", "adopt", "deploy", "move", "copy", "tag", "quarantine", "trash"}
)  # verbs of actions that undo knows
_COLUMNS = "id, at, path, verb, file_id, sha256, note, undo, did, undone"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a dataset with the text of the active set, as we left both. `source` is None where it has no text."""

    rel: str
    stamp: Stamp
    source: str | None = None
    text: Stamp | None = None


# ---------------------------------------------------------------- keeping


def before(c: sqlite3.Connection, verb: str, o: Outcome, path: Path | None, file_id: int | None) -> Deed | None:
    """What undo must know of an Outcome that is about to be recorded; None for one that cannot be reversed."""
    if verb not in REVERSIBLE:
        return None
    deed = Deed(
        tuple(_came(c, [m.sha256 for m in o.models if m.in_hub])),
        tuple((m.sha256, path or m.blob) for m in o.models if not _has_origin(c, m.sha256, path or m.blob)),
        tuple((sha, wanted(c, sha), wanted_then(c, sha, o.targets)) for sha in o.deploy),
        tuple((item.dataset, item.rel) for item in o.items),
        tuple(sorted(set(o.tags) - _tags(c, file_id))),
        o.adopted,
    )
    return deed if o.undo or deed != Deed() else None


def _came(c: sqlite3.Connection, sha256s: Collection[str]) -> list[tuple[str, Path | None]]:
    """Those contents that the hub does not keep yet, and where a library has them."""
    found: list[tuple[str, Path | None]] = []
    for sha256 in sha256s:
        row = c.execute("SELECT in_hub, blob FROM models WHERE sha256=?", (sha256,)).fetchone()
        if row is None or not row[0]:
            found.append((sha256, None if row is None else path_of(row[1])))
    return found


def _has_origin(c: sqlite3.Connection, sha256: str, origin: Path) -> bool:
    row = c.execute("SELECT 1 FROM model_names WHERE sha256=? AND origin=?", (sha256, to_db(origin))).fetchone()
    return row is not None


def wanted(c: sqlite3.Connection, sha256: str) -> str | None:
    """Who wants a model: None, '*' or names of targets."""
    row = c.execute("SELECT wanted FROM models WHERE sha256=?", (sha256,)).fetchone()
    return row[0] if row else None


def rewanted(c: sqlite3.Connection, deed: Deed) -> list[str]:
    """The SHA-256 of models that this deed made wanted (or unwanted), and about which that was said anew since."""
    return [sha for sha, _, after in deed.wanted if wanted(c, sha) != after]


def wanted_then(c: sqlite3.Connection, sha256: str, targets: Collection[str]) -> str:
    """Who wants a model once these targets (all when none is named) want it too."""
    return links.wanted_after(wanted(c, sha256), targets, True, ()) or models.EVERYWHERE


def _tags(c: sqlite3.Connection, file_id: int | None) -> set[str]:
    row = c.execute("SELECT tags FROM files WHERE id=?", (file_id,)).fetchone()
    return set(filter(None, row[0].split(","))) if row else set()


# ---------------------------------------------------------------- questions


def get(c: sqlite3.Connection, line: int) -> DeedRow | None:
    """A line of history as undo reads it, or None."""
    row = c.execute(f"SELECT {_COLUMNS} FROM history WHERE id=?", (line,)).fetchone()
    return _row(row) if row else None


def _row(v: tuple[object, ...]) -> DeedRow:
    moves = loads(tuple[Move, ...], str(v[7])) if v[7] else ()
    deed = loads(Deed, str(v[8])) if v[8] else None
    path = None if v[2] is None else path_of(v[2])  # type: ignore[arg-type]
    return DeedRow(v[0], v[1], path, str(v[3] or ""), v[4], v[5], str(v[6]), moves, deed, v[9])  # type: ignore[arg-type]


def later(c: sqlite3.Connection, line: DeedRow) -> list[DeedRow]:
    """Deeds behind a line that stand, newest first: on the same file, and on what it put elsewhere."""
    stands = "id>? AND did IS NOT NULL AND undone IS NULL ORDER BY id DESC"
    rows = c.execute(f"SELECT {_COLUMNS} FROM history WHERE file_id=? AND {stands}", (line.file_id, line.id)).fetchall()
    if line.verb in ("move", "copy"):
        for move in line.moves:
            rows += c.execute(f"SELECT {_COLUMNS} FROM history WHERE path=? AND {stands}", (to_db(move.src), line.id)).fetchall()
    return sorted({row.id: row for row in map(_row, rows)}.values(), key=lambda row: row.id, reverse=True)


def counting_on(c: sqlite3.Connection, line: DeedRow, sha256: str) -> list[DeedRow]:
    """Deeds that count on the hub keeping a content, but for a line itself: other files that were taken as this very content."""
    rows = c.execute(
        f"""SELECT {_COLUMNS} FROM history WHERE sha256=? AND id<>? AND verb IN ('store','adopt') AND did IS NOT NULL
              AND undone IS NULL ORDER BY id DESC""",
        (sha256, line.id),
    )
    return [_row(r) for r in rows]


def kept(c: sqlite3.Connection, sha256s: Collection[str]) -> set[str]:
    """Those of these contents that the hub keeps."""
    rows = c.execute(
        "SELECT sha256 FROM models WHERE in_hub AND sha256 IN (SELECT value FROM json_each(?))", (dumps([*sha256s]),)
    )
    return {r[0] for r in rows}


def rewanting(c: sqlite3.Connection, line: DeedRow, sha256s: Collection[str]) -> int | None:
    """The newest line behind this one that changed who wants one of these models and still stands, as far as one is known."""
    among = set(sha256s)
    rows = c.execute(
        f"""SELECT {_COLUMNS} FROM history WHERE id>? AND did IS NOT NULL AND undone IS NULL AND verb IN ('deploy','undeploy')
            ORDER BY id DESC LIMIT 1000""",
        (line.id,),
    )
    return next((r.id for r in map(_row, rows) if r.deed is not None and any(sha in among for sha, _, _ in r.deed.wanted)), None)


def pictures(c: sqlite3.Connection, slug: str, rels: Collection[str]) -> dict[str, Picture]:
    """Of these pictures of a dataset, those that are still recorded, by their path in it."""
    rows = c.execute(
        """SELECT i.rel, i.size, i.mtime_ns, i.ino, i.dev, k.source, k.size, k.mtime_ns, k.ino, k.dev
           FROM items i JOIN datasets d ON d.id=i.dataset_id
           LEFT JOIN caption_sets s ON s.dataset_id=d.id AND s.active=1
           LEFT JOIN captions k ON k.item_id=i.id AND k.set_id=s.id WHERE d.slug=?""",
        (slug,),
    )
    asked = set(rels)
    found: dict[str, Picture] = {}
    for r in rows:
        rel = from_db(r[0])
        if rel in asked:
            found[rel] = Picture(rel, Stamp(*r[1:5]), r[5], None if r[5] is None else Stamp(*r[6:10]))
    return found


def aside_at(c: sqlite3.Connection, path: Path) -> AsideRow | None:
    """What is or was kept aside at a path."""
    return _aside(c, "path=?", to_db(path))


def aside(c: sqlite3.Connection, aside_id: int) -> AsideRow | None:
    """One thing that is or was kept aside."""
    return _aside(c, "id=?", aside_id)


def _aside(c: sqlite3.Connection, where: str, value: object) -> AsideRow | None:
    row = c.execute(
        f"SELECT id, place, path, original, reason, at, until, state FROM aside WHERE {where} ORDER BY id DESC LIMIT 1", (value,)
    ).fetchone()
    return AsideRow(row[0], row[1], path_of(row[2]), path_of(row[3]), *row[4:8]) if row else None


def beside(c: sqlite3.Connection, row: AsideRow) -> list[AsideRow]:
    """What is kept aside with it: the companions of the unit that it was the lead of, put aside in one go."""
    unit = files.at(c, row.original)
    paths = {r.path for r in files.unit(c, unit.id)} if unit is not None and unit.lead is None else set()
    return [r for r in history.kept_aside(c, row.place) if r.path.parent == row.path.parent and r.original in paths and r != row]


def busy(c: sqlite3.Connection, file_id: int) -> bool:
    """Whether a job of a file is open; one that only tells somebody of it does not count."""
    row = c.execute(
        """SELECT 1 FROM jobs WHERE state IN ('queued','running','paused') AND lane<>'net' AND json_extract(payload, '$.file')=? LIMIT 1""",
        (file_id,),
    ).fetchone()
    return row is not None


# ---------------------------------------------------------------- taking back


def want_again(c: sqlite3.Connection, rewanted: Collection[links.Rewanted]) -> None:
    """Who wants these models, as it was; not of one for which that was changed since."""
    c.executemany("UPDATE models SET wanted=? WHERE sha256=? AND wanted IS ?", [(was, sha, now) for sha, was, now in rewanted])


def take_back(c: sqlite3.Connection, t: TakenBack, note: str, line: int | None, now: float) -> None:
    """Write what an undo or a restore made untrue; `line` is its own line of history."""
    undone = get(c, t.line) if t.line is not None else None
    for back in t.back:
        _come_back(c, back, note, now)
    for slug, rel in t.items:
        c.execute("DELETE FROM items WHERE rel=? AND dataset_id=(SELECT id FROM datasets WHERE slug=?)", (to_db(rel), slug))
    c.executemany("DELETE FROM datasets WHERE slug=?", [(slug,) for slug in t.datasets])
    for sha256, origin in t.origins:
        c.execute("DELETE FROM model_names WHERE sha256=? AND origin=?", (sha256, to_db(origin)))
    for sha256, tracked in t.models:
        _leave_hub(c, sha256, tracked)
    for at in t.adopted:
        links.leave_place(c, at)
    if t.tags and undone is not None and undone.file_id is not None:
        left = _tags(c, undone.file_id) - set(t.tags)
        c.execute("UPDATE files SET tags=? WHERE id=?", (",".join(sorted(left)), undone.file_id))
    if undone is not None and undone.verb in ("move", "copy"):
        _leave_places(c, undone, note, now)
    if undone is not None and undone.deed is not None:
        want_again(c, undone.deed.wanted)
        if undone.deed.switched is not None:
            links.switch_back(c, undone.deed.switched)
    for aside_id in t.aside:
        history.set_aside_state(c, aside_id, "restored")
    if t.line is not None:
        c.execute("UPDATE history SET undone=? WHERE id=?", (line, t.line))
        _orders_end(c, t.line, {sha256 for sha256, _ in t.models}, line)


def _leave_places(c: sqlite3.Connection, undone: DeedRow, note: str, now: float) -> None:
    """What a `move` or `copy` put somewhere is not there any more; a library's model is tracked where it lies again."""
    end = End.MOVED if undone.verb == "move" else End.TRASH
    for move in undone.moves:
        placed.taken_back(c, move, end, note, now)
        if end is End.MOVED:
            c.execute("UPDATE models SET blob=? WHERE blob=? AND in_hub=0", (to_db(move.dst), to_db(move.src)))


def _orders_end(c: sqlite3.Connection, behind: int, left: Collection[str], line: int | None) -> None:
    """What was ordered since of models that leave the hub is undone with them: later deploy lines about nothing but these."""
    if not left:
        return
    rows = c.execute(
        f"""SELECT {_COLUMNS} FROM history WHERE id>? AND verb IN ('deploy','undeploy') AND did IS NOT NULL AND undone IS NULL""",
        (behind,),
    )
    ended = [
        r.id
        for r in map(_row, rows)
        if r.deed is not None and r.deed.wanted and {sha for sha, _, _ in r.deed.wanted} <= set(left)
    ]
    c.executemany("UPDATE history SET undone=? WHERE id=?", [(line, order) for order in ended])


def _leave_hub(c: sqlite3.Connection, sha256: str, tracked: Path | None) -> None:
    if tracked is None:
        c.execute("DELETE FROM models WHERE sha256=?", (sha256,))
    else:
        c.execute("UPDATE models SET in_hub=0, blob=?, wanted=NULL, blob_state='ok' WHERE sha256=?", (to_db(tracked), sha256))


def _come_back(c: sqlite3.Connection, back: Back, note: str, now: float) -> None:
    """A path lies again where it came from: its row is present, held, and known by its stamp, or by none so that it is looked at."""
    folder, name = files.place(back.path)
    mtime = -1 if back.decide else back.stamp.mtime_ns
    values = (back.stamp.size, mtime, back.stamp.ino, back.stamp.dev, to_db(back.path), printable(note), now)
    row = c.execute(
        "SELECT id FROM files WHERE watch=? AND folder=? AND name=? ORDER BY present DESC, id DESC LIMIT 1",
        (back.watch, folder, name),
    ).fetchone()
    if row is None:
        c.execute(
            """INSERT INTO files(size, mtime_ns, ino, dev, end_at, note, last_seen, first_seen, watch, folder, name, state, end_kind)
               VALUES (?,?,?,?,?,?,?,?,?,?,?,'held','held')""",
            (*values, now, back.watch, folder, name),
        )
        return
    change = "present=1, state='held', end_kind='held', last_seen=?"
    c.execute(f"UPDATE files SET size=?, mtime_ns=?, ino=?, dev=?, end_at=?, note=?, {change} WHERE id=?", (*values, row[0]))
    inside = c.execute("SELECT id, folder, name FROM files WHERE lead=? AND present=0", (row[0],)).fetchall()
    for file_id, where, what in inside:  # a folder that is one model comes back whole
        path = path_of(where) / path_of(what)
        if back.path in path.parents:
            c.execute(f"UPDATE files SET end_at=?, note=?, {change} WHERE id=?", (to_db(path), printable(note), now, file_id))


def forget_ends(c: sqlite3.Connection, watch: str | None) -> int:
    """Have everything looked at anew that is held, left, failed or was put there by us in a watch (in all when None); how many files."""
    done = c.execute(
        """UPDATE files SET mtime_ns=-1 WHERE present=1 AND NOT (size=0 AND mtime_ns=0)
           AND (state IN ('held','left','failed') OR (state='done' AND end_kind='left'))
           AND (?1 IS NULL OR watch=?1)""",
        (watch,),
    )
    return done.rowcount


def newest(c: sqlite3.Connection, file_id: int) -> DeedRow | None:
    """The last deed on a file that still stands."""
    row = c.execute(
        f"SELECT {_COLUMNS} FROM history WHERE file_id=? AND did IS NOT NULL AND undone IS NULL ORDER BY id DESC LIMIT 1",
        (file_id,),
    ).fetchone()
    return _row(row) if row else None


def newest_job(c: sqlite3.Connection, file_id: int) -> Job | None:
    """The last job about a file."""
    row = c.execute(
        f"SELECT {jobs.COLUMNS} FROM jobs WHERE json_extract(payload, '$.file')=? ORDER BY id DESC LIMIT 1", (file_id,)
    ).fetchone()
    return jobs.job_row(row) if row else None
