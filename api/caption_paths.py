"""Captioning pictures that lie anywhere, for the command line beside this daemon: its answers are streamed back, nothing is written.

What must hold: no path comes in a request. The asker leaves a list of pictures in the data folder, which only the daemon's own user can
write, and names the list; whoever can do that can read those pictures without us. When the asker goes away the work ends.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from aiohttp import web

from . import views
from .keys import STOPPING
from .problems import Refused
from .queries import Query, json_object

_TOKEN = re.compile(r"[0-9a-f]{32}")


class PathCaptions(Protocol):
    """Takes lists of pictures."""

    async def take(self, token: str) -> AsyncIterator[Mapping[str, object]] | str | None:
        """What is said of a list, a row at a time; a text says why it cannot be worked on, None that there is no such list."""
        ...


PATH_CAPTIONS: web.AppKey[PathCaptions] = web.AppKey("path_captions")


async def caption(request: web.Request) -> web.StreamResponse:
    """Caption the pictures of a list; one JSON object a line as they are ready, an empty one when nothing happened for a while."""
    Query(request)
    body = await json_object(request)
    token = body.get("list")
    if set(body) != {"list"} or not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Refused("bad-body", "Say `list`, the name of a list in the data folder: 32 hexadecimal digits.", parameter="list")
    found = await request.app[PATH_CAPTIONS].take(token)
    if found is None:
        raise Refused("not-found", "There is no such list in the data folder.")
    if isinstance(found, str):
        raise Refused("bad-body", found, parameter="list")
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    async for row in found:
        if request.app[STOPPING].is_set():
            break
        await response.write(views.dump(row) + b"\n")
    await response.write_eof()
    return response


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.post("/api/v1/caption", caption)]
