"""How the daemon is: `health` for probes, `status` for people, and the lanes of its queue."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from aiohttp import web

from ..rules.terms import Lane
from ..store import blobs, files, history, jobs, standing
from . import views
from .keys import CONTROL, STORE
from .ports import DaemonStatus
from .problems import Refused
from .queries import Query

_NOTICES = {
    "changed": "files of the hub that were changed behind our back: {}. They are hashed anew (docs/targets.md)",
    "gone": "files of the hub that are gone: {}. The history says which, and where an app has put them",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """What memory counts, read in one go."""

    files: dict[str, int]
    jobs: dict[str, dict[str, int]]
    paused: list[str]
    models: tuple[int, int]
    last: int
    blobs: dict[str, int]


def counts(c: sqlite3.Connection) -> Counts:
    """All the counts of a status."""
    return Counts(files.counts(c), jobs.counts(c), jobs.paused_lanes(c), standing.count(c), history.last_id(c), blobs.troubles(c))


def notices(now: DaemonStatus, found: Counts) -> list[str]:
    """What a person should know: what the daemon says, and blobs that are not as they were left."""
    return [*now.notices, *(_NOTICES[state].format(n) for state, n in sorted(found.blobs.items()))]


async def health(request: web.Request) -> web.Response:
    """200 once ready, 503 before; says nothing else, since it needs no key."""
    ready = request.app[CONTROL].status().ready
    return views.answer({"status": "ok" if ready else "starting"}, 200 if ready else 503)


async def live(request: web.Request) -> web.Response:
    """200 while the loop, the database's writer, the lanes and the watchers live: else it is time for a restart. No key, no detail."""
    failing = await request.app[CONTROL].failing()
    return views.answer({"status": "failing" if failing else "ok"}, 503 if failing else 200)


async def status(request: web.Request) -> web.Response:
    """Version, uptime, what waits, and the counts of everything. `last` is the newest event: stream on from there."""
    Query(request)
    store = request.app[STORE]
    found = await store.read(counts)
    now = request.app[CONTROL].status()
    return views.answer(
        {
            **views.daemon(now, store.now()),
            "notices": notices(now, found),
            "files": found.files,
            "models": {"count": found.models[0], "bytes": found.models[1]},
            "lanes": [
                {
                    "lane": lane,
                    "workers": now.workers.get(lane, 0),
                    "paused": lane in found.paused,
                    "jobs": found.jobs.get(lane, {}),
                }
                for lane in Lane
            ],
            "captioners": [views.captioner(c) for c in now.captioners],
            "last": found.last,
        }
    )


async def pause(request: web.Request) -> web.Response:
    """Pause a lane: what runs in it ends, nothing new begins."""
    return await _set(request, True)


async def resume(request: web.Request) -> web.Response:
    """Let a lane go on."""
    return await _set(request, False)


async def _set(request: web.Request, paused: bool) -> web.Response:
    name = request.match_info["lane"]
    if name not in set(Lane):
        raise Refused("not-found", f"There is no lane `{name}`, only {', '.join(Lane)}.")
    await request.app[CONTROL].pause_lane(Lane(name), paused)
    return views.answer({"lane": name, "paused": paused})


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/health", health),
        web.get("/api/v1/ready", health),
        web.get("/api/v1/live", live),
        web.get("/api/v1/status", status),
        web.post("/api/v1/lanes/{lane}/pause", pause),
        web.post("/api/v1/lanes/{lane}/resume", resume),
    ]
