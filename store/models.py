"""Models by content, their names, and the user's overrides."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..rules.terms import Facts, Model, ModelFacts, Verdict
from .codec import dumps, printable, to_db
from .rows import FILE_COLUMNS, MODEL_COLUMNS, FileRow, ModelRow, file_row, model_row
from .standing import LISTED, State, standings

EVERYWHERE = "*"
SORTS = {  # word -> column, how the next page is told from this one, order: those a person looks for come first
    "added": ("id", ">", "ASC"),
    "name": ("lower(name)", ">", "ASC"),
    "type": ("type", ">", "ASC"),
    "base": ("base", ">", "ASC"),
    "confidence": ("confidence", ">", "ASC"),
    "size": ("size", "<", "DESC"),
}


def keep(c: sqlite3.Connection, model: Model, origin: Path, now: float) -> None:
    """Record a model by its SHA-256. A content known already gains a name; a library copy never displaces the hub's.

    The hub's own blob is displaced only by the hub's new one (the old was deleted by hand, and the content came again)."""
    f = model.facts.model or ModelFacts(container="unknown")
    c.execute(
        """INSERT INTO models(sha256, xxh3, size, name, blob, in_hub, folder, type, base, variant, subfamily, precision,
             lora_format, confidence, condition, reason, facts, added) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
           ON CONFLICT(sha256) DO UPDATE SET blob=excluded.blob, in_hub=excluded.in_hub, name=excluded.name, facts=excluded.facts,
             blob_size=NULL, blob_mtime_ns=NULL, blob_ino=NULL, blob_state='ok', successor=NULL
             WHERE excluded.in_hub >= models.in_hub AND (excluded.blob <> models.blob OR models.blob_state <> 'ok')""",
        (
            model.sha256, model.xxh3, model.size, printable(model.name), to_db(model.blob), model.in_hub, model.folder,
            f.type, f.base, f.variant, f.subfamily, f.precision, f.lora_format, f.confidence,
            model.facts.condition, model.facts.reason, dumps(model.facts), now,
        ),
    )  # fmt: skip
    c.execute("INSERT OR IGNORE INTO model_names VALUES (?,?,?,?)", (model.sha256, printable(model.name), to_db(origin), now))


def want(c: sqlite3.Connection, sha256: str, targets: str = EVERYWHERE) -> None:
    """Mark a model as wanted by targets ('*' or comma separated names). The projection makes the links."""
    c.execute("UPDATE models SET wanted=? WHERE sha256=?", (targets, sha256))


def get(c: sqlite3.Connection, sha256: str) -> ModelRow | None:
    """One model by its full SHA-256."""
    row = c.execute(f"SELECT {MODEL_COLUMNS} FROM models WHERE sha256=?", (sha256,)).fetchone()
    return model_row(row) if row else None


def find(c: sqlite3.Connection, text: str) -> list[ModelRow]:
    """Models by the start of their SHA-256 (6 digits or more), or by exact name.

    Of several of a name those that are gone do not count, so that a file that was overwritten is still meant by its name.
    """
    prefix = text.lower() if len(text) >= 6 and set(text.lower()) <= set("0123456789abcdef") else None
    rows = c.execute(
        f"""SELECT {MODEL_COLUMNS} FROM models WHERE sha256 GLOB ? OR sha256 IN (SELECT sha256 FROM model_names WHERE name=?)
            ORDER BY id""",
        (f"{prefix}*" if prefix else "", text),
    )
    found = [model_row(r) for r in rows]
    if len(found) < 2 or prefix:
        return found
    stand = standings(c, [r.sha256 for r in found])
    return [r for r in found if stand[r.sha256].state not in (State.GONE, State.REPLACED)] or found


def listing(
    c: sqlite3.Connection,
    *,
    type: str | None = None,
    base: str | None = None,
    name: str | None = None,
    below: float | None = None,
    sort: str = "added",
    after: int = 0,
    limit: int = 100,
) -> list[ModelRow]:
    """Models in the order of `sort` (one of SORTS) from behind the model of the id `after`; 0 begins. Those without a file are left out.

    `name` matches a part of the name; `below` asks for those less sure than that, 0 to 1.
    """
    column, sign, way = SORTS[sort]
    where, more = [LISTED], list[object]()
    if after:
        where += ["id > ?"] if column == "id" else [f"({column}, id) {sign} (SELECT {column}, id FROM models WHERE id = ?)"]
        more.append(after)
    for axis, value in (("type", type), ("base", base)):
        if value:
            where.append(f"{axis} = ?")
            more.append(value)
    if name:
        where.append("instr(lower(name), lower(?))")
        more.append(name)
    if below is not None:
        where.append("confidence < ?")
        more.append(below)
    order = f"{column} {way}, id {way}" if column != "id" else "id"
    rows = c.execute(f"SELECT {MODEL_COLUMNS} FROM models WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?", (*more, limit))
    return [model_row(r) for r in rows]


def names(c: sqlite3.Connection, sha256: str) -> list[str]:
    """Every name a content was dropped under, oldest first."""
    return [r[0] for r in c.execute("SELECT name FROM model_names WHERE sha256=? ORDER BY added, name", (sha256,))]


def deployable(c: sqlite3.Connection) -> list[ModelRow]:
    """The models that targets want."""
    return [model_row(r) for r in c.execute(f"SELECT {MODEL_COLUMNS} FROM models WHERE wanted IS NOT NULL ORDER BY id")]


def has_base(c: sqlite3.Connection, base: str) -> bool:
    """Whether any model has this base, or a person gave it to one."""
    asked = "SELECT 1 FROM overrides WHERE base=?1 UNION ALL SELECT 1 FROM models WHERE base=?1 LIMIT 1"
    return c.execute(asked, (base,)).fetchone() is not None


def word_of(c: sqlite3.Connection, sha256: str) -> tuple[str | None, str | None]:
    """The user's word on a content: type and base, None where nothing was said."""
    row = c.execute("SELECT type, base FROM overrides WHERE sha256=?", (sha256,)).fetchone()
    return (row[0], row[1]) if row else (None, None)


