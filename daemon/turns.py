"""Turns: how many captioners of this machine may have their model loaded at once, and whose turn a card is.

What must hold: never more than `size` hold a turn, and never two on one card; who waits is served by priority, and those
of one priority in order; a holder hears that somebody waits and decides itself when to hand over.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Turn:
    """A turn that is waited for or held. `card` '' needs none."""

    name: str
    card: str
    priority: int
    on_wanted: Callable[[], None]
    number: int
    granted: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """Hands out `size` turns."""

    def __init__(self, size: int = 1) -> None:
        self._size = size
        self._count = itertools.count()
        self._waiting: list[Turn] = []
        self._held: list[Turn] = []

    def resize(self, size: int) -> None:
        """So many from now on; who has one too many hears that somebody waits."""
        self._size = size
        self._grant()

    @contextlib.asynccontextmanager
    async def taken(
        self, name: str, card: str, priority: int, on_wanted: Callable[[], None], lost: asyncio.Event | None = None
    ) -> AsyncIterator[Turn]:
        """Wait for a turn and hold it. `on_wanted` is called whenever somebody begins to wait for what this one holds.

        `lost`: set when the turn is wanted no more; one that was not granted until then never is.
        """
        turn = Turn(name, card, priority, on_wanted, next(self._count))
        self._waiting.append(turn)
        try:
            self._grant()
            await _either(turn.granted, lost)
            if not turn.granted.is_set():
                self._waiting.remove(turn)
            yield turn
        finally:
            for where in (self._waiting, self._held):
                if turn in where:
                    where.remove(turn)
            self._grant()

    def wanted(self, turn: Turn) -> int | None:
        """The highest priority that waits for what this turn holds; None: nobody does."""
        waiting = [w.priority for w in self._waiting if self._needs(w, turn)]
        if len(self._held) > self._size:
            waiting.append(0)
        return max(waiting, default=None)

    def _needs(self, waiting: Turn, held: Turn) -> bool:
        return len(self._held) >= self._size or bool(waiting.card and waiting.card == held.card)

    def _grant(self) -> None:
        for turn in sorted(self._waiting, key=lambda t: (-t.priority, t.number)):
            if len(self._held) < self._size and not (turn.card and any(h.card == turn.card for h in self._held)):
                self._waiting.remove(turn)
                self._held.append(turn)
                turn.granted.set()
        for held in self._held:
            if self.wanted(held) is not None:
                held.on_wanted()


async def _either(granted: asyncio.Event, lost: asyncio.Event | None) -> None:
    """Wait until one of them is set."""
    if lost is None:
        await granted.wait()
        return
    waits = [asyncio.ensure_future(event.wait()) for event in (granted, lost)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
