"""move: a unit into a folder of the user's, by rename, or across volumes by a checked copy whose original goes to the trash.

What must hold: nothing is overwritten; the recorded end is where the bytes are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..rules import terms
from ..rules.terms import End, Ended, Lane, Mode, Outcome, Prepared, Stamp, Status
from . import aside, conflict, disk
from .conflict import Decision, Spot
from .dataset import replace_status
from .store import copy_unit, files_below
from .task import Simple, Task, Tools, failed, skipped, staging


class Move(Simple):
    """move: {to: FOLDER, name: NAME, on_conflict: ...}."""

    lane = Lane.CPU

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if task.lead not in task.unit:
            return skipped("it was taken in already")
        folder = conflict.folder_of(task)
        if folder is None:
            return failed("`to` is below the watched folder, which is not configured any more")
        spot = conflict.spot(task, folder, task.lead, task.unit)
        if spot.target == task.lead:
            return _stays(task, "it lies where the rule wants it")
        if spot.decision is Decision.SAME:
            note = f"the same bytes lie at {spot.target}"
            return replace_status(aside.put_aside(task, tools, End.TRASH, note), Status.SKIPPED)
        if spot.decision is Decision.SKIP:
            return _stays(task, f"something lies at {spot.target} already")
        if spot.decision is Decision.FAIL:
            return failed(f"something lies at {spot.target} already")
        if conflict.one_volume(task, tools, folder):
            return _renamed(task, spot)
        return _copied(task, tools, folder, spot)


def _stays(task: Task, note: str) -> Prepared:
    inbox = task.watch is not None and task.watch.mode is Mode.INBOX
    ended = tuple(Ended(path, End.LEFT, path, note) for path in task.unit) if inbox else ()
    return Prepared(Outcome(Status.SKIPPED, note, ended=ended))


def _ended(spot: Spot) -> tuple[Ended, ...]:
    return tuple(Ended(path, End.MOVED, at) for path, at in spot.names.items())


def _renamed(task: Task, spot: Spot) -> Prepared:
    moves = tuple(terms.Move(path, at, task.unit[path]) for path, at in spot.names.items())
    note = f"moved to {spot.target}"
    inside = tuple((spot.target / path.relative_to(task.lead), stamp) for path, stamp in task.members.items())
    placed = (*((at, task.unit[path]) for path, at in spot.names.items()), *inside)
    return Prepared(Outcome(Status.DONE, note, ended=_ended(spot), undo=aside.way_back(moves), placed=placed), moves)


def _copied(task: Task, tools: Tools, folder: Path, spot: Spot) -> Prepared:
    staged, brought, gone = bring_copies(task, tools, folder, spot, task.unit)
    old = aside.moves_aside(tools, task, End.TRASH, dict(task.unit))
    note = f"moved to {spot.target}"
    outcome = Outcome(
        Status.DONE, note, ended=_ended(spot), undo=(*aside.way_back(old), *gone),
        aside=aside.asides(old, End.TRASH, note, task.now + tools.retention), placed=placed_by(brought),
    )  # fmt: skip
    return Prepared(outcome, (*brought, *old), (staged,))


def placed_by(brought: Sequence[terms.Move]) -> tuple[tuple[Path, Stamp], ...]:
    """What copies in staging will be where these moves bring them: a rename changes no stamp."""
    found = []
    for move in brought:
        inside = files_below(move.src) if move.src.is_dir() else []
        found += [(move.dst / rel, disk.stamp(move.src / rel)) for rel in ("", *inside)]
    return tuple(found)


def bring_copies(
    task: Task, tools: Tools, folder: Path, spot: Spot, unit: Mapping[Path, Stamp]
) -> tuple[Path, tuple[terms.Move, ...], tuple[terms.Move, ...]]:
    """Copies of a unit in staging on the folder's volume: (staging, the moves into place, the moves that undo would make).

    Raises NoRoom, Changed, hashing.Cancelled or OSError, and leaves nothing behind then.
    """
    root = conflict.anchor(folder, tools)
    size = sum(task.facts.size if path.is_dir() else path.stat().st_size for path in unit)
    disk.need_room(root, size + disk.COPY_MARGIN, tools.floor)
    staged = staging(tools, root, task)
    copies = {path: staged / at.name for path, at in spot.names.items()}
    try:
        copy_unit(task, tools, copies, size)
    except BaseException:
        disk.clear(staged)
        raise
    brought = tuple(terms.Move(copies[path], at) for path, at in spot.names.items())
    slot = aside.slot(tools, spot.target, End.TRASH, task)
    gone = tuple(terms.Move(m.dst, slot / m.dst.name, disk.stamp(m.src)) for m in brought)
    return staged, brought, gone
