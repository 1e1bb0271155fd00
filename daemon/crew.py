"""Crew: as many workers of each lane as the configuration says, more or fewer of them when it changes.

What must hold: a worker that is one too many finishes what it does and then ends; no job is dropped or begun twice by a change. The
caption lane is one task, whose number says how many captioners may have their model loaded at once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping

from ..rules.terms import Lane
from .captioning import Captioning
from .lanes import Lanes

Spawn = Callable[[Coroutine[None, None, None], str], None]


class Crew:
    """`spawn` starts a worker as a task that may end by itself."""

    def __init__(self, lanes: Lanes, captioning: Captioning, spawn: Spawn) -> None:
        self._lanes, self._captioning, self._spawn = lanes, captioning, spawn
        self._size: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self._leaving: dict[Lane, int] = dict.fromkeys(Lane, 0)  # told to end, and still there
        self._made = 0

    def resize(self, sizes: Mapping[Lane, int]) -> None:
        """Have so many workers from now on."""
        self._captioning.resize(sizes.get(Lane.CAPTION, 1))
        for lane in Lane:
            more = (1 if lane is Lane.CAPTION else sizes.get(lane, 1)) - self._size[lane]
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
        self._lanes.wake()  # captioners may be others now

    async def stop(self) -> None:
        """End the processes of the caption lane."""
        await self._captioning.stop()

    async def _work(self, lane: Lane) -> None:
        await (self._captioning.work() if lane is Lane.CAPTION else self._lanes.work(lane))
        self._leaving[lane] -= 1
