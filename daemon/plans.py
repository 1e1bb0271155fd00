"""Plans asked for over HTTP: the Planner of `dropdock plan`, within the folders that we serve. Implements api.plan.Plans.

What must hold: one plan is made at a time, in a thread, and ends when the daemon stops; a path is resolved before anything of it is read.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path

from ..api.plan import Plan
from .house import House
from .planning import Planner, as_json


class Plans:
    """Makes plans of the present configuration and memory."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._turn = asyncio.Lock()

    def library(self, name: str) -> Path | None:
        """The folder of a watch; None when there is none of that name."""
        watch = self._house.watch(name)
        return watch.path if watch is not None else None

    async def plan(self, path: Path, most: int) -> Plan | None:
        """The first `most` units at a path; None when it is in no folder that we serve, or nothing is there."""
        roots = self._house.places.roots
        try:
            real = await asyncio.to_thread(path.resolve, True)
        except (OSError, ValueError, RuntimeError):  # missing, a name no disk can hold, a loop of links
            return None
        served = await asyncio.to_thread(lambda: {root for folder in roots for root in (folder, folder.resolve())})
        if not any(root == real or root in real.parents for root in served):
            return None
        async with self._turn:
            return await asyncio.to_thread(self._plan, real, most)

    def _plan(self, path: Path, most: int) -> Plan:
        house, bad = self._house, list[tuple[str, str]]()

        def unreadable(where: Path, error: OSError) -> None:
            bad.append((str(where), error.strerror or str(error)))

        with Planner(house.config, house.store.now(), unreadable) as planner:
            units = []
            for found in islice(planner.plan([path], most + 1), most + 1):
                if house.stopping:
                    break
                units.append(as_json(found))
        return Plan(units[:most], len(units) > most, bad)
