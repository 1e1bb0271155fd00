"""The face put together: every route of every subject, the guard in front, the page beside.

What must hold: no route stands outside `ROUTES`; errors are made into problems outermost and the guard comes right behind, so that
nothing is answered unguarded; when the daemon stops, open streams end first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from ..store.store import Store
from . import (
    caption_paths,
    captioners,
    captioning,
    captions,
    config,
    datasets,
    explain,
    files,
    history,
    inbox,
    jobs,
    links,
    lookup,
    metrics,
    models,
    page,
    plan,
    reclassify,
    sets,
    status,
    stream,
    targets,
    undo,
    validation,
    watches,
    why,
)
from .guard import dress, guard
from .keys import CONTROL, FEED, SETTINGS, STOPPING, STORE
from .ports import Control, FaceSettings, Feed
from .problems import answer_problems

ROUTES: tuple[Callable[[], list[web.RouteDef]], ...] = (
    status.routes,
    watches.routes,
    files.routes,
    models.routes,
    reclassify.routes,
    lookup.routes,
    links.routes,
    targets.routes,
    captioners.routes,
    datasets.routes,
    captioning.routes,
    sets.routes,
    captions.routes,
    validation.routes,
    caption_paths.routes,
    history.routes,
    undo.routes,
    jobs.routes,
    explain.routes,
    plan.routes,
    why.routes,
    inbox.routes,
    stream.routes,
    config.routes,
    metrics.routes,
    page.routes,
)
BODY = 64 << 10  # bytes of a JSON body; uploads are streamed and know other bounds
OPEN_TO_ALL = frozenset({status.health, status.live, page.index, page.static})  # the page is empty until it has the key
LINKABLE = frozenset({page.index, page.static})


def build(store: Store, control: Control, feed: Feed, settings: FaceSettings) -> web.Application:
    """The application, ready for an AppRunner (give it a short `shutdown_timeout`: uploads are all it would wait for)."""
    app = web.Application(middlewares=[answer_problems, guard(settings, OPEN_TO_ALL, LINKABLE)], client_max_size=BODY)
    app[STORE] = store
    app[CONTROL] = control
    app[FEED] = feed
    app[SETTINGS] = settings
    app[STOPPING] = asyncio.Event()
    app[page.ASSETS] = page.load()
    for routes in ROUTES:
        app.add_routes(routes())
    app.on_response_prepare.append(dress(control.status().version))
    app.on_shutdown.append(_stop_streams)
    return app


async def _stop_streams(app: web.Application) -> None:
    app[STOPPING].set()
