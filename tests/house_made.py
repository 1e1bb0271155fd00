"""A house to test in: the daemon's own parts on a scratch home, a real database and a clock that moves when told.

Nothing runs in it but what a test starts. `settled` waits by commits, not by time; `killed` ends it as kill -9 would, and the next
`House` on the same home starts as the daemon does.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dropdock.daemon.captioning import Captioning
from dropdock.daemon.config import Config, read
from dropdock.daemon.conveyor import Conveyor
from dropdock.daemon.feed import Feed
from dropdock.daemon.hash_orders import HashOrders
from dropdock.daemon.house import House
from dropdock.daemon.lanes import Lanes
from dropdock.daemon.performing import Performer
from dropdock.daemon.projection import Projection
from dropdock.daemon.reclassifying import Reclassifier
from dropdock.daemon.recovery import Recovery
from dropdock.handlers import disk
from dropdock.rules.terms import Arrival, Job, Lane, Move
from dropdock.store import history, jobs
from dropdock.store.database import Database
from dropdock.store.rows import FileRow, HistoryRow
from dropdock.store.store import Store

CONFIG = """
data_dir: {home}/data
hub: {hub}
datasets: {datasets}
free_space: 0 MB
watch:
  - {{path: {home}/inbox, mode: inbox}}
  - {{path: {home}/library, mode: library}}
targets:
  comfyui: {{layout: comfyui, path: {home}/ComfyUI}}
"""


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing of ours runs after it."""


class Clock:
    """A wall clock that moves when told."""

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class Home:
    """The folders of a scratch home, which outlive any house that is opened on them."""

    def __init__(self, root: Path, more: str = "", hub: Path | None = None, datasets: Path | None = None) -> None:
        self.root, self.inbox, self.library = root, root / "inbox", root / "library"
        self.hub, self.datasets, self.app = hub or root / "hub", datasets or root / "datasets", root / "ComfyUI"
        for folder in (root / "data", self.inbox, self.library, self.hub, self.datasets, self.app / "models"):
            folder.mkdir(parents=True, exist_ok=True)
        self.clock = Clock()
        self.text = CONFIG.format(home=root, hub=self.hub, datasets=self.datasets) + more

    @property
    def config(self) -> Config:
        return read(self.text, self.root / "config.yaml", {"HOME": str(self.root)})

    def drop(self, rel: str, data: bytes) -> Path:
        """A file in the inbox."""
        path = self.inbox / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def bytes_below(self) -> set[str]:
        """SHA-256 of every file of the home, but the database's."""
        roots = (self.inbox, self.library, self.hub, self.datasets)
        return {sha(p) for root in roots for p in root.rglob("*") if p.is_file()}

    def staging_left(self) -> list[Path]:
        return [p for root in (self.inbox, self.hub, self.datasets) for p in root.glob(".dropdock/staging/*")]


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Opened:
    """The parts, as app.py puts them together."""

    def __init__(self, home: Home, database: Database) -> None:
        self.home = home
        self.store = Store(database, home.clock)
        self.house = House(home.config, self.store)
        self.feed = Feed(self.store)
        self.projection = Projection(self.house)
        self.conveyor = Conveyor(self.house)
        self.changed: list[Path] = []  # paths that an action found changed
        self.performer = Performer(self.house, self.projection.ask, self.changed.append)
        self.reclassifier = Reclassifier(self.house, self.projection.ask)
        self.recovery = Recovery(self.house, self.performer)
        self.lanes = Lanes(self.house, self.feed, self._perform)
        self.store.on_jobs = self.lanes.wake
        self.captioning = Captioning(self.house, self.lanes)
        self.committed = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        database.on_commit = self._on_commit

    def _on_commit(self) -> None:
        self.feed.poke()
        self.committed.set()

    async def _perform(self, job: Job, tick: Callable[[float], None]) -> None:
        works = {"reclassify": self.reclassifier, "hashes": HashOrders(self.house)}
        await next((work for word, work in works.items() if word in job.payload), self.performer).perform(job, tick)

    async def begin(self) -> int:
        """What the daemon does first; returns how many intents were open."""
        for watch in self.house.config.watches:
            await self.store.write(history.put_watch, watch.name, watch.path, str(watch.mode))
        mended = await self.recovery.start()
        await self.store.write(jobs.void_leases)
        await self.feed.start()
        return mended

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def hire(self, *lanes: Lane) -> None:
        """Start a worker of each lane."""
        for lane in lanes:
            self.spawn(self.captioning.work() if lane is Lane.CAPTION else self.lanes.work(lane))

    async def arrive(self, lead: Path, *companions: Path) -> None:
        """A unit has settled."""
        watch = self.house.watch_of(lead)
        assert watch is not None
        await self.conveyor.take([Arrival(watch.name, lead, disk.stamp(lead), companions, lead.is_dir())])

    async def settled(self, *lanes: Lane) -> None:
        """Wait until these lanes (all when none is named) have no job left that is due. A worker that died raises here."""
        while True:
            self.committed.clear()
            found = await self.store.read(jobs.listing, state="open", limit=1000)
            if not any(j.run_at <= self.store.now() and j.lane in (lanes or Lane) for j in found):
                return
            waiter = asyncio.create_task(self.committed.wait())
            done, _ = await asyncio.wait({waiter, *self.tasks}, return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
            for task in done - {waiter}:
                task.result()

    async def work(self, *lanes: Lane) -> None:
        """Do all that is due, with one worker of each lane (hash and cpu when none is named)."""
        lanes, hired = lanes or (Lane.HASH, Lane.CPU), len(self.tasks)
        self.hire(*lanes)
        try:
            await self.settled(*lanes)
            for lane in lanes:  # each ends once it has finished what it does
                self.lanes.retire(lane, 1)
            await asyncio.gather(*self.tasks[hired:])
        finally:
            await self.dismiss(hired)

    async def dismiss(self, first: int = 0) -> None:
        """End the tasks that were started from `first` on."""
        ending, self.tasks = self.tasks[first:], self.tasks[:first]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self.captioning.stop()

    # ------------------------------------------------------------ asking

    async def file(self, path: Path) -> FileRow:
        """The row of a path."""
        from dropdock.store import files

        row = await self.store.read(files.at, path)
        assert row is not None, path
        return row

    async def told(self) -> list[HistoryRow]:
        """All that happened, oldest first."""
        return await self.store.read(history.since, 0, 10_000)

    async def performed(self, verb: str) -> list[str]:
        """The states in which an action's Outcomes were recorded."""
        return [str(row.status) for row in await self.told() if row.event == "performed" and row.verb == verb]

    async def jobs(self) -> dict[str, str]:
        """Title -> state of every job."""
        return {job.title: str(job.state) for job in await self.store.read(jobs.listing, limit=1000)}


@asynccontextmanager
async def opened(home: Home) -> AsyncIterator[Opened]:
    """A house on a home, begun as the daemon begins; what runs in it ends with it."""
    async with Database(home.root / "data" / "dropdock.db") as database:
        house = Opened(home, database)
        await house.begin()
        try:
            yield house
        finally:
            await house.dismiss()


async def killed_at_its_moves(home: Home, path: Path, made: bool) -> None:
    """A daemon that takes a file in and dies at its moves: behind them (`made`), or before the first."""
    real = disk.carry_out

    def killed(moves: Sequence[Move], again: bool = False, **more: bool) -> None:
        if made:
            real(moves, again, **more)
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(disk, "carry_out", killed)
        async with opened(home) as house:
            await house.arrive(path)
            await house.work()
