"""plan: what would be done, with what earlier planned actions would have changed. Touches nothing, needs no daemon."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import FAILED, WRONG, config_option, json_option, load_config, one_line, print_json, stop

if TYPE_CHECKING:
    from ..planning import Planned


@click.command()
@click.argument("paths", metavar="[PATH...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--library", metavar="NAME", help="Plan for all that lies in the watched folder of this name.")
@json_option
@config_option
def plan(paths: tuple[Path, ...], library: str | None, as_json: bool) -> None:
    """Show what would be done with files, in their order, by the rules of the configuration. Nothing is touched.

    Each file is planned after those before it: two files with one target name, two copies of the same bytes, a dataset that an earlier
    file would have made are told as what they would become. A path outside every watched folder is planned as if it were dropped into
    the first inbox. With --json one object a line.

    \b
    Example:
      dropdock plan ~/Downloads/*.safetensors
      dropdock plan --library models
    """
    config = load_config()
    wanted = list(paths)
    if library is not None:
        watch = next((w for w in config.watches if w.name == library), None)
        if watch is None:
            stop(f"there is no watch {library}: there are {', '.join(w.name for w in config.watches)}", WRONG)
        wanted.append(watch.path)
    if not wanted:
        stop("name a path, or a watch with --library", WRONG)
    from ..planning import Planner
    from ..planning import as_json as as_values

    failed = False

    def unreadable(path: Path, error: OSError) -> None:
        nonlocal failed
        failed = True
        click.echo(one_line(f"dropdock: {path}: {error.strerror or error}"), err=True)

    with Planner(config, time.time(), unreadable) as planner:
        for found in planner.plan(wanted):
            print_json(as_values(found)) if as_json else click.echo(_text(found))
    raise click.exceptions.Exit(FAILED if failed else 0)


def _text(found: Planned) -> str:
    e = found.explanation
    lines = [e.path] + ([f"  rule    {e.rule}: {e.why}"] if e.rule else [])
    lines += [f"  {'do' if step.do else 'not'}{'     ' if step.do else '    '} {step.verb}: {step.note}" for step in found.steps]
    return "\n".join(map(one_line, lines + ([f"  nothing {found.note}"] if found.note else [])))
