"""Every refusal as RFC 9457 `application/problem+json`, and the middleware that makes sure of it.

What must hold: whatever goes wrong, a client gets a problem document whose `type` names a heading of docs/api.md; nothing of a
surprise's inside (message, path, trace) leaves the house, it goes to the log. This is the one broad except of the room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web

from .views import dump

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = structlog.get_logger()

# slug (a heading of docs/api.md) -> status and title
PROBLEMS: Mapping[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be understood"),
    "bad-parameter": (400, "A parameter has no usable value"),
    "bad-body": (400, "The body has no usable value"),
    "bad-upload": (400, "The upload cannot be taken"),
    "key-needed": (401, "The API key is missing or wrong"),
    "cross-site": (403, "Requests from other sites are refused"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "This address does not know that method"),
    "not-now": (409, "The state does not allow it"),
    "ambiguous": (409, "More than one thing is meant"),
    "too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body is of the wrong type"),
    "bad-config": (422, "The configuration was not taken"),
    "unknown-host": (421, "The request is addressed to another host"),
    "internal": (500, "Something went wrong inside"),
    "inbox-unavailable": (503, "The inbox cannot be written"),
    "no-space": (507, "There is not enough free space"),
}
_OF_STATUS = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}


class Refused(Exception):
    """A request that is answered with a problem: its slug, and a sentence that says what to change."""

    def __init__(self, slug: str, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.slug, self.detail, self.members = slug, detail, members


def problem(
    slug: str, detail: str, members: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The problem document of a slug of PROBLEMS; `members` are added to it (RFC 9457, 3.2)."""
    status, title = PROBLEMS[slug]
    body = {"type": f"docs/api.md#{slug}", "title": title, "status": status, "detail": detail, **(members or {})}
    return web.Response(body=dump(body), status=status, content_type="application/problem+json", headers=headers)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: refusals, the router's own errors and surprises all leave as problems."""
    try:
        return await handler(request)
    except Refused as refused:
        return problem(refused.slug, refused.detail, refused.members)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        slug = _OF_STATUS.get(error.status, "bad-request")
        kept = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return problem(slug, _said(request, slug), headers=kept)
    except Exception as error:  # noqa: BLE001  # a surprise: logged with its trace, and told to nobody
        if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
            return web.Response(status=400)  # the client went away: nobody is left to read this, and nothing is wrong with us
        _log.exception("request failed", method=request.method, route=_route(request))
        return problem("internal", "The log of the daemon says more.")


def _said(request: web.Request, slug: str) -> str:
    if slug == "not-found":
        return "Nothing is served at this address: docs/api.md lists what is."
    if slug == "method-not-allowed":
        return f"{request.method} is not known here: the Allow header names what is."
    return PROBLEMS[slug][1] + "."


def _route(request: web.Request) -> str:
    """The pattern of the route, not the path asked for: what a stranger wrote into an address stays out of the log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"
