"""rescan: compare a watched folder with what is remembered of it, now."""

from __future__ import annotations

from urllib.parse import quote

import click

from .common import ask, config_option, json_option, one_line, print_json


@click.command()
@click.argument("watch", required=False)
@click.option("--force", is_flag=True, help="Let the rules decide again about what is held, left or failed there.")
@json_option
@config_option
def rescan(watch: str | None, force: bool, as_json: bool) -> None:
    """Compare watched folders with what is remembered of them, now.

    The daemon does so by itself every few minutes and at its start; this is for when you know of a change that it has not seen, on a
    network share for instance. WATCH is the name of one watch; without it all are compared. The comparison goes on in the background.

    \b
    Example:
      dropdock rescan inbox
      dropdock rescan inbox --force
    """
    path = "/rescan" if watch is None else f"/watches/{quote(watch, safe='')}/rescan"
    answer = ask(lambda client: client.post(f"{path}?force=true" if force else path))
    names = answer.get("watches")
    if as_json:
        print_json(answer)
    else:
        click.echo(one_line(f"comparing {', '.join(map(str, names)) if isinstance(names, list) and names else 'nothing'}"))
