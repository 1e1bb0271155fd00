"""status: how the running daemon is."""

from __future__ import annotations

from collections.abc import Mapping

import click

from .common import (
    ask,
    config_option,
    duration,
    json_option,
    number,
    one_line,
    print_json,
    print_table,
    rows,
    size,
    when,
)


@click.command()
@json_option
@config_option
def status(as_json: bool) -> None:
    """Show how the running daemon is: its watches, its queue, and what it keeps.

    With --json one object: the daemon's own state, and its watches under `watches`.

    \b
    Example:
      dropdock status
    """
    url, state, watches = ask(lambda client: (client.url, client.get("/status"), client.get("/watches")))
    if as_json:
        print_json({"url": url, **state, "watches": rows(watches, "watches")})
        return
    ready = "ready" if state.get("ready") else "starting"
    click.echo(
        one_line(f"dropdock {state.get('version')}, pid {state.get('pid')}, {ready}, up {duration(state.get('uptime'))}: {url}")
    )
    for notice in _texts(state.get("notices")):
        click.echo(f"note: {one_line(notice)}")
    click.echo(f"{_counted(state.get('files'))}; {number(state.get('waiting')):.0f} settling; {_models(state.get('models'))}\n")
    print_table(
        ("watch", "mode", "state", "last compared", "files then#", "folder"),
        ((w["name"], w["mode"], _state(w), when(w["scanned"]), w["files"], w["path"]) for w in rows(watches, "watches")),
        "no watches",
    )
    click.echo()
    print_table(
        ("lane", "workers#", "queued#", "running#", "failed#", ""),
        ((n["lane"], n["workers"], *_jobs(n), "paused" if n["paused"] else "") for n in rows(state, "lanes")),
        "no lanes",
    )


def _state(watch: Mapping[str, object]) -> str:
    words = ["paused"] if watch.get("paused") else [str(watch.get("state", ""))]
    return ": ".join([*words, *([str(watch["detail"])] if watch.get("detail") else [])])


def _jobs(lane: Mapping[str, object]) -> tuple[int, ...]:
    found = lane.get("jobs")
    counts = found if isinstance(found, dict) else {}
    return tuple(int(number(counts.get(state))) for state in ("queued", "running", "failed"))


def _counted(files: object) -> str:
    counts = files if isinstance(files, dict) else {}
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "no files yet"


def _models(models: object) -> str:
    found = models if isinstance(models, dict) else {}
    return f"{number(found.get('count')):.0f} models, {size(found.get('bytes'))}"


def _texts(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else []
