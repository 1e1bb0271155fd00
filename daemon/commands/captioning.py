"""captioning: the caption runs over datasets, and what can be told to one of them."""

from __future__ import annotations

import click

from ..client import Client, Row
from .caption_runs import ended, how, watched
from .common import FAILED, Group, ask, clean, config_option, json_option, number, print_json, print_table, rows, when

STATES = ("open", "running", "paused", "done", "cancelled")


@click.group(cls=Group, invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def captioning(ctx: click.Context, as_json: bool) -> None:
    """Show caption runs over datasets, or tell one to wait, go on, end or go first.

    Without a command it lists the runs that are not over.

    \b
    Example:
      dropdock captioning
      dropdock captioning pause 3
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, state="open", dataset=None, limit=100, as_json=as_json)


@captioning.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only runs in this state; open means running and paused.")
@click.option("--dataset", metavar="DATASET", help="Only runs over this dataset.")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@json_option
@config_option
def listing(state: str | None, dataset: str | None, limit: int, as_json: bool) -> None:
    """List runs, newest first.

    With --json one object a line.

    \b
    Example:
      dropdock captioning list --dataset my-dataset
    """
    answer = ask(lambda client: client.get("/captioning", state=state, dataset=dataset, limit=limit))
    if as_json:
        for run in rows(answer, "runs"):
            print_json(run)
        return
    columns = ("id#", "dataset", "set", "with", "state", "done#", "failed#", "total#", "")
    print_table(columns, map(_cells, rows(answer, "runs")), "no captioning is going on" if state == "open" else "no runs")


def _cells(run: Row) -> tuple[object, ...]:
    last = how(run) if run["state"] == "running" else when(run.get("finished"))
    counts = (run["state"], run["done"], run["failed"] or "", run["total"])
    return (run["id"], run["dataset"], run["set"], run["with"], *counts, last)


@captioning.command()
@click.argument("id", type=click.IntRange(1))
@click.option("--failed", is_flag=True, help="List every picture that failed, with its reason.")
@json_option
@config_option
def show(id: int, failed: bool, as_json: bool) -> None:
    """Show one run, or which of its pictures failed and why.

    \b
    Example:
      dropdock captioning show 3 --failed
    """
    if not failed:
        run = ask(lambda client: client.get(f"/captioning/{id}"))
        if as_json:
            print_json(run)
        else:
            told = {**run, "created": when(run.get("created")), "finished": when(run.get("finished"))}
            print_table(("name", "value"), [(key, value) for key, value in told.items() if value not in (None, "", {}, [])], "")
        return
    found = ask(lambda client: _failed(client, id))
    if as_json:
        for item in found:
            print_json(item)
    else:
        print_table(("picture", "tries#", "error"), [(i["rel"], i["attempts"], i["error"]) for i in found], "none failed")


def _failed(client: Client, id: int) -> list[Row]:
    """The failed pictures of a run, all pages."""
    found: list[Row] = []
    after: object = 0
    while after is not None:
        page = client.get(f"/captioning/{id}/items", state="failed", after=after, limit=1000)
        found += rows(page, "items")
        after = page.get("next")
    return found


@captioning.command()
@click.argument("id", type=click.IntRange(1))
@json_option
@config_option
def watch(id: int, as_json: bool) -> None:
    """Show how a run goes until it is over; Ctrl-C leaves it going. The code is 1 when a picture failed.

    \b
    Example:
      dropdock captioning watch 3
    """
    run = watched(ask(lambda client: client.get(f"/captioning/{id}")))
    if as_json:
        print_json(run)
    else:
        click.echo(clean(ended(run)))
    if number(run["failed"]) or run["state"] != "done":
        raise click.exceptions.Exit(FAILED)


def _tell(verb: str, said: str) -> click.Command:
    """The command of one verb."""

    @click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1))
    @json_option
    @config_option
    def command(ids: tuple[int, ...], as_json: bool) -> None:
        def all_of_them(client: Client) -> None:
            for id in ids:
                _told(client.post(f"/captioning/{id}/{verb}"), as_json)

        ask(all_of_them)

    return click.command(verb, help=f"{said}\n\n\b\nExample:\n  dropdock captioning {verb} 3")(command)


def _told(run: Row, as_json: bool) -> None:
    if as_json:
        print_json(run)
    else:
        click.echo(clean(f"run {run['id']} over {run['dataset']} is {run['state']}: {run['done']} of {run['total']} done"))


captioning.add_command(_tell("pause", "Hold back runs until `resume`; what a captioner has in its hands is still written."))
captioning.add_command(_tell("resume", "Let paused runs go on where they were."))
captioning.add_command(_tell("cancel", "End runs; texts that are written stay."))


@captioning.command()
@click.argument("id", type=click.IntRange(1))
@click.argument("priority", type=click.IntRange(-100, 100))
@json_option
@config_option
def prioritise(id: int, priority: int, as_json: bool) -> None:
    """Have a run's pictures go before those of lower PRIORITY (0 when nothing was said; pictures dropped now have 10).

    \b
    Example:
      dropdock captioning prioritise 3 5
    """
    ask(lambda client: _told(client.post(f"/captioning/{id}/priority", {"priority": priority}), as_json))


@captioning.command()
@json_option
@config_option
def retry(as_json: bool) -> None:
    """Have captioners that wait, for a service or for what was missing, look at once.

    \b
    Example:
      dropdock captioning retry
    """
    answer = ask(lambda client: client.post("/captioning/retry"))
    if as_json:
        print_json(answer)
    else:
        click.echo("captioners that waited try again")
