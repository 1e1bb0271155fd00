"""Metrics: what memory counts and the process measures, as Prometheus text (exposition format 0.0.4).

What must hold: base units (seconds, bytes), few labels with few values, never a path or a file's name; a family stands once, with its
samples together; every counter begins with the process or is a sum that memory keeps.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping

from aiohttp import web

from ..store import history, jobs, links
from .keys import CONTROL, STORE
from .ports import DaemonStatus, Family, Sample
from .queries import Query
from .status import Counts, counts, notices

PREFIX = "dropdock_"
CONTENT_TYPE = "text/plain; version=0.0.4"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def render(families: Iterable[Family]) -> str:
    """The text of families, each name once: the first of a name gives its kind and meaning."""
    merged: dict[str, list[Family]] = {}
    for family in families:
        merged.setdefault(family.name, []).append(family)
    lines: list[str] = []
    for name, parts in merged.items():
        full = PREFIX + name
        lines += [f"# HELP {full} {parts[0].help.translate(_ESCAPES)}", f"# TYPE {full} {parts[0].kind}"]
        lines += [f"{full}{s.suffix}{_labels(s.labels)} {_number(s.value)}" for part in parts for s in part.samples]
    return "".join(f"{line}\n" for line in lines)


async def metrics(request: web.Request) -> web.Response:
    """Everything, measured now."""
    Query(request)
    store, control = request.app[STORE], request.app[CONTROL]
    began = time.monotonic()
    await store.write(_nothing)
    written = time.monotonic() - began
    found, waits, watches, linked = await store.read(_read, store.now())
    families = [
        *_of_process(control.status(), found, written),
        *_of_memory(found, control.status().workers, waits),
        Family("watch_files", "gauge", "Files seen at a watch's last comparison.", _each("watch", watches)),
        Family("links", "gauge", "Links that targets should have, by what stands there.", linked),
        *control.meters(),
    ]
    return web.Response(text=render(families), headers={"Content-Type": CONTENT_TYPE})


def _of_process(now: DaemonStatus, found: Counts, written: float) -> Iterator[Family]:
    yield Family("info", "gauge", "1; the version is its label.", (Sample(1, {"version": now.version}),))
    yield Family("ready", "gauge", "1 once everything is started.", (Sample(float(now.ready)),))
    yield Family("start_time_seconds", "gauge", "When the daemon started, since the epoch.", (Sample(now.started),))
    yield Family("waiting", "gauge", "Paths that are settling or wait to be identified.", (Sample(now.waiting),))
    yield Family("notices", "gauge", "Things a person should know: see the status.", (Sample(len(notices(now, found))),))
    yield Family("database_write_seconds", "gauge", "How long an empty write took just now.", (Sample(written),))


def _of_memory(found: Counts, workers: Mapping[str, int], waits: Mapping[str, float]) -> Iterator[Family]:
    yield Family("files", "gauge", "Units by state.", _each("state", found.files))
    yield Family("models", "gauge", "Models kept or tracked.", (Sample(found.models[0]),))
    yield Family("models_bytes", "gauge", "Bytes of all models.", (Sample(found.models[1]),))
    rows = tuple(Sample(n, {"lane": lane, "state": state}) for lane, states in found.jobs.items() for state, n in states.items())
    yield Family("jobs", "gauge", "Jobs by lane and state; ended ones are forgotten after a week.", rows)
    yield Family("lane_workers", "gauge", "Jobs of a lane that may run at once.", _each("lane", workers))
    yield Family("lane_paused", "gauge", "1 while a lane is paused.", tuple(Sample(1, {"lane": n}) for n in found.paused))
    yield Family("oldest_due_job_seconds", "gauge", "How long the job that is due longest waits.", _each("lane", waits))
    yield Family("history_lines_total", "counter", "Lines of history ever written.", (Sample(found.last),))


def _read(c: sqlite3.Connection, now: float) -> tuple[Counts, dict[str, float], dict[str, int], tuple[Sample, ...]]:
    """Everything that is asked of memory, in one go."""
    found = links.summary(c).items()
    shown = tuple(Sample(n, {"target": target, "state": state}) for target, states in found for state, n in states.items())
    return counts(c), jobs.longest_due(c, now), {w.name: w.files for w in history.watches(c)}, shown


def _nothing(c: sqlite3.Connection) -> None:
    """Takes the writer and its lock, changes nothing."""


def _each(label: str, values: Mapping[str, float]) -> tuple[Sample, ...]:
    return tuple(Sample(value, {label: name}) for name, value in values.items())


def _labels(labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{re.sub(r"[^a-zA-Z0-9_]", "_", name)}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def routes() -> list[web.RouteDef]:
    """The routes of this file. /metrics is where Prometheus looks unless told otherwise."""
    return [web.get("/metrics", metrics)]
