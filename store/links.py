"""The links that targets have of models, who wants which model, and the switches of targets.

What must hold: every question about one model is answered from an index, so that a change costs the same among a hundred and among
a hundred thousand; a link is recorded before it is made, so that a crash cannot leave one that we do not own.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .codec import path_of, printable, to_db
from .models import EVERYWHERE
from .rows import LINK_COLUMNS, MODEL_COLUMNS, LinkRow, ModelRow, Switched, link_row, model_row

PROBLEMS = ("missing", "broken", "adoptable", "conflict", "foreign")  # states that a person may want to do something about
Rewanted = tuple[str, str | None, str | None]  # SHA-256, who wanted a model before, and after
_AMONG = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Stock:
    """All that the store knows of some models for their links: the wanted ones, every recorded link of any, adopted places."""

    models: list[ModelRow]
    links: list[LinkRow]
    adopted: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True, slots=True)
class PastName:
    """The name a model had in a target that has no link of it now: `tail` is its place below the scope of `type`'s folder."""

    target: str
    sha256: str
    type: str
    tail: Path
    identity: str


def stock(c: sqlite3.Connection, sha256s: Collection[str]) -> Stock:
    """What is known of these models. A model is among `models` when targets want it or a place of it was adopted."""
    among = json.dumps(sorted(sha256s))
    adopted: dict[str, tuple[Path, ...]] = {}
    for at, sha256 in c.execute(f"SELECT at, sha256 FROM adopted WHERE sha256 {_AMONG} ORDER BY at", (among,)):
        adopted[sha256] = (*adopted.get(sha256, ()), path_of(at))
    rows = map(model_row, c.execute(f"SELECT {MODEL_COLUMNS} FROM models WHERE sha256 {_AMONG} ORDER BY id", (among,)))
    wanted = [row for row in rows if row.wanted is not None or row.sha256 in adopted]
    links = c.execute(f"SELECT {LINK_COLUMNS} FROM links WHERE sha256 {_AMONG} ORDER BY target, at", (among,))
    return Stock(wanted, [link_row(r) for r in links], adopted)


