"""links: which link stands where, and what is in the way."""

from __future__ import annotations

from pathlib import Path

import click

from .common import Group, ask, config_option, json_option, print_json, print_table, rows


@click.group(cls=Group, invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def links(ctx: click.Context, as_json: bool) -> None:
    """Show the links that targets should have, and what stands at each place.

    \b
    Example:
      dropdock links
      dropdock links list --problems
      dropdock links audit
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, target=None, problems=False, limit=1000, as_json=as_json)


@links.command("list")
@click.option("--target", "-t", metavar="NAME", help="Only links of this target.")
@click.option(
    "--problems", is_flag=True, help="Only what wants your attention: conflicts, broken and missing links, lone halves."
)
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=1000, show_default=True, help="How many at most.")
@json_option
@config_option
def listing(target: str | None, problems: bool, limit: int, as_json: bool) -> None:
    """List links by target and place.

    `adoptable` is a file of your own with the same content, `conflict` one with other content, `foreign` somebody else's link: none of
    them is ever touched. With --json one object a line.

    \b
    Example:
      dropdock links list --target comfyui --problems
    """
    wish = "true" if problems else None
    answer = ask(lambda client: client.get("/links", target=target, problems=wish, limit=limit))
    found = rows(answer, "links")
    if as_json:
        for row in found:
            print_json(row)
        return
    cells = (
        (row["target"] or "(adopted)", row["state"], row["at"], Path(str(row["points_to"])).name, row["note"]) for row in found
    )
    print_table(("target", "state", "at", "file", "note"), cells, "no problems" if problems else "no links")
    if answer.get("next"):
        click.echo(f"the first {limit} of them; more over the API")


@links.command("audit")
@json_option
@config_option
def audit(as_json: bool) -> None:
    """Look at every link and every file of the hub now, and mend our own links.

    The daemon does so by itself every 15 minutes. The look goes on in the background: `dropdock links list --problems` shows what it
    found, `dropdock history` what it did.

    \b
    Example:
      dropdock links audit
    """
    answer = ask(lambda client: client.post("/links/audit"))
    if as_json:
        print_json(answer)
    else:
        click.echo("looking at all links")
