"""jobs: the queue, and what can be told to one of its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import click

from ..client import Client, Refused, Row
from .common import Group, ask, config_option, each, json_option, number, print_json, print_table, rows

STATES = ("open", "queued", "running", "paused", "failed", "cancelled", "done")
LANES = ("hash", "cpu", "net", "caption")


@click.group(cls=Group, invoke_without_command=True)
@click.option("--failed", is_flag=True, help="List what failed, with the reasons, instead of what is open.")
@json_option
@config_option
@click.pass_context
def jobs(ctx: click.Context, failed: bool, as_json: bool) -> None:
    """Show the queue, or tell a job to wait, go on, end or try again.

    Without a command it lists what is open: queued, running and paused jobs.

    \b
    Example:
      dropdock jobs
      dropdock jobs --failed
      dropdock jobs retry --all
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, state="failed" if failed else "open", lane=None, limit=100, as_json=as_json)


@jobs.command("list")
@click.option("--state", type=click.Choice(STATES), default="open", show_default=True, help="Only jobs in this state.")
@click.option("--lane", type=click.Choice(LANES), help="Only jobs of this lane.")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@json_option
@config_option
def listing(state: str, lane: str | None, limit: int, as_json: bool) -> None:
    """List jobs, oldest first.

    With --json one object a line.

    \b
    Example:
      dropdock jobs list --state failed --lane caption
    """
    answer = ask(lambda client: client.get("/jobs", state=state, lane=lane, limit=limit))
    if as_json:
        for row in rows(answer, "jobs"):
            print_json(row)
        return
    nothing = "nothing is queued" if state == "open" else f"no jobs are {state}"
    print_table(("id#", "lane", "state", "done#", "tries#", "what", "error"), map(_cells, rows(answer, "jobs")), nothing)
    if answer.get("next"):
        click.echo(f"the first {limit} of them; more with --limit")


def _cells(job: Row) -> tuple[object, ...]:
    progress = "" if job["progress"] is None else f"{number(job['progress']):.0%}"
    return (job["id"], job["lane"], job["state"], progress, job["attempts"], job["title"], job["error"])


def _tell(verb: str, said: str, example: str) -> click.Command:
    """The command of one verb."""

    @click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1))
    @json_option
    @config_option
    def command(ids: tuple[int, ...], as_json: bool) -> None:
        def one(client: Client, job_id: int) -> None:
            job = client.post(f"/jobs/{job_id}/{verb}")
            if as_json:
                print_json(job)
            else:
                click.echo(f"job {job_id} is {job.get('state')}")

        each(ids, "job", one)

    return click.command(verb, help=f"{said}\n\n\b\nExample:\n  dropdock jobs {verb} {example}")(command)


jobs.add_command(
    _tell("cancel", "Cancel open jobs.\n\nWhat a cancelled job was to do is not done; `retry` queues it again.", "17")
)
jobs.add_command(_tell("pause", "Hold back queued jobs until `resume`.", "17 18"))
jobs.add_command(_tell("resume", "Let paused jobs go on.", "17 18"))


@jobs.command()
@click.argument("ids", metavar="[ID...]", nargs=-1, type=click.IntRange(1))
@click.option("--all", "everything", is_flag=True, help="All that failed.")
@json_option
@config_option
def retry(ids: tuple[int, ...], everything: bool, as_json: bool) -> None:
    """Queue failed or cancelled jobs again, with fresh attempts.

    \b
    Example:
      dropdock jobs retry 17
      dropdock jobs retry --all
    """
    if not ids and not everything:
        raise click.UsageError("name the jobs, or say --all")

    def again(client: Client, job_id: int, told: bool = True) -> None:
        job = client.post(f"/jobs/{job_id}/retry")
        if as_json:
            print_json(job)
        elif told:
            click.echo(f"job {job_id} is {job.get('state')}")

    def everyone(client: Client) -> int:
        done = 0
        for job_id in _failed(client):
            with suppress(Refused):  # its file has a new job by now
                again(client, job_id, told=False)
                done += 1
        return done

    if everything:
        done = ask(everyone)
        if not as_json:
            click.echo(f"{done} jobs are queued again")
    each(ids, "job", again)


def _failed(client: Client) -> Iterator[int]:
    """The ids of all failed jobs, a page at a time."""
    after: object = 0
    while after is not None:
        page = client.get("/jobs", state="failed", after=after, limit=1000)
        yield from (int(number(job["id"])) for job in rows(page, "jobs"))
        after = page.get("next")
