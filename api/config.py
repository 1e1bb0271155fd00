"""The configuration in force, and the order to read it anew."""

from __future__ import annotations

from aiohttp import web

from . import views
from .keys import CONTROL
from .problems import Refused
from .queries import Query


async def show(request: web.Request) -> web.Response:
    """Every setting in force; secrets are replaced by `***`."""
    Query(request)
    return views.answer(request.app[CONTROL].settings())


async def reload(request: web.Request) -> web.Response:
    """Take over the configuration as it is on disk now; refused whole, with every problem, when it cannot be."""
    Query(request)
    done = await request.app[CONTROL].reload()
    if done.problems:
        raise Refused("bad-config", "Nothing was changed.", problems=list(done.problems))
    return views.answer({"changes": list(done.changes)})


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/v1/config", show), web.post("/api/v1/config/reload", reload)]
