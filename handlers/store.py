"""store: a model into the hub, once, by its SHA-256, its companions beside it.

What must hold: `<hub>/<aa>/<sha256>/<name>` appears by one rename of complete bytes; a second copy of the same bytes adds a name to
the record and goes to the trash, never over the first; across volumes the copy is digest-checked before the original moves to the
trash of its own volume.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..rules.terms import Aside, Digests, End, Ended, Lane, Mode, Model, Move, Outcome, Prepared, Status
from . import aside, disk
from .task import Simple, Task, Tools, failed, skipped, staging


def blob_folder(hub: Path, sha256: str) -> Path:
    """Where the hub keeps a content."""
    return hub / sha256[:2] / sha256


class Store(Simple):
    """store."""

    lane = Lane.HASH
    needs_digest = True

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if task.digests is None:
            return failed("the file could not be hashed")
        if task.watch is not None and task.watch.mode is Mode.LIBRARY:
            return skipped("a library's file stays where it lies")
        if task.kept is not None:
            return self._again(task, tools, task.digests, task.kept)
        return self._first(task, tools, task.digests)

    def _first(self, task: Task, tools: Tools, digests: Digests) -> Prepared:
        folder = blob_folder(tools.places.hub, digests.sha256)
        root = tools.places.root_of(task.lead)
        targets = {path: folder / path.name for path in task.unit}
        model = Model(
            digests.sha256, digests.xxh3, digests.size, task.lead.name, targets[task.lead], task.facts, folder=task.facts.folder
        )  # fmt: skip
        if disk.one_volume(root, tools.places.hub):
            moves = tuple(Move(path, targets[path], stamp) for path, stamp in task.unit.items())
            return Prepared(self._outcome(task, model, targets, tuple(Move(m.dst, m.src) for m in moves)), moves)
        staged, copies = self._copy(task, tools, digests)
        old = aside.moves_aside(tools, task, End.TRASH, dict(task.unit))
        reason = "copied into the hub on another volume"
        outcome = self._outcome(task, model, targets, tuple(Move(m.dst, m.src) for m in old))
        outcome = _with_aside(outcome, aside.asides(old, End.TRASH, reason, task.now + tools.retention))
        moves = (*(Move(copies[path], targets[path]) for path in task.unit), *old)
        return Prepared(outcome, moves, (staged,))

    def _copy(self, task: Task, tools: Tools, digests: Digests) -> tuple[Path, dict[Path, Path]]:
        hub = tools.places.hub
        disk.need_room(hub, digests.size + disk.COPY_MARGIN, tools.floor)
        staged = staging(tools, hub, task)
        done = 0

        def tick(n: int) -> None:
            nonlocal done
            done += n
            tools.tick(done / max(1, digests.size))

        copies = {path: staged / path.name for path in task.unit}
        for path, copy in copies.items():
            if path.is_dir():
                for part in sorted(p for p in path.rglob("*") if p.is_file()):
                    inside = copy / part.relative_to(path)
                    inside.parent.mkdir(parents=True, exist_ok=True)
                    disk.copy_checked(part, inside, tick=tick)
            else:
                disk.copy_checked(path, copy, digests if path == task.lead else None, tick)
        return staged, copies

    def _again(self, task: Task, tools: Tools, digests: Digests, kept: Path) -> Prepared:
        """The same bytes are in the hub: the name is added, companions that the hub lacks move there, the rest to the trash."""
        home = kept.parent
        same = disk.one_volume(tools.places.root_of(task.lead), tools.places.hub)
        new = {p: home / p.name for p in task.companions if same and not (home / p.name).exists()}
        rest = {path: stamp for path, stamp in task.unit.items() if path not in new}
        old = aside.moves_aside(tools, task, End.TRASH, dict(rest))
        reason = f"the hub keeps the same bytes as {kept.name}"
        targets = {path: kept if path == task.lead else new.get(path, home) for path in task.unit}
        model = Model(digests.sha256, digests.xxh3, digests.size, task.lead.name, kept, task.facts, folder=task.facts.folder)
        outcome = self._outcome(task, model, targets, tuple(Move(m.dst, m.src) for m in old), reason)
        outcome = _with_aside(outcome, aside.asides(old, End.TRASH, reason, task.now + tools.retention))
        return Prepared(outcome, (*(Move(p, t, task.unit[p]) for p, t in new.items()), *old))

    @staticmethod
    def _outcome(task: Task, model: Model, targets: dict[Path, Path], undo: tuple[Move, ...], note: str = "") -> Outcome:
        ended = tuple(Ended(path, End.HUB, at, note) for path, at in targets.items())
        return Outcome(Status.DONE, note or "kept in the hub", ended=ended, models=(model,), undo=undo)


def _with_aside(outcome: Outcome, kept: tuple[Aside, ...]) -> Outcome:
    return replace(outcome, aside=kept)
