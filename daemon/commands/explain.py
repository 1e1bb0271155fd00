"""explain: what files are, on what evidence, and what would be done with them. Touches nothing, needs no daemon."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...rules.explain import as_json as json_line
from ...rules.explain import as_lines
from .common import FAILED, config_option, console, harmless, json_option, load_config, one_line

if TYPE_CHECKING:
    from ...rules.confidence import Bands
    from ..explaining import Explained

STYLES = {"is": "cyan", "because": "dim", "but": "yellow", "rule": "green", "do": "bold green", "hash": "dim"}


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--hash", "hashing", is_flag=True, help="Read the whole files too: has this content been seen, was it corrected?")
@click.option("--trace", is_flag=True, help="Show how every rule answered.")
@json_option
@config_option
def explain(paths: tuple[Path, ...], hashing: bool, trace: bool, as_json: bool) -> None:
    """Say what files are, on what evidence, which rule would fire, and what would be done. Nothing is touched.

    Only headers are read, so it is quick even for many large models. A folder that is one model is one line; every other folder is
    looked through. A path outside every watched folder is explained as if it were dropped into the first inbox. With --json one object
    a line; what cannot be read is told on stderr, and the code is then 1.

    \b
    Example:
      dropdock explain ~/Downloads/new.safetensors
      dropdock explain --json ~/ComfyUI/models | jq -r 'select(.facts.condition != "ok") | .path'
    """
    config = load_config()
    from ..explaining import Explainer

    failed = False

    def unreadable(path: Path, error: OSError) -> None:
        nonlocal failed
        failed = True
        click.echo(one_line(f"dropdock: {path}: {error.strerror or error}"), err=True)

    show = _json_line if as_json else _Printer(trace, config.bands)
    with Explainer(config, time.time(), hashing, unreadable) as explainer:
        for path in paths:
            for found in explainer.explain(path):
                show(found)
    raise click.exceptions.Exit(FAILED if failed else 0)


def _json_line(found: Explained) -> None:
    """The line of rules/explain.py; digests that were asked for stand at its end."""
    more = "".join(f', "{name}": "{value}"' for name, value in found.digests.items())
    click.echo(harmless(f"{json_line(found.explanation)[:-1]}{more}}}"))


class _Printer:
    """Explanations for people; in colour at a terminal."""

    def __init__(self, trace: bool, bands: Bands) -> None:
        self._trace, self._bands = trace, bands
        self._console = console() if sys.stdout.isatty() else None

    def __call__(self, found: Explained) -> None:
        lines = [one_line(text) for text in as_lines(found.explanation, self._trace, self._bands)]
        lines += [f"  hash    {name} {value}" for name, value in found.digests.items()]
        if self._console is None:
            click.echo("\n".join(lines) + "\n")
            return
        from rich.text import Text

        self._console.print(Text(lines[0], "bold"), soft_wrap=True)
        for text in lines[1:]:
            self._console.print(Text(text, STYLES.get(text[2:9].strip(), "")), soft_wrap=True)
        self._console.print()
