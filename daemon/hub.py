"""The hub's presence: telling a hub that was emptied from one that is only not there just now, since its disk is not mounted.

A hub that keeps models has folders named by the first two digits of their SHA-256. What must hold: where models should be and no such
folder is, the hub is away: nothing is written there, no blob is called gone, no link is made or removed, no move of a dead process is
given up. It comes back by itself. A person says that it is empty on purpose by making the folder EMPTY in it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path

import structlog

from ..handlers import disk
from ..rules.terms import Move
from ..store import hub, jobs
from .house import House

EMPTY = "00"  # as good a content's folder as any other
AWAY = "the hub is away: "  # how every reason begins
_CONTENT = re.compile(r"[0-9a-f]{2}")
_log = structlog.get_logger()


def absent(folder: Path) -> str:
    """Why this folder cannot be a hub that keeps models; "" when it can. One look, however many there are."""
    try:
        with os.scandir(folder) as entries:
            if any(_CONTENT.fullmatch(entry.name) and entry.is_dir() for entry in entries):
                return ""
    except FileNotFoundError:
        return f"{AWAY}{folder} is not there"
    except OSError as error:
        return f"{AWAY}{folder} cannot be read: {error.strerror or error}"
    return f"{AWAY}{folder} has none of its models, as if its disk were not mounted"


def mend(folder: Path) -> str:
    """What a person can do about it."""
    return f"mount its disk; if the models are gone for good, say so: mkdir -p {folder / EMPTY}"


async def away(house: House) -> str:
    """Why the hub is away just now; "" when it is there. Asks the disk, and the store only where the disk looks empty."""
    why = await asyncio.to_thread(absent, house.config.hub)
    if why and not await house.store.read(hub.expected, house.config.hub):
        why = ""
    if why and any(house.config.hub in path.parents for path in house.mine):
        return why  # our own hands may be taking the last content out: not a word that lasts
    if why != house.hub_away:
        await _turned(house, why)
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
