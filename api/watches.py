"""The watched folders: list, compare with the disk, pause, resume."""

from __future__ import annotations

from aiohttp import web

from ..store import history
from . import views
from .keys import CONTROL, STORE
from .problems import Refused
from .queries import Query


async def listing(request: web.Request) -> web.Response:
    """All watches by name."""
    Query(request)
    rows = await request.app[STORE].read(history.watches)
    return views.answer({"watches": [views.watch(r) for r in rows]})


async def rescan(request: web.Request) -> web.Response:
    """Compare one watch, or all of them, with the disk. Answers at once; the comparison goes on."""
    name = request.match_info.get("name")
    force = Query(request, "force").choice("force", ("true", "false")) == "true"
    try:
        names = await request.app[CONTROL].rescan(name, force)
    except KeyError as error:
        raise _unknown(name) from error
    return views.answer({"watches": names}, 202)


async def pause(request: web.Request) -> web.Response:
    """Pause a watch: nothing of it is taken in until it is resumed; then it is compared with the disk."""
    return await _set(request, True)


async def resume(request: web.Request) -> web.Response:
    """Let a watch go on."""
    return await _set(request, False)


async def _set(request: web.Request, paused: bool) -> web.Response:
    name = request.match_info["name"]
    if not await request.app[CONTROL].pause_watch(name, paused):
        raise _unknown(name)
    return views.answer({"watch": name, "paused": paused})


def _unknown(name: str | None) -> Refused:
    return Refused("not-found", f"There is no watch `{name}`: GET /api/v1/watches lists them.")


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/watches", listing),
        web.post("/api/v1/rescan", rescan),
        web.post("/api/v1/watches/{name}/rescan", rescan),
        web.post("/api/v1/watches/{name}/pause", pause),
        web.post("/api/v1/watches/{name}/resume", resume),
    ]
