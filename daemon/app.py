"""The house put together: the only module that knows every room. Starts in written order, stops in reverse.

    folders, database, open intents finished, leases void, feed, lanes, API, watches, upkeep, ready
What must hold: a crash at any point leaves nothing that the next start does not mend; SIGTERM ends with exit code 0 within 10 s; a task
that dies of a bug ends the daemon with exit code 1 rather than leave it half alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import structlog
from aiohttp import web

from ..api.app import build
from ..api.ports import FaceSettings
from ..api.upload import clear_leftovers
from ..rules.terms import Job, Lane, Mode
from ..store import history, jobs
from ..store.database import Corrupt, Database
from ..store.store import Store
from .captioning import Captioning
from .config import Config
from .control import Control
from .conveyor import Conveyor
from .feed import Feed
from .house import House
from .instance import Instance
from .intake import Intake
from .lanes import Lanes, Tick
from .performing import Performer
from .projection import Projection
from .upkeep import Upkeep

FACE_STOPS = 2.0  # seconds that open answers may take when we stop
_log = structlog.get_logger()


async def serve(config: Config) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit code. Raises AlreadyRunning when another one has the data folder."""
    with Instance(config.data_dir) as instance:
        return await _serve(config, instance.announce)


async def _serve(config: Config, announce: Callable[[str], None]) -> int:
    stop, code = asyncio.Event(), 0
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
            loop.add_signal_handler(number, stop.set)
    try:
        await asyncio.to_thread(_make_folders, config)
        async with _house(config) as (house, feed), asyncio.TaskGroup() as tasks:
            waiter = tasks.create_task(stop.wait())
            running = await _open(house, feed, tasks, announce)
            await waiter
            _log.info("stopping")
            await running.close()
    except* (Corrupt, OSError) as group:  # a port in use, a folder that cannot be made: said in a line
        for error in group.exceptions:
            _log.error("cannot go on", reason=str(error))
        code = 1
    return code


def _make_folders(config: Config) -> None:
    inboxes = [w.path for w in config.watches if w.mode is Mode.INBOX]
    for folder in (config.data_dir, config.hub, config.datasets, *inboxes):
        folder.mkdir(parents=True, exist_ok=True)
    for inbox in inboxes:
        clear_leftovers(inbox)  # uploads that a crash cut off


@contextlib.asynccontextmanager
async def _house(config: Config) -> AsyncIterator[tuple[House, Feed]]:
    """The store, and what is told of it."""
    async with Database(database_path(config)) as database:
        house = House(config, Store(database))
        feed = Feed(house.store)
        await feed.start()
        database.on_commit = feed.poke
        yield house, feed


class _Running:
    """Everything that was started, to be stopped in reverse."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.tasks: list[asyncio.Task[None]] = []
        self.closers: list[Callable[[], Coroutine[None, None, None]]] = []

    async def close(self) -> None:
        """Stop taking in, stop working, say goodbye."""
        self.house.stopping = True
        for closer in reversed(self.closers):
            await closer()
        for task in reversed(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def _open(house: House, feed: Feed, tasks: asyncio.TaskGroup, announce: Callable[[str], None]) -> _Running:
    started = time.time()
    running = _Running(house)
    projection = Projection(house)
    conveyor = Conveyor(house)
    intake = Intake(house, conveyor)
    performer = Performer(house, projection.ask, intake.touch)

    async def perform(job: Job, tick: Tick) -> None:
        await performer.perform(job, tick)

    lanes = Lanes(house, feed, perform)
    house.store.on_jobs = lanes.wake
    for watch in house.config.watches:
        await house.store.write(history.put_watch, watch.name, watch.path, str(watch.mode))
    await house.store.write(history.drop_watches, [w.name for w in house.config.watches])
    mended = await performer.recover()
    back = await house.store.write(jobs.void_leases)
    if mended or back:
        _log.info("after a crash", intents_finished=mended, jobs_back=back)

    control = Control(house, intake, conveyor, lanes, started)

    def spawn(work: Coroutine[None, None, None], name: str) -> None:
        running.tasks.append(tasks.create_task(work, name=name))

    spawn(feed.pump(), "feed")
    spawn(conveyor.run(), "conveyor")
    spawn(projection.run(), "projection")
    for lane in (Lane.HASH, Lane.CPU, Lane.NET):
        for n in range(house.config.lanes.get(lane, 1)):
            spawn(lanes.work(lane), f"lane {lane} {n}")
    captioners = [Captioning(house, lanes) for _ in range(house.config.lanes.get(Lane.CAPTION, 1))]
    for n, captioning in enumerate(captioners):
        spawn(captioning.work(), f"lane caption {n}")
        running.closers.append(captioning.stop)
    url = await _face(house, control, feed, running)
    spawn(intake.run(), "intake")
    spawn(intake.compare(), "compare")
    await intake.start()
    running.closers.append(intake.stop)
    upkeep = Upkeep(house, intake, lanes, projection)
    upkeep.start()

    async def end_upkeep() -> None:
        upkeep.stop()

    running.closers.append(end_upkeep)
    projection.ask()
    control.ready = True
    await asyncio.to_thread(announce, url)
    _log.info("ready", url=url, watches=len(house.config.watches), data_dir=str(house.config.data_dir))
    return running


async def _face(house: House, control: Control, feed: Feed, running: _Running) -> str:
    """Listen; returns the URL."""
    server = house.config.server
    key = server.api_key.reveal() if server.api_key else None
    settings = FaceSettings(server.host, server.allowed_hosts, key, house.config.free_space)
    runner = web.AppRunner(build(house.store, control, feed, settings), shutdown_timeout=FACE_STOPS, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, server.host, server.port)
    await site.start()
    running.closers.append(runner.cleanup)
    port = runner.addresses[0][1]
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{port}/"


def database_path(config: Config) -> Path:
    """Where the store lies."""
    return config.data_dir / "dropdock.db"
