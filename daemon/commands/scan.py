"""scan: what models lie in folders, by type and base, and which of them twice. Nothing is moved or written."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...rules.confidence import BANDS, Bands
from .common import FAILED, config_option, json_option, load_config, one_line, print_json, print_table, size

if TYPE_CHECKING:
    from ..scanning import Bar, Found, Survey

DEFAULT = Bands()


@click.command()
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
@config_option
def scan(folders: tuple[Path, ...], as_json: bool) -> None:
    """Say what models lie in folders: how many of each type and base, how sure that is, what is damaged, and what lies there twice.

    Only headers are read; files of the same size are then compared whole, to know what duplicates across your apps cost. Links are not
    followed. Nothing is moved or written, and no daemon is needed. With --json one object a model, then one object a set of duplicates.
    What cannot be read is told on stderr, and the code is then 1.

    \b
    Example:
      dropdock scan ~/ComfyUI/models ~/stable-diffusion-webui-forge/models
    """
    if not show_scan(folders, as_json, load_config().bands):
        raise click.exceptions.Exit(FAILED)


def show_scan(folders: Sequence[Path], as_json: bool = False, bands: Bands = DEFAULT) -> bool:
    """Scan, and print what was found, with the words for how sure it is; False when something could not be read."""
    from ..scanning import survey

    with _bar() as bar:
        found = survey(folders, bar)
    if as_json:
        _objects(found, bands)
    else:
        _table(found, bands)
        _doubtful(found)
        _duplicates(found)
    for path, why in found.unreadable:
        click.echo(one_line(f"dropdock: {path}: {why}"), err=True)
    return not found.unreadable


def _table(found: Survey, bands: Bands) -> None:
    groups: dict[tuple[str, str], list[Found]] = {}
    for one in found.models:
        model = one.facts.model
        groups.setdefault((model.type, model.base) if model else ("unknown", "unknown"), []).append(one)
    lines = []
    for (type, base), group in sorted(groups.items()):
        counts = Counter(f.band(bands) or "none" for f in group)
        lines.append(
            (type, base, len(group), size(sum(f.size for f in group)), *(counts[word] or "" for word in (*BANDS, "none")))
        )
    print_table(("type", "base", "models#", "size#", *(f"{word}#" for word in BANDS), "not ok#"), lines, "no models")
    if found.models:
        click.echo(f"{len(found.models)} models, {size(sum(f.size for f in found.models))}")


def _doubtful(found: Survey) -> None:
    """Files that cannot be trusted or used."""
    bad = [f for f in found.models if f.facts.condition not in ("ok", "unknown")]
    if bad:
        click.echo()
        print_table(("condition", "reason", "file"), [(f.facts.condition, f.facts.reason, f.path) for f in bad], "")


def _duplicates(found: Survey) -> None:
    click.echo()
    if not found.twins:
        click.echo("no duplicates")
        return
    lines = [(size(t.wasted), len(t.paths), t.paths) for t in found.twins]
    print_table(("wasted#", "copies#", "the same file"), lines, "")
    total = sum(t.wasted for t in found.twins)
    many = "1 file lies" if len(found.twins) == 1 else f"{len(found.twins)} files lie"
    click.echo(f"{many} there more than once: {size(total)} could be free")
    roots = Counter(f.root for f in found.models if any(f.path in t.paths for t in found.twins))
    if len(roots) > 1:
        click.echo(one_line("in " + ", ".join(f"{root} ({n})" for root, n in roots.most_common())))


def _objects(found: Survey, bands: Bands) -> None:
    for one in found.models:
        model = one.facts.model
        print_json(
            {
                "path": str(one.path),
                "type": model.type if model else None,
                "base": model.base if model else None,
                "confidence": model.confidence if model else None,
                "condition": one.facts.condition,
                "reason": one.facts.reason,
                "size": one.size,
                "band": one.band(bands),
            }
        )
    for t in found.twins:
        print_json({"duplicates": [str(p) for p in t.paths], "sha256": t.sha256, "size": t.size, "wasted": t.wasted})


@contextmanager
def _bar() -> Iterator[Bar]:
    """A progress bar on stderr where that is a terminal."""
    from ..scanning import Bar

    if not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("looking for models", total=None)

        def begin(what: str, total: int) -> None:
            progress.reset(task, description=what, total=total)

        yield Bar(begin, lambda n: progress.advance(task, n))
