"""Intake: from dirty paths to Arrivals. The watcher's hints, the rescans and `rescan` over HTTP enter here by one door.

What must hold: every doubt (start, overflow, lost root, a person's wish) ends in a full comparison with the store; looks at the disk run
in a thread; nothing wakes while nothing is dirty; a paused watch is not looked at, and compared in full when it resumes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from ..rules.ignores import Ignores
from ..rules.terms import Departure, FileEvent, Watch
from ..store import history
from ..store.index import Index
from . import absence
from .conveyor import Conveyor
from .cookies import WAIT, lay, may_ask
from .hints import WatchState
from .house import House
from .interpreter import give_back
from .leaving import Leaving
from .looking import look_many
from .meters import Meters
from .reload import same_ears
from .rescan import Difference, rescan
from .settling import Settling, Waiting
from .watcher import Watcher

LOOKS = 1000  # paths looked at in one go: their folders are listed once
ABSENT = "the folder is not there, or not the one it was"
PACE = 0.05  # seconds between two goes while more than LOOKS wait: in a burst, many portions of a few would list a folder each
_log = structlog.get_logger()


class Intake:
    """Watches every folder of the config and lays what settles onto the conveyor."""

    def __init__(
        self,
        house: House,
        conveyor: Conveyor,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._house, self._conveyor, self._clock = house, conveyor, clock
        self._settling: dict[str, Settling] = {w.name: Settling(w) for w in house.config.watches}
        self._ignores = {w.name: Ignores(w.ignore, w.max_depth) for w in house.config.watches}
        self._wake = asyncio.Event()
        self._doubts: dict[str, str] = {}
        self._doubted = asyncio.Event()
        self._stopping = False
        self.meters = Meters()
        self.paused: set[str] = set()
        self._closed: dict[str, tuple[str, ...]] = {}  # watch -> folders below it that its last comparison could not list
        self._deaf: set[str] = set()  # watches that did not hear of their cookie
        self.on_compared: Callable[[str, bool], None] = lambda watch, back: None  # its folder is there; with files that were away
        self._absent: set[str] = set()  # watches whose last comparison found no root, or not the one that was there
        self._pause = pause
        self._leaving = Leaving(conveyor.depart, clock)
        loop = asyncio.get_running_loop()
        self._watcher = Watcher(
            house.config.watches,
            lambda: _discard(loop.call_soon_threadsafe(self._wake.set)),
            lambda name, reason: _discard(loop.call_soon_threadsafe(self.doubt, name, reason)),
        )

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Begin to watch; each watch asks for its first comparison once it listens."""
        self.paused = {w.name for w in await self._house.store.read(history.watches) if w.paused}
        await asyncio.to_thread(self._watcher.start)
        for watch in self._house.config.watches:
            if not watch.enabled:
                await self._house.store.write(history.set_watch, watch.name, "disabled")

    async def stop(self) -> None:
        """End the watcher's threads."""
        self._stopping = True
        await asyncio.to_thread(self._watcher.stop)

    async def follow(self, old: Sequence[Watch]) -> None:
        """Take over the watches of the present config; `old` are those before. Each new or changed one is compared in full."""
        before = {w.name: w for w in old}
        now = {w.name: w for w in self._house.config.watches}
        gone = [name for name in before if name not in now]
        fresh = [w for name, w in now.items() if name not in before or not same_ears(before[name], w)]
        for name in gone:
            self._settling.pop(name), self._ignores.pop(name)
            self.paused.discard(name)
            self._deaf.discard(name)
            self._absent.discard(name)
        for w in fresh:
            self._absent.discard(w.name)
            self._settling[w.name], self._ignores[w.name] = Settling(w), Ignores(w.ignore, w.max_depth)
        await asyncio.to_thread(self._turn, gone, fresh)
        for w in fresh:
            if not w.enabled:
                await self._house.store.write(history.set_watch, w.name, "disabled")

    def _turn(self, gone: Sequence[str], fresh: Sequence[Watch]) -> None:
        """Threads end and begin, which takes a moment."""
        for name in gone:
            self._watcher.remove(name)
        for w in fresh:
            self._watcher.add(w)

    async def run(self) -> None:
        """Settle what is dirty, for ever."""
        while True:
            now = self._clock()
            for event in self._watcher.drain():
                self._touch(event, now)
            deadlines = [d for name in list(self._settling) if (d := await self._round(name)) is not None]
            deadlines += [d] if (d := await self._leaving.due()) is not None else []
            if deadlines and min(deadlines) <= self._clock():
                await asyncio.sleep(PACE if self.count() > LOOKS else 0)
                continue
            await self._sleep(max(min(deadlines) - self._clock(), PACE if self.count() > LOOKS else 0.0) if deadlines else None)

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _touch(self, event: FileEvent, now: float) -> None:
        settling = self._settling.get(event.watch)
        if settling is not None and event.watch not in self.paused and not (self._house.mine and self._house.moving(event.path)):
            settling.touch(event.path, now, event.closed)

    async def _round(self, name: str) -> float | None:
        """Look at what is due in one watch and lay down what settled; returns when to come back."""
        settling = self._settling.get(name)
        watch = self._house.watch(name)
        if settling is None or watch is None or name in self.paused or (not len(settling) and settling.next_deadline() is None):
            return None
        due = settling.due(self._clock())
        for start in range(0, len(due), LOOKS):
            part = due[start : start + LOOKS]
            before = [settling.seen(path) for path in part]
            looks = await self._conveyor.in_turn(look_many, part, watch.path, self._ignores[name], None, before)
            if self._settling.get(name) is not settling:  # the watch was changed or paused meanwhile
                return None
            now = self._clock()
            for path, look in zip(part, looks, strict=True):
                settling.look(path, look, now)
        self._conveyor.put(settling.ready(self._clock()))
        self._conveyor.look_ahead(settling.likely())
        departures = settling.departures()
        if departures:
            await self._depart(await absence.believed(self._house, watch, [d.path for d in departures]))
        return settling.next_deadline()

    async def _depart(self, departures: Sequence[Departure]) -> None:
        """Paths are gone; where something settles they may only be called something else now."""
        settling = [w.settle for w in self._house.config.watches if len(self._settling.get(w.name, ()))]
        await self._leaving.put(departures, max(settling, default=None))

    # ------------------------------------------------------------ comparing

    def doubt(self, name: str, reason: str) -> None:
        """Ask for a full comparison of a watch."""
        self._doubts[name] = reason
        self.meters.count("doubts_total", watch=name)
        self._doubted.set()

    async def compare(self) -> None:
        """Make the comparisons that were asked for, one at a time, for ever."""
        while True:
            await self._doubted.wait()
            self._doubted.clear()
            while self._doubts:
                name = next(iter(self._doubts))
                reason = self._doubts.pop(name)
                watch = self._house.watch(name)
                if watch is not None and watch.enabled:
                    await self._compare(watch, reason)
            await asyncio.to_thread(give_back)  # what starting, comparing and bursts needed

    async def _compare(self, watch: Watch, reason: str) -> None:
        store = self._house.store
        health = self._watcher.state(watch.name)
        if watch.name in self.paused:
            await store.write(history.set_watch, watch.name, "paused")
            return
        await asyncio.to_thread(self._watcher.check, watch.name)  # another folder of that name would be deaf for ever
        last = await store.read(history.watch_root, watch.name)
        settling, ignores, began = self._settling.get(watch.name), self._ignores.get(watch.name), time.monotonic()
        if settling is None or ignores is None:
            return  # a reload took it away meanwhile
        found = await asyncio.to_thread(self._walk, watch, ignores, last)
        self.meters.observe("compare_seconds", time.monotonic() - began, watch=watch.name)
        if self._settling.get(watch.name) is not settling:
            return  # another folder by now, or paused: what was found is of the old one, and a new comparison is asked for
        _log.info(
            "compared", watch=watch.name, reason=reason, files=found.files, dirty=len(found.dirty), gone=len(found.departed)
        )
        state = str(health.state) if found.root_ok else str(WatchState.MISSING)
        well = health.state is WatchState.WATCHING
        detail = (_skipped(found) if well else health.reason) if found.root_ok else ABSENT
        await store.write(history.set_watch, watch.name, state, detail)
        self._closed[watch.name] = found.closed
        if found.root_ok:
            self._absent.discard(watch.name)
            back = await absence.come_back(self._house, watch, last, found.root)
            await store.write(history.set_scanned, watch.name, store.now(), found.files, found.root)
            self.on_compared(watch.name, back)
        else:
            self._absent.add(watch.name)
            await absence.root_away(self._house, watch)
        now = self._clock()
        for path in found.dirty:
            if not self._house.moving(path):
                settling.touch(path, now)
        if found.departed:
            await self._depart(await absence.believed(self._house, watch, found.departed))
        self._wake.set()

    def _walk(self, watch: Watch, ignores: Ignores, last: tuple[int, int] | None) -> Difference:
        with Index(self._house.store.db.path, watch.path) as index:
            return rescan(watch, index, ignores, last, lambda: self._stopping)

    async def listen(self) -> None:
        """Ask each watch whether it hears: one that does not hear of its cookie is made anew, one past the watch limit is compared.

        A silent watch keeps a notice until it has answered.
        """
        for watch in self._house.config.watches:
            if watch.enabled and self._watcher.state(watch.name).state is WatchState.LIMITED:
                self.doubt(watch.name, "some of its folders have no watch")
        asked: dict[str, int] = {}
        for watch in self._house.config.watches:
            if may_ask(watch) and self._watcher.state(watch.name).state is WatchState.WATCHING:
                before = self._watcher.cookies(watch.name)
                if await asyncio.to_thread(lay, watch.path):
                    asked[watch.name] = before
        if not asked:
            return
        await self._pause(WAIT)
        for name, before in asked.items():
            if self._watcher.cookies(name) > before:
                self._deaf.discard(name)
            elif self._watcher.state(name).state is WatchState.WATCHING:
                self._deaf.add(name)
                _log.warning("a watch heard nothing of its cookie and is made anew", watch=name)
                await asyncio.to_thread(self._watcher.reopen, name)

    # ------------------------------------------------------------ questions and orders

    async def pause(self, name: str, paused: bool) -> bool:
        """Pause or resume a watch; False when there is none of that name."""
        watch = self._house.watch(name)
        if watch is None or not await self._house.store.write(history.pause_watch, name, paused):
            return False
        if paused:
            self.paused.add(name)
            self._settling[name] = Settling(watch)
            await self._house.store.write(history.set_watch, name, "paused")
        else:
            self.paused.discard(name)
            self.doubt(name, "resumed")
        return True

    def waiting(self) -> list[Waiting]:
        """Every path that has not arrived, and why."""
        return [w for settling in self._settling.values() for w in settling.waiting()]

    def notices(self) -> tuple[str, ...]:
        """What a person should know of the watches: a limit that was reached, a folder that is not there."""
        found = []
        for watch in self._house.config.watches:
            health = self._watcher.state(watch.name)
            if health.state in (WatchState.LIMITED, WatchState.MISSING) and watch.enabled:
                found.append(f"{watch.name}: {health.reason}")
            elif watch.name in self._absent and watch.enabled:
                found.append(f"{watch.name}: {ABSENT}")
            elif watch.name in self._deaf:
                found.append(f"{watch.name}: it did not hear of a test file and was opened anew")
            if watch.enabled and (closed := self._closed.get(watch.name)):
                more = f" and {len(closed) - 1} more folders" if len(closed) > 1 else ""
                found.append(
                    f"{watch.name}: {watch.path / closed[0]}{more} may not be read by dropdock, and nothing in there is seen: "
                    f"chmod u+rx, or chown to who dropdock runs as, then `dropdock rescan {watch.name}`"
                )
        return tuple(found)

    def silent(self) -> tuple[str, ...]:
        """The watches whose threads have ended though they should hear."""
        return self._watcher.silent()

    def hearing(self) -> dict[str, bool]:
        """Watch -> whether it hears everything that happens below it."""
        names = [w.name for w in self._house.config.watches if w.enabled]
        return {name: self._watcher.state(name).state is WatchState.WATCHING and name not in self._absent for name in names}

    def count(self) -> int:
        """How many paths wait."""
        return sum(len(settling) for settling in self._settling.values())

    def touch(self, path: Path) -> None:
        """Look at a path again: an action found it changed."""
        watch = self._house.watch_of(path)
        if watch is not None and watch.name in self._settling:
            self._settling[watch.name].touch(path, self._clock())
            self._wake.set()


def _skipped(found: Difference) -> str:
    """What lies in an inbox and is not taken, in a line: the first few with the reason, and how many there are."""
    if not found.skips:
        return ""
    more = found.skips - len(found.skipped)
    return f"{found.skips} not taken: {', '.join(found.skipped)}{f' and {more} more' if more else ''}"


def _discard(handle: asyncio.Handle) -> None:
    """The watcher's callbacks return nothing."""
