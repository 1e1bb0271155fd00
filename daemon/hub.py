"""The hub's presence: telling a hub that was emptied from one that is only not there just now, since its disk is not mounted.

What must hold: where models should be and nothing of any of them is, the hub is away, whatever else lies there: nothing is written there,
no blob is called gone, no link is made or removed, no move of a dead process is given up. It comes back by itself. A person says that it
is empty on purpose by making the folder EMPTY in it, which goes when it has done that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import structlog

from ..handlers import disk
from ..rules.terms import Move
from ..store import hub, jobs
from .house import House

EMPTY = "emptied"
AWAY = "the hub is away: "  # how every reason begins
_log = structlog.get_logger()


def absent(folder: Path, blobs: Sequence[Path]) -> str:
    """Why this folder cannot be the hub that keeps these files; "" when it can.

    It can when the folder of one of their contents is there; or, for a person may delete those, half of the folders that hold these.
    """
    if not blobs or any(os.path.lexists(blob.parent) for blob in blobs):
        return ""
    tops = {folder / blob.relative_to(folder).parts[0] for blob in blobs}
    if 2 * sum(map(os.path.lexists, tops)) >= len(tops):
        return ""
    try:
        os.scandir(folder).close()
    except FileNotFoundError:
        return f"{AWAY}{folder} is not there"
    except OSError as error:
        return f"{AWAY}{folder} cannot be read: {error.strerror or error}"
    return f"{AWAY}{folder} has none of its models, as if its disk were not mounted"


def mend(folder: Path) -> str:
    """What a person can do about it."""
    return f"mount its disk; if the models are gone for good, say so: mkdir -p {folder / EMPTY}"


async def away(house: House) -> str:
    """Why the hub is away just now; "" when it is there. Asks for a few of its files, and for all only where none of those is there."""
    folder = house.config.hub
    why = await asyncio.to_thread(_looked, folder, await house.store.read(hub.some, folder))
    if why:
        every = await house.store.read(hub.expected, folder)
        why = await asyncio.to_thread(lambda: absent(folder, every) and _unless_emptied(folder, why))
    if why and any(house.config.hub in path.parents for path in house.mine):
        return why  # our own hands may be taking the last content out: not a word that lasts
    if why != house.hub_away:
        await _turned(house, why)
    return why


def _unless_emptied(folder: Path, why: str) -> str:
    return "" if (folder / EMPTY).is_dir() else why


def _looked(folder: Path, blobs: Sequence[Path]) -> str:
    """As `absent`. Of a hub that is there EMPTY is taken away: left, it would say the same when its disk is not mounted next time."""
    why = absent(folder, blobs)
    if not why:
        with contextlib.suppress(OSError):
            (folder / EMPTY).rmdir()
    return why


async def need(house: House) -> None:
    """Raise disk.NoRoom, so that a job waits, while the hub is away."""
    if why := await away(house):
        raise disk.NoRoom(why)


async def find(house: House) -> None:
    """At the start: make the hub unless it is away. Raises OSError when it cannot be made."""
    house.hub_away = await house.store.read(hub.away)
    if not await away(house):
        await asyncio.to_thread(house.config.hub.mkdir, parents=True, exist_ok=True)


async def undecided(house: House, moves: Sequence[Move]) -> str:
    """Why it cannot be told which of these moves a dead process made; "" when the hub is there, or has no part in them.

    What was taken out of the hub is told by what it was brought to.
    """
    concerned = [move for move in moves if any(house.config.hub in path.parents for path in (move.src, move.dst))]
    if not concerned or not (why := await away(house)):
        return ""
    left = await asyncio.to_thread(lambda: [move for move in concerned if not _taken_out(move, house.config.hub)])
    return why if left else ""


def _taken_out(move: Move, folder: Path) -> bool:
    if folder in move.dst.parents or move.stamp is None:
        return False
    try:
        found = disk.stamp(move.dst)
    except OSError:
        return False
    return (found.size, found.mtime_ns, found.ino) == (move.stamp.size, move.stamp.mtime_ns, move.stamp.ino)


async def _turned(house: House, why: str) -> None:
    back, house.hub_away = not why, why
    await house.store.write(hub.turn, why)
    if not back:
        _log.warning("the hub is away", reason=why, mend=mend(house.config.hub))
        return
    _log.info("the hub is back", hub=str(house.config.hub))
    await house.store.write(jobs.hurry, AWAY, house.store.now())
    house.store.on_jobs()
    house.on_hub()
