"""`dropdock demo`: the main job on generated files. A real daemon on a scratch home, real files, and a judge at the end.

What must hold: the daemon is a child process, spoken to over HTTP as any user would; whatever happens, without `keep` neither it nor the
scratch home outlives the demo; the answer is 0 only when demo_checks.py finds nothing wrong and the daemon ended as it should.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from .client import Client, Event, NoDaemon, Refused, Row
from .commands.common import clean, console, rows
from .demo_checks import Told, expected_pictures, wrongs
from .demo_report import report
from .demo_stage import DATASET, PLACES, Stage, build, drop_all
from .instance import find

if TYPE_CHECKING:
    from rich.console import Console

DEADLINE = 60.0  # seconds for the main job
START, STOP = 20.0, 10.0  # seconds for the daemon to be ready, and to end
BEAT = 0.25  # seconds between two looks when nothing happens
LAST_LINES = 20  # of the daemon's log, shown when it fails


class Failed(Exception):
    """The demo cannot go on; the message says why."""


def play(keep: bool) -> int:
    """Run the demo; returns the exit code. With `keep` the daemon and the home are left for the user to look at."""
    home = Path(tempfile.mkdtemp(prefix="dropdock-demo-")).resolve()
    began = time.monotonic()
    kept = False
    try:
        stage = build(home)
        click.echo(f"a scratch home with an inbox, a hub and three apps: {home}")
        daemon = _start(stage, keep)
        try:
            client = _ready(stage, daemon)
            click.echo(f"the daemon runs, its status page: {client.url}")
            found = _main_job(stage, client)
            kept = keep
        finally:
            code = None if kept else _stop(daemon)
        if code:
            found.append(f"the daemon ended with code {code}")
    except (Failed, NoDaemon, Refused) as error:
        click.echo(clean(f"demo: {error}\n{_log(home)}"), err=True)
        return 1
    finally:
        if not kept:
            shutil.rmtree(home, ignore_errors=True)
    _verdict(found, time.monotonic() - began)
    if kept:
        _say_how_to_stop(stage, client, daemon.pid)
    return 1 if found else 0


def _main_job(stage: Stage, client: Client) -> list[str]:
    """Drop, wait, show, judge; what is wrong."""
    with _events(client) as events:
        drop_all(stage)
        click.echo(f"dropped {len(stage.drops)} files into the inbox\n")
        _wait(stage, client, events)
    told = _told(client)
    report(stage, told)
    return wrongs(stage, told) + _page(client)


def _verdict(found: list[str], seconds: float) -> None:
    if found:
        click.echo(f"\n{len(found)} things are not as they should be:", err=True)
        for problem in found:
            click.echo(clean(f"  {problem}"), err=True)
    else:
        click.echo(f"\neverything is as it should be ({seconds:.1f} s)")


def _say_how_to_stop(stage: Stage, client: Client, pid: int) -> None:
    click.echo(f"\nstatus page  {client.url}\nhome         {stage.home}\nask it       dropdock --config {stage.config} status")
    click.echo(f"stop it      kill {pid}\nclear it     rm -r {stage.home}")


# ---------------------------------------------------------------- the daemon


def _start(stage: Stage, keep: bool) -> subprocess.Popen[bytes]:
    """The daemon as a child, its log in the home; with `keep` it does not end with our terminal."""
    clear = {name: value for name, value in os.environ.items() if not name.startswith("DROPDOCK_")}
    with (stage.home / "daemon.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", __package__, "run", "--config", str(stage.config)],
            env=clear, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=keep,
        )  # fmt: skip


def _ready(stage: Stage, daemon: subprocess.Popen[bytes]) -> Client:
    """A client of the daemon once it says that it is ready. Raises Failed."""
    until = time.monotonic() + START
    while time.monotonic() < until and daemon.poll() is None:
        running = find(stage.home / "data")
        if running is not None and running.url:
            client = Client(running.url.rstrip("/"))
            try:
                client.get("/health")
            except (NoDaemon, Refused):  # not yet
                pass
            else:
                return client
        time.sleep(0.05)
    ended = daemon.poll()
    raise Failed(f"the daemon is not ready after {START:.0f} s" if ended is None else f"the daemon ended with code {ended}")


def _stop(daemon: subprocess.Popen[bytes]) -> int:
    """End the daemon as an init system would; its exit code, or -9 when it had to be killed."""
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGTERM)
    try:
        return daemon.wait(STOP)
    except subprocess.TimeoutExpired:
        daemon.kill()
        return daemon.wait()


def _log(home: Path) -> str:
    """The end of the daemon's log."""
    log = home / "daemon.log"
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return "\n".join(lines[-LAST_LINES:])


