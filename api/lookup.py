"""Asking CivitAI about models now: the one order that a person gives of look-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from ..store import models
from . import views
from .keys import STORE
from .problems import Refused
from .queries import Query, json_object

MOST = 500  # models that one request may name: full digests of them fit into a body


@dataclass(frozen=True, slots=True)
class Ordered:
    """What became of an order: how many contents will be asked for, by which job, and until when the site wants peace (epoch seconds)."""

    enabled: bool
    count: int = 0
    job: int | None = None
    until: float | None = None


class Lookup(Protocol):
    """What the face may ask of look-ups."""

    async def order(self, sha256s: Sequence[str] | None) -> Ordered:
        """Ask for these contents (None: all) now, whatever is remembered. `enabled` False: nobody is asked, by the configuration."""
        ...


LOOKUP: web.AppKey[Lookup] = web.AppKey("lookup")


async def order(request: web.Request) -> web.Response:
    """Ask CivitAI about the models that are named, or about all. Answers at once; the asking is a job."""
    Query(request)
    body = await json_object(request)
    named, everything = body.get("models"), body.get("all", False)
    if not isinstance(everything, bool) or (named is None) is not everything:
        raise Refused(
            "bad-body", "Give `models`, a list of SHA-256, first digits or exact names, or `all`: true.", parameter="models"
        )
    meant = None if everything else await _meant(request, named)
    found = await request.app[LOOKUP].order(meant)
    if not found.enabled:
        detail = "CivitAI is not asked: set `civitai: {enabled: true}` in the configuration, then `dropdock reload`."
        raise Refused("not-now", detail)
    answer = {"count": found.count, "job": found.job, "until": found.until, "models": meant}
    return views.answer(answer, 202)


async def _meant(request: web.Request, named: object) -> list[str]:
    """The contents that are named, each once. Raises Refused for a name that means none, or more than one."""
    if not isinstance(named, list) or not 0 < len(named) <= MOST or not all(isinstance(text, str) for text in named):
        raise Refused("bad-body", f"`models` is a list of 1 to {MOST} texts.", parameter="models")
    found: dict[str, None] = {}
    for text in named:
        rows = await request.app[STORE].read(models.find, str(text))
        if not rows:
            raise Refused("not-found", f"No model is called {text!r}, or has a SHA-256 that begins so.")
        if len(rows) > 1:
            raise Refused("ambiguous", f"{text!r} means more than one model: give digits.", models=[r.sha256 for r in rows[:20]])
        found[rows[0].sha256] = None
    return list(found)


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.post("/api/v1/models/lookup", order)]
