"""captions: the texts of a dataset's set, listed, searched, shown, written, and changed many at once."""

from __future__ import annotations

from urllib.parse import quote

import click

from ..client import Client, Row
from .common import WRONG, Group, ask, clean, config_option, json_option, number, one_line, print_json, print_table, rows, stop
from .sets import wait_for, where

SOURCES = ("imported", "generated", "manual")


@click.group(cls=Group)
def captions() -> None:
    """List, search, write and change the texts of a dataset.

    \b
    Example:
      dropdock captions list my-dataset --search "red hair"
      dropdock captions edit my-dataset --find colour --replace color
    """


def _set_option(command: click.Command) -> click.Command:
    command.params.insert(
        -2, click.Option(["--set", "caption_set"], metavar="SET", help="The caption set. [default: the active one]")
    )
    return command


def chosen(client: Client, dataset: str, name: str | None) -> str:
    """The set that is meant: the named one, else the active one."""
    if name is not None:
        return name
    found = rows(client.get(where(dataset)), "sets")
    if not found:
        stop(clean(f"{dataset} has no texts yet"))
    return str(found[0]["name"])


@captions.command("list")
@click.argument("dataset")
@click.option("--search", metavar="WORDS", help="Only texts or paths with these words in them.")
@click.option("--source", type=click.Choice(SOURCES), help="Only texts of this source.")
@click.option("--limit", "-n", type=click.IntRange(1), default=100, show_default=True, help="How many at most.")
@json_option
@config_option
def listing(dataset: str, caption_set: str | None, search: str | None, source: str | None, limit: int, as_json: bool) -> None:
    """List the texts of a set.

    With --json one object a line.

    \b
    Example:
      dropdock captions list my-dataset --set tags --source manual
    """

    def pages(client: Client) -> list[Row]:
        path, found = where(dataset, chosen(client, dataset, caption_set), "/captions"), list[Row]()
        after: object = 0
        while after is not None and len(found) < limit:
            page = client.get(path, search=search, source=source, after=after, limit=min(1000, limit - len(found)))
            found += rows(page, "captions")
            after = page.get("next")
        return found

    found = ask(pages)
    if as_json:
        for row in found:
            print_json(row)
        return
    print_table(
        ("picture#", "file", "source", "text"), [(r["item"], r["rel"], r["source"], r["text"]) for r in found], "no texts"
    )


_set_option(listing)


@captions.command()
@click.argument("dataset")
@click.argument("picture", type=click.IntRange(1))
@json_option
@config_option
def show(dataset: str, picture: int, as_json: bool) -> None:
    """Show the texts of one picture in all sets. PICTURE is the number that `list` shows.

    \b
    Example:
      dropdock captions show my-dataset 12
    """
    answer = ask(lambda client: client.get(_at(dataset, picture)))
    if as_json:
        print_json(answer)
        return
    lines = [(r["set"], "yes" if r["active"] else "", r["source"], r["captioner"], r["text"]) for r in rows(answer, "captions")]
    print_table(("set", "active", "source", "captioner", "text"), lines, "no texts", title=one_line(answer["rel"]))


def _at(dataset: str, picture: int, name: str = "") -> str:
    one = f"/{quote(name, safe='')}" if name else ""
    return f"/datasets/{quote(dataset, safe='')}/items/{picture}/captions{one}"


@captions.command("set")
@click.argument("dataset")
@click.argument("picture", type=click.IntRange(1))
@click.argument("text")
@json_option
@config_option
def write(dataset: str, picture: int, text: str, caption_set: str | None, as_json: bool) -> None:
    """Write one picture's text by hand. No captioner replaces it unasked.

    \b
    Example:
      dropdock captions set my-dataset 12 "ohwx, a red boat"
    """
    answer = ask(lambda client: client.put(_at(dataset, picture, chosen(client, dataset, caption_set)), {"text": text}))
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{one_line(answer['rel'])}: {clean(answer['text'])}")


_set_option(write)


@captions.command()
@click.argument("dataset")
@click.argument("pictures", metavar="PICTURE...", nargs=-1, required=True, type=click.IntRange(1))
@json_option
@config_option
def delete(dataset: str, pictures: tuple[int, ...], caption_set: str | None, as_json: bool) -> None:
    """Forget texts; the .txt of the active set goes to the trash.

    \b
    Example:
      dropdock captions delete my-dataset 12 13
    """

    def all_of_them(client: Client) -> None:
        name = chosen(client, dataset, caption_set)
        for picture in pictures:
            answer = client.delete(_at(dataset, picture, name))
            if as_json:
                print_json(answer)
            else:
                click.echo(f"the text of picture {picture} is forgotten")

    ask(all_of_them)


_set_option(delete)


@captions.command()
@click.argument("dataset")
@click.option("--find", metavar="WORDS", help="What is replaced.")
@click.option("--replace", metavar="WORDS", help="By this; by nothing when left out.")
@click.option("--regex", is_flag=True, help="--find is a regular expression, --replace may hold \\1.")
@click.option("--prepend", multiple=True, metavar="TAG", help="Put first, unless it is there; may be repeated.")
@click.option("--append", multiple=True, metavar="TAG", help="Put last, unless it is there; may be repeated.")
@click.option("--remove", multiple=True, metavar="TAG", help="Taken out: exact, with * and ?, or /expression/; may be repeated.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@json_option
@config_option
def edit(
    dataset: str, find: str | None, replace: str | None, regex: bool, prepend: tuple[str, ...], append: tuple[str, ...],
    remove: tuple[str, ...], yes: bool, dry_run: bool, caption_set: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Change many texts of a set at once: shows what would change, asks, and does it. Changed texts are by hand from then on.

    \b
    Example:
      dropdock captions edit my-dataset --prepend ohwx --remove "*watermark*"
      dropdock captions edit my-dataset --set tags --find grey --replace gray --yes
    """
    body: Row = {key: value for key, value in (("find", find), ("replace", replace)) if value is not None}
    body |= {key: list(value) for key, value in (("prepend", prepend), ("append", append), ("remove", remove)) if value}
    if not body:
        stop("say what to change: --find, --prepend, --append or --remove", WRONG)
    body |= {"regex": True} if regex else {}
    name = ask(lambda client: chosen(client, dataset, caption_set))
    shown = ask(lambda client: client.post(where(dataset, name, "/edit"), {**body, "dry_run": True}))
    if as_json and dry_run:
        print_json(shown)
    if not as_json:
        _tell(shown, name)
    if dry_run or not number(shown["changed"]):
        return
    if not yes:
        click.confirm("change them?", abort=True, err=True)
    answer = ask(lambda client: client.post(where(dataset, name, "/edit"), {**body, "dry_run": False}))
    said = wait_for(answer.get("job"), False)
    if as_json:
        print_json({**answer, "changed": shown["changed"]})
    else:
        click.echo(f"{shown['changed']} texts are changed{said}")


_set_option(edit)


def _tell(shown: Row, name: str) -> None:
    click.echo(clean(f"{shown['changed']} of {shown['captions']} texts of set {name} would change"))
    for example in rows(shown, "examples"):
        click.echo("\n".join(map(one_line, (f"  {example['rel']}", f"  - {example['before']}", f"  + {example['after']}"))))
