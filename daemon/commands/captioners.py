"""captioners: who writes captions, whether each could work now, and fetching their models."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import click

from ..client import Row
from .common import (
    FAILED,
    WRONG,
    Group,
    clean,
    config_option,
    json_option,
    load_config,
    number,
    print_json,
    print_table,
    rows,
    stop,
)

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..captioner_info import CaptionerInfo
    from ..client import Client

T = TypeVar("T")


@click.group(cls=Group, invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def captioners(ctx: click.Context, as_json: bool) -> None:
    """Show who writes captions and whether each could work now, or fetch a model.

    Captioners are set in the configuration. A running daemon is asked; without one the configuration and the servers are.

    \b
    Example:
      dropdock captioners
      dropdock captioners models far
      dropdock captioners pull local
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, as_json=as_json)


@captioners.command("list")
@json_option
@config_option
def listing(as_json: bool) -> None:
    """List captioners with engine, model, where they run, and what they lack.

    With --json one object a line. The code is 0 whatever they lack.

    \b
    Example:
      dropdock captioners list --json
    """
    found = _either(lambda client: rows(client.get("/captioners"), "captioners"), lambda info: _run(_listed(info)))
    if as_json:
        for row in found:
            print_json(row)
        return
    cells = ((r["name"], r["engine"], r["model"], r["device"], r["note"] or r["state"] or "ready") for r in found)
    print_table(("name", "engine", "model", "runs on", "state"), cells, "no captioner is set")


@captioners.command("models")
@click.argument("name")
@json_option
@config_option
def models(name: str, as_json: bool) -> None:
    """List the models that a captioner may be given: its server's, or the taggers that are known by name.

    With --json one object.

    \b
    Example:
      dropdock captioners models far
    """

    def here(info: CaptionerInfo) -> Row:
        _known(name)
        found = _run(_models(info, name))
        if isinstance(found, str):
            stop(clean(found))
        return found

    answer = _either(lambda client: client.get(f"/captioners/{quote(name, safe='')}/models"), here)
    listed = answer.get("models")
    if as_json:
        print_json(answer)
    elif isinstance(listed, list) and listed:
        click.echo(clean("\n".join(map(str, listed))))
    else:
        click.echo("none is offered")


@captioners.command("pull")
@click.argument("name")
@json_option
@config_option
def pull(name: str, as_json: bool) -> None:
    """Fetch the model of a captioner: Ollama's by Ollama, a tagger's weights to this machine. Goes on where an earlier one stopped.

    With a running daemon it goes on there if you do not wait. With --json one object at the end.

    \b
    Example:
      dropdock captioners pull local
    """
    path = f"/captioners/{quote(name, safe='')}/pull"

    def there(client: Client) -> Row:
        answer = client.post(path)
        with _bar() as progress:
            show = _shown(progress, name)
            while answer.get("going"):
                show(answer)
                answer = client.get(path)  # waits a moment there
        return answer

    def here(info: CaptionerInfo) -> Row:
        _known(name)
        with _bar() as progress:
            return _run(_pulled(info, name, _shown(progress, name)))

    answer = _either(there, here)
    if as_json:
        print_json(answer)
    if answer.get("error"):
        if not as_json:
            click.echo(clean(f"dropdock: {answer['error']}"), err=True)
        raise click.exceptions.Exit(FAILED)
    if not as_json:
        click.echo(clean(f"{answer.get('model')} is there"))


# ---------------------------------------------------------------- with or without a daemon


def _either(there: Callable[[Client], T], here: Callable[[CaptionerInfo], T]) -> T:
    """Ask the running daemon, or do it in this process where none runs. A refusal ends with exit 1 and its words."""
    from ..captioner_info import CaptionerInfo
    from ..client import NoDaemon, Refused, connect

    config = load_config()
    try:
        return there(connect(config, os.environ))
    except NoDaemon:
        return here(CaptionerInfo(lambda: config.captioners))
    except Refused as error:
        stop(clean(str(error)))


def _known(name: str) -> None:
    config = load_config()
    if name not in config.captioners:
        stop(clean(f"there is no captioner {name}: there are {', '.join(config.captioners)}"), WRONG)


def _run(work: Coroutine[None, None, T]) -> T:
    """Run it on a loop; asyncio is imported here, because `--help` should not wait for it."""
    import asyncio

    return asyncio.run(work)


async def _listed(info: CaptionerInfo) -> list[Row]:
    from ...api.captioners import row_view

    return [row_view(row) for row in await info.listing()]


async def _models(info: CaptionerInfo, name: str) -> Row | str:
    found = await info.models(name)
    return found if isinstance(found, str) else {"name": name, "models": list(found)}


async def _pulled(info: CaptionerInfo, name: str, show: Callable[[Row], None]) -> Row:
    """Fetch here; whoever leaves stops it."""
    from ...api.captioners import pull_view

    begun = info.pull(name)
    if isinstance(begun, str):
        return {"captioner": name, "error": begun}
    try:
        now = begun
        while now.going:
            show(pull_view(now))
            now = await info.pulled(name) or now
        return pull_view(now)
    finally:
        await info.close()


def _shown(progress: Progress | None, name: str) -> Callable[[Row], None]:
    """Shows how far a download is; without a terminal, nothing."""
    if progress is None:
        return lambda news: None
    task = progress.add_task(name, total=None)

    def show(news: Row) -> None:
        words = clean(str(news.get("status")))[:60]
        progress.update(task, description=words, completed=number(news.get("done")), total=number(news.get("total")) or None)

    return show


def _bar() -> AbstractContextManager[Progress | None]:
    """A progress bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
