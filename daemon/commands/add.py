"""add: copy files into an inbox of the running daemon, on this machine or another."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..client import Client, Row
from .common import WRONG, ask, clean, config_option, json_option, one_line, print_json, rows, size, stop

if TYPE_CHECKING:
    from rich.progress import Progress


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--watch", metavar="NAME", help="The inbox that takes them. [default: the first one]")
@json_option
@config_option
def add(files: tuple[Path, ...], watch: str | None, as_json: bool) -> None:
    """Copy files into the inbox of the running daemon.

    They are sent over HTTP, so this works for a daemon elsewhere too, and appear in the inbox together when all are complete: a model
    arrives with its preview. Your own files stay where they are. With --json one object a line for each file.

    \b
    Example:
      dropdock add new.safetensors new.preview.png
    """
    _readable(files)
    with _bar() as progress:

        def send(client: Client) -> Row:
            if progress is None:
                return client.upload(files, watch)
            task = progress.add_task("sending", total=sum(f.stat().st_size for f in files))
            return client.upload(files, watch, lambda n: progress.advance(task, n))

        try:
            answer = ask(send)
        except OSError as error:
            stop(clean(error))
    for file in rows(answer, "files"):
        if as_json:
            print_json(file)
        else:
            click.echo(one_line(f"{file.get('path')}  {size(file.get('size'))}"))


def _readable(files: tuple[Path, ...]) -> None:
    """Every file can be sent, or exit 2 with all that cannot."""
    wrong = []
    for path in files:
        if path.is_dir():
            wrong.append(f"{path} is a folder: copy it into the inbox yourself, or add a ZIP of it")
        elif not path.is_file():
            wrong.append(f"{path} is not there, or is no file")
    if wrong:
        stop("\ndropdock: ".join(map(one_line, wrong)), WRONG)


def _bar() -> AbstractContextManager[Progress | None]:
    """A progress bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
