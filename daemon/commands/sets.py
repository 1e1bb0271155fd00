"""sets: the caption sets of a dataset, and which one lies beside the pictures."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import click

from ..client import Client, Row
from .common import (
    FAILED,
    WRONG,
    Group,
    ask,
    clean,
    config_option,
    json_option,
    number,
    print_json,
    print_table,
    rows,
    stop,
    when,
)

LOOK = 0.3  # seconds between two looks at a job


@click.group(cls=Group)
def sets() -> None:
    """Show, make, change or delete caption sets, or have another one lie beside the pictures.

    A set holds one text a picture, in one style, of one captioner. The .txt files beside the pictures are the active set's.

    \b
    Example:
      dropdock sets list my-dataset
      dropdock sets activate my-dataset tags
    """


def where(dataset: str, name: str = "", more: str = "") -> str:
    """The address of a dataset's sets, or of one."""
    one = f"/{quote(name, safe='')}" if name else ""
    return f"/datasets/{quote(dataset, safe='')}/sets{one}{more}"


@sets.command("list")
@click.argument("dataset")
@json_option
@config_option
def listing(dataset: str, as_json: bool) -> None:
    """List the sets of a dataset, the active one first, with their texts by source.

    With --json one object a line.

    \b
    Example:
      dropdock sets list my-dataset
    """
    found = rows(ask(lambda client: client.get(where(dataset))), "sets")
    if as_json:
        for row in found:
            print_json(row)
        return
    columns = ("set", "active", "captioner", "texts#", "generated#", "imported#", "manual#", "quality#", "changed", "style")
    print_table(columns, map(_cells, found), "no sets")


def _cells(row: Row) -> tuple[object, ...]:
    quality = "" if row["quality"] is None else f"{number(row['quality']):.2f}"
    counts = (f"{row['captions']} of {row['pictures']}", row["generated"], row["imported"], row["manual"])
    style = json.dumps(row["style"], ensure_ascii=False) if row["style"] else ""
    return (row["name"], "yes" if row["active"] else "", row["captioner"], *counts, quality, when(row["changed"]), style)


def _style_options(command: click.Command) -> click.Command:
    """What a set is told about its texts."""
    for option in reversed(
        (
            click.Option(["--captioner"], metavar="NAME", help="Who writes its texts."),
            click.Option(["--style"], metavar="KIND", help="natural, natural_simple, natural_detailed, tags or custom."),
            click.Option(["--prompt"], metavar="TEXT", help="The question to a language model."),
            click.Option(["--trigger"], metavar="WORDS", help="The trigger phrase: put first, once."),
            click.Option(["--max-length"], type=click.IntRange(0), help="Characters of a text at most; 0: no limit."),
            click.Option(["--prefix"], multiple=True, metavar="TAG", help="Put behind the trigger; may be repeated."),
            click.Option(["--suffix"], multiple=True, metavar="TAG", help="Put last; may be repeated."),
            click.Option(["--exclude"], multiple=True, metavar="TAG", help="Left out: exact, with * and ?, or /expression/."),
        )
    ):
        command.params.insert(-2, option)
    return command


def _body(given: dict[str, object]) -> Row:
    """The body of a request from what was given on the command line."""
    named = {"style": "kind", "prompt": "prompt", "trigger": "trigger", "max_length": "max_length"}
    style = {key: given[name] for name, key in named.items() if given.get(name) is not None}
    style |= {
        name: list(value) for name in ("prefix", "suffix", "exclude") if isinstance(value := given.get(name), tuple) and value
    }
    body: Row = {"style": style} if style else {}
    return body | ({"captioner": given["captioner"]} if given.get("captioner") is not None else {})


@sets.command()
@click.argument("dataset")
@click.argument("name")
@json_option
@config_option
def create(dataset: str, name: str, as_json: bool, **given: object) -> None:
    """Make a set.

    \b
    Example:
      dropdock sets create my-dataset prose --style natural_detailed --trigger ohwx --captioner qwen
    """
    _shown(ask(lambda client: client.post(where(dataset), {"name": name, **_body(given)})), as_json, "is made")


@sets.command()
@click.argument("dataset")
@click.argument("name")
@click.option("--rename", metavar="NAME", help="Call it so from now on.")
@json_option
@config_option
def edit(dataset: str, name: str, rename: str | None, as_json: bool, **given: object) -> None:
    """Change a set's name, captioner or style. Texts that are written stay as they are.

    \b
    Example:
      dropdock sets edit my-dataset prose --max-length 300
    """
    body = _body(given) | ({"name": rename} if rename else {})
    if not body:
        stop("say what to change", WRONG)
    _shown(ask(lambda client: client.patch(where(dataset, name), body)), as_json, "is changed")


_style_options(create)
_style_options(edit)


def _shown(row: Row, as_json: bool, what: str) -> None:
    if as_json:
        print_json(row)
    else:
        click.echo(clean(f"set {row['name']} of {row['dataset']} {what}"))


@sets.command()
@click.argument("dataset")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@config_option
def delete(dataset: str, name: str, yes: bool, as_json: bool) -> None:
    """Forget a set with its texts. The active one cannot go: activate another one first.

    \b
    Example:
      dropdock sets delete my-dataset old --yes
    """
    if not yes:
        row = ask(lambda client: client.get(where(dataset, name)))
        click.confirm(clean(f"forget set {name} with its {row['captions']} texts?"), abort=True, err=True)
    answer = ask(lambda client: client.delete(where(dataset, name)))
    if as_json:
        print_json(answer)
    else:
        click.echo(clean(f"set {answer['deleted']} is forgotten, with {answer['captions']} texts"))


@sets.command()
@click.argument("dataset")
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Do not wait until the files are written.")
@json_option
@config_option
def activate(dataset: str, name: str, no_wait: bool, as_json: bool) -> None:
    """Have a set lie beside the pictures: its texts become the .txt files.

    A picture without a text in it has no .txt then; what lay there is in the trash. Texts that were edited by hand are kept in their set.

    \b
    Example:
      dropdock sets activate my-dataset tags
    """
    row = ask(lambda client: client.post(where(dataset, name, "/activate")))
    said = wait_for(row.get("job"), no_wait)
    _shown(row, as_json, f"lies beside the pictures{said}")


def wait_for(job: object, no_wait: bool) -> str:
    """Wait for a job of the daemon; what is left to say of it. Ends the command when it fails."""
    if job is None:
        return ""

    def look(client: Client) -> Row:
        while (row := client.get(f"/jobs/{job}")).get("state") in ("queued", "running") and not row.get("error"):
            time.sleep(LOOK)
        return row

    if no_wait:
        return f" once job {job} is done"
    try:
        row = ask(look)
    except KeyboardInterrupt:
        return f" once job {job} is done"
    if row.get("state") != "done":
        stop(clean(f"job {job} is {row.get('state')}{': ' + str(row['error']) if row.get('error') else ''}"), FAILED)
    return ""
