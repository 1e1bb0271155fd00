"""The status page: a handful of files out of the package, by name.

What must hold: only the names in PAGE are served, read once at start, so no part of an address ever becomes a path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from aiohttp import web

from .problems import Refused

PAGE = {
    "index.html": "text/html",
    "app.js": "text/javascript",
    "captions.js": "text/javascript",
    "dom.js": "text/javascript",
    "server.js": "text/javascript",
    "panels.js": "text/javascript",
    "style.css": "text/css",
    "favicon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page, as it is sent."""

    body: bytes
    type: str
    etag: str


def load() -> dict[str, Asset]:
    """Read the page's files out of the package."""
    folder = resources.files(__package__).joinpath("static")
    found = {name: folder.joinpath(name).read_bytes() for name in PAGE}
    return {name: Asset(body, PAGE[name], hashlib.sha256(body).hexdigest()[:20]) for name, body in found.items()}


ASSETS = web.AppKey("assets", dict[str, Asset])


async def index(request: web.Request) -> web.Response:
    """The page itself."""
    return _send(request, "index.html")


async def static(request: web.Request) -> web.Response:
    """A file the page needs."""
    return _send(request, request.match_info["name"])


def _send(request: web.Request, name: str) -> web.Response:
    asset = request.app[ASSETS].get(name)
    if asset is None:
        raise Refused("not-found", "The page has no such file.")
    headers = {"Cache-Control": "no-cache", "ETag": f'"{asset.etag}"'}
    if any(tag.value == asset.etag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, content_type=asset.type, charset="utf-8", headers=headers)


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/", index), web.get("/static/{name}", static)]
