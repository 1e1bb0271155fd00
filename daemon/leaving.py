"""Leaving: departures wait a moment where something else is settling, for what is gone from here may only be called something else now.

What must hold: a departure is told once, and only of what is still gone then; one that waits is nowhere on the disk, so a process that
dies with it loses nothing: the next comparison finds it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from ..rules.terms import Departure
from .renames import is_gone

MARGIN = 1.0  # seconds behind the settle time, in which what settled is recorded


class Leaving:
    """`tell` records departures; `clock` is monotonic seconds."""

    def __init__(self, tell: Callable[[Sequence[Departure]], Awaitable[None]], clock: Callable[[], float]) -> None:
        self._tell, self._clock = tell, clock
        self._waiting: dict[Path, tuple[float, Departure]] = {}

    async def put(self, departures: Iterable[Departure], settle: float | None) -> None:
        """Take departures; `settle` is the longest settle time of a watch in which something waits to settle, None where nothing does."""
        if settle is None:
            await self._tell(list(departures))
            return
        at = self._clock() + settle + MARGIN
        for departure in departures:
            self._waiting.setdefault(departure.path, (at, departure))

    async def due(self) -> float | None:
        """Tell what has waited long enough and is still gone; returns when to come back, None when nothing waits."""
        now = self._clock()
        ready = [departure for at, departure in self._waiting.values() if at <= now]
        for departure in ready:
            del self._waiting[departure.path]
        if ready:
            gone = await asyncio.to_thread(lambda: [d for d in ready if is_gone(d.path)])
            if gone:
                await self._tell(gone)
        return min((at for at, _ in self._waiting.values()), default=None)
