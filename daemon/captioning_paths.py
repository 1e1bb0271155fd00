"""Captioning pictures that lie anywhere: a captioner's worker is fed, its answers are handed on as they come.

    flow = Flow(worker, pictures, heard)      # pictures are drawn as there is room
    await flow.run()
What must hold: each picture that was drawn is heard once; a picture at which the worker died is asked for again on its own, so that
only the poisonous one fails; a service that is down is waited for, longer each time, and after PATIENCE refusals in a row the work
ends with its reason; no file is written here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..handlers.captioners.protocol import Answer, Picture
from .config import CaptionerConfig
from .frames import News
from .workers import TIMEOUT, NotReady, Worker, WorkerDied

DEATHS = 6  # deaths in a row, without an answer in between, after which it is the captioner's fault and no picture's
PATIENCE = 5  # refusals in a row after which a service counts as down
LONGEST_WAIT = 60.0  # seconds between two questions to a service that is down
FELL = "was asked for"  # stands in the device of a worker that runs elsewhere, with the reason
Heard = Callable[[Picture, Answer], None]
Sleep = Callable[[float], Awaitable[None]]


class Unable(Exception):
    """The captioner cannot work; the message is a sentence for people."""


@dataclass(slots=True)
class Flow:
    """One worker at work on pictures. `on_wait` hears why it waits, and for how many seconds. `go_on` may end it early.

    `on_fall` hears in words where it runs when that is not where it was asked to.
    """

    worker: Worker
    pictures: Iterator[Picture]
    heard: Heard
    on_wait: Callable[[str, float], None] = lambda why, seconds: None
    sleep: Sleep = asyncio.sleep
    go_on: Callable[[], bool] = lambda: True
    on_fall: Callable[[str], None] = lambda text: None

    async def run(self) -> None:
        """Until every picture is answered, or `go_on` says no: then what was drawn is answered first. Raises Unable."""
        hands: dict[int, Picture] = {}
        again: deque[Picture] = deque()  # to be asked one by one
        deaths = refusals = 0
        try:
            await self.worker.start()
            if FELL in self.worker.device:
                self.on_fall(f"runs on {self.worker.device}")
            while True:
                await self._feed(hands, again, alone=deaths > 0 or refusals > 0)
                if not self.worker.flight:
                    return
                try:
                    answered = await self.worker.answers()
                except WorkerDied as error:
                    deaths += 1
                    await self._revive(error, hands, again, deaths)
                    continue
                deaths = 0
                later = self._hear(answered, hands)
                refusals = refusals + 1 if later else 0
                if later:
                    again.extend(hands.pop(id) for id, _ in later)
                    await self._wait(later, refusals)
        except WorkerDied as error:
            raise Unable(str(error)) from error

    async def _feed(self, hands: dict[int, Picture], again: deque[Picture], alone: bool) -> None:
        """Send what there is room for; what was asked before, one by one."""
        if again:
            more = [again.popleft()] if not self.worker.flight else []
        else:
            room = self.worker.room if not alone else 1 - len(self.worker.flight)
            more = self._drawn(room) if self.go_on() else []
        hands.update((p.id, p) for p in more)
        if more:
            await self.worker.send(more)

    def _drawn(self, room: int) -> list[Picture]:
        more: list[Picture] = []
        while len(more) < room and (picture := next(self.pictures, None)) is not None:
            more.append(picture)
        return more

    def _hear(self, answered: Sequence[tuple[int, Answer]], hands: dict[int, Picture]) -> list[tuple[int, Answer]]:
        """Hand on what is an answer; the others, for which it is too early."""
        later = []
        for id, answer in answered:
            if answer.later > 0:
                later.append((id, answer))
            else:
                self.heard(hands.pop(id), answer)
        return later

    async def _wait(self, later: Sequence[tuple[int, Answer]], refusals: int) -> None:
        why = later[0][1].error or "it is busy"
        if refusals >= PATIENCE:
            raise Unable(f"captioner {self.worker.name}: {why}")
        seconds = min(LONGEST_WAIT, max(answer.later for _, answer in later) * 2 ** (refusals - 1))
        self.on_wait(why, seconds)
        await self.sleep(seconds)

    async def _revive(self, error: WorkerDied, hands: dict[int, Picture], again: deque[Picture], deaths: int) -> None:
        """Who was in flight alone has failed; others are asked again. Raises WorkerDied when it is the captioner's fault."""
        lost = [hands.pop(id) for id in sorted(self.worker.flight) if id in hands]
        self.worker.flight.clear()
        if isinstance(error, NotReady) or deaths >= DEATHS:
            raise error
        if len(lost) == 1:
            self.heard(lost[0], Answer(error=str(error)))
        else:
            again.extendleft(reversed(lost))
        await self.worker.start()


async def caption_all(
    config: CaptionerConfig,
    pictures: Iterable[Picture],
    heard: Heard,
    on_news: Callable[[str], None] = lambda text: None,
    devices: Sequence[str] = ("",),
) -> None:
    """Have all pictures captioned by worker processes of our own, one for each device ('': the config's). Raises Unable."""

    def news(told: News) -> None:
        if told.text:
            on_news(told.text)

    def waits(why: str, seconds: float) -> None:
        on_news(f"waits {seconds:.0f} s: {why}")

    source = iter(pictures)
    workers = [worker_of(config, device, news) for device in devices]
    unable: list[Unable] = []
    try:
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(Flow(worker, source, heard, waits, on_fall=on_news).run())
    except* Unable as errors:  # raised below: what is raised in here may come out as a group
        unable += _flat(errors)
    finally:
        await asyncio.gather(*(worker.close() for worker in workers))
    if unable:
        raise unable[0]


def _flat(errors: BaseExceptionGroup[Unable]) -> list[Unable]:
    return [one for e in errors.exceptions for one in (_flat(e) if isinstance(e, BaseExceptionGroup) else [e])]


def worker_of(config: CaptionerConfig, device: str = "", on_news: Callable[[News], None] = lambda news: None) -> Worker:
    """A worker of a captioner, on a device other than the config's where one is named."""
    options = dict(config.options) | ({"device": device} if device else {})
    timeout = options.get("timeout")
    return Worker(
        config.name, config.engine, options, float(timeout) if isinstance(timeout, (int, float)) else TIMEOUT, on_news=on_news
    )
