"""Asking CivitAI about models now: the one order that a person gives of look-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from . import views
from .models import named_models
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
    meant = None if everything else await named_models(request, named, MOST)
    found = await request.app[LOOKUP].order(meant)
    if not found.enabled:
        detail = "CivitAI is not asked: set `civitai: {enabled: true}` in the configuration, then `dropdock reload`."
        raise Refused("not-now", detail)
    answer = {"count": found.count, "job": found.job, "until": found.until, "models": meant}
    return views.answer(answer, 202)


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.post("/api/v1/models/lookup", order)]
