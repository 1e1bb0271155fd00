"""The house put together: the only module that knows every room. Starts in written order, stops in reverse.

    folders, database, open intents finished, leases void, feed, lanes, API, watches, upkeep, ready
What must hold: a crash at any point leaves nothing that the next start does not mend; SIGTERM ends with exit code 0 within 10 s; a task
that dies of a bug ends the daemon with exit code 1 rather than leave it half alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path

import structlog
from aiohttp import web

from ..api.app import build
from ..api.caption_paths import PATH_CAPTIONS
from ..api.captioners import CAPTIONERS
from ..api.captioning import CAPTIONS
from ..api.captions import TEXTS
from ..api.lookup import LOOKUP, Lookup
from ..api.models import BANDS
from ..api.plan import PLANS
from ..api.ports import FaceSettings
from ..api.reclassify import HASHES, RECLASSIFY, Reclassify
from ..api.sets import SETS
from ..api.targets import TARGETS, Targets
from ..api.undo import UNDO, Undo
from ..api.upload import clear_leftovers
from ..api.validation import VALIDATOR
from ..api.why import WHY, Why
from ..rules.terms import Job, Mode
from ..store import history, jobs
from ..store.database import Corrupt, Database
from ..store.store import Store
from . import hub, interpreter, logs
from .blobs import Blobs
from .caption_runs import CaptionRuns
from .captioner_info import CaptionerInfo
from .captioning import Captioning
from .cards import cards
from .config import Config
from .control import Control
from .conveyor import Conveyor
from .crew import Crew
from .deploying import Deploying
from .feed import Feed
from .handed import Handed
from .hash_orders import VERB as ASK_HASHES
from .hash_orders import HashOrders
from .house import House
from .instance import Instance
from .intake import Intake
from .lanes import Lanes, Run, Tick
from .lookups import KEY as LOOK_UP
from .lookups import Lookups
from .notify import Notifier, watchdog_beat
from .notify import feed as feed_watchdog
from .performing import Performer
from .plans import Plans
from .projection import Projection
from .pulse import Pulse
from .reclassifying import VERB, Reclassifier
from .recovery import Recovery
from .redeciding import Libraries, changed_libraries, redecide
from .reload import Reloader
from .sets import VERB as CHANGE_TEXTS
from .sets import Texts
from .telling import Telling
from .undertakings import Undertakings
from .undoing import Undoer
from .upkeep import Upkeep
from .validating import Validating
from .whereabouts import Whereabouts

FACE_STOPS = 2.0  # seconds that open answers may take when we stop
_log = structlog.get_logger()


async def serve(config: Config) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit code. Raises AlreadyRunning when another one has the data folder.

    SIGHUP reads the configuration anew.
    """
    _set_up_logs(config)
    interpreter.tune()
    with Instance(config.data_dir) as instance:
        return await _serve(config, instance.announce)


async def _serve(config: Config, announce: Callable[[str], None]) -> int:
    stop, hup, code = asyncio.Event(), asyncio.Event(), 0
    notifier = Notifier.from_environ(os.environ)
    _on_signals({"SIGTERM": stop.set, "SIGINT": stop.set, "SIGHUP": hup.set})
    try:
        await asyncio.to_thread(_make_folders, config)
        await asyncio.to_thread(_clear_uploads, config)
        async with _house(config) as (house, feed), asyncio.TaskGroup() as tasks:
            waiter = tasks.create_task(stop.wait())
            running = await _open(house, feed, tasks, announce)
            running.spawn(_service(running, notifier, hup), "service")
            await waiter
            notifier.stopping()
            _log.info("stopping")
            await running.close()
    except* (Corrupt, OSError) as group:  # a port in use, a folder that cannot be made: said in a line
        for error in group.exceptions:
            _log.error("cannot go on", reason=str(error))
        code = 1
    return code


def _on_signals(meant: Mapping[str, Callable[[], None]]) -> None:
    """What each signal does; Windows has neither SIGHUP nor such handlers, and Ctrl-C arrives there as KeyboardInterrupt."""
    loop = asyncio.get_running_loop()
    for name, act in meant.items():
        with contextlib.suppress(NotImplementedError, AttributeError):
            loop.add_signal_handler(signal.Signals[name], act)


