"""A library of 100,000 pictures that dropdock knows, and a daemon on it: what rescan, start and idle are measured with.

The store is a real one, written by the store's own functions, as if the daemon had taken every file in.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from _bench import check
from dropdock.rules.terms import Facts, ImageFacts, Kind, Stamp, Verdict
from dropdock.store.database import Database
from dropdock.store.files import Unit
from dropdock.store.store import Store

FOLDERS, FILES = 1000, 100
NAME = "library"
BATCH = 500  # units taken in one transaction
PATIENCE = 60.0  # seconds after which a daemon that does not answer is a failure of the benchmark
CONFIG = """
data_dir: {home}/data
hub: {home}/hub
datasets: {home}/datasets
free_space: 1 MB
server: {{port: 0}}
watch:
  - {{name: inbox, path: {home}/inbox, mode: inbox}}
  - {{name: library, path: {home}/library, mode: library}}
targets:
  comfyui: {{layout: comfyui, path: {home}/ComfyUI}}
"""


class Home:
    """A scratch home: an inbox, a library of `folders` x FILES files in a tree two deep, an app, a config and the store's file."""

    def __init__(self, root: Path, folders: int = FOLDERS) -> None:
        self.root = root
        self.inbox, self.library, self.database = root / "inbox", root / NAME, root / "data" / "dropdock.db"
        for folder in (self.inbox, self.library, root / "ComfyUI/models"):
            folder.mkdir(parents=True)
        self.config = root / "config.yaml"
        self.config.write_text(CONFIG.format(home=root))
        for n in range(folders):
            folder = self.library / f"{n % 10}/{n}"
            folder.mkdir(parents=True)
            for m in range(FILES):
                (folder / f"picture-{m:04}.png").touch()

    def files(self) -> list[Path]:
        """Every file of the library."""
        return [Path(folder, name) for folder, _, names in os.walk(self.library) for name in names]

    def learn(self) -> None:
        """Take every file of the library into the store."""
        asyncio.run(self._learn())

    async def _learn(self) -> None:
        paths = self.files()
        async with Database(self.database) as database:
            store = Store(database)
            for at in range(0, len(paths), BATCH):
                await store.take([_unit(path) for path in paths[at : at + BATCH]])


def _unit(path: Path) -> Unit:
    found = path.stat()
    stamp = Stamp(found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)
    facts = Facts(path, Kind.IMAGE, stamp.size, image=ImageFacts("png", 1024, 1024))
    return Unit(NAME, path, {path: stamp}, facts, Verdict(None, pipeline="library", why="no rule"), None, "done")


_BYTE_CODE = tempfile.TemporaryDirectory(prefix="dropdock-bench-")


def environment() -> dict[str, str]:
    """Our environment, but with byte code kept (in a place of this run's own), as it is wherever a package was installed."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": _BYTE_CODE.name}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


class Process:
    """A server in a process of its own, and when it was started."""

    def __init__(self, argv: Sequence[object], log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self.started = time.perf_counter()
            command = [str(a) for a in argv]
            self._process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment())
        self.pid = self._process.pid

    def wait_for(self, condition: Callable[[], bool], beat: float = 0.004) -> float:
        """Seconds from the start until a condition holds."""
        while not condition():
            check(self._process.poll() is None, f"it ended:\n{self.said()}")
            check(time.perf_counter() - self.started < PATIENCE, f"it was waited for in vain:\n{self.said()}")
            time.sleep(beat)
        return time.perf_counter() - self.started

    def said(self) -> str:
        """The end of its output."""
        return self._log.read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not heard."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def daemon(home: Home) -> Process:
    """`dropdock run` on a home."""
    (home.root / "data/daemon.json").unlink(missing_ok=True)
    return Process([sys.executable, "-m", "dropdock.daemon", "run", "--config", home.config], home.root / "run.log")


def healthy(home: Home) -> Callable[[], bool]:
    """Whether the daemon of a home answers 200 to /api/v1/health."""
    note = home.root / "data/daemon.json"

    def ask() -> bool:
        try:
            url = json.loads(note.read_text())["url"]
        except (OSError, ValueError, KeyError):
            return False
        return bool(url) and answers(url.rstrip("/") + "/api/v1/health")

    return ask


def answers(url: str) -> bool:
    """Whether a URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


BARE = """
import sys
from aiohttp import web
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

async def health(request):
    return web.json_response({})

async def watch(app):
    observer = Observer()
    observer.schedule(FileSystemEventHandler(), sys.argv[1], recursive=True)
    observer.start()
    yield
    observer.stop()

app = web.Application()
app.router.add_get("/", health)
app.cleanup_ctx.append(watch)
web.run_app(app, host="127.0.0.1", port=0, access_log=None, print=lambda text: print(text, flush=True))
"""


def bare(home: Home) -> Process:
    """The least that could serve the same purpose: an empty aiohttp application and a plain watchdog observer on the same library."""
    return Process([sys.executable, "-c", BARE, home.library], home.root / "bare.log")


def bare_healthy(process: Process) -> Callable[[], bool]:
    """Whether the bare server answers 200."""

    def ask() -> bool:
        found = re.search(r"http://[0-9.:]+", process.said())
        return found is not None and answers(found[0])

    return ask


def compared(home: Home) -> Callable[[], bool]:
    """Whether the daemon has compared the library with its store."""
    log = home.root / "run.log"
    return lambda: re.search(rf"compared.*watch={NAME}\b", log.read_text(errors="replace")) is not None
