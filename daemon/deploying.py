"""What a person may order of deployment: implements api.targets.Targets over the projection and the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..api.targets import Step, TargetStatus
from ..rules.linkplan import Plan
from ..rules.terms import Target
from ..store import links
from ..store.history import Happening, tell
from ..store.rows import Deed
from .house import House
from .projection import PORTION, Projection
from .telling import Said, Telling


class Deploying:
    """Orders about targets and who gets which model."""

    def __init__(self, house: House, projection: Projection, telling: Telling) -> None:
        self._house, self._projection, self._telling = house, projection, telling

    async def list_targets(self) -> Sequence[TargetStatus]:
        """Every target, in the order of the configuration."""
        targets = await self._projection.targets()
        there = await asyncio.to_thread(lambda: [target.path.is_dir() for target in targets])
        written = {t.name: t.enabled for t in self._house.config.targets}
        both = zip(targets, there, strict=True)
        return [self._status(target, written.get(target.name, target.enabled), exists) for target, exists in both]

    def _status(self, target: Target, configured: bool, exists: bool) -> TargetStatus:
        app = self._house.config.apps.get(target.name)
        last: Said | None = self._telling.last.get(target.name)
        told = (last.at, last.told.ok, last.told.note) if last is not None else (None, None, "")
        return TargetStatus(target, configured, exists, app.url if app else None, *told)

    async def enable(self, name: str, enabled: bool) -> None:
        """Switch a target. Raises KeyError for an unknown one."""
        target = next((t for t in self._house.config.targets if t.name == name), None)
        if target is None:
            raise KeyError(name)
        store = self._house.store

        def work(c) -> None:  # type: ignore[no-untyped-def]  # a piece of work for the writer
            deed = Deed(switched=links.switch(c, name, enabled, target.enabled))
            note = f"target {name} is {'enabled' if enabled else 'disabled'}"
            verb = "enable" if enabled else "disable"
            tell(c, Happening("target", target.path, verb, "done", note=note, did=deed), store.now())

        await store.db.write(work)
        self._projection.ask()

    async def plan(self, name: str) -> Sequence[Step]:
        """What would be done were this target enabled. Raises KeyError for an unknown one."""
        known = {t.name: t for t in await self._projection.targets()}
        target = replace(known[name], enabled=True)
        steps: list[Step] = []
        last = 0
        while found := await self._house.store.read(links.everyone, last, PORTION):
            last = found[-1][0]
            looked = await self._projection.look([sha256 for _, sha256 in found], (target,))
            steps += _steps(looked.plan, name)
        return steps

    async def deploy(self, sha256: str | None, targets: Sequence[str], on: bool) -> list[str]:
        """Deploy or undeploy one model of the hub, or all. Raises KeyError for an unknown target."""
        names = [t.name for t in self._house.config.targets]
        for name in targets:
            if name not in names:
                raise KeyError(name)
        store = self._house.store

        def work(c) -> list[str]:  # type: ignore[no-untyped-def]  # a piece of work for the writer
            changed = links.deploy(c, sha256, targets, on, names)
            deed = Deed(wanted=tuple(changed))
            note = f"{'wanted by' if on else 'no longer wanted by'} {', '.join(targets) or 'all targets'}"
            verb = "deploy" if on else "undeploy"
            if sha256 is None:
                note = f"{len(changed)} models {note}"
            if changed:
                tell(c, Happening("performed", None, verb, "done", note=note, sha256=sha256, did=deed), store.now())
            return [sha for sha, _, _ in changed]

        changed: list[str] = await store.db.write(work)
        if changed:
            self._projection.ask(*changed)
        return changed

    def audit(self) -> None:
        """Look at everything soon."""
        self._projection.ask()


def _steps(plan: Plan, target: str) -> Iterator[Step]:
    """A target's part of a plan as lines for a person, in the order in which it would be done."""
    for remove in plan.remove:
        if remove.made.link.target == target:
            yield Step("remove", str(remove.made.link.at), str(remove.made.link.to))
    for create in plan.create:
        if create.link.target == target:
            do = "replace" if create.instead else "copy" if create.copied else "link"
            yield Step(do, str(create.link.at), str(create.link.to))
    for conflict in plan.conflicts:
        if conflict.link.target == target:
            yield Step(str(conflict.state), str(conflict.link.at), str(conflict.link.to), conflict.note)
