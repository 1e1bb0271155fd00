"""What the demo shows at its end: what became of each file and why, the captions, the links, the quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from ..rules.terms import End
from .client import Row
from .commands.common import clean, console, print_table
from .demo_checks import Told
from .demo_stage import DATASET, PLACES, Stage

WIDE = 120  # columns that the table needs
WEIGHTY = ("base=", "damage=", "condition=", "kind=")  # what evidence is about, the most telling first


def report(stage: Stage, told: Told) -> None:
    """Print it all. Paths are relative to the demo's home."""
    click.echo()
    rows = [(d.name, *_became(stage, told.file(stage.inbox / d.name))) for d in stage.drops]
    if console().width >= WIDE:
        print_table(("dropped", "is", "ended in", "by rule", "because"), rows, "nothing was dropped")
    else:
        _blocks(rows)
    click.echo(f"\ndatasets/{DATASET}/")
    for item in sorted(told.items, key=lambda row: str(row.get("rel"))):
        _picture(item)
    for target in PLACES:
        _links(stage, target)
    click.echo("\nquarantine")
    for row in told.aside:
        if row.get("place") == End.QUARANTINE:
            click.echo(clean(f"  {Path(str(row.get('path'))).name:<22} {row.get('reason')}"))


def _blocks(rows: Iterable[tuple[str, str, str, str, str]]) -> None:
    """The table where it would be too narrow to read: a block of lines for each file."""
    for name, kind, place, rule, why in rows:
        click.echo(clean(f"{name}\n  is       {kind}\n  ended    {place}\n  rule     {rule}\n  because  {why}"))


def _became(stage: Stage, row: Row) -> tuple[str, str, str, str]:
    kind = " ".join(str(row[name]) for name in ("type", "base") if row.get(name) not in (None, "unknown"))
    return kind or str(row.get("kind")), _place(stage, row), str(row.get("rule") or "none"), headline(row)


def _place(stage: Stage, row: Row) -> str:
    """Where a file ended; its own name is not said again."""
    at = Path(str(row.get("end_at")))
    if row.get("end") == End.LEFT:
        return "inbox, left where it was"
    if row.get("end") == End.DATASET:
        return f"{short(stage.home, at)}, itself in the trash"
    return short(stage.home, at.parent if at.name == row.get("name") else at)


def headline(row: Row) -> str:
    """The sentence that matters most: what was made of an archive, why a file was left, or the weightiest evidence."""
    facts = row.get("facts")
    found = facts.get("evidence") if isinstance(facts, dict) else None
    evidence: Iterable[Row] = [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []
    if row.get("end") == End.LEFT or row.get("kind") == "archive":
        return str(row.get("note") or row.get("why"))
    for says in WEIGHTY:
        said = [e for e in evidence if str(e.get("says")).startswith(says)]
        if said:
            return str(max(said, key=lambda e: float(str(e.get("weight"))))["text"])
    return str(row.get("why"))


def short(home: Path, path: Path) -> str:
    """A path below the home, with the long digest cut."""
    parts = path.relative_to(home).parts if path.is_relative_to(home) else path.parts
    return "/".join(f"{part[:8]}…" if len(part) == 64 else part for part in parts)


def _picture(item: Row) -> None:
    flags = item.get("flags")
    said = f"  [{', '.join(map(str, flags))}]" if isinstance(flags, list) and flags else ""
    source = "kept" if item.get("source") == "imported" else str(item.get("captioner"))
    console().print(clean(f"  {item.get('rel'):<24} {item.get('caption')}  ({source}){said}"), soft_wrap=True)


def _links(stage: Stage, target: str) -> None:
    app = stage.app(target)
    click.echo(f"\napps/{app.name}/")
    for path in sorted(p for p in app.rglob("*") if p.is_symlink()):
        console().print(clean(f"  {path.relative_to(app)} -> {short(stage.home, path.resolve())}"), soft_wrap=True)
