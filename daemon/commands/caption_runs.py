"""caption DATASET: give the running daemon a caption run, and show how it goes until it is done.

What must hold: the run is the daemon's; whoever watches it here may go away at any time, and is told how to come back or to end it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from ..client import Client, Row
from .common import FAILED, ask, duration, load_config, number, one_line, print_json, rows, stop

if TYPE_CHECKING:
    from rich.progress import Progress

LOOK = 0.5  # seconds between two looks
SHOWN = 20  # failed pictures that are listed at most


def caption_datasets(names: Sequence[str], body: Row, wait: bool, as_json: bool) -> None:
    """Begin a run for each dataset; with `wait` stay until they are done. Code 1 when a picture failed."""
    if "with" not in body:
        own = [name for name in load_config().captioners if name != "basic"]
        body = {**body, "with": own[0] if len(own) == 1 else "basic"}
    runs = [ask(lambda client, name=name: client.post(f"/datasets/{quote(name, safe='')}/caption", body)) for name in names]  # type: ignore[misc]  # a default argument
    if not wait:
        for run in runs:
            if as_json:
                print_json(run)
            else:
                click.echo(one_line(begun(run)))
        return
    ends = [watched(run) for run in runs]
    failed = 0
    for run in ends:
        failed += int(number(run["failed"]))
        if as_json:
            print_json(run)
        else:
            click.echo(one_line(ended(run)))
            _tell_failed(run)
            _tell_left(run)
    if failed or any(run["state"] != "done" for run in ends):
        raise click.exceptions.Exit(FAILED)


def begun(run: Row) -> str:
    """What was begun, and how it is ended."""
    what = f"run {run['id']}: {run['total']} pictures of {run['dataset']} with {run['with']}"
    return f"{what}; `dropdock captioning cancel {run['id']}` ends it"


def ended(run: Row) -> str:
    """How a run ended."""
    if run["state"] == "done" and not run["total"]:
        return f"run {run['id']} is done: {_nothing(run)}"
    end, created = number(run.get("finished")), number(run.get("created"))
    took = f", {duration(end - created)}" if end > created else ""
    speed = f", {number(run['done']) / (end - created):.1f} img/s" if end > created and run["done"] else ""
    did = "done" if run["only"] != "below" else "measured or captioned"  # it counts both
    return f"run {run['id']} is {run['state']}: {run['done']} {did}, {run['failed']} failed{took}{speed}"


def _nothing(run: Row) -> str:
    """Why no picture was to be captioned."""
    if run["only"] == "below":
        return f"no picture of {run['dataset']} is known to be below {run['below']}"
    if run["only"] == "missing":
        return f"every picture of {run['dataset']} has a text in the set {run['set']}; --all writes them anew"
    return f"no picture of {run['dataset']} has a text that may be replaced"


def watched(run: Row) -> Row:
    """The run once it is over. Ctrl-C ends the watching and leaves the run going."""

    def look(client: Client) -> Row:
        now = run
        with _bar() as bar:
            task = None if bar is None else bar.add_task("waiting", total=int(number(run["total"])))
            said = ""
            while now["state"] in ("running", "paused"):
                why = _waits_for(client, now)
                if bar is not None and task is not None:
                    gone = number(now["done"]) + number(now["failed"]) + number(now["cancelled"])
                    bar.update(task, completed=gone, total=number(now["total"]), description=one_line(why or how(now)))
                elif why and _lasting(why) != said:
                    said = _lasting(why)
                    click.echo(one_line(f"dropdock: {why}"), err=True)
                time.sleep(LOOK)
                now = client.get(f"/captioning/{run['id']}")
        return now

    try:
        return ask(look)
    except KeyboardInterrupt:
        stop(one_line(f"no longer shown, but it goes on: {begun(run)}"))


def _waits_for(client: Client, run: Row) -> str:
    """Why nothing moves, where its captioner waits for something; '' when it works."""
    if run["state"] != "running" or number(run["per_second"]) > 0:
        return ""
    states = [c for c in rows(client.get("/status"), "captioners") if c["name"] == run["with"]]
    notes = [str(c["note"]) for c in states if c["note"]]
    if not notes or len(notes) < len(states):
        return ""
    return notes[0] if str(run["with"]) in notes[0] else f"{run['with']}: {notes[0]}"


def _lasting(why: str) -> str:
    """What it waits for, without for how long still: that is another one at every look."""
    return why.partition(", again in ")[0]


def how(run: Row) -> str:
    """A run that goes on, in a few words."""
    if run["state"] == "paused":
        return "paused"
    left = f", {duration(run['eta'])} left" if run.get("eta") is not None else ""
    bad = f", {run['failed']} failed" if run["failed"] else ""
    doing = "measuring" if run.get("phase") == "measure" else "captioning"
    speed = f", {number(run['per_second']):.1f} img/s" if number(run["per_second"]) > 0 else ""
    return f"{doing}{speed}{bad}{left}"


def _tell_failed(run: Row) -> None:
    if not run["failed"]:
        return
    answer = ask(lambda client: client.get(f"/captioning/{run['id']}/items", state="failed", limit=SHOWN))
    for item in rows(answer, "items"):
        click.echo(one_line(f"dropdock: {item['rel']}: {item['error']}"), err=True)
    more = int(number(run["failed"])) - len(rows(answer, "items"))
    if more > 0:
        click.echo(f"dropdock: and {more} more: `dropdock captioning show {run['id']} --failed`", err=True)


def _tell_left(run: Row) -> None:
    """Say how many texts `--all` left as they are, and what replaces them."""
    if run["only"] != "all" or run["overwrite_edited"] or run["state"] != "done":
        return
    whole = ask(lambda client: client.get(f"/datasets/{quote(str(run['dataset']), safe='')}"))
    left = int(number(whole["pictures"]) - number(run["total"]))
    if left > 0:
        words = "1 text was" if left == 1 else f"{left} texts were"
        click.echo(f"{words} written by hand or came with the pictures: left as they are, --overwrite-edited replaces them")


def _bar() -> AbstractContextManager[Progress | None]:
    """A progress bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
