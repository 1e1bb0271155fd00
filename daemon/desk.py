"""A desk: one captioner on one device, through its day.

    rest until something is due -> be courteous -> take a turn -> load -> a session -> unload
What must hold: a model is loaded only once something is due, its turn has come and nobody else needs the card, and goes again after
`idle_unload`; a model or package that is missing fails no picture: its pictures wait, and `state` says what for.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from ..api.ports import TURN as WAITS
from ..api.ports import CaptionerState
from ..rules.terms import Param
from ..store import jobs
from .config import CaptionerConfig
from .courtesy import BEAT, NETWORK, card_of
from .frames import News
from .rate import Rate
from .session import Around, Patience, Session, rest, until_due
from .turns import Turn
from .workers import TIMEOUT, NotReady, Worker, WorkerDied

TURN = 30.0  # seconds that a captioner works on while another waits for its turn
SHORT_TURN = 3.0  # the same while one of higher priority waits
BROKEN_WAITS = (15.0, 60.0, 300.0)  # seconds until a captioner that cannot start is tried again
IDLE = 300.0  # seconds without a picture until its model is unloaded, where the config does not say
_log = structlog.get_logger()


class Desk:
    """Run `run` as a task. `poke` it when jobs may be there, `retire` it to have it finish what it has in its hands."""

    def __init__(self, around: Around, config: CaptionerConfig, device: str) -> None:
        self._around, self.config, self.device = around, config, device
        self._network = config.engine in NETWORK
        self._card = "" if self._network else card_of(device, around.courtesy.cards)
        self._stir = asyncio.Event()
        self._retired = False
        self.worker: Worker | None = None
        self._session: Session | None = None
        self._patience, self._rate = Patience(), Rate()
        self._failed_starts = 0
        self._state, self._note, self._where = "idle", "", ""

    # ------------------------------------------------------------ from outside

    def poke(self) -> None:
        """Something may be due, wanted or changed."""
        self._stir.set()

    def retire(self) -> None:
        """End once everything in its hands is written."""
        self._retired = True
        self.poke()

    def try_again(self) -> None:
        """What it waited for may be there now."""
        self._patience.until = 0.0
        self.poke()

    async def drop(self, job_id: int) -> None:
        """Nobody wants this picture's text any more."""
        if self.worker is not None and job_id in self.worker.flight:
            await self.worker.drop([job_id])

    def state(self) -> CaptionerState:
        """How it is, for people."""
        left, hands = self._patience.left, 0 if self._session is None else len(self._session.hands)
        state, note = self._state, self._note
        if left > 0 and (self._patience.asked or hands):
            state, note = "broken" if self._failed_starts else "waits", f"{self._patience.why}, again in {left:.0f} s"
        speed, last = round(self._rate.per_second(time.monotonic()), 3), round(self._rate.last, 3)
        return CaptionerState(self.config.name, self.config.engine, self._where or self.device, state, note, hands, speed, last)

    # ------------------------------------------------------------ its day

    async def run(self) -> None:
        """Until it is retired."""
        while not self._retired:
            self._stir.clear()
            pause = await until_due(self._around.house, self.config.name, self._patience)
            if pause is None or pause > 0:
                self._say("idle")
                await rest(self._stir, min(pause, BEAT) if pause and self._patience.left else pause)
            elif why := await self._in_the_way():
                self._say("waits", why)
                await rest(self._stir, BEAT)
            else:
                await self._at_work()

    def _say(self, state: str, note: str = "") -> None:
        self._state, self._note = state, note

    def _option(self, name: str, default: float) -> float:
        value = self.config.options.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default

    @property
    def _takes_cpu(self) -> bool:
        """Whether it runs on the CPU while the card is busy, instead of waiting."""
        return bool(self._card) and self.config.options.get("when_busy") == "cpu"

    async def _busy(self) -> str:
        """Why its model should not be loaded onto the card now."""
        return await self._around.courtesy.before(self._card, int(self._option("min_free", 0)))

    async def _in_the_way(self) -> str:
        """Why it has to wait now."""
        return "" if self._takes_cpu else await self._busy()

    async def _at_work(self) -> None:
        """Take a turn, if it needs one, load the model and work."""
        if self._network:
            await self._loaded(None, "")
            return
        self._say("waits", WAITS)
        priority = await self._around.house.store.read(jobs.top_for, self.config.name)
        lost = asyncio.Event()
        watch = asyncio.create_task(self._lose_interest(lost), name=f"interest {self.config.name}")
        try:
            async with self._around.turns.taken(self.config.name, self._card, priority, self.poke, lost) as turn:
                watch.cancel()
                busy = await self._busy()
                # else nobody wants it any more, or somebody came to the card while it waited for its turn
                if turn.granted.is_set() and (not busy or self._takes_cpu):
                    await self._loaded(turn, busy)
        finally:
            watch.cancel()

    async def _lose_interest(self, lost: asyncio.Event) -> None:
        """While it waits for its turn: say so when its pictures are wanted no more, or it is retired."""
        while not self._retired and await until_due(self._around.house, self.config.name, self._patience) is not None:
            self._stir.clear()
            await rest(self._stir, BEAT)
        lost.set()

    async def _loaded(self, turn: Turn | None, busy: str) -> None:
        """Load, work until nothing is to be done or it is somebody else's turn, unload. `busy`: on the CPU, for this reason."""
        options: dict[str, Param] = dict(self.config.options)
        if self.device or busy:
            options["device"] = "cpu" if busy else self.device
        name = self.config.name
        self.worker = Worker(name, self.config.engine, options, self._option("timeout", TIMEOUT), self._heard)
        self._say("loading", "loading its model")
        try:
            await self.worker.start()
            self._failed_starts = 0
            await self._hold_session(self.worker, turn, busy)
            self._say("idle")
            await self.worker.close()
        except WorkerDied as error:
            await self._cannot(error)
        finally:
            await self.worker.stop()
            self.worker, self._where = None, ""

    async def _hold_session(self, worker: Worker, turn: Turn | None, busy: str) -> None:
        self._where, note = worker.device, f"on the CPU: {busy}" if busy else ""
        house, name = self._around.house, self.config.name
        self._say("working", note)
        session = Session(
            self._around, name, worker, self._patience, self._rate, self._stir, lambda state: self._say(state, note)
        )
        beat = asyncio.create_task(self._be_courteous(bool(busy)), name=f"courtesy {name}")
        began, self._session = time.monotonic(), session

        def over() -> bool:
            """Whether nothing more is to be claimed in this session."""
            if self._retired or house.stopping or beat.done():
                return True
            wanted = None if turn is None else self._around.turns.wanted(turn)
            return wanted is not None and time.monotonic() - began >= (SHORT_TURN if wanted > session.priority else TURN)

        def wanted() -> bool:
            return turn is not None and self._around.turns.wanted(turn) is not None

        try:
            await session.flow(over, wanted, self._option("idle_unload", IDLE))
        finally:
            beat.cancel()
            self._session = None

    def _heard(self, news: News) -> None:
        self._where = news.device or self._where
        if news.text:
            self._say("loading", news.text)
            self._around.lanes.feed.pass_on("captioner", {"captioner": self.config.name, "note": news.text})

    async def _cannot(self, error: WorkerDied) -> None:
        """The captioner does not come up: its pictures wait, none of them fails for it."""
        wait = BROKEN_WAITS[min(self._failed_starts, len(BROKEN_WAITS) - 1)]
        self._failed_starts += 1
        self._patience.why, self._patience.until = str(error), time.monotonic() + wait
        if self._failed_starts == 1 or not isinstance(error, NotReady):
            _log.error("a captioner cannot work", captioner=self.config.name, reason=str(error), again_in=wait)
        await self._around.house.store.write(jobs.say_why, self.config.name, str(error))

    async def _be_courteous(self, on_cpu: bool) -> None:
        """Ends as soon as the model should go from its card, or, running on the CPU instead, could come back to it."""
        while self._card:
            await asyncio.sleep(TURN if on_cpu else BEAT)
            why = await (self._busy() if on_cpu else self._around.courtesy.during(self._card))
            if bool(why) is not on_cpu:
                self.poke()
                return
        await asyncio.Event().wait()
