"""quarantine and trash: a unit is renamed into our folder at its own root, with the reason beside it in the store.

What must hold: the name it had stays readable (`<time>-<token>/<name>`), companions go along, nothing is copied or unlinked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..rules.terms import Aside, End, Ended, Lane, Move, Outcome, Prepared, Stamp, Status
from . import disk
from .task import Simple, Task, Tools, skipped

TAKEN_IN = "it was taken in already: nothing of it is left where it was dropped"


def slot(tools: Tools, path: Path, place: End, task: Task) -> Path:
    """The folder in the trash or quarantine of a path's root that this task puts things into (not made yet)."""
    day = time.strftime("%Y-%m-%d", time.gmtime(task.now))
    return tools.places.root_of(path) / disk.OWN / place / f"{day}-{task.token}"


def moves_aside(tools: Tools, task: Task, place: End, unit: Mapping[Path, Stamp | None]) -> tuple[Move, ...]:
    """The moves that put paths aside, each into its root's folder; equal names get a number."""
    moves: list[Move] = []
    taken: set[Path] = set()
    for path, stamp in unit.items():
        folder = slot(tools, path, place, task)
        target = disk.free_name(folder, path.name, lambda p: p in taken)
        taken.add(target)
        moves.append(Move(path, target, stamp))
    return tuple(moves)


def asides(moves: Iterable[Move], place: End, reason: str, until: float) -> tuple[Aside, ...]:
    """What to remember of those moves."""
    return tuple(Aside(place, m.dst, m.src, reason, until) for m in moves)


def way_back(moves: Iterable[Move]) -> tuple[Move, ...]:
    """The moves that take renames back; each wants to find what it left."""
    return tuple(Move(m.dst, m.src, m.stamp) for m in moves)


def put_aside(
    task: Task, tools: Tools, place: End, reason: str, keep: float | None = None, status: Status = Status.DONE
) -> Prepared:
    """The whole unit into the trash or the quarantine."""
    moves = moves_aside(tools, task, place, dict(task.unit))
    until = task.now + (tools.retention if keep is None else keep)
    outcome = Outcome(
        status,
        reason,
        ended=tuple(Ended(m.src, place, m.dst, reason) for m in moves),
        aside=asides(moves, place, reason, until),
        undo=way_back(moves),
    )
    return Prepared(outcome, moves)


class Quarantine(Simple):
    """quarantine: "reason"."""

    lane = Lane.CPU

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if not task.unit:
            return skipped(TAKEN_IN)
        return put_aside(task, tools, End.QUARANTINE, task.action.text("reason", "quarantined by a rule"))


class Trash(Simple):
    """trash: {keep: SECONDS}."""

    lane = Lane.CPU

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if not task.unit:
            return skipped(TAKEN_IN)
        keep = task.action.params.get("keep")
        reason = task.action.text("reason", "put into the trash by a rule")
        return put_aside(task, tools, End.TRASH, reason, float(keep) if isinstance(keep, (int, float)) else None)
