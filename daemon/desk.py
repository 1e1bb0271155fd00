"""A desk: one captioner on one device. Claims its jobs, keeps its worker fed, hears the answers and has them written, all overlapping.

    rest until something is due -> be courteous -> take a turn -> load -> flow (claim and send | hear | write) -> unload
What must hold: a little is claimed at a time, in the order of priorities, so that a picture dropped now overtakes any bulk; what was in
flight when a worker died is asked again one by one, so that only the poisonous picture fails; a service that is down or a model that is
missing costs no picture an attempt; whatever ends a desk, each claimed job is written, failed, or given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from ..api.ports import CaptionerState
from ..handlers.captioners.protocol import Answer
from ..rules.terms import Job, Lane, Param
from ..store import jobs
from .caption_writing import Order, Writer
from .config import CaptionerConfig
from .courtesy import BEAT, NETWORK, Courtesy, card_of
from .frames import News
from .house import House
from .lanes import Lanes
from .rate import Rate
from .turns import Turn, Turns
from .workers import TIMEOUT, NotReady, Worker, WorkerDied

CLAIM = 16  # jobs claimed at once at most: a picture dropped now waits for no more than these
GROUP = 64  # texts written together at most
BACKLOG = 256  # answers that wait to be written at most: beyond it no more pictures are sent
TURN = 30.0  # seconds that a captioner works on while another waits for its turn
SHORT_TURN = 3.0  # the same while one of higher priority waits
DEATHS = 6  # deaths in a row, without an answer in between, after which it is the captioner's fault and no picture's
BROKEN_WAITS = (15.0, 60.0, 300.0)  # seconds until a captioner that cannot start is tried again
LONGEST_WAIT = 300.0  # seconds between two questions to a service that is down
LAST_WORDS = 5.0  # seconds that a session which ends may take to write what was answered
IDLE = 300.0  # seconds without a picture until its model is unloaded, where the config does not say
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Around:
    """What all desks share."""

    house: House
    lanes: Lanes
    writer: Writer
    turns: Turns
    courtesy: Courtesy


class Desk:
    """Run `run` as a task. `poke` it when jobs may be there, `retire` it to have it finish what it has in its hands."""

    def __init__(self, around: Around, config: CaptionerConfig, device: str) -> None:
        self._around, self.config, self.device = around, config, device
        self._network = config.engine in NETWORK
        self._card = "" if self._network else card_of(device, around.courtesy.cards)
        self._stir = asyncio.Event()
        self.retired = False
        self.worker: Worker | None = None
        self._hands: dict[int, Order] = {}  # claimed, and not written yet
        self._suspects: deque[Order] = deque()  # to be asked one by one
        self._answered: list[tuple[Order, Answer]] = []  # to be written
        self._to_write = asyncio.Event()
        self._last_group = False  # the writing ends once nothing is left to write
        self._bored = 0.0  # monotonic: since when nothing is to be done
        self._dead: WorkerDied | None = None
        self._deaths = self._failed_starts = self._refusals = 0
        self._wait_until = 0.0  # monotonic: nothing is claimed before
        self._why = ""  # why it waits
        self._state, self._note, self._where = "idle", "", ""
        self._priority = 0
        self._rate = Rate()

    # ------------------------------------------------------------ from outside

    def poke(self) -> None:
        """Something may be due, wanted or changed."""
        self._stir.set()

    def retire(self) -> None:
        """End once everything in its hands is written."""
        self.retired = True
        self.poke()

    def try_again(self) -> None:
        """What it waited for may be there now."""
        self._wait_until = 0.0
        self.poke()

    async def drop(self, job_id: int) -> None:
        """Nobody wants this picture's text any more."""
        if self.worker is not None and job_id in self.worker.flight:
            await self.worker.drop([job_id])

    def state(self) -> CaptionerState:
        """How it is, for people."""
        now = time.monotonic()
        left = max(0.0, self._wait_until - now)
        note = f"{self._why}, again in {left:.0f} s" if left and self._why else self._note
        state = self._state if not left else "broken" if self._failed_starts else "waits"
        where = self._where or self.device
        speed = round(self._rate.per_second(now), 3)
        return CaptionerState(self.config.name, self.config.engine, where, state, note, len(self._hands), speed)

    # ------------------------------------------------------------ its day

    async def run(self) -> None:
        """Until it is retired."""
        try:
            while not self.retired:
                self._stir.clear()
                pause = await self._until_due()
                if pause is None or pause > 0:
                    self._say("idle")
                    await self._rest(pause)
                elif why := await self._in_the_way():
                    self._say("waits", why)
                    await self._rest(BEAT)
                else:
                    await self._session()
        finally:
            if self.worker is not None:
                await self.worker.stop()
            await asyncio.shield(self._give_back())

    async def _until_due(self) -> float | None:
        """Seconds until something is to be done; None: nothing is known to come."""
        store = self._around.house.store
        if self._suspects:
            return 0.0
        if self._around.house.stopping:
            return None
        due = await store.read(jobs.next_due_for, self.config.name)
        return None if due is None else max(due - store.now(), self._wait_until - time.monotonic())

    async def _rest(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds is None else max(0.005, seconds)):
                await self._stir.wait()

    def _say(self, state: str, note: str = "") -> None:
        self._state, self._note = state, note

    def _option(self, name: str, default: float) -> float:
        value = self.config.options.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default

    async def _in_the_way(self) -> str:
        """Why the model should not be loaded now; '' where it may, or where it runs on the CPU instead."""
        if self.config.options.get("when_busy") == "cpu":
            return ""
        return await self._around.courtesy.before(self._card, int(self._option("min_free", 0)))

    # ------------------------------------------------------------ a session: its model is loaded

    async def _session(self) -> None:
        self._say("waits", "waits for its turn")
        if self._network:
            await self._loaded(None, "")
            return
        self._priority = await self._around.house.store.read(jobs.top_for, self.config.name)
        async with self._around.turns.taken(self.config.name, self._card, self._priority, self.poke) as turn:
            busy = ""
            if self._card and self.config.options.get("when_busy") == "cpu":
                busy = await self._around.courtesy.before(self._card, int(self._option("min_free", 0)))
            elif self._card and await self._in_the_way():
                return  # somebody came while it waited for its turn
            await self._loaded(turn, busy)

    async def _loaded(self, turn: Turn | None, busy: str) -> None:
        """Load, work until there is nothing to do or somebody else's turn has come, unload. `busy`: run on the CPU, for this reason."""
        options: dict[str, Param] = dict(self.config.options)
        if self.device:
            options["device"] = self.device
        if busy:
            options["device"] = "cpu"
        self.worker = Worker(self.config.name, self.config.engine, options, self._option("timeout", TIMEOUT), self._heard)
        self._say("loading", "loading its model")
        try:
            await self.worker.start()
            self._where = self.worker.device
            self._failed_starts = 0
            self._say("working", f"on the CPU: {busy}" if busy else "")
            await self._flow(self.worker, turn, bool(busy))
            await self.worker.close()
        except WorkerDied as error:
            await self._cannot(error)
        finally:
            await self.worker.stop()
            self.worker, self._where = None, ""

    def _heard(self, news: News) -> None:
        self._where = news.device or self._where
        if news.text:
            self._say("loading", news.text)
            self._around.lanes.feed.pass_on("captioner", {"captioner": self.config.name, "note": news.text})

    async def _cannot(self, error: WorkerDied) -> None:
        """The captioner does not come up: its pictures wait, none of them fails for it."""
        wait = BROKEN_WAITS[min(self._failed_starts, len(BROKEN_WAITS) - 1)]
        self._failed_starts += 1
        self._deaths = 0
        self._why, self._wait_until = str(error), time.monotonic() + wait
        if self._failed_starts == 1 or not isinstance(error, NotReady):
            _log.error("a captioner cannot work", captioner=self.config.name, reason=str(error), again_in=wait)
        await self._give_back()
        await self._around.house.store.write(jobs.say_why, self.config.name, str(error))

    async def _flow(self, worker: Worker, turn: Turn | None, on_cpu: bool) -> None:
        """Claim and send, hear, write. Raises WorkerDied when it is the captioner's fault."""
        began = time.monotonic()
        self._dead, self._last_group = None, False
        self._to_write.clear()
        hear = asyncio.create_task(self._hear(worker), name=f"hear {self.config.name}")
        write = asyncio.create_task(self._write(), name=f"write {self.config.name}")
        write.add_done_callback(lambda task: self._stir.set())  # it ends only by a surprise
        beat = asyncio.create_task(self._be_courteous(on_cpu), name=f"courtesy {self.config.name}")
        try:
            while True:
                self._stir.clear()
                if write.done():  # a surprise: it travels up
                    write.result()
                if self._dead is not None:
                    hear = await self._revive(worker, hear)
                elif self._over(turn, began, beat):
                    if not worker.flight and not self._suspects:
                        break
                    await self._send_suspect(worker)
                    await self._rest(None)
                elif not await self._fed(worker):
                    pause = await self._idle(worker, turn)
                    if pause is None:
                        break
                    await self._rest(pause)
        finally:
            for task in (hear, beat):
                task.cancel()
            await self._end_writing(write)

    def _over(self, turn: Turn | None, began: float, beat: asyncio.Task[None]) -> bool:
        """Whether nothing more is to be claimed in this session."""
        if self.retired or self._around.house.stopping or beat.done():
            return True
        wanted = None if turn is None else self._around.turns.wanted(turn)
        if wanted is None:
            return False
        return time.monotonic() - began >= (SHORT_TURN if wanted > self._priority else TURN)

    async def _idle(self, worker: Worker, turn: Turn | None) -> float | None:
        """Nothing could be sent: seconds to rest, or None to end the session."""
        if worker.flight or self._answered or self._suspects:
            wanted = turn is not None and self._around.turns.wanted(turn) is not None
            return SHORT_TURN if wanted else 3600.0
        if turn is not None and self._around.turns.wanted(turn) is not None:
            return None
        due, rest = await self._until_due(), self._option("idle_unload", IDLE)
        if due is not None and due <= rest:
            return max(0.01, due)
        if self._state != "ready":
            self._say("ready", "its model is loaded")
            self._bored = time.monotonic()
        left = self._bored + rest - time.monotonic()
        return left if left > 0 else None

    # ------------------------------------------------------------ feeding

    async def _fed(self, worker: Worker) -> bool:
        """Whether something was sent, or at least claimed."""
        if self._suspects:
            return await self._send_suspect(worker)
        room = min(worker.room, CLAIM)
        if self._refusals:
            room = min(room, 1 - len(worker.flight))  # the service was down: one picture finds out whether it is up
        enough = (
            worker.room * 4 >= worker.ahead or not worker.flight
        )  # claims of one picture each would cost more than they bring
        if room <= 0 or not enough or len(self._answered) > BACKLOG or time.monotonic() < self._wait_until:
            return False
        house = self._around.house
        claimed = await house.store.write(jobs.claim_for, self.config.name, house.owner, house.store.now(), room)
        if not claimed:
            return False
        await self._take(worker, claimed)
        return True

    async def _take(self, worker: Worker, claimed: Sequence[Job]) -> None:
        self._around.lanes.running.update({job.id: job for job in claimed})
        self._priority = claimed[0].priority
        try:
            found = await self._around.writer.orders(claimed)
        except BaseException:
            await asyncio.shield(self._release([job.id for job in claimed]))
            raise
        ours = {order.job.id for order in found}
        for job in claimed:
            if job.id not in ours:
                self._around.lanes.running.pop(job.id, None)
        self._hands.update({order.job.id: order for order in found})
        again = [order for order in found if order.job.attempts > 1]  # it failed before, and may have taken others along
        self._suspects.extend(again)
        fresh = [order.picture for order in found if order.job.attempts <= 1]
        if fresh:
            self._say("working", self._note if self._note.startswith("on the CPU") else "")
            await worker.send(fresh)

    async def _send_suspect(self, worker: Worker) -> bool:
        if worker.flight or not self._suspects:
            return False
        self._say("working", "asks pictures one by one")
        await worker.send([self._suspects.popleft().picture])
        return True

    # ------------------------------------------------------------ hearing

    async def _hear(self, worker: Worker) -> None:
        try:
            while True:
                later = []
                for id, answer in await worker.answers():
                    order = self._hands[id]
                    if answer.later > 0:
                        later.append((order, answer))
                        continue
                    self._deaths = self._refusals = 0
                    self._answered.append((order, answer))
                if later:
                    await self._refused(later)
                self._stir.set()
                self._to_write.set()
        except WorkerDied as error:
            self._dead = error
            self._stir.set()

    async def _refused(self, later: Sequence[tuple[Order, Answer]]) -> None:
        """The service is down or busy: its pictures wait, and it is asked again after a while, longer each time."""
        await self._release([order.job.id for order, _ in later])
        if time.monotonic() >= self._wait_until:  # several that were in flight together are one refusal
            self._refusals += 1
        wait = min(LONGEST_WAIT, max(answer.later for _, answer in later) * 2 ** max(0, self._refusals - 1))
        self._wait_until = max(self._wait_until, time.monotonic() + wait)
        self._why = f"waits: {later[0][1].error or 'it is busy'}"
        asyncio.get_running_loop().call_later(wait + 0.01, self.poke)

    async def _revive(self, worker: Worker, hear: asyncio.Task[None]) -> asyncio.Task[None]:
        """A worker died: who was in flight alone has failed, others are asked again one by one. Raises WorkerDied after too many."""
        error, self._dead = self._dead, None
        assert error is not None
        lost = [self._hands[id] for id in sorted(worker.flight) if id in self._hands]
        worker.flight.clear()
        self._deaths += 1
        _log.warning("a captioner died", captioner=self.config.name, reason=str(error), pictures=len(lost))
        if isinstance(error, NotReady) or self._deaths >= DEATHS:
            raise error
        if len(lost) == 1:
            self._answered.append((lost[0], Answer(error=str(error))))
            self._to_write.set()
        else:
            self._suspects.extendleft(reversed(lost))
        if self._suspects or not self.retired:
            await worker.start()
        return asyncio.create_task(self._hear(worker), name=hear.get_name())

    # ------------------------------------------------------------ writing

    async def _write(self) -> None:
        """Write what was answered, in groups, until the session ends."""
        while not (self._last_group and not self._answered):
            await self._to_write.wait()
            self._to_write.clear()
            while self._answered:
                await self._write_group(self._answered[:GROUP])

    async def _write_group(self, group: Sequence[tuple[Order, Answer]]) -> None:
        lanes = self._around.lanes
        began = time.monotonic()
        try:
            await self._around.writer.write(group)
        except Exception as error:  # noqa: BLE001
            # one of the three broad excepts of the house (the worker loop): a failed attempt of what was claimed and not finished
            _log.exception("captions failed", pictures=len(group))
            await self._around.writer.fail([(order.job, f"{type(error).__name__}: {error}") for order, _ in group])
        del self._answered[: len(group)]
        for order, _ in group:
            self._hands.pop(order.job.id, None)
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

    # ------------------------------------------------------------ giving back

    async def _give_back(self) -> None:
        """What is in its hands and not written is queued as it was."""
        await self._release(list(self._hands))
        self._suspects.clear()
        self._answered.clear()

    async def _release(self, ids: Sequence[int]) -> None:
        for id in ids:
            self._hands.pop(id, None)
            self._around.lanes.running.pop(id, None)
        if ids:
            await self._around.house.store.write(jobs.release_all, ids, self._around.house.owner)

    async def _be_courteous(self, on_cpu: bool) -> None:
        """Ends as soon as the model should go from its card, or, running on the CPU instead, could come back to it."""
        if not self._card:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(TURN if on_cpu else BEAT)
            if on_cpu:
                why = await self._around.courtesy.before(self._card, int(self._option("min_free", 0)))
            else:
                why = await self._around.courtesy.during(self._card)
            if bool(why) is not on_cpu:
                self.poke()
                return
