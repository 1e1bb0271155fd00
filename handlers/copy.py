"""copy: a checked copy of a unit in a folder of the user's; the unit itself stays where it is.

What must hold: nothing is overwritten; a copy appears whole, by a rename; after an action that took the file somewhere, it is copied
from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..rules.terms import Lane, Outcome, Prepared, Stamp, Status
from . import conflict, disk
from .conflict import Decision
from .move import bring_copies, placed_by
from .task import Simple, Task, Tools, failed, skipped


class Copy(Simple):
    """copy: {to: FOLDER, name: NAME, on_conflict: ...}."""

    lane = Lane.CPU

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        source = _source(task)
        if source is None:
            return skipped("there is no one file of it to copy any more")
        lead, unit = source
        folder = conflict.folder_of(task)
        if folder is None:
            return failed("`to` is below the watched folder, which is not configured any more")
        spot = conflict.spot(task, folder, lead, unit)
        if spot.target == lead or spot.decision is Decision.SAME:
            return skipped(f"the same bytes lie at {spot.target}")
        if spot.decision is Decision.SKIP:
            return skipped(f"something lies at {spot.target} already")
        if spot.decision is Decision.FAIL:
            return failed(f"something lies at {spot.target} already")
        staged, brought, gone = bring_copies(task, tools, folder, spot, unit)
        return Prepared(
            Outcome(Status.DONE, f"copied to {spot.target}", undo=gone, placed=placed_by(brought)), brought, (staged,)
        )


def _source(task: Task) -> tuple[Path, Mapping[Path, Stamp]] | None:
    """The lead and the unit as they lie now: where they were dropped, or (the lead alone) where an earlier action put it."""
    if task.lead in task.unit:
        return task.lead, task.unit
    at = task.at
    if at is None or not disk.is_there(at) or at.is_dir() is not task.facts.folder:
        return None
    return at, {at: disk.stamp(at)}
