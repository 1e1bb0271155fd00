"""Crew: as many workers of each lane as the configuration says, more or fewer of them when it changes.

What must hold: a worker that is one too many finishes what it does and then ends; no job is dropped or begun twice by a change.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping

from ..rules.terms import Lane
from .captioning import Captioning
from .house import House
from .lanes import Lanes

Spawn = Callable[[Coroutine[None, None, None], str], None]


class Crew:
    """`spawn` starts a worker as a task that may end by itself."""

    def __init__(self, house: House, lanes: Lanes, spawn: Spawn) -> None:
        self._house, self._lanes, self._spawn = house, lanes, spawn
        self._size: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self._leaving: dict[Lane, int] = dict.fromkeys(Lane, 0)  # told to end, and still there
        self._captioning: set[Captioning] = set()
        self._made = 0

    def resize(self, sizes: Mapping[Lane, int]) -> None:
        """Have so many workers from now on."""
        for lane in Lane:
            more = sizes.get(lane, 1) - self._size[lane]
            if more < 0:
                self._leaving[lane] -= more
                self._lanes.retire(lane, -more)
            else:
                kept = min(more, self._leaving[lane])  # who has not ended yet may stay
                self._leaving[lane] -= kept
                self._lanes.retire(lane, -kept)
                for _ in range(more - kept):
                    self._made += 1
                    self._spawn(self._work(lane), f"lane {lane} {self._made}")
            self._size[lane] += more

    async def stop(self) -> None:
        """End the processes of the caption lane."""
        for captioning in list(self._captioning):
            await captioning.stop()

    async def _work(self, lane: Lane) -> None:
        if lane is not Lane.CAPTION:
            await self._lanes.work(lane)
        else:
            captioning = Captioning(self._house, self._lanes)
            self._captioning.add(captioning)
            try:
                await captioning.work()
                await captioning.stop()
            finally:
                self._captioning.discard(captioning)
        self._leaving[lane] -= 1