def override(c: sqlite3.Connection, sha256: str, type: str | None, base: str | None, now: float) -> None:
    """Keep the user's word on a content's type and base; it wins from now on."""
    c.execute(
        """INSERT INTO overrides VALUES (?,?,?,?) ON CONFLICT(sha256) DO UPDATE SET
           type=coalesce(excluded.type, type), base=coalesce(excluded.base, base), at=excluded.at""",
        (sha256, type, base, now),
    )
    c.execute(
        """UPDATE models SET type=coalesce(?, type), base=coalesce(?, base), confidence=CASE WHEN ?1 IS NOT NULL AND ?2 IS NOT NULL
           THEN 1.0 ELSE confidence END WHERE sha256=?3""",
        (type, base, sha256),
    )


def redescribe(c: sqlite3.Connection, sha256: str, facts: Facts) -> None:
    """What a content is by the present rules, a person's word included. Whether it is wanted, and where it lies, stays."""
    f = facts.model or ModelFacts(container="unknown")
    c.execute(
        """UPDATE models SET type=?, base=?, variant=?, subfamily=?, precision=?, lora_format=?, confidence=?, condition=?, reason=?,
             facts=? WHERE sha256=?""",
        (
            f.type, f.base, f.variant, f.subfamily, f.precision, f.lora_format, f.confidence, facts.condition, facts.reason,
            dumps(facts), sha256,
        ),
    )  # fmt: skip


def redescribe_file(c: sqlite3.Connection, file_id: int, facts: Facts, verdict: Verdict | None) -> None:
    """The same of one file's row; with a verdict also which rule takes it now, and why."""
    f = facts.model or ModelFacts(container="unknown")
    c.execute(
        "UPDATE files SET type=?, base=?, confidence=?, condition=?, reason=?, facts=? WHERE id=?",
        (f.type, f.base, f.confidence, facts.condition, facts.reason and printable(facts.reason), dumps(facts), file_id),
    )
    if verdict is not None:
        c.execute("UPDATE files SET rule=?, why=? WHERE id=?", (verdict.rule, printable(verdict.why), file_id))


def units_of(c: sqlite3.Connection, sha256: str) -> list[FileRow]:
    """Every unit that has, or had, this content: what lies there, and what was taken from there and is held."""
    rows = c.execute(
        f"SELECT {FILE_COLUMNS} FROM files WHERE sha256=? AND lead IS NULL AND (present=1 OR state='held') ORDER BY id", (sha256,)
    )
    return [file_row(r) for r in rows]
