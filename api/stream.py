"""The event stream: every line of history as a server-sent event, with ids to resume from.

What must hold: an event with an id is a line of history and no line is skipped on resume; passing events carry no id; a listener whose
place is gone is told `reset` and goes on from now; a listener that takes nothing is dropped, not buffered for; when the daemon stops,
every stream ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from ..store import history
from . import views
from .keys import FEED, SETTINGS, STOPPING, STORE
from .ports import Event
from .problems import Refused
from .queries import BIGGEST, Query

RETRY = 1000  # milliseconds that a browser waits before it comes again


def span(c: sqlite3.Connection) -> tuple[int, int]:
    """The ids of the oldest and the newest line kept; both 0 when there is none."""
    return history.first_id(c), history.last_id(c)


def wanted_since(request: web.Request) -> int | None:
    """The id behind which to begin: `Last-Event-ID`, else `since`, else None (from now on)."""
    since = Query(request, "since").integer("since")
    header = request.headers.get("Last-Event-ID")
    if not header:
        return since
    if not (header.isascii() and header.isdigit() and len(header) < 20 and int(header) <= BIGGEST):
        raise Refused("bad-parameter", "`Last-Event-ID` is the id of an event of this stream.", parameter="Last-Event-ID")
    return int(header)


async def events(request: web.Request) -> web.StreamResponse:
    """Stream what happens until the listener leaves or the daemon stops."""
    after = wanted_since(request)
    first, last = await request.app[STORE].read(span)
    gone = after is not None and not first - 1 <= after <= last
    settings = request.app[SETTINGS]
    response = EventSourceResponse(sep="\n", ping_interval=settings.ping, send_timeout=settings.send_timeout)
    async with request.app[FEED].subscribe(None if gone else after) as source:
        await response.prepare(request)
        async with response:
            with contextlib.suppress(ConnectionError, TimeoutError):  # the listener left, or takes nothing any more
                await response.send(f'{{"last":{last}}}', event="reset" if gone else "hello", retry=RETRY)
                await _until_first(
                    _pump(source, response),
                    response.wait(),
                    request.app[STOPPING].wait(),
                )
    return response


async def _pump(source: AsyncIterator[Event], response: EventSourceResponse) -> None:
    async for event in source:
        data = views.dump(event.data).decode()
        await response.send(data, id=None if event.id is None else str(event.id), event=event.type)


async def _until_first(*work: object) -> None:
    """Run until the first of them ends; the others are cancelled. What ended it with an error raises here."""
    tasks = [asyncio.ensure_future(w) for w in work]  # type: ignore[call-overload]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/v1/events", events, allow_head=False)]
