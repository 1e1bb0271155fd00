"""adopt, of a folder that is one model: it becomes a folder of the hub, and a folder of links, one for each file, stands in its place.

A folder of links and no link to the folder: some apps do not list through links to folders (Fooocus, the AI Toolkit's loader, Forge's lists
of VAEs), and one that dangles breaks ComfyUI's lists. What must hold: the app finds every file at every instant. On one volume the hub's
folder is made of second names of the same inodes, across volumes of checked copies; then the two folders change places in one step, and
change back if what came out is not, file by file, what was hashed. The old names go to the trash.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..rules.terms import Aside, Digests, End, Ended, Model, Move, Outcome, Prepared, Status
from . import aside, disk, swap
from .store import blob_folder, copy_unit, files_below, lying
from .task import Task, Tools, skipped, staging


def adopt_folder(task: Task, tools: Tools, digests: Digests) -> Prepared:
    """The moves of one adoption, or why the folder stays. Raises Changed, NoRoom, hashing.Cancelled or OSError, and leaves nothing then."""
    if any(path.is_symlink() for path in task.lead.rglob("*")):
        return skipped("the folder holds links, so it stays where it lies")
    adoption = _FolderAdoption(task, tools, digests)
    try:
        if not swap.possible(adoption.staging(adoption.home)):
            adoption.clear()
            return skipped("this disk cannot let two folders change places in one step, so the folder stays where it lies")
        return adoption.prepared()
    except BaseException:
        adoption.clear()
        raise


@dataclass(slots=True)
class _FolderAdoption:
    """Gathers the moves; staging folders are made on demand."""

    task: Task
    tools: Tools
    digests: Digests
    moves: list[Move] = field(default_factory=list)
    undo: list[Move] = field(default_factory=list)
    staged: dict[Path, Path] = field(default_factory=dict)  # root -> staging folder

    @property
    def home(self) -> Path:
        return self.tools.places.root_of(self.task.lead)

    def prepared(self) -> Prepared:
        task, tools = self.task, self.tools
        folder = blob_folder(tools.places.hub, self.digests.sha256)
        kept = task.kept or lying(folder, self.digests, True, tools.tick)
        blob = kept or folder / task.lead.name
        note = "kept in the hub, a folder of links stands in its place"
        if kept is not None:
            note = f"the hub keeps the same files as {kept.name}, a folder of links stands in its place"
        old = task.unit[task.lead]
        target = disk.free_name(aside.slot(tools, task.lead, End.TRASH, task), task.lead.name)
        in_trash = Move(target, task.lead, old, over=True)
        if kept is not None or not self._second_names(blob):
            self.undo.append(in_trash)
            if kept is None:
                self._copies(blob)
        links = self._links(blob)
        holds = tuple(sorted((path.relative_to(task.lead).as_posix(), stamp) for path, stamp in task.members.items()))
        self.moves.append(Move(links, task.lead, disk.stamp(links), over=True, replaces=old, holds=holds))
        self.moves.append(Move(links, target, old))  # what came out
        away = Aside(End.TRASH, target, task.lead, f"adopted: {note}", task.now + tools.retention)
        return Prepared(self._outcome(blob, note, away), tuple(self.moves), tuple(self.staged.values()))

    def staging(self, root: Path) -> Path:
        """This attempt's staging at a root."""
        if root not in self.staged:
            self.staged[root] = staging(self.tools, root, self.task)
        return self.staged[root]

    def _second_names(self, blob: Path) -> bool:
        """The hub's folder of second names of the same files, where the disk has such a thing."""
        task, hub = self.task, self.tools.places.hub
        if not disk.one_volume(self.home, hub):
            return False
        staged = self.staging(hub) / "blob"
        for path, stamp in task.members.items():
            at = staged / path.relative_to(task.lead)
            at.parent.mkdir(parents=True, exist_ok=True)
            if not disk.second_name(path, at):
                disk.clear(self.staging(hub))
                self.staging(hub).mkdir()
                return False
            if disk.stamp(at) != stamp:
                raise disk.Changed(f"{path} changed after it was looked at")
        self.moves.append(Move(staged, blob))
        self.undo.append(Move(blob, task.lead, disk.stamp(staged), over=True))
        return True

    def _copies(self, blob: Path) -> None:
        """The hub's folder of checked copies; it goes to the trash when this is undone."""
        task, tools, hub = self.task, self.tools, self.tools.places.hub
        disk.need_room(hub, self.digests.size + disk.COPY_MARGIN, tools.floor)
        staged = self.staging(hub) / "blob"
        copy_unit(task, tools, {task.lead: staged}, self.digests.size)
        self.moves.append(Move(staged, blob))
        slot = aside.slot(tools, blob, End.TRASH, task)
        self.undo.append(Move(blob, slot / blob.name, disk.stamp(staged)))

    def _links(self, blob: Path) -> Path:
        """A folder of links to where the hub's files are going to be."""
        task = self.task
        if {task.lead / rel for rel in files_below(task.lead)} != set(task.members):
            raise disk.Changed(f"{task.lead} changed after it was looked at")
        folder = self.staging(self.home) / "links"
        for path in task.members:
            rel = path.relative_to(task.lead)
            at = folder / rel
            at.parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(os.path.abspath(blob / rel))  # noqa: PTH100  # resolve() would follow links on the way
        return folder

    def _outcome(self, blob: Path, note: str, away: Aside) -> Outcome:
        task, d = self.task, self.digests
        model = Model(d.sha256, d.xxh3, d.size, task.lead.name, blob, task.facts, folder=True)
        return Outcome(
            Status.DONE, note, ended=(Ended(task.lead, End.HUB, blob, note),), models=(model,), aside=(away,),
            undo=tuple(self.undo), adopted=(task.lead,),
        )  # fmt: skip

    def clear(self) -> None:
        """Leave nothing behind."""
        for folder in self.staged.values():
            disk.clear(folder)
