"""trash and quarantine: what is kept aside, and how it comes back."""

from __future__ import annotations

import click

from ..client import Client
from .common import Group, ask, config_option, each, json_option, one_line, print_json, print_table, rows, when


def _listing(place: str, example: str) -> click.Command:
    @click.option("--limit", "-n", type=click.IntRange(1, 1000), default=1000, show_default=True, help="How many at most.")
    @json_option
    @config_option
    def command(limit: int, as_json: bool) -> None:
        found = rows(ask(lambda client: client.get("/aside", place=place, limit=limit)), "aside")
        if as_json:
            for row in found:
                print_json(row)
            return
        print_table(
            ("id#", "put there", "kept until", "came from", "why"),
            ((r["id"], when(r["at"]), when(r["until"]), r["original"], r["reason"]) for r in found),
            f"the {place} is empty",
        )

    help_text = f"List what lies in the {place}: where it came from, why, and until when.\n\n\b\nExample:\n  {example}"
    return click.command("list", help=help_text)(command)


def _back(place: str, verb: str, said: str) -> click.Command:
    @click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1))
    @json_option
    @config_option
    def command(ids: tuple[int, ...], as_json: bool) -> None:
        def one(client: Client, aside_id: int) -> None:
            answer = client.post(f"/aside/{aside_id}/{verb}")
            if as_json:
                print_json(answer)
            else:
                click.echo(one_line(f"{answer.get('note')}: {', '.join(map(str, _paths(answer.get('paths'))))}"))

        each(ids, "number", one)

    return click.command(verb, help=f"{said}\n\n\b\nExample:\n  dropdock {place} {verb} 3")(command)


def _paths(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _group(place: str, about: str) -> click.Group:
    @json_option
    @config_option
    @click.pass_context
    def command(ctx: click.Context, as_json: bool) -> None:
        if ctx.invoked_subcommand is None:
            ctx.invoke(group.commands["list"], limit=1000, as_json=as_json)

    text = f"{about}\n\nWithout a command it lists what lies there.\n\n\b\nExample:\n  dropdock {place}\n  dropdock {place} restore 3"
    group = click.group(place, cls=Group, invoke_without_command=True, help=text)(command)
    restored = (
        "Put things back where they came from, with their companions.\n\nThey are held there: the rules do not take them again "
    )
    released = "Put things back where they came from, and let the rules decide again."
    group.add_command(_listing(place, f"dropdock {place} list --json"))
    group.add_command(_back(place, "restore", f"{restored}until they change, or until `dropdock rescan --force`."))
    group.add_command(_back(place, "release", released))
    return group


trash = _group("trash", "Show the trash, or take something back from it.")
quarantine = _group("quarantine", "Show what was quarantined and why, or take something back from there.")
