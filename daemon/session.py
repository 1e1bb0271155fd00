"""A session: one captioner's model is loaded. Its jobs are claimed and sent, answers heard and written, all at the same time.

What must hold: a little is claimed at a time, in the order of priorities, so that a picture dropped now overtakes any bulk; what was in
flight when a worker died is asked again one by one, so that only the poisonous picture fails; a service that is down costs no picture an
attempt; whatever ends a session, each claimed job is written, failed, or given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from ..handlers.captioners.protocol import Answer, Picture
from ..rules.terms import Job, Lane
from ..store import jobs
from .caption_writing import Order, Writer
from .courtesy import Courtesy
from .house import House
from .lanes import Lanes
from .rate import Rate
from .turns import Turns
from .workers import NotReady, Worker, WorkerDied

CLAIM = 16  # jobs claimed at once at most: a picture dropped now waits for no more than these
GROUP = 64  # texts written together at most
BACKLOG = 256  # answers that wait to be written at most: beyond it no more pictures are sent
DEATHS = 6  # deaths in a row, without an answer in between, after which it is the captioner's fault and no picture's
LONGEST_WAIT = 300.0  # seconds between two questions to a service that is down
LAST_WORDS = 5.0  # seconds that a session which ends may take to write what was answered
SOON = 3.0  # seconds between two looks at whose turn it is, while somebody waits for one
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Around:
    """What all desks share."""

    house: House
    lanes: Lanes
    writer: Writer
    turns: Turns
    courtesy: Courtesy


@dataclass(slots=True)
class Patience:
    """What a captioner waits for, between sessions too. `until` is monotonic seconds; before it nothing is claimed."""

    until: float = 0.0
    why: str = ""
    refusals: int = 0  # times in a row that its service was down
    asked: bool = False  # whether pictures were there for it at the last look: else it waits for nobody

    @property
    def left(self) -> float:
        """Seconds still to wait."""
        return max(0.0, self.until - time.monotonic())

    def refused(self, seconds: float, why: str) -> float:
        """The service is down or busy: it is asked again after a while, longer each time; how long."""
        if self.left == 0:  # several that were in flight together are one refusal
            self.refusals += 1
        wait = min(LONGEST_WAIT, seconds * 2.0 ** max(0, self.refusals - 1))
        self.until, self.why = max(self.until, time.monotonic() + wait), f"waits: {why}"
        return wait


class Session:
    """`stir` is set whenever something may be otherwise; `over` says that no more is to be claimed, `wanted` that others wait."""

    def __init__(
        self,
        around: Around,
        name: str,
        worker: Worker,
        patience: Patience,
        rate: Rate,
        stir: asyncio.Event,
        say: Callable[[str], None],
    ) -> None:
        self._around, self._name, self._worker = around, name, worker
        self._patience, self._rate, self._stir, self._say = patience, rate, stir, say
        self.hands: dict[int, Order] = {}  # claimed, and not written yet
        self.priority = 0  # of what was claimed last
        self._suspects: deque[Order] = deque()  # to be asked one by one
        self._answered: list[tuple[Order, Answer]] = []  # to be written
        self._to_write = asyncio.Event()
        self._last_group = False  # the writing ends once nothing is left to write
        self._dead: WorkerDied | None = None
        self._deaths = 0
        self._bored: float | None = None  # monotonic: since when nothing is to be done

    async def flow(self, over: Callable[[], bool], wanted: Callable[[], bool], idle: float) -> None:
        """Work until `over`, or until nothing is to be done for `idle` seconds or, while others wait, at all.

        Raises WorkerDied when it is the captioner's fault; what is in its hands then is given back.
        """
        hear = asyncio.create_task(self._hear(), name=f"hear {self._name}")
        write = asyncio.create_task(self._write(), name=f"write {self._name}")
        write.add_done_callback(lambda task: self._stir.set())  # it ends only by a surprise
        try:
            while True:
                self._stir.clear()
                if write.done():
                    write.result()
                if self._dead is not None:
                    hear = await self._revive()
                    continue
                pause = await self._step(over(), wanted(), idle)
                if pause is None:
                    break
                if pause > 0:
                    await rest(self._stir, pause)
        finally:
            hear.cancel()
            try:
                await self._end_writing(write)
            finally:
                await asyncio.shield(self._release(list(self.hands)))

    async def _step(self, over: bool, wanted: bool, idle: float) -> float | None:
        """Send what there is room for: seconds to rest then, 0 to go on at once, None to end."""
        if over and not self._worker.flight and not self._suspects:
            return None
        if await (self._send_suspect() if over or self._suspects else self._claim()):
            return 0.0
        if self._worker.flight or self._answered or self._suspects:
            return SOON if wanted else 3600.0
        return None if wanted else await self._idle(idle)

    async def _idle(self, idle: float) -> float | None:
        """Nothing is to be done: seconds until something is due, or the model has been idle for long enough, and then None."""
        if self._bored is None:
            self._bored = time.monotonic()
            self._say("ready")
        due = await until_due(self._around.house, self._name, self._patience)
        left = self._bored + idle - time.monotonic()
        if due is not None and due < max(idle, left):
            return max(0.005, min(due, SOON) if self._patience.left else due)  # meanwhile its pictures may be wanted no more
        return left if left > 0 else None

    # ------------------------------------------------------------ feeding

    async def _claim(self) -> bool:
        """Claim and send some; whether any were claimed."""
        worker, house = self._worker, self._around.house
        room = min(worker.room, CLAIM)
        if self._patience.refusals:
            room = min(room, 1 - len(worker.flight))  # the service was down: one picture finds out whether it is up
        enough = (
            worker.room * 4 >= worker.ahead or not worker.flight
        )  # claims of one picture each would cost more than they bring
        if room <= 0 or not enough or len(self._answered) > BACKLOG or self._patience.left > 0:
            return False
        claimed = await house.store.write(jobs.claim_for, self._name, house.owner, house.store.now(), room)
        if claimed:
            await self._take(claimed)
        return bool(claimed)

    async def _take(self, claimed: Sequence[Job]) -> None:
        self.priority, self._bored = claimed[0].priority, None
        running = self._around.lanes.running
        running.update({job.id: job for job in claimed})
        try:
            found = await self._around.writer.orders(claimed)
        except BaseException:
            await asyncio.shield(self._release([job.id for job in claimed]))
            raise
        self.hands.update({order.job.id: order for order in found})
        for job in claimed:
            if job.id not in self.hands:  # nothing was to be done
                running.pop(job.id, None)
        self._suspects.extend(o for o in found if o.job.attempts > 1)  # it failed before, and may have taken others along
        if fresh := [order.picture for order in found if order.job.attempts <= 1]:
            await self._send(fresh)

    async def _send_suspect(self) -> bool:
        if self._worker.flight or not self._suspects:
            return False
        await self._send([self._suspects.popleft().picture])
        return True

    async def _send(self, pictures: Sequence[Picture]) -> None:
        self._say("working")
        if not self._worker.alive and not self._worker.flight:  # it was killed while it had nothing to do: nobody's fault
            await self._worker.start()
        await self._worker.send(pictures)

    # ------------------------------------------------------------ hearing

    async def _hear(self) -> None:
        try:
            while True:
                later = []
                for id, answer in await self._worker.answers():
                    if answer.later > 0:
                        later.append((id, answer))
                        continue
                    self._deaths = self._patience.refusals = 0
                    self._answered.append((self.hands[id], answer))
                if later:
                    await self._refused(later)
                self._stir.set()
                self._to_write.set()
        except WorkerDied as error:
            self._dead = error
            self._stir.set()

    async def _refused(self, later: Sequence[tuple[int, Answer]]) -> None:
        """The service is down: its pictures are queued again as they were."""
        why, first = later[0][1].error or "it is busy", self._patience.left == 0
        self._patience.refused(max(answer.later for _, answer in later), why)
        await self._release([id for id, _ in later])
        if first:
            await self._around.house.store.write(jobs.say_why, self._name, why)

    async def _revive(self) -> asyncio.Task[None]:
        """A worker died: who was in flight alone has failed, others are asked again one by one. Raises WorkerDied after too many."""
        error, self._dead = self._dead, None
        assert error is not None
        lost = [self.hands[id] for id in sorted(self._worker.flight) if id in self.hands]
        self._deaths += 1
        _log.warning("a captioner died", captioner=self._name, reason=str(error), pictures=len(lost))
        if isinstance(error, NotReady) or self._deaths >= DEATHS:
            raise error
        if len(lost) == 1:
            self._answered.append((lost[0], Answer(error=str(error))))
            self._to_write.set()
        else:
            self._suspects.extendleft(reversed(lost))
        self._say("loading")
        await self._worker.start()
        self._stir.set()
        return asyncio.create_task(self._hear(), name=f"hear {self._name}")

    # ------------------------------------------------------------ writing

    async def _write(self) -> None:
        """Write what was answered, in groups, until the session ends."""
        while not (self._last_group and not self._answered):
            await self._to_write.wait()
            self._to_write.clear()
            while self._answered:
                await self._write_group(self._answered[:GROUP])

    async def _write_group(self, group: Sequence[tuple[Order, Answer]]) -> None:
        lanes, writer = self._around.lanes, self._around.writer
        began = time.monotonic()
        try:
            await writer.write(group)
        except Exception as error:  # noqa: BLE001
            # one of the broad excepts of the house (a worker loop): a failed attempt of what was claimed and not finished
            _log.exception("captions failed", pictures=len(group))
            await writer.fail([(order.job, f"{type(error).__name__}: {error}") for order, _ in group])
        del self._answered[: len(group)]
        for order, _ in group:
            self.hands.pop(order.job.id, None)
            lanes.running.pop(order.job.id, None)
            lanes.meters.observe("job_seconds", (time.monotonic() - began) / len(group), lane=str(Lane.CAPTION))
        self._rate.count(sum(not answer.error for _, answer in group), time.monotonic())
        self._stir.set()

    async def _end_writing(self, write: asyncio.Task[None]) -> None:
        """Everything that was answered is written, whatever ended the session, or given back when that takes too long."""
        self._last_group = True
        self._to_write.set()
        try:
            async with asyncio.timeout(LAST_WORDS):
                await asyncio.shield(write)
        except TimeoutError:
            write.cancel()
            await asyncio.gather(write, return_exceptions=True)

    async def _release(self, ids: Sequence[int]) -> None:
        """These are queued as they were."""
        for id in ids:
            self.hands.pop(id, None)
            self._around.lanes.running.pop(id, None)
        if ids:
            await self._around.house.store.write(jobs.release_all, ids, self._around.house.owner)


async def until_due(house: House, name: str, patience: Patience) -> float | None:
    """Seconds until something is to be done by a captioner; None: nothing is known to come."""
    if house.stopping:  # what was given back is for the next start
        return None
    due = await house.store.read(jobs.next_due_for, name)
    patience.asked = due is not None
    return None if due is None else max(due - house.store.now(), patience.left)


async def rest(stir: asyncio.Event, seconds: float | None) -> None:
    """Wait until something stirs, for so long at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None if seconds is None else max(0.005, seconds)):
            await stir.wait()
