"""The caption lane: a desk for each captioner that jobs ask for, one for each device it may use.

What must hold: one captioner's jobs wait for no other captioner's beyond the turns that they take on one machine (`lanes.caption` local
ones at once, one on a card; those behind an address are not counted); a captioner that the config has changed is replaced once its
pictures in hand are written; jobs of one that the config does not have fail at once with that reason.
"""

from __future__ import annotations

import asyncio

from ..api.ports import CaptionerState
from ..rules.terms import Lane
from ..store import jobs
from .caption_writing import Writer
from .cards import Cards, NoCards
from .courtesy import Courtesy, devices
from .desk import Desk
from .house import House
from .lanes import Lanes
from .session import Around
from .turns import Turns
from .workers import Worker

UNKNOWN = 256  # jobs of a captioner that is not there, failed in one transaction


class Captioning:
    """Run `work` as a task. `resize` bounds the local workers that run at once."""

    def __init__(self, house: House, lanes: Lanes, size: int = 1, cards: Cards | None = None) -> None:
        self._house, self._lanes = house, lanes
        self._cards = cards or NoCards()
        self._writer = Writer(house, lanes.feed.pass_on)
        self._turns = Turns(size)
        self._around = Around(house, lanes, self._writer, self._turns, Courtesy(house, self._cards))
        self._tasks: dict[asyncio.Task[None], Desk] = {}
        self._dropping: set[asyncio.Task[None]] = set()
        lanes.on_cancel = self.drop

    def resize(self, size: int) -> None:
        """So many local captioners may have their model loaded at once from now on."""
        self._turns.resize(size)

    @property
    def around(self) -> Around:
        """What its desks share: whoever else loads a model takes turns with them."""
        return self._around

    async def work(self) -> None:
        """Have jobs captioned until this lane is to end."""
        stirred = asyncio.create_task(self._lanes.stirred(Lane.CAPTION))
        try:
            while not self._lanes.leave(Lane.CAPTION):
                await self._staff()
                await asyncio.wait({stirred, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
                self._gone()
                if stirred.done():
                    stirred = asyncio.create_task(self._lanes.stirred(Lane.CAPTION))
                    self._poke()
            for desk in self._tasks.values():
                desk.retire()
            while self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                self._gone()
        finally:
            stirred.cancel()
            await self.stop()

    async def stop(self) -> None:
        """End every worker process; what was in hand is given back."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def try_again(self) -> None:
        """Captioners that wait, for a service or for what is missing, look at once whether it is there."""
        for desk in self._tasks.values():
            desk.try_again()

    def drop(self, job_id: int) -> None:
        """Nobody wants this job's text any more."""
        for desk in self._tasks.values():
            task = asyncio.ensure_future(desk.drop(job_id))
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)

    def states(self) -> tuple[CaptionerState, ...]:
        """How each captioner is that had something to do."""
        return tuple(desk.state() for desk in self._tasks.values())

    @property
    def workers(self) -> list[Worker]:
        """The worker processes that are there now."""
        return [desk.worker for desk in self._tasks.values() if desk.worker is not None]

    # ------------------------------------------------------------ desks

    async def _staff(self) -> None:
        """A desk for whom jobs ask; those whose captioner is another now, or gone, end."""
        config = self._house.config
        if self._house.stopping:
            return
        for name in await self._house.store.read(jobs.captioners_asked):
            wanted = config.captioners.get(name)
            if wanted is None:
                await self._refuse(name)
                continue
            for device in devices(wanted.options, self._cards):
                if not any(d.config == wanted and d.device == device for d in self._tasks.values()):
                    desk = Desk(self._around, wanted, device)
                    self._tasks[asyncio.create_task(desk.run(), name=f"captioner {name}")] = desk
        for desk in self._tasks.values():
            if config.captioners.get(desk.config.name) != desk.config:
                desk.retire()

    async def _refuse(self, name: str) -> None:
        """Fail the jobs of a captioner that the config does not have."""
        house = self._house
        why = f"there is no captioner {name!r} in the config"
        while claimed := await house.store.write(jobs.claim_for, name, house.owner, house.store.now(), UNKNOWN):
            await self._writer.fail([(job, why) for job in claimed], retry=False)

    def _gone(self) -> None:
        """Forget desks that have ended. One that died of a surprise raises it here."""
        for task in [t for t in self._tasks if t.done()]:
            del self._tasks[task]
            if not task.cancelled():
                task.result()

    def _poke(self) -> None:
        for desk in self._tasks.values():
            desk.poke()