# ---------------------------------------------------------------- waiting


@contextmanager
def _events(client: Client) -> Iterator[queue.SimpleQueue[Event]]:
    """The stream of events from the first one on, read by a thread that comes back when the stream breaks."""
    found: queue.SimpleQueue[Event] = queue.SimpleQueue()
    over = threading.Event()

    def read() -> None:
        last = 0
        while not over.is_set():
            try:
                for event in client.events(last):
                    last = event.id or last
                    found.put(event)
                    if over.is_set():
                        return
            except (NoDaemon, Refused):
                over.wait(BEAT)

    threading.Thread(target=read, name="events", daemon=True).start()
    try:
        yield found
    finally:
        over.set()


def _wait(stage: Stage, client: Client, events: queue.SimpleQueue[Event]) -> None:
    """Wait until all is done, telling what happens as it happens; gives up at the deadline, which the judge then sees."""
    until, looked = time.monotonic() + DEADLINE, float("-inf")
    with _progress(stage) as show:
        while time.monotonic() < until:
            try:
                event: Event | None = events.get(timeout=BEAT)
            except queue.Empty:
                event = None
            now = time.monotonic()
            if event is None or now - looked > BEAT:
                looked = now
                done = _done(stage, client)
            show(event, done)
            if event is None and all(have >= want for have, want in done.values()):
                return


Counts = dict[str, tuple[int, int]]  # what -> (how many are done, how many there will be)


def _done(stage: Stage, client: Client) -> Counts:
    files = rows(client.get("/files", watch="inbox"), "files")
    items = _items(client)
    links = rows(client.get("/links", state="ok"), "links")
    open_jobs = rows(client.get("/jobs", state="open"), "jobs")
    models = sum(1 for drop in stage.drops if drop.type)
    ended = sum(1 for row in files if row.get("end") or row.get("state") == "failed")
    return {
        "files": (ended, len(stage.drops)),
        "captions": (sum(1 for item in items if item.get("caption")), len(expected_pictures(stage))),
        "links": (len(links), models * len(PLACES)),
        "queue": (0 if open_jobs else 1, 1),
    }


@contextmanager
def _progress(stage: Stage) -> Iterator[Callable[[Event | None, Counts], None]]:
    """What happens, a line each; at a terminal with bars below. The bars are gone at the end, the lines stay."""
    screen = console()
    began = time.monotonic()
    if not screen.is_terminal:
        yield lambda event, done: _line(event, began, screen)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), console=screen, transient=True
    ) as bars:
        tasks = {name: bars.add_task(f"{name:<9}", total=None) for name in ("files", "captions", "links")}

        def show(event: Event | None, done: Counts) -> None:
            _line(event, began, bars.console)
            for name, task in tasks.items():
                bars.update(task, completed=done[name][0], total=done[name][1])

        yield show


def _line(event: Event | None, began: float, out: Console) -> None:
    """One happening as a line, if it is one a person wants to see."""
    if event is None or event.id is None:
        return
    data = event.data
    name = Path(str(data.get("path"))).name if data.get("path") else str(data.get("dataset") or "")
    what = str(data.get("verb") or event.type)
    text = clean(f"{time.monotonic() - began:5.1f} s  {what:<10} {name:<38} {data.get('note') or data.get('status') or ''}")
    out.print(text, soft_wrap=not out.is_terminal, no_wrap=True, overflow="ellipsis")


# ---------------------------------------------------------------- asking


def _items(client: Client) -> list[Row]:
    """The pictures of the dataset; none while it is not there."""
    if not any(row.get("slug") == DATASET for row in rows(client.get("/datasets"), "datasets")):
        return []
    return rows(client.get(f"/datasets/{quote(DATASET)}/items", limit=1000), "items")


def _told(client: Client) -> Told:
    """The daemon's last word, with the facts of every file."""
    files = [client.get(f"/files/{row['id']}") for row in rows(client.get("/files", watch="inbox"), "files")]
    return Told(tuple(files), tuple(_items(client)), tuple(rows(client.get("/aside"), "aside")))


def _page(client: Client) -> list[str]:
    """The status page answers."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(f"{client.url}/", timeout=10) as answer:  # nosec B310  # our own loopback address
            good = answer.status == 200 and answer.headers.get_content_type() == "text/html"
    except (URLError, OSError):
        good = False
    return [] if good else ["the status page does not answer"]
