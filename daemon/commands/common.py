"""What every command needs: the configuration, the running daemon, tables, and how to stop with the right exit code.

What must hold: text that came from a file's name or content never reaches a terminal with control characters in it; tables and colours
are for people at a terminal, a pipe gets plain lines.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

if TYPE_CHECKING:  # only within this room, and only to keep the imports of a command few
    from rich.console import Console

    from ..client import Client, Row
    from ..config import Config

FAILED, WRONG, NO_DAEMON = 1, 2, 3
CONTEXT: dict[str, object] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_CONFIG = "dropdock.config"
_UNSEEN = ("Cc", "Cs", "Cf", "Zl", "Zp")  # controls, lone surrogates, marks that turn the direction, line and paragraph ends
_PIPED_WIDTH = 160  # columns of a table that no terminal bounds
F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")


class Group(click.Group):
    """A command of commands: lists them in the order they were added, each with its whole first sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click writes them, which ends most sentences in the middle."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=200)) for name, command in self.commands.items()])


def stop(message: str, code: int = FAILED) -> NoReturn:
    """End the command with a message on stderr."""
    click.echo(f"dropdock: {message}", err=True)
    raise click.exceptions.Exit(code)


# ---------------------------------------------------------------- the configuration


def _keep(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[_CONFIG] = value


def config_option(command: F) -> F:
    """`--config F`, which may stand before or behind the command's name."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The configuration. [default: $DROPDOCK_CONFIG, else config.yaml in your configuration folder]",
        expose_value=False,
        callback=_keep,
    )(command)


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="JSON for programs instead of a table.")(command)


def load_config(path: Path | None = None) -> Config:
    """The configuration of `path`, `--config`, $DROPDOCK_CONFIG or the default place; every mistake is printed, exit 2."""
    from ..config import ConfigError, load

    try:
        return load(path or click.get_current_context().meta.get(_CONFIG), os.environ)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(clean(str(problem)), err=True)
        raise click.exceptions.Exit(WRONG) from None


# ---------------------------------------------------------------- the running daemon


def _address() -> Config:
    """The configuration, to find the daemon by; one with mistakes is good enough for that when the daemon runs on what it read before."""
    from ..config import ConfigError, load
    from ..mistaken import still_running

    path = click.get_current_context().meta.get(_CONFIG)
    try:
        return load(path, os.environ)
    except ConfigError:
        known = still_running(path, os.environ)
    if known is None:
        return load_config()  # says what the mistakes are, and ends
    click.echo("dropdock: the configuration has mistakes (`dropdock check`): the daemon goes on with the one before", err=True)
    return known


def ask(question: Callable[[Client], T]) -> T:
    """Ask the running daemon; without one exit 3, and when it refuses exit 1 with its own words."""
    from ..client import NoDaemon, Refused, connect

    try:
        return question(connect(_address(), os.environ))
    except NoDaemon as error:
        stop(one_line(error), NO_DAEMON)
    except Refused as error:
        stop(one_line(error))


def each(things: Iterable[T], called: str, question: Callable[[Client, T], object]) -> None:
    """Ask the running daemon about one thing after another. One that it refuses is named on stderr with the reason (`called` says what it
    is: "job"), the others are asked all the same, and the exit code is 1 then; without a daemon 3."""
    from ..client import Refused

    refused = False

    def all_of_them(client: Client) -> None:
        nonlocal refused
        for thing in things:
            try:
                question(client, thing)
            except Refused as error:
                refused = True
                click.echo(f"dropdock: {one_line(f'{called} {thing}: {error}')}", err=True)

    ask(all_of_them)
    if refused:
        raise click.exceptions.Exit(FAILED)


# ---------------------------------------------------------------- printing


def clean(text: object) -> str:
    """Text that is safe to print: control characters and what is no Unicode are shown as escapes, line ends stay."""
    whole = str(text)
    if whole.isprintable():
        return whole
    return "".join(c if c == "\n" or unicodedata.category(c) not in _UNSEEN else ascii(c)[1:-1] for c in whole)


def one_line(text: object) -> str:
    """`clean`, and on one line: names of files and notes about them may hold line ends, and none of those begins a line of ours."""
    return clean(text).replace("\n", "\\n")


def console() -> Console:
    """A rich console that takes every text literally, as wide as the terminal, or wide where there is none."""
    from rich.console import Console

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(markup=False, highlight=False, emoji=False, width=_PIPED_WIDTH if piped else None)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str, title: str = "") -> None:
    """A table for people; `empty` is said when there is no row. A column whose name ends with `#` is set to the right.

    A cell is one line whatever it holds, or, for a list or a tuple, one line for each thing.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title=title or None, title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name.rstrip("#"), justify="right" if name.endswith("#") else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    if table.row_count:
        console().print(table)
    else:
        click.echo(one_line(empty))


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "\n".join(map(one_line, value))
    return "" if value is None else one_line(value)


def print_json(value: object) -> None:
    """One object on one line."""
    click.echo(harmless(json.dumps(value, ensure_ascii=not _unicode())))


def harmless(text: str) -> str:
    """A line of JSON in which what a terminal could take for an order stands as JSON's own escape, which means the same."""
    if text.isprintable():
        return text
    return "".join(json.dumps(c)[1:-1] if unicodedata.category(c) in _UNSEEN else c for c in text)


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def rows(answer: Mapping[str, object], name: str) -> list[Row]:
    """The list of objects that an answer has under `name`."""
    found = answer.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def number(value: object) -> float:
    """A number of an answer; 0 for anything else."""
    return value if isinstance(value, (int, float)) else 0


def when(value: object) -> str:
    """Epoch seconds as local time."""
    return datetime.fromtimestamp(value).strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, (int, float)) else ""


def size(value: object) -> str:
    """Bytes as people write them."""
    amount = float(value) if isinstance(value, (int, float)) else 0.0
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(value: object) -> str:
    """Seconds as people say them: `3 d 4 h`, `12 min`, `5 s`."""
    left = int(value) if isinstance(value, (int, float)) else 0
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
