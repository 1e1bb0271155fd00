"""Who may ask: the Host, the origin and the key of every request (law 9), and the headers every answer carries.

What must hold: a request for another host name is refused before anything else (a page that rebinds its own name to our address still
sends its own name as Host); a request that another site's page makes is refused whatever it asks; once a key is set it is asked for
everywhere but at the routes handed in as `open_to_all`, and routes that do not exist are not among those.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, Coroutine

from aiohttp import web
from aiohttp.typedefs import Middleware

from .ports import FaceSettings
from .problems import Handler, Refused, problem

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[0-9]{1,5})?", re.ASCII)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # bound to every address: no name to allow

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def host_name(header: str) -> str | None:
    """The name or address in a Host header, without the port, in lower case; None when it is no host."""
    found = _HOST.fullmatch(header.lower())
    return (found[1] or found[2]).rstrip(".") if found else None


def guard(settings: FaceSettings, open_to_all: Collection[object], linkable: Collection[object]) -> Middleware:
    """The middleware. Handlers in `open_to_all` need no key; those in `linkable` may be opened from another site's link."""
    names = LOOPBACK | {host_name(h) or h.lower() for h in settings.allowed_hosts}
    if settings.host not in WILDCARDS:
        names |= {settings.host.lower()}
    key = settings.api_key.encode() if settings.api_key else None

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None or not (name in names or name == _own_address(request)):
            raise Refused("unknown-host", "Add the name to `server.allowed_hosts` if it is yours.")
        asked = request.match_info.handler
        reading = request.method in ("GET", "HEAD")
        if not (reading and asked in linkable) and not _same_origin(request, hosts[0].lower()):
            raise Refused("cross-site", "Only the status page of this very address and programs without an Origin may ask.")
        if key and asked not in open_to_all and not hmac.compare_digest(_given_key(request), key):
            detail = "Send the key as `X-API-Key: KEY` or `Authorization: Bearer KEY`."
            return problem("key-needed", detail, headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return check


def _own_address(request: web.Request) -> str | None:
    """The address of ours that this connection came in at: an address as Host cannot be rebound."""
    name = request.get_extra_info("sockname")
    return str(name[0]).removeprefix("::ffff:").lower() if isinstance(name, tuple) else None


def _same_origin(request: web.Request, host: str) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return False
    return request.headers.get("Sec-Fetch-Site", "none").lower() in ("same-origin", "none")


def _given_key(request: web.Request) -> bytes:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = request.headers.get("X-API-Key") or (token.strip() if scheme.lower() == "bearer" else "")
    return given.encode("utf-8", "surrogateescape")


def dress(version: str) -> Callable[[web.Request, web.StreamResponse], Coroutine[None, None, None]]:
    """The signal that puts HEADERS and the version on every answer; what has no cache rule of its own is not cached."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)
        response.headers["Dropdock-Version"] = version
        response.headers.setdefault("Cache-Control", "no-store")

    return prepare
