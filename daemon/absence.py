"""Absence: telling what was deleted from what is only not there just now: a root that is missing, a volume below it that is unmounted.

What must hold: a departure is believed only where the volume that the file was recorded on is still there; whatever is not believed is
"away", keeps its row, and comes back by itself with the next comparison that finds it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..rules.terms import Departure, Watch
from ..store import away, history
from .house import House
from .rescan import RootId


async def believed(house: House, watch: Watch, paths: Sequence[Path]) -> list[Departure]:
    """The departures that are true; the other paths of `paths` are noted as away."""
    if not paths:
        return []
    devices = await house.store.read(away.devices, watch.name, paths)
    last = await house.store.read(history.watch_root, watch.name)
    unsure = await asyncio.to_thread(_unsure, watch.path, list(zip(paths, devices, strict=True)), last)
    for path in unsure:
        await _leave(house, watch, path)
    return [Departure(watch.name, path) for path in paths if path not in unsure]


async def root_away(house: House, watch: Watch) -> None:
    """Nothing of a watch is there."""
    await _leave(house, watch, None)


async def come_back(house: House, watch: Watch, last: RootId | None, now: RootId | None) -> bool:
    """The root is there: what is found on the disk is no longer away, under whatever number the system gave the disk. Whether any was."""
    if last is not None and now is not None and last[0] != now[0]:
        await house.store.write(away.renumber, watch.name, last[0], now[0])
    if not await house.store.read(away.any_away):
        return False
    missing = await house.store.read(away.away, watch.name)
    there = await asyncio.to_thread(lambda: [path for path in missing if os.path.lexists(path)])
    for at in range(0, len(there), away.PORTION):
        await house.store.write(away.come_back, watch.name, there[at : at + away.PORTION])
    return bool(there)


async def _leave(house: House, watch: Watch, path: Path | None) -> None:
    while await house.store.write(away.leave, watch.name, path) == away.PORTION:
        pass


def _unsure(root: Path, paths: Iterable[tuple[Path, frozenset[int]]], last: RootId | None) -> set[Path]:
    """The paths whose volume is not there: the root is missing or on another volume than at the last comparison (only the next one can
    tell), or the nearest folder left is on the root's own volume though the file was recorded on another."""
    try:
        here = os.stat(root).st_dev
    except OSError:
        return {path for path, _ in paths}
    if last is not None and last[0] != here:
        return {path for path, _ in paths}
    return {path for path, devices in paths if devices - {here} and _volume(path.parent, root) == here}


def _volume(folder: Path, root: Path) -> int | None:
    """st_dev of the nearest folder from `folder` up to the root that is there; None when the disk does not answer."""
    while True:
        try:
            return os.stat(folder).st_dev
        except (FileNotFoundError, NotADirectoryError):
            if folder in (root, folder.parent):
                return None
            folder = folder.parent
        except OSError:
            return None