def everyone(c: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, str]]:
    """(id, SHA-256) of models from behind an id, oldest first."""
    rows = c.execute("SELECT id, sha256 FROM models WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return [(r[0], r[1]) for r in rows]


def strays(c: sqlite3.Connection) -> list[str]:
    """SHA-256 of links whose model is no longer recorded."""
    return [r[0] for r in c.execute("SELECT DISTINCT sha256 FROM links WHERE sha256 NOT IN (SELECT sha256 FROM models)")]


def kin(c: sqlite3.Connection) -> list[str]:
    """Wanted GGUF text encoders and vision halves: the name of one may depend on another."""
    rows = c.execute(
        """SELECT sha256 FROM models WHERE type IN ('text_encoder', 'mmproj', 'llm') AND wanted IS NOT NULL
             AND lower(name) LIKE '%.gguf'"""
    )
    return [r[0] for r in rows]


def taken(
    c: sqlite3.Connection, claims: Iterable[tuple[str, Path, str]], but: Collection[str]
) -> frozenset[tuple[str, Path, str]]:
    """Of (target, scope, identity), those that links of models have which are not among `but`."""
    found = set()
    for claim in claims:
        rows = c.execute(
            "SELECT sha256 FROM links WHERE target=? AND scope=? AND identity=?", (claim[0], to_db(claim[1]), printable(claim[2]))
        )
        if any(sha256 not in but for (sha256,) in rows):
            found.add(claim)
    return frozenset(found)


def past_name(row: LinkRow) -> PastName | None:
    """The name that a recorded link has; None of one that claims none."""
    if row.scope is None or row.identity is None:
        return None
    return PastName(row.target, row.sha256, row.type, row.at.relative_to(row.scope), row.identity)


def past_names(c: sqlite3.Connection, sha256s: Collection[str]) -> list[PastName]:
    """The names that these models had where they have no link now."""
    rows = c.execute(
        f"SELECT target, sha256, type, tail, identity FROM past_names WHERE sha256 {_AMONG} ORDER BY target, sha256",
        (json.dumps(sorted(sha256s)),),
    )
    return [PastName(r[0], r[1], r[2], path_of(r[3]), r[4]) for r in rows]


def promised(
    c: sqlite3.Connection, claims: Iterable[tuple[str, Collection[str], str]], but: Collection[str]
) -> frozenset[tuple[str, str]]:
    """Of (target, types, identity), the (target, identity) that a model not among `but` had as such a type and gets again: a target
    that was off for a while, and still wants it, has not yet made its link."""
    found: set[tuple[str, str]] = set()
    if c.execute("SELECT 1 FROM past_names LIMIT 1").fetchone() is None:  # as it mostly is
        return frozenset()
    for target, types, identity in claims:
        rows = c.execute(
            f"""SELECT p.sha256 FROM past_names p JOIN models m ON m.sha256 = p.sha256 WHERE p.target=?1 AND p.identity=?2
                  AND p.type IN (SELECT value FROM json_each(?3))
                  AND (m.wanted='{EVERYWHERE}' OR instr(','||m.wanted||',', ','||?1||','))""",
            (target, printable(identity), json.dumps(sorted(types))),
        )
        if any(sha256 not in but for (sha256,) in rows):
            found.add((target, identity))
    return frozenset(found)


def named(c: sqlite3.Connection, names: Iterable[str]) -> dict[str, str]:
    """Of these names, those that a model of the hub has, with its SHA-256."""
    rows = c.execute(f"SELECT name, sha256 FROM models WHERE name {_AMONG} AND in_hub", (json.dumps(sorted(names)),))
    return {r[0]: r[1] for r in rows}


# ---------------------------------------------------------------- links


def listing(
    c: sqlite3.Connection,
    *,
    target: str | None = None,
    sha256: str | None = None,
    state: str | None = None,
    problems: bool = False,
    after: int = 0,
    limit: int = -1,
) -> list[LinkRow]:
    """Links in order of target and place, from behind the first `after`; `problems`: only what wants a person's attention."""
    bad = ",".join(f"'{word}'" for word in PROBLEMS)
    rows = c.execute(
        f"""SELECT {LINK_COLUMNS} FROM links WHERE (?1 IS NULL OR target=?1) AND (?2 IS NULL OR sha256=?2)
              AND (?3 IS NULL OR state=?3) AND (NOT ?4 OR state IN ({bad}) OR note<>'') ORDER BY target, at LIMIT ?5 OFFSET ?6""",
        (target, sha256, state, problems, limit, after),
    )
    return [link_row(r) for r in rows]


def summary(c: sqlite3.Connection, target: str | None = None, sha256: str | None = None) -> dict[str, dict[str, int]]:
    """How many links each target has in each state."""
    counts: dict[str, dict[str, int]] = {}
    rows = c.execute(
        """SELECT target, state, count(*) FROM links WHERE (?1 IS NULL OR target=?1) AND (?2 IS NULL OR sha256=?2)
           GROUP BY target, state""",
        (target, sha256),
    )
    for name, state, n in rows:
        counts.setdefault(name, {})[state] = n
    return counts


def put(c: sqlite3.Connection, rows: Iterable[LinkRow]) -> None:
    """Write link rows as they stand now."""
    rows = list(rows)
    marks = ",".join("?" * len(LINK_COLUMNS.split(",")))
    c.executemany(f"INSERT OR REPLACE INTO links({LINK_COLUMNS}) VALUES ({marks})", [_columns(r) for r in rows])
    named = {(r.target, r.sha256) for r in rows if r.identity is not None}
    c.executemany("DELETE FROM past_names WHERE target=? AND sha256=?", sorted(named))


def _columns(r: LinkRow) -> tuple[object, ...]:
    stamp = (None,) * 4 if r.stamp is None else (r.stamp.size, r.stamp.mtime_ns, r.stamp.ino, r.stamp.dev)
    return (
        to_db(r.at), r.target, r.type, to_db(r.points_to), r.sha256, r.state, int(r.ours), r.method, r.made, printable(r.note),
        None if r.scope is None else to_db(r.scope), None if r.identity is None else printable(r.identity), *stamp,
    )  # fmt: skip


def drop(c: sqlite3.Connection, paths: Iterable[Path]) -> None:
    """Forget links that no longer stand and are no longer wanted; the names by which they were known are remembered."""
    paths = list(paths)
    for path in paths:
        row = c.execute(f"SELECT {LINK_COLUMNS} FROM links WHERE at=?", (to_db(path),)).fetchone()
        past = past_name(link_row(row)) if row is not None else None
        if past is not None:
            values = (past.target, past.sha256, past.type, to_db(past.tail), past.identity)
            c.execute("INSERT OR REPLACE INTO past_names VALUES (?,?,?,?,?)", values)
    c.executemany("DELETE FROM links WHERE at=?", [(to_db(p),) for p in paths])


# ---------------------------------------------------------------- who wants what


def wanted_after(now: str | None, targets: Collection[str], on: bool, known: Sequence[str]) -> str | None:
    """The `wanted` of a model after it was deployed to (or undeployed from) these targets; none named means all.

    `known` are the targets of the configuration: "everywhere but here" becomes the names of the others.
    """
    if not targets:
        return EVERYWHERE if on else None
    have = set(known) if now == EVERYWHERE else set(filter(None, (now or "").split(",")))
    if on and now == EVERYWHERE:
        return EVERYWHERE
    return ",".join(sorted(have | set(targets) if on else have - set(targets))) or None


def deploy(c: sqlite3.Connection, sha256: str | None, targets: Collection[str], on: bool, known: Sequence[str]) -> list[Rewanted]:
    """Deploy or undeploy one model of the hub, or all; what that changed: (SHA-256, who wanted it before, and after)."""
    rows = c.execute(
        "SELECT sha256, wanted FROM models WHERE in_hub AND blob_state<>'replaced' AND (?1 IS NULL OR sha256=?1)", (sha256,)
    )
    changed = [(sha, now, after) for sha, now in rows if (after := wanted_after(now, targets, on, known)) != now]
    c.executemany("UPDATE models SET wanted=? WHERE sha256=?", [(after, sha) for sha, _, after in changed])
    return changed


def adopt_place(c: sqlite3.Connection, sha256: str, at: Path) -> None:
    """A link of this model is wanted at this very place from now on."""
    c.execute("INSERT OR REPLACE INTO adopted VALUES (?,?)", (to_db(at), sha256))


def leave_place(c: sqlite3.Connection, at: Path) -> None:
    """No link is wanted at (or, of a folder, below) an adopted place any more, and what stands there is not ours."""
    c.execute("DELETE FROM adopted WHERE at=?", (to_db(at),))
    drop(c, [at])
    below = os.fspath(at) + os.sep
    c.execute("DELETE FROM links WHERE at>=? AND at<?", (to_db(below), to_db(below[:-1] + chr(ord(os.sep) + 1))))


# ---------------------------------------------------------------- switches


def switch(c: sqlite3.Connection, name: str, enabled: bool, configured: bool) -> Switched:
    """Switch a target on or off, against what the configuration says at this time (`configured`); what that changed."""
    was = switches(c).get(name)
    c.execute("INSERT OR REPLACE INTO target_switches VALUES (?,?,?)", (name, enabled, configured))
    return Switched(name, enabled, configured, was)


def switch_back(c: sqlite3.Connection, s: Switched) -> None:
    """The switch of a target as it was, unless it was switched again since."""
    if switches(c).get(s.target) != (s.enabled, s.configured):
        return
    if s.was is None:
        c.execute("DELETE FROM target_switches WHERE name=?", (s.target,))
    else:
        c.execute("UPDATE target_switches SET enabled=?, configured=? WHERE name=?", (*s.was, s.target))


def switches(c: sqlite3.Connection) -> dict[str, tuple[bool, bool]]:
    """Target -> (enabled, what the configuration said when it was switched)."""
    return {r[0]: (bool(r[1]), bool(r[2])) for r in c.execute("SELECT name, enabled, configured FROM target_switches")}
