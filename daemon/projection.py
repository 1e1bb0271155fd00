"""The projection: wanted links minus found links, made so. Runs whenever records or targets change, and now and then.

What must hold: a link is recorded as ours before it is made, so that a crash leaves none that we do not own; running it twice changes
nothing; what stands in the way is recorded as a conflict and never touched.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import structlog

from ..handlers import hashing
from ..handlers import links as hands
from ..rules import deployment, linkplan
from ..rules.deployment import Deployable
from ..rules.linkplan import Made, Method
from ..rules.layouts import load_layouts
from ..rules.terms import Link, LinkState
from ..store import history, models
from ..store.history import Happening
from ..store.rows import LinkRow, ModelRow
from .house import House

_log = structlog.get_logger()


class Projection:
    """Call `ask` when something changed; run `run` as a task."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._asked = asyncio.Event()
        self._done = asyncio.Event()

    def ask(self) -> None:
        """Project soon."""
        self._asked.set()

    async def run(self) -> None:
        """Project whenever asked, for ever; wishes that come meanwhile are one wish."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.project()

    async def project(self) -> None:
        """Make the links what they should be."""
        house = self._house
        rows = await house.store.read(models.deployable)
        recorded = await house.store.read(models.links)
        wishes = await asyncio.to_thread(lambda: [_deployable(row) for row in rows])
        mine = [Made(_link(r), Method(r.method)) for r in recorded if r.ours]
        plan, aims = await asyncio.to_thread(self._plan, wishes, mine)
        sizes = {row.sha256: row for row in rows}
        fresh = [_row(c.link, LinkState.MISSING, True) for c in plan.create]
        if fresh:
            await house.store.write(models.put_links, fresh)
        applied = await asyncio.to_thread(hands.apply, plan)
        await self._record(plan, aims, applied, recorded, sizes)

    def _plan(self, wishes: list[Deployable], mine: list[Made]) -> tuple[linkplan.Plan, deployment.Wanted]:
        names = deployment.recorded_names(m.link for m in mine)
        aims = deployment.wanted(wishes, self._house.config.targets, load_layouts(), names)
        known = {wish.blob: wish.sha256 for wish in wishes}
        found = hands.look(aims, mine, lambda path: known.get(path) or hashing.digest(path).sha256)
        return linkplan.plan(aims, found, mine), aims

    async def _record(
        self,
        plan: linkplan.Plan,
        aims: deployment.Wanted,
        applied: tuple[hands.Applied, ...],
        before: list[LinkRow],
        known: dict[str, ModelRow],
    ) -> None:
        store = self._house.store
        now = store.now()
        rows = [_row(made.link, LinkState.OK, True, made.method) for made in plan.ok]
        rows += [_row(c.link, c.state, False) for c in plan.conflicts]
        rows += [_unmapped(u) for u in aims.unmapped]
        gone = [*plan.forget]
        lines: list[Happening] = []
        for result in applied:
            if result.made is not None:
                rows.append(_row(result.made.link, LinkState.OK, True, result.made.method, now))
                lines.append(_said("linked", result.made.link, "done", result.note))
            elif result.did is hands.Did.REMOVED:
                gone.append(result.at)
                lines.append(Happening("unlinked", result.at, "deploy", "done"))
            else:
                link = next((c.link for c in plan.create if c.link.at == result.at), None)
                if link is not None:
                    rows.append(_row(link, LinkState.MISSING, False))
                    lines.append(_said("linked", link, "failed", result.note))
                else:  # a removal that was refused: it stays ours until it can go
                    rows += [row for row in before if row.at == result.at]
                    lines.append(Happening("unlinked", result.at, "deploy", "failed", note=result.note))
        kept = {row.at for row in rows}
        gone += [row.at for row in before if row.at not in kept and row.at not in gone]
        was = {row.at: (row.state, row.points_to) for row in before}
        lines += [
            _said("linked", c.link, str(c.state), c.note) for c in plan.conflicts if was.get(c.link.at, ("",))[0] != c.state
        ]
        made = {row.at: row.made for row in before}
        rows = [row if row.made else _dated(row, made.get(row.at)) for row in rows]

        def work(c) -> None:  # type: ignore[no-untyped-def]  # a piece of work for the writer
            models.drop_links(c, [at for at in gone if at not in kept])
            models.put_links(c, rows)
            for line in lines:
                history.tell(c, line, now)

        if lines or gone or {(r.at, r.state) for r in rows} != {(r.at, r.state) for r in before}:
            await store.db.write(work)
            _log.info("projected", links=len(rows), changed=len(lines), models=len(known))


def _deployable(row: ModelRow) -> Deployable:
    targets = None if row.wanted in (None, models.EVERYWHERE) else frozenset(str(row.wanted).split(","))
    home = row.blob.parent
    beside: tuple[Path, ...] = ()
    files: tuple[str, ...] = ()
    if row.in_hub:
        beside = tuple(sorted(p for p in home.iterdir() if p != row.blob and p.is_file())) if home.is_dir() else ()
    if row.folder and row.blob.is_dir():
        files = tuple(sorted(p.relative_to(row.blob).as_posix() for p in row.blob.rglob("*") if p.is_file()))
    return Deployable(row.sha256, row.name, row.type, row.base, row.blob, targets, beside, files)


def _link(row: LinkRow) -> Link:
    return Link(row.target, row.type, row.at, row.points_to, row.sha256)


def _row(link: Link, state: LinkState, ours: bool, method: Method = Method.SYMLINK, made: float | None = None) -> LinkRow:
    return LinkRow(link.at, link.target, link.type, link.to, link.sha256, str(state), ours, str(method), made)


def _unmapped(u: deployment.Unmapped) -> LinkRow:
    """A model that a target has no folder for is listed at a place that is none."""
    at = Path(f"{u.target}:{u.type}/{u.name}#{u.sha256[:12]}")
    return LinkRow(at, u.target, u.type, Path(os.devnull), u.sha256, str(LinkState.UNMAPPED), False, "symlink", None)


def _dated(row: LinkRow, made: float | None) -> LinkRow:
    return LinkRow(row.at, row.target, row.type, row.points_to, row.sha256, row.state, row.ours, row.method, made)


def _said(event: str, link: Link, status: str, note: str) -> Happening:
    return Happening(event, link.at, "deploy", status, note=note or f"{link.target}: {link.at.name}", sha256=link.sha256)
