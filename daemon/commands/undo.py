"""undo: take back lines of history."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from ..client import Client, Row
from .common import config_option, each, json_option, number, one_line, print_json

if TYPE_CHECKING:
    from rich.progress import Progress


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1))
@json_option
@config_option
def undo(ids: tuple[int, ...], as_json: bool) -> None:
    """Take back what was done, by the ids that `dropdock history` shows.

    Files go back to where they were dropped and are held there: the rules do not take them again until they change, or until you say
    `dropdock rescan --force`. What cannot be taken back (the file changed since, a later action depends on it, it expired in the trash)
    is left alone, and the reason is told; the code is then 1. Several lines are taken back newest first, as far as each can be. A large
    undo is waited for; it goes on in the daemon if you do not wait.

    \b
    Example:
      dropdock history -n 10
      dropdock undo 41
    """

    def one(client: Client, line: int) -> None:
        answer = _waited(client, line)
        if as_json:
            print_json(answer)
        else:
            click.echo(one_line(answer.get("note")))

    each(sorted(set(ids), reverse=True), "line", one)


def _waited(client: Client, line: int) -> Row:
    """Ask for an undo, and wait for its end as long as it goes on."""
    where = f"/history/{line}/undo"
    answer = client.post(where)
    if not answer.get("going"):
        return answer
    with _bar() as progress:
        task = progress.add_task(f"undoing line {line}", total=None) if progress is not None else None
        while answer.get("going"):
            if progress is not None and task is not None:
                progress.update(task, completed=number(answer.get("done")), total=number(answer.get("total")) or None)
            answer = client.get(where)  # waits a moment there
    return answer


def _bar() -> AbstractContextManager[Progress | None]:
    """A progress bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
