"""What a file is and what would happen to it, asked by path."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from .keys import CONTROL
from .problems import Refused
from .queries import json_object

LONGEST = 4096  # bytes of a path, as Linux has it


async def explain(request: web.Request) -> web.Response:
    """Explain one path. Nothing is touched; the path is resolved, and refused outside our folders, by the daemon."""
    path = (await json_object(request)).get("path")
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path or len(path.encode("utf-8", "replace")) > LONGEST:
        raise Refused("bad-body", f"`path` is an absolute path of at most {LONGEST} bytes.", parameter="path")
    text = await request.app[CONTROL].explain(Path(path))
    if text is None:
        raise Refused("not-found", "Nothing is there, or it is in no folder that dropdock serves.")
    return web.Response(body=text.encode(), content_type="application/json")


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.post("/api/v1/explain", explain)]
