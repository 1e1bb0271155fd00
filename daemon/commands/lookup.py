"""models lookup: ask CivitAI about models now, and show what it says of one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import click

from ..client import Client, Row
from .common import WRONG, ask, config_option, json_option, one_line, print_json, stop, when

WAIT = 90.0  # seconds that the answer is waited for
LOOK = 0.5  # seconds between two looks at the job


@click.command("lookup")
@click.argument("named", metavar="[MODEL]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every model; returns at once, the asking goes on.")
@json_option
@config_option
def lookup(named: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Ask CivitAI about models now, whatever is remembered.

    MODEL is a SHA-256, its first six digits or more, or the exact name. Their SHA-256 are sent to the site, when the configuration says
    `civitai: {enabled: true}`; what it answers is kept, and records and links follow. With --json one object a model.

    \b
    Example:
      dropdock models lookup style.safetensors
      dropdock models lookup --all
    """
    if bool(named) is everything:
        stop("name models, or give --all", WRONG)
    body: Row = {"all": True} if everything else {"models": list(named)}
    answer = ask(lambda client: client.post("/models/lookup", body))
    meant = answer.get("models")
    if not isinstance(meant, list):
        if as_json:
            print_json(answer)
        else:
            click.echo(_begun(answer))
        return
    found = ask(lambda client: _waited(client, answer, [str(sha256) for sha256 in meant]))
    for row in found:
        if as_json:
            print_json({"sha256": row["sha256"], "name": row["name"], "civitai": row["civitai"]})
        else:
            click.echo("\n".join(lines(row)))


def _begun(answer: Row) -> str:
    patience = f"; the site wants peace until {when(answer['until'])}" if answer.get("until") else ""
    job = f", job {answer['job']}" if answer.get("job") else ""
    return f"{answer.get('count')} models will be asked for{job}{patience}"


def _waited(client: Client, answer: Row, meant: list[str]) -> list[Row]:
    """Wait for the job, and fetch what is known then. Ends the command when there is no answer."""
    if answer.get("until"):
        stop(_begun(answer))
    end = time.monotonic() + WAIT
    while answer.get("job") is not None and time.monotonic() < end:
        job = client.get(f"/jobs/{answer['job']}")
        if job.get("error"):
            stop(one_line(f"no answer: {job['error']}"))
        found = [client.get(f"/models/{quote(sha256, safe='')}") for sha256 in meant] if job.get("state") == "done" else []
        if found:
            return found
        if job.get("state") not in ("queued", "running"):
            stop(f"the asking is {job.get('state')}: `dropdock jobs` shows it")
        time.sleep(LOOK)
    if answer.get("job") is None:
        stop("these cannot be asked for: only whole, sound model files can")
    stop(f"no answer within {WAIT:g} s; the asking goes on as job {answer['job']}")


def lines(model: Row) -> Iterator[str]:
    """What CivitAI says of a model, for people; nothing when it was never asked."""
    said = model.get("civitai")
    if not isinstance(said, Mapping):
        return
    if said.get("note"):
        yield one_line(f"{'civitai':12} an answer of {when(said.get('at'))} could not be used: {said['note']}")
    if not said.get("known"):
        if not said.get("note"):
            yield f"{'civitai':12} does not know it ({when(said.get('at'))})"
        return
    kind = ", ".join(str(said[key]) for key in ("type", "base") if said.get(key))
    mature = ", mature" if said.get("nsfw") else ""
    yield one_line(f"{'civitai':12} {said.get('name')} {said.get('version')} ({kind}{mature})")
    words = said.get("words")
    if isinstance(words, list) and words:
        yield one_line(f"{'words':12} {'; '.join(map(str, words))}")
    if said.get("page"):
        yield one_line(f"{'page':12} {said['page']}")
