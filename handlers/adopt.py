"""adopt: a library's model becomes a file of the hub, and a link stands in its place.

What must hold: at no instant is the app without the file. The bytes get their name in the hub first (a second hard link of the same
inode on one volume, a checked copy across volumes), then a symlink and the old name are swapped in one step, and swapped back if what
came out is not the file that was hashed. Bytes that would lose their last name go to the trash first. Companions stay where they are; the
hub gets copies.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..rules.terms import Aside, Digests, End, Ended, Lane, Mode, Model, Move, Outcome, Prepared, Status
from . import aside, disk
from .adopt_folder import adopt_folder
from .store import blob_folder, lying
from .task import Simple, Task, Tools, failed, skipped, staging


class Adopt(Simple):
    """adopt."""

    lane = Lane.HASH
    needs_digest = True

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if task.digests is None:
            return failed("the file could not be hashed")
        if task.watch is None or task.watch.mode is not Mode.LIBRARY:
            return skipped("only a library's file is adopted; an inbox's is taken by `store`")
        if task.lead not in task.unit or task.lead.is_symlink():
            return skipped("it was taken in already")
        if task.facts.folder:
            return adopt_folder(task, tools, task.digests)
        adoption = _Adoption(task, tools, task.digests)
        try:
            return adoption.prepared()
        except BaseException:
            adoption.clear()
            raise


@dataclass(slots=True)
class _Adoption:
    """Gathers the moves of one adoption; its staging folders are made on demand."""

    task: Task
    tools: Tools
    digests: Digests
    moves: list[Move] = field(default_factory=list)
    undo: list[Move] = field(default_factory=list)
    asides: list[Aside] = field(default_factory=list)
    staged: dict[Path, Path] = field(default_factory=dict)  # root -> staging folder

    def prepared(self) -> Prepared:
        task, hub = self.task, self.tools.places.hub
        folder = blob_folder(hub, self.digests.sha256)
        kept = task.kept or lying(folder, self.digests, False)
        note = "kept in the hub, a link stands in its place"
        if kept is not None:
            self._aside(f"the hub keeps the same bytes as {kept.name}")
            blob, note = kept, f"the hub keeps the same bytes as {kept.name}, a link stands in its place"
        else:
            blob = folder / task.lead.name
            self._into_hub(blob)
            self._companions(folder)
        link = self._staging(self._home()) / "link"
        link.symlink_to(os.path.abspath(blob))  # noqa: PTH100  # resolve() would follow links on the way
        self.moves.append(Move(link, task.lead, disk.stamp(link), over=True, replaces=task.unit[task.lead]))
        return Prepared(self._outcome(blob, note), tuple(self.moves), tuple(self.staged.values()))

    def _home(self) -> Path:
        return self.tools.places.root_of(self.task.lead)

    def _staging(self, root: Path) -> Path:
        if root not in self.staged:
            self.staged[root] = staging(self.tools, root, self.task)
        return self.staged[root]

    def _into_hub(self, blob: Path) -> None:
        """The bytes get a name in the hub."""
        task, tools = self.task, self.tools
        stamp = task.unit[task.lead]
        hub = tools.places.hub
        staged = self._staging(hub) / "blob"
        if disk.one_volume(self._home(), hub) and disk.second_name(task.lead, staged):
            self.undo.append(Move(blob, task.lead, stamp, over=True))
        else:
            disk.need_room(hub, self.digests.size + disk.COPY_MARGIN, tools.floor)
            disk.copy_checked(task.lead, staged, self.digests, self._ticker(stamp.size))
            self._aside("taken into the hub")
            self._leaves_hub(blob, staged)
        self.moves.append(Move(staged, blob))

    def _ticker(self, size: int) -> Callable[[int], None]:
        done = 0

        def tick(n: int) -> None:
            nonlocal done
            done += n
            self.tools.tick(min(1.0, done / max(1, size)))

        return tick

    def _aside(self, why: str) -> None:
        """The old name's bytes would lose their last name: they get one in the trash before."""
        task, tools = self.task, self.tools
        staged = self._staging(self._home()) / "old"
        if not disk.second_name(task.lead, staged):
            raise OSError(None, "this disk has no hard links, so the file could not be replaced safely", str(task.lead))
        target = disk.free_name(aside.slot(tools, task.lead, End.TRASH, task), task.lead.name)
        self.moves.append(Move(staged, target))
        self.asides.append(Aside(End.TRASH, target, task.lead, why, task.now + tools.retention))
        self.undo.append(Move(target, task.lead, task.unit[task.lead], over=True))

    def _companions(self, folder: Path) -> None:
        """Copies of previews and sidecars for the hub; theirs stay beside the link."""
        for path in self.task.companions:
            target = disk.free_name(folder, path.name)
            staged = self._staging(self.tools.places.hub) / path.name
            disk.need_room(self.tools.places.hub, self.task.unit[path].size + disk.COPY_MARGIN, self.tools.floor)
            disk.copy_checked(path, staged)
            self.moves.append(Move(staged, target))
            self._leaves_hub(target, staged)

    def _leaves_hub(self, at: Path, staged: Path) -> None:
        """A copy of ours goes to the trash when this is undone."""
        slot = aside.slot(self.tools, at, End.TRASH, self.task)
        self.undo.append(Move(at, slot / at.name, disk.stamp(staged)))

    def _outcome(self, blob: Path, note: str) -> Outcome:
        task, d = self.task, self.digests
        model = Model(d.sha256, d.xxh3, d.size, task.lead.name, blob, task.facts)
        return Outcome(
            Status.DONE, note, ended=(Ended(task.lead, End.HUB, blob, note),), models=(model,), aside=tuple(self.asides),
            undo=tuple(self.undo), adopted=(task.lead,),
        )  # fmt: skip

    def clear(self) -> None:
        """Leave nothing behind."""
        for folder in self.staged.values():
            disk.clear(folder)
