"""history: what happened, newest first."""

from __future__ import annotations

from pathlib import Path

import click

from .common import ask, config_option, json_option, print_json, print_table, rows, when


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path, exists=False))
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=30, show_default=True, help="How many lines.")
@json_option
@config_option
def history(path: Path | None, limit: int, as_json: bool) -> None:
    """Show what happened, newest first: what arrived, what was done with it, why, and where it is now.

    PATH asks for the story of one dropped file, under the path at which it was dropped. With --json one object a line.

    \b
    Example:
      dropdock history -n 100
      dropdock history ~/inbox/new.safetensors
    """
    about = None if path is None else str(path.absolute())
    found = rows(ask(lambda client: client.get("/history", limit=limit, path=about)), "history")
    if as_json:
        for line in found:
            print_json(line)
        return
    print_table(
        ("id#", "when", "what", "file", "how", "rule", "note", "now in"),
        (
            (
                line["id"],
                when(line["at"]),
                line["verb"] or line["event"],
                Path(str(line["path"])).name if line["path"] else line["dataset"],
                f"undone by {line['undone']}" if line.get("undone") else line["status"],
                line["rule"],
                line["note"],
                line.get("end"),
            )
            for line in found
        ),
        f"nothing is remembered of {about}" if about else "nothing has happened yet",
    )
