"""undo: take back one line of history."""

from __future__ import annotations

import click

from ..client import Client
from .common import ask, clean, config_option, json_option, print_json


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1))
@json_option
@config_option
def undo(ids: tuple[int, ...], as_json: bool) -> None:
    """Take back what was done, by the ids that `dropdock history` shows.

    Files go back to where they were dropped and are held there: the rules do not take them again until they change, or until you say
    `dropdock rescan --force`. What cannot be taken back (the file changed since, a later action depends on it, it expired in the trash)
    is left alone, and the reason is told; the code is then 1.

    \b
    Example:
      dropdock history -n 10
      dropdock undo 41
    """

    def all_of_them(client: Client) -> None:
        for line in ids:
            answer = client.post(f"/history/{line}/undo")
            if as_json:
                print_json(answer)
            else:
                click.echo(clean(answer.get("note")))

    ask(all_of_them)
