"""models: what is kept, and a person's word on what it is."""

from __future__ import annotations

from urllib.parse import quote

import click

from .common import Group, ask, config_option, json_option, number, one_line, print_json, print_table, rows, size, stop
from .lookup import lookup
from .model_page import shown
from .reclassify import reclassify

SORTS = ("added", "name", "type", "base", "confidence", "size")


@click.group(cls=Group, invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """Show the models that are kept or tracked, and say what one is.

    \b
    Example:
      dropdock models
      dropdock models show 3f9a11
      dropdock models set-type 3f9a11 --type lora --base sdxl
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, type=None, base=None, name=None, unsure=False, sort="added", limit=200, as_json=as_json)


@models.command("list")
@click.option("--type", metavar="TYPE", help="Only this type, like lora.")
@click.option("--base", metavar="BASE", help="Only this base, like sdxl.")
@click.option("--name", metavar="PART", help="Only names with this part.")
@click.option("--unsure", is_flag=True, help="Only those that are a guess: set what they are with set-type.")
@click.option("--sort", type=click.Choice(SORTS), default="added", show_default=True, help="By what.")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=200, show_default=True, help="How many at most.")
@json_option
@config_option
def listing(type: str | None, base: str | None, name: str | None, unsure: bool, sort: str, limit: int, as_json: bool) -> None:
    """List models, the oldest first or as --sort says: the least sure first, the largest first. With --json one object a line.

    A model whose file was deleted or overwritten is not listed; one on a disk that is not there just now is, and says `away`.

    \b
    Example:
      dropdock models list --type lora --base flux1
      dropdock models list --unsure --sort confidence
    """
    filters = {"type": type, "base": base, "name": name, "unsure": "true" if unsure else None}
    answer = ask(lambda client: client.get("/models", **filters, sort=sort, limit=limit))
    found = rows(answer, "models")
    if as_json:
        for row in found:
            print_json(row)
        return
    cells = (
        (
            str(r["sha256"])[:12],
            r["name"],
            r["type"],
            r["base"],
            f"{number(r['confidence']):.2f} {r['band']}",
            size(r["size"]),
            r["wanted"] or "",
            "" if r.get("state") == "ok" else r.get("state"),
        )
        for r in found
    )
    print_table(("sha256", "name", "type", "base", "confidence", "size#", "wanted by", "file"), cells, "no models")
    if answer.get("next"):
        click.echo(f"the first {limit} of them; more with --limit or over the API")


@models.command()
@click.argument("model", metavar="MODEL")
@json_option
@config_option
def show(model: str, as_json: bool) -> None:
    """Show one model: what it is and how sure that is, on what evidence, its hashes, names and links.

    MODEL is a SHA-256, its first six digits or more, or the exact name.

    \b
    Example:
      dropdock models show style.safetensors
    """
    answer = ask(lambda client: client.get(f"/models/{quote(model, safe='')}"))
    if as_json:
        print_json(answer)
        return
    for line in shown(answer):
        click.echo(one_line(line))


@models.command("set-type")
@click.argument("model", metavar="MODEL")
@click.option("--type", metavar="TYPE", help="What it is: lora, checkpoint, vae, … (docs/models.md).")
@click.option("--base", metavar="BASE", help="What it is for: sdxl, flux1, wan, … (docs/models.md).")
@click.option("--force", is_flag=True, help="Take a base that is not known: a family newer than docs/models.md.")
@json_option
@config_option
def set_type(model: str, type: str | None, base: str | None, force: bool, as_json: bool) -> None:
    """Say what a model is.

    Your word is kept by the model's content and wins from now on, also when the same file comes again. Its links follow, and what the
    rules held because it was unsure is decided again. A base that nobody knows is refused with the nearest ones, unless --force.

    \b
    Example:
      dropdock models set-type style.safetensors --type lora --base sdxl
    """
    if type is None and base is None:
        stop("give --type, --base or both", 2)
    given = (("type", type), ("base", base), ("force", force or None))
    body = {key: value for key, value in given if value is not None}
    answer = ask(lambda client: client.post(f"/models/{quote(model, safe='')}/type", body))
    if as_json:
        print_json(answer)
    else:
        click.echo(one_line(f"{answer['name']}: {answer['type']} {answer['base']}"))


models.add_command(reclassify)
models.add_command(lookup)