def _set_up_logs(config: Config) -> None:
    secrets = [config.server.api_key, config.civitai.token, *(app.auth for app in config.apps.values())]
    rules = [rule for pipeline in config.pipelines.values() for rule in pipeline.rules]
    addresses = [action.text("url") for rule in rules for action in rule.do if action.verb == "webhook"]  # these may hold a token
    keys = [str(c.options[name]) for c in config.captioners.values() for name in ("api_key", "token") if c.options.get(name)]
    logs.set_up(config.log.format, config.log.level, (*(secret.reveal() for secret in secrets if secret), *keys, *addresses))


def _make_folders(config: Config) -> None:
    """Every folder of ours but the hub, so every inbox. Raises OSError for one that cannot be made."""
    for folder in (config.data_dir, config.datasets, *_inboxes(config)):
        folder.mkdir(parents=True, exist_ok=True)


def _inboxes(config: Config) -> list[Path]:
    return [w.path for w in config.watches if w.mode is Mode.INBOX]


def _clear_uploads(config: Config) -> None:
    """Uploads that a crash cut off. At the start only: later ones may be under way."""
    for inbox in _inboxes(config):
        clear_leftovers(inbox)


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

    def __init__(self, house: House, tasks: asyncio.TaskGroup) -> None:
        self.house, self._group = house, tasks
        self.tasks: list[asyncio.Task[None]] = []
        self.closers: list[Callable[[], Coroutine[None, None, None]]] = []
        self.url = ""
        self.control: Control
        self.captions: CaptionRuns
        self.captioning: Captioning
        self.texts = Texts(house)

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Start a task that runs as long as we do."""
        self.tasks.append(self._group.create_task(work, name=name))

    def hire(self, work: Coroutine[None, None, None], name: str) -> None:
        """Start a task that may end by itself."""
        self.spawn(work, name)
        self.tasks[-1].add_done_callback(lambda task: None if task.cancelled() or task.exception() else self.tasks.remove(task))

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
    running = _Running(house, tasks)
    telling = Telling(house)
    projection = Projection(house, telling.changed)
    blobs = Blobs(house, projection.ask, projection.targets)
    projection.check = blobs.check
    conveyor = Conveyor(house)
    intake = Intake(house, conveyor)
    performer = Performer(house, projection.ask, intake.touch)
    reclassifier = Reclassifier(house, projection.ask)
    lookups = Lookups(house, reclassifier.refine)
    lanes = Lanes(house, feed, _work(house, blobs, performer, reclassifier, lookups, running.texts))
    house.store.on_jobs = lanes.wake
    house.on_hub = projection.ask
    recovery = Recovery(house, performer)
    await _recover(house, recovery)
    captioning = running.captioning = Captioning(house, lanes, cards=await asyncio.to_thread(cards))
    crew = Crew(lanes, captioning, running.hire)
    captions = running.captions = CaptionRuns(house, lanes, captioning.try_again)
    await captions.start()
    upkeep = Upkeep(house, intake, lanes, projection, recovery)

    reloader = Reloader(house, _taking_over(house, intake, crew, upkeep, lookups, projection), os.environ)
    pulse = Pulse(house.store, lambda: running.tasks, intake.silent)
    control = running.control = Control(house, intake, conveyor, lanes, started, reloader, pulse, projection.ask)
    control.captioners = captioning.states
    running.spawn(feed.pump(), "feed")
    running.spawn(conveyor.run(), "conveyor")
    running.spawn(projection.run(), "projection")
    running.spawn(captions.run(), "caption runs")
    running.spawn(telling.run(), "telling")
    running.spawn(lookups.run(), "lookups")
    crew.resize(house.config.lanes)
    running.closers.append(crew.stop)
    undoer = Undertakings(house.store, Undoer(house, performer, projection, intake.touch))
    running.closers.append(undoer.stop)
    why = Whereabouts(house, intake.waiting)
    running.url = await _face(
        house, control, Deploying(house, projection, telling), undoer, why, lookups, reclassifier, feed, running
    )
    await redecide(house)  # before the first comparison of each watch
    libraries = Libraries(house)
    intake.on_compared = libraries.compared
    running.spawn(libraries.run(), "redeciding")
    running.spawn(intake.run(), "intake")
    running.spawn(intake.compare(), "compare")
    await intake.start()
    running.closers.append(intake.stop)
    upkeep.start()
    running.closers.append(upkeep.end)
    await reclassifier.start()
    projection.ask()
    control.ready = True
    await asyncio.to_thread(announce, running.url)
    _log.info("ready", url=running.url, watches=len(house.config.watches), data_dir=str(house.config.data_dir))
    return running


def _taking_over(
    house: House, intake: Intake, crew: Crew, upkeep: Upkeep, lookups: Lookups, projection: Projection
) -> Callable[[Config], Coroutine[None, None, None]]:
    """What a reload does once the configuration was checked."""

    async def apply(config: Config) -> None:
        """A checked configuration takes the place of the present one."""
        await asyncio.to_thread(_make_folders, config)
        await _remember_watches(house, config)
        old, house.config = house.config, config
        await intake.follow(old.watches)
        await _forget_watches(house)
        for name in (*await redecide(house), *await changed_libraries(house)):
            intake.doubt(name, "its rules changed")
        _set_up_logs(config)
        crew.resize(config.lanes)
        upkeep.follow()
        lookups.follow()
        projection.ask()

    return apply


def _work(house: House, blobs: Blobs, performer: Performer, reclassifier: Reclassifier, lookups: Lookups, texts: Texts) -> Run:
    """What each job is done by, told by its payload."""

    async def perform(job: Job, tick: Tick) -> None:
        if VERB in job.payload:
            await reclassifier.perform(job, tick)
        elif LOOK_UP in job.payload:
            await lookups.perform(job, tick)
        elif CHANGE_TEXTS in job.payload:
            await texts.perform(job, tick)
        elif ASK_HASHES in job.payload:
            await HashOrders(house).perform(job, tick)
        else:
            await (blobs.readopt if "blob" in job.payload else performer.perform)(job, tick)
            lookups.noticed(job)

    return perform


async def _recover(house: House, recovery: Recovery) -> None:
    """What a crash left is finished before anything new begins."""
    await _remember_watches(house, house.config)
    await _forget_watches(house)
    await hub.find(house)
    mended = await recovery.start()
    back = await house.store.write(jobs.void_leases)
    if mended or back:
        _log.info("after a crash", intents_finished=mended, jobs_back=back)


async def _remember_watches(house: House, config: Config) -> None:
    """Each watch of a config has its row."""
    for watch in config.watches:
        await house.store.write(history.put_watch, watch.name, watch.path, str(watch.mode))


async def _forget_watches(house: House) -> None:
    """No other watch has one."""
    await house.store.write(history.drop_watches, [w.name for w in house.config.watches])


async def _service(running: _Running, notifier: Notifier, hup: asyncio.Event) -> None:
    """What a service manager is told as long as we run, and what it asks for by SIGHUP."""
    control = running.control

    def line() -> str:
        return "; ".join(control.status().notices) or f"ready at {running.url}, {len(running.house.config.watches)} watches"

    notifier.ready(line())
    beat = watchdog_beat(os.environ)
    if beat is not None:
        running.spawn(feed_watchdog(notifier, beat, control.failing, line), "watchdog")
    while True:
        await hup.wait()
        hup.clear()
        notifier.reloading()
        await control.reload()
        notifier.ready(line())


async def _face(
    house: House, control: Control, targets: Targets, undoer: Undo, why: Why, lookup: Lookup, reclassifier: Reclassify, feed: Feed,
    running: _Running,
) -> str:  # fmt: skip
    """Listen; returns the URL."""
    server = house.config.server
    key = server.api_key.reveal() if server.api_key else None
    settings = FaceSettings(server.host, server.allowed_hosts, key, floor=lambda: house.config.free_space)
    face = await asyncio.to_thread(build, house.store, control, feed, settings)  # reads the page's files
    face[CAPTIONERS] = info = CaptionerInfo(lambda: house.config.captioners, lambda: control.captioners(), feed.pass_on)
    running.closers.append(info.close)
    around = running.captioning.around
    face[PATH_CAPTIONS] = Handed(house, around.turns, around.courtesy)
    face[SETS] = face[TEXTS] = running.texts
    face[VALIDATOR] = Validating(house)
    face[TARGETS] = targets
    face[CAPTIONS] = running.captions
    face[UNDO] = undoer
    face[PLANS] = Plans(house)
    face[WHY] = why
    face[LOOKUP] = lookup
    face[RECLASSIFY] = reclassifier
    face[HASHES] = HashOrders(house)
    face[BANDS] = lambda: house.config.bands
    runner = web.AppRunner(face, shutdown_timeout=FACE_STOPS, access_log=None)
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
