"""Where `move` and `copy` put a unit: the folder, the names, and what is done when a name is taken.

What must hold: nothing is ever overwritten; the same bytes are recognised by reading both, never by size and time alone; companions
follow the lead's new stem.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..rules.actions import ON_CONFLICT, safe_name, split_name
from ..rules.terms import Action, Watch
from . import disk, hashing
from .task import Task, Tools


class Decision(StrEnum):
    """What to do about a target's place."""

    PUT = "put"
    SAME = "same"  # the same bytes lie there
    SKIP = "skip"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the lead goes, by which decision; `names` says where each path of the unit goes."""

    decision: Decision
    target: Path
    names: Mapping[Path, Path]


def folder_of(task: Task) -> Path | None:
    """The folder that the action names; a relative one is below the watched folder. None without a watch to be below of."""
    return folder_below(task.watch, task.action)


def folder_below(watch: Watch | None, action: Action) -> Path | None:
    """The same, of an action on something in a watch."""
    to = Path(action.text("to"))
    if to.is_absolute():
        return to
    return watch.path / to if watch is not None else None


def spot(task: Task, folder: Path, lead: Path, unit: Iterable[Path]) -> Spot:
    """Find the place of a unit in a folder. `lead` is where its bytes are now."""
    wish = task.action.text("name", lead.name)
    name = lead.name if wish == safe_name(lead.name) else wish
    target = folder / name
    decision, target = _decide(target, lead, task.action.text("on_conflict", ON_CONFLICT[0]))
    old, new = _stem(lead), _stem(target)
    names: dict[Path, Path] = {lead: target}
    taken = {target}
    for path in unit:
        if path != lead:
            follows = new + path.name[len(old) :] if path.name.startswith(old) else path.name
            names[path] = disk.free_name(folder, follows, lambda p: p in taken or os.path.lexists(p))
            taken.add(names[path])
    return Spot(decision, target, names)


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else split_name(path.name)[0]


def _decide(target: Path, lead: Path, mode: str) -> tuple[Decision, Path]:
    if not disk.is_there(target) or target == lead:
        return Decision.PUT, target
    if mode == "skip":
        return Decision.SKIP, target
    if mode == "fail":
        return Decision.FAIL, target
    if mode == ON_CONFLICT[0] and _same(lead, target):
        return Decision.SAME, target
    return Decision.PUT, disk.free_name(target.parent, target.name)


def _same(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes. Folders and links never count as the same."""
    if not (one.is_file() and other.is_file()) or other.is_symlink() or one.stat().st_size != other.stat().st_size:
        return False
    return hashing.digest(one).sha256 == hashing.digest(other).sha256


def anchor(folder: Path, tools: Tools) -> Path:
    """The folder whose `.dropdock` serves a place: its configured root, else the nearest folder above it that exists."""
    root = tools.places.root_of(folder / "x")
    if root in tools.places.roots:
        return root
    while not folder.is_dir():
        folder = folder.parent
    return folder


def outside_staging(task: Task, tools: Tools) -> Path | None:
    """The staging folder that moving or copying a unit would fill in a folder of somebody else's; None where it is at a root of ours.

    Nobody would find it again after a crash, so whoever performs the action writes it down before.
    """
    folder = folder_of(task)
    root = anchor(folder, tools) if folder is not None else None
    return None if root is None or root in tools.places.roots else root / disk.OWN / "staging" / task.token


def one_volume(task: Task, tools: Tools, folder: Path) -> bool:
    """Whether a rename brings the unit into the folder. A folder of somebody else's is not probed, only asked for its disk."""
    home, there = tools.places.root_of(task.lead), anchor(folder, tools)
    if there in tools.places.roots and home in tools.places.roots:
        return disk.one_volume(home, there)
    return os.stat(home).st_dev == os.stat(there).st_dev
