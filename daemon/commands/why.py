"""why: where a dropped file ended and by which rule, or why it still waits."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .common import ask, config_option, json_option, one_line, print_json, rows


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@config_option
def why(path: Path, as_json: bool) -> None:
    """Say where a dropped file ended and by which rule, or why it still waits.

    PATH is where it was dropped, whether it still lies there or not. With --json one object a line.

    \b
    Example:
      dropdock why ~/inbox/new.safetensors
    """
    about = os.path.abspath(path)  # noqa: PTH100  # resolve() would follow a link, whose own place is asked for
    found = rows(ask(lambda client: client.get("/why", path=about)), "why")
    if not as_json:
        click.echo(one_line(about))
    for reason in found:
        print_json(reason) if as_json else click.echo(one_line(f"  {reason.get('about'):<8}{reason.get('text')}"))
