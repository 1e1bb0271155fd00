"""models lookup: ask CivitAI about models now, and show what it says of one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

import click

from ..client import Client, Row
from .common import WRONG, ask, config_option, json_option, number, one_line, print_json, rows, stop, when

WAIT = 90.0  # seconds that the next answer is waited for
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
    ask(lambda client: _wait(client, answer, [str(sha256) for sha256 in meant], _json if as_json else _text))


def _json(row: Row) -> None:
    print_json({"sha256": row["sha256"], "name": row["name"], "civitai": row["civitai"]})


def _text(row: Row) -> None:
    click.echo("\n".join(lines(row)))


def _begun(answer: Row) -> str:
    patience = f"; the site wants peace until {when(answer['until'])}" if answer.get("until") else ""
    job = f", job {answer['job']}" if answer.get("job") else ""
    return f"{answer.get('count')} models will be asked for{job}{patience}"


def _wait(client: Client, answer: Row, meant: list[str], show: Callable[[Row], None]) -> None:
    """Wait for each answer, and show it. Ends the command when none comes any more.

    Jobs ask for one batch each, and the last one of an order may have been another's first: so it is the models that are asked whether
    they were answered, and the job only why not.
    """
    if answer.get("until"):
        stop(_begun(answer))
    if answer.get("job") is None:
        stop("these cannot be asked for: only whole, sound model files can")
    job, end = number(answer.get("job")), time.monotonic() + WAIT
    while time.monotonic() < end:
        job = _asking(client, int(job))
        while meant and not (row := client.get(f"/models/{quote(meant[0], safe='')}")).get("asking"):
            show(row)
            del meant[0]
            end = time.monotonic() + WAIT
        if not meant:
            return
        time.sleep(LOOK)
    stop(f"no answer within {WAIT:g} s; the asking goes on as job {job:g}")


def _asking(client: Client, job_id: int) -> int:
    """The job that asks now: this one, or the one that asks for the next batch. Ends the command when it met trouble."""
    job = client.get(f"/jobs/{job_id}")
    state = job.get("state")
    if job.get("error") and (state == "failed" or (state == "queued" and number(job.get("run_at")) > time.time())):
        stop(one_line(f"no answer: {job['error']}"))
    if state == "done":
        following = rows(client.get("/jobs", state="open", lane="net"), "jobs")
        return next((int(number(j["id"])) for j in following if j.get("key") == job.get("key")), job_id)
    if state not in ("queued", "running"):
        stop(f"the asking is {state}: `dropdock jobs` shows it")
    return job_id


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
