"""doctor: is everything as dropdock needs it, and what to do where it is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from .common import FAILED, config_option, console, json_option, one_line, print_json

if TYPE_CHECKING:
    from ..doctor import Finding

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@json_option
@config_option
def doctor(as_json: bool) -> None:
    """Check that everything is as dropdock needs it, and say what to do where it is not.

    Looks at the configuration, the database, folders and their permissions, disks and their free space, the limit of watched folders,
    the apps, onnxruntime and Pillow. Changes nothing, needs no daemon. The code is 1 when something fails. With --json one object a
    finding: `check`, `level` (ok, warn, fail), `text`, `mend`.

    \b
    Example:
      dropdock doctor
      dropdock doctor --json | jq -r 'select(.level != "ok") | .mend'
    """
    failed = False
    for finding in _findings():
        failed = failed or finding.level == "fail"
        if as_json:
            print_json({"check": finding.check, "level": finding.level, "text": finding.text, "mend": finding.mend})
        else:
            _show(finding)
    raise click.exceptions.Exit(FAILED if failed else 0)


def _findings() -> Iterator[Finding]:
    """The configuration first: without one that can be read nothing else is known."""
    from ..config import ConfigError, load
    from ..doctor import Finding, Level, examine
    from ..machine import look

    try:
        config = load(click.get_current_context().meta.get("dropdock.config"), os.environ)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("configuration", Level.FAIL, str(problem), "correct the file; `dropdock check` reads it again")
        return
    yield Finding("configuration", Level.OK, str(config.source or "no file, all defaults"))
    yield from examine(config, look())


def _show(finding: Finding) -> None:
    from rich.text import Text

    line = Text(f"{finding.level:<5}", COLOURS[finding.level])
    line.append(one_line(f"{finding.check}: {finding.text}"), "default")
    out = console()
    out.print(line, soft_wrap=True)
    if finding.mend:
        out.print(Text(one_line(f"      mend: {finding.mend}"), "dim"), soft_wrap=True)
