"""Between links as the rules speak of them and rows as the store keeps them: what to write after a plan was carried out.

What must hold: only rows that differ from what is recorded are written; a link that could not be removed stays ours; a conflict gets a
line of history when it begins, not every time it is looked at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..handlers.links import Applied, Did
from ..rules.deployment import COMPANION, Deployable, Unmapped, Wanted
from ..rules.linkplan import Made, Method, Plan
from ..rules.terms import Link, LinkState
from ..store.history import Happening
from ..store.models import EVERYWHERE
from ..store.rows import LinkRow, ModelRow


def deployable(row: ModelRow, adopted: tuple[Path, ...] = ()) -> Deployable:
    """A model as the rules want it; lists the folder of its blob. Files of a folder, and companions, are those that lie there now."""
    targets = None if row.wanted == EVERYWHERE else frozenset(filter(None, (row.wanted or "").split(",")))
    home = row.blob.parent
    beside: tuple[Path, ...] = ()
    files: tuple[str, ...] = ()
    try:
        if row.in_hub:
            beside = tuple(sorted(p for p in home.iterdir() if p != row.blob and p.is_file()))
        if row.folder:
            files = tuple(sorted(p.relative_to(row.blob).as_posix() for p in row.blob.rglob("*") if p.is_file()))
    except OSError:  # the hub's disk is away: the links are left alone, for a blob that is not there is told as broken
        beside = ()
    return Deployable(
        row.sha256, row.name, row.type, row.base, row.blob, targets, beside, files, row.variant, _roles(row), adopted
    )  # fmt: skip


def _roles(row: ModelRow) -> tuple[str, ...]:
    """What else it can serve as; not where a person said what it is."""
    facts = json.loads(row.facts)
    model = facts.get("model") if isinstance(facts, dict) else None
    roles = model.get("roles") if isinstance(model, dict) else None
    found = tuple(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else ()
    return found if row.type in found else ()


def link_of(row: LinkRow) -> Link:
    """The link of a recorded row."""
    return Link(row.target, row.type, row.at, row.points_to, row.sha256)


def made_of(row: LinkRow) -> Made:
    """What we made, of a row that is ours."""
    return Made(link_of(row), Method(row.method), row.stamp)


class Ledger:
    """The rows before, and what is to be written: `rows`, `gone` (places to forget) and `lines` of history."""

    def __init__(self, before: Sequence[LinkRow], aims: Wanted) -> None:
        self._before = {row.at: row for row in before}
        self._aims = aims
        self._after: dict[Path, LinkRow] = {}
        self._written = dict(self._before)
        self.rows: list[LinkRow] = []
        self.gone: list[Path] = []
        self.lines: list[Happening] = []

    def coming(self, link: Link) -> LinkRow:
        """The row of a link that is about to be made: ours already."""
        row = self._written[link.at] = self._row(link, LinkState.MISSING, True)
        return row

    def enter(self, plan: Plan, applied: Sequence[Applied], notes: Mapping[str, str], now: float) -> None:
        """Work out what to write after a plan was carried out."""
        for made in plan.ok:
            self._put(self._row(made.link, LinkState.OK, True, made))
        for link in plan.theirs:
            self._put(self._row(link, LinkState.OK, False))
        for conflict in plan.conflicts:
            self._conflict(conflict.link, conflict.state, conflict.note)
        for unmapped in self._aims.unmapped:
            self._put(_unmapped_row(unmapped))
        created = {create.link.at: create.link for create in plan.create}
        for result in applied:
            self._applied(result, created.get(result.at), now)
        self._settle(plan, notes)

    def _conflict(self, link: Link, state: LinkState, note: str) -> None:
        old = self._before.get(link.at)
        began = old is None or old.state != state
        if began:
            self.lines.append(said("linked", link, str(state), note))
        self._put(replace(self._row(link, state, False), note=note if began or old is None else old.note))

    def _applied(self, result: Applied, link: Link | None, now: float) -> None:
        if result.made is not None:
            self._put(replace(self._row(result.made.link, LinkState.OK, True, result.made), made=now))
            self.lines.append(said("linked", result.made.link, "done", result.note))
        elif result.did is Did.REMOVED:
            self.lines.append(self._taken_away(result.at))
        elif link is not None:
            self._put(replace(self._row(link, LinkState.MISSING, False), note=result.note))
            self.lines.append(said("linked", link, "failed", result.note))
        elif result.at in self._before:  # a removal that was refused: it stays ours until it can go
            self._put(self._before[result.at])
            self.lines.append(Happening("unlinked", result.at, "deploy", "failed", note=result.note))

    def _taken_away(self, at: Path) -> Happening:
        old = self._before.get(at)
        whose, sha256 = (old.target, old.sha256) if old is not None else ("", None)
        return Happening("unlinked", at, "deploy", "done", note=f"{_for(whose)}{at.name} is taken away", sha256=sha256)

    def _settle(self, plan: Plan, notes: Mapping[str, str]) -> None:
        self.gone = [at for at in {*self._written, *plan.forget} if at not in self._after]
        for at, row in self._after.items():
            note = notes.get(row.sha256, "")
            if note and row.state == LinkState.OK and row.type != COMPANION:
                row = replace(row, note=note)
            if self._written.get(at) != row:
                self.rows.append(row)

    def _put(self, row: LinkRow) -> None:
        """The last word on a place."""
        self._after[row.at] = row

    def _row(self, link: Link, state: LinkState, ours: bool, made: Made | None = None) -> LinkRow:
        old = self._before.get(link.at)
        claim = self._aims.claims.get(link.at)
        scope, identity = (claim.scope, claim.identity) if claim else (old.scope, old.identity) if old else (None, None)
        method = made.method if made is not None else Method.SYMLINK
        return LinkRow(
            link.at, link.target, link.type, link.to, link.sha256, str(state), ours, str(method), old.made if old else None, "",
            scope, identity, made.stamp if made else None,
        )  # fmt: skip


def _unmapped_row(u: Unmapped) -> LinkRow:
    """A model that a target has no folder for is listed at a place that is none."""
    at = Path(f"{u.target}:{u.type}/{u.name}#{u.sha256[:12]}")
    return LinkRow(at, u.target, u.type, Path(os.devnull), u.sha256, str(LinkState.UNMAPPED), False, "symlink", None, "")


def said(event: str, link: Link, status: str, note: str) -> Happening:
    """A line of history about one link."""
    return Happening(event, link.at, "deploy", status, note=note or f"{_for(link.target)}{link.at.name}", sha256=link.sha256)


def _for(target: str) -> str:
    """Whose link it is, to stand before its name; one at an adopted place is no target's."""
    return f"{target}: " if target else ""
