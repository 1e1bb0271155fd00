"""deploy and undeploy: which target wants which model."""

from __future__ import annotations

from urllib.parse import quote

import click

from ..client import Client, Row
from .common import WRONG, ask, config_option, each, json_option, number, one_line, print_json, stop


def _command(verb: str, said: str, example: str) -> click.Command:
    """The command of one verb."""

    @click.argument("models", metavar="MODEL...", nargs=-1)
    @click.option("--all", "everything", is_flag=True, help="Every model of the hub.")
    @click.option(
        "--target", "-t", "targets", metavar="NAME", multiple=True, help="This target only; may be given more than once."
    )
    @json_option
    @config_option
    def command(models: tuple[str, ...], everything: bool, targets: tuple[str, ...], as_json: bool) -> None:
        if everything is bool(models):
            stop("name models (by SHA-256, its first digits, or the exact name), or give --all", WRONG)
        query = f"?targets={quote(','.join(targets), safe=',')}" if targets else ""

        def one(client: Client, model: str) -> None:
            _say(verb, model, client.post(f"/models/{quote(model, safe='')}/{verb}{query}"), as_json)

        if everything:
            _say(verb, "all", ask(lambda client: client.post(f"/{verb}{query}")), as_json)
        each(models, "model", one)

    return click.command(verb, help=f"{said}\n\n\b\nExample:\n{example}")(command)


def _say(verb: str, model: str, answer: Row, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    elif "sha256" not in answer:  # it was all of them
        click.echo(f"{number(answer.get('changed')):.0f} models {verb}ed")
    else:
        wanted = answer.get("wanted")
        click.echo(one_line(f"{model}: wanted by {'every target' if wanted == '*' else wanted or 'no target'}"))


deploy = _command(
    "deploy",
    "Make targets want models: their links are made.\n\nMODEL is a SHA-256, its first digits, or the exact name. Without --target every "
    "target wants it, those that are added later too.",
    "  dropdock deploy style.safetensors\n  dropdock deploy 3f9a11 --target comfyui --target forge\n  dropdock deploy --all",
)
undeploy = _command(
    "undeploy",
    "Make targets want models no longer: their links are taken away.\n\nThe models stay in the hub.",
    "  dropdock undeploy style.safetensors --target forge\n  dropdock undeploy --all",
)
