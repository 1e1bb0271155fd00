"""datasets: what datasets there are, one of them with its sets, and whether one is fit for training."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from ..client import Client, Row
from .common import FAILED, Group, ask, config_option, json_option, number, one_line, print_json, print_table, rows, size, stop

if TYPE_CHECKING:
    from rich.progress import Progress

SHOWN = 200  # findings that are listed at most, for people


@click.group(cls=Group, invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def datasets(ctx: click.Context, as_json: bool) -> None:
    """List datasets, show one, or check whether one is fit for training.

    \b
    Example:
      dropdock datasets
      dropdock datasets validate my-dataset
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, as_json=as_json)


@datasets.command("list")
@json_option
@config_option
def listing(as_json: bool) -> None:
    """List datasets with their counts.

    With --json one object a line.

    \b
    Example:
      dropdock datasets list
    """
    found = rows(ask(lambda client: client.get("/datasets")), "datasets")
    if as_json:
        for row in found:
            print_json(row)
        return
    lines = [(r["slug"], r["pictures"], r["captioned"], size(r["bytes"]), r["path"]) for r in found]
    print_table(("dataset", "pictures#", "captioned#", "size#", "folder"), lines, "no datasets")


@datasets.command()
@click.argument("dataset")
@json_option
@config_option
def show(dataset: str, as_json: bool) -> None:
    """Show one dataset with its caption sets.

    \b
    Example:
      dropdock datasets show my-dataset
    """
    at = f"/datasets/{quote(dataset, safe='')}"
    row, found = ask(lambda client: (client.get(at), rows(client.get(f"{at}/sets"), "sets")))
    if as_json:
        print_json({**row, "sets": found})
        return
    click.echo(one_line(f"{row['slug']}: {row['pictures']} pictures, {size(row['bytes'])}, in {row['path']}"))
    lines = [(s["name"], "yes" if s["active"] else "", s["captions"], s["captioner"]) for s in found]
    print_table(("set", "active", "texts#", "captioner"), lines, "no caption sets")


@datasets.command()
@click.argument("dataset")
@click.option("--set", "caption_set", metavar="SET", help="The caption set to check. [default: the active one]")
@click.option("--trigger", metavar="WORDS", help="What every text begins with. [default: the set's trigger]")
@click.option("--least", type=click.IntRange(0), help="Pixels of the shorter side at least. [default: 512]")
@click.option("--aspect", type=click.FloatRange(1), help="Longer over shorter side at most. [default: 2.5]")
@click.option("--quick", is_flag=True, help="Do not decode the pictures, only look whether they are there.")
@json_option
@config_option
def validate(
    dataset: str,
    caption_set: str | None,
    trigger: str | None,
    least: int | None,
    aspect: float | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Check whether a dataset is fit for training: damaged, small or odd pictures, missing, empty and double texts, a missing trigger.

    Each finding has its mend. The code is 1 when one of them is an error. With --json one object a finding and one at the end.

    \b
    Example:
      dropdock datasets validate my-dataset --trigger ohwx --least 768
    """
    given = {"set": caption_set, "trigger": trigger, "least": least, "aspect": aspect, "decode": not quick}
    body: Row = {key: value for key, value in given.items() if value is not None}
    found, end = ask(lambda client: _asked(client, f"/datasets/{quote(dataset, safe='')}/validate", body))
    if not end:
        stop("the daemon has stopped")
    if as_json:
        for row in (*found, end):
            print_json(row)
    else:
        _table(found, end)
    if end["errors"]:
        raise click.exceptions.Exit(FAILED)


def _asked(client: Client, path: str, body: Row) -> tuple[list[Row], Row]:
    """The findings, and the last row; an empty one where there was none."""
    found: list[Row] = []
    with _bar() as bar:
        task = None if bar is None else bar.add_task("looking at pictures", total=None)
        for row in client.lines(path, body):
            if "looked" in row and bar is not None and task is not None:
                bar.update(task, completed=number(row["looked"]), total=number(row["pictures"]))
            elif "finding" in row:
                found.append(row)
            elif row.get("end"):
                return found, row
    return found, {}


def _table(found: list[Row], end: Row) -> None:
    lines = [(r["level"], r["finding"], r["rel"], r["reason"]) for r in sorted(found, key=lambda r: str(r["level"]))[:SHOWN]]
    print_table(("level", "finding", "picture", "reason"), lines, "nothing is wrong")
    if len(found) > SHOWN:
        click.echo(f"and {len(found) - SHOWN} more: --json has them all")
    mends = {str(r["finding"]): r["mend"] for r in found}
    counts = Counter(str(r["finding"]) for r in found)
    if found:
        click.echo()
        print_table(("finding", "count#", "mend"), [(kind, n, mends[kind]) for kind, n in counts.most_common()], "")
    click.echo(f"{end['pictures']} pictures: {end['errors']} errors, {end['warnings']} warnings")


def _bar() -> AbstractContextManager[Progress | None]:
    """A progress bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
