"""targets: the apps that want files, and switching them."""

from __future__ import annotations

from urllib.parse import quote

import click

from ..client import Row
from .common import Group, ask, config_option, json_option, one_line, print_json, print_table, rows


@click.group(cls=Group, invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def targets(ctx: click.Context, as_json: bool) -> None:
    """Show the apps that want files, or switch one on or off.

    Folders are set in the configuration; a switch set here stays after a restart, until the configuration says something new.

    \b
    Example:
      dropdock targets
      dropdock targets plan forge
      dropdock targets enable forge
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, as_json=as_json)


@targets.command("list")
@json_option
@config_option
def listing(as_json: bool) -> None:
    """List targets with their links by state.

    With --json one object a line.

    \b
    Example:
      dropdock targets list --json
    """
    found = rows(ask(lambda client: client.get("/targets")), "targets")
    if as_json:
        for row in found:
            print_json(row)
        return
    print_table(("target", "app", "enabled", "folder", "links", "last word of the app"), map(_cells, found), "no targets are set")


def _cells(row: Row) -> tuple[object, ...]:
    enabled = "yes" if row["enabled"] else "no"
    if row["enabled"] is not row["configured"]:
        enabled += " (switched)"
    folder = row["path"] if row["exists"] else f"{row['path']} (missing)"
    counts, told = row["links"], row["told"]
    links = ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) if isinstance(counts, dict) else ""
    return (row["name"], row["layout"], enabled, folder, links, told["note"] if isinstance(told, dict) else "")


@targets.command("plan")
@click.argument("name")
@json_option
@config_option
def plan(name: str, as_json: bool) -> None:
    """Show what would be done in a target's folders, were it enabled. Nothing is touched.

    With --json one object a line.

    \b
    Example:
      dropdock targets plan comfyui
    """
    answer = ask(lambda client: client.get(f"/targets/{quote(name, safe='')}/plan"))
    steps = rows(answer, "steps")
    if as_json:
        for step in steps:
            print_json(step)
        return
    cells = ((step["do"], step["at"], step["to"], step["note"]) for step in steps)
    print_table(("what", "at", "to", "note"), cells, "nothing is to do: every link is as it should be")
    if answer.get("total") != len(steps):
        click.echo(f"the first {len(steps)} of {answer.get('total')}")


def _switch(verb: str, said: str) -> click.Command:
    """The command of one switch."""

    @click.argument("name")
    @json_option
    @config_option
    def command(name: str, as_json: bool) -> None:
        answer = ask(lambda client: client.post(f"/targets/{quote(name, safe='')}/{verb}"))
        if as_json:
            print_json(answer)
        else:
            click.echo(one_line(f"{name} is {verb}d"))

    return click.command(verb, help=f"{said}\n\n\b\nExample:\n  dropdock targets {verb} forge")(command)


targets.add_command(_switch("enable", "Switch a target on: its links are made.\n\nLook first with `dropdock targets plan`."))
targets.add_command(_switch("disable", "Switch a target off: its links are taken away, the models stay in the hub."))
