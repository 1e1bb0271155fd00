"""models reclassify: have the present rules say again what models are, from their kept headers."""

from __future__ import annotations

import click

from ..client import Client, Row
from .common import WRONG, ask, config_option, json_option, number, one_line, print_json, rows, stop


@click.command("reclassify")
@click.argument("named", metavar="[MODEL]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every model; a job in the background, but for --dry-run.")
@click.option("--dry-run", "dry", is_flag=True, help="Only say what would change.")
@json_option
@config_option
def reclassify(named: tuple[str, ...], everything: bool, dry: bool, as_json: bool) -> None:
    """Have the present rules say again what models are, from their kept headers: no model's file is read.

    MODEL is a SHA-256, its first six digits or more, or the exact name. What changes is printed; records and links follow, and what was
    held and is sure now goes on. Your own word (set-type) stays. When a new version brings better rules, this happens by itself. With
    --json one object a change.

    \b
    Example:
      dropdock models reclassify style.safetensors
      dropdock models reclassify --all --dry-run
    """
    if bool(named) is everything:
        stop("name models, or give --all", WRONG)
    if everything and not dry:
        job = ask(lambda client: client.post("/models/reclassify", {"all": True})).get("job")
        if as_json:
            print_json({"job": job})
        else:
            click.echo("queued already" if job is None else f"queued as job {job}: see dropdock jobs, and dropdock history")
        return
    changes = ask(lambda client: _all(client) if everything else _some(client, named, dry))
    for change in changes:
        if as_json:
            print_json(change)
        else:
            click.echo(one_line(f"{change['name']} ({str(change['sha256'])[:12]}): {change['text']}"))
    if not as_json:
        click.echo(f"{len(changes)} {'would change' if dry else 'changed'}" if changes else "nothing changes")


def _some(client: Client, named: tuple[str, ...], dry: bool) -> list[Row]:
    return rows(client.post("/models/reclassify", {"models": list(named), "dry_run": dry}), "changes")


def _all(client: Client) -> list[Row]:
    """A dry run over everything, page by page."""
    found: list[Row] = []
    after: int | None = 0
    while after is not None:
        page = client.post("/models/reclassify", {"all": True, "dry_run": True, "after": after})
        found += rows(page, "changes")
        more = page.get("next")
        after = int(number(more)) if more is not None else None
    return found
