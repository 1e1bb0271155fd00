"""The links that targets should have, and what stands at their places."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from aiohttp import web

from ..rules.terms import LinkState
from ..store import links
from ..store.rows import LinkRow
from . import views
from .keys import STORE
from .queries import Query


@dataclass(frozen=True, slots=True)
class LinkPage:
    """A page of links, and of all links how many each target has in each state."""

    rows: list[LinkRow]
    more: bool
    summary: dict[str, dict[str, int]]


def page(
    c: sqlite3.Connection, target: str | None, sha256: str | None, state: str | None, problems: bool, after: int, limit: int
) -> LinkPage:
    """Links in order of target and place, from behind the first `after` of them."""
    rows = links.listing(c, target=target, sha256=sha256, state=state, problems=problems, after=after, limit=limit + 1)
    return LinkPage(rows[:limit], len(rows) > limit, links.summary(c, target, sha256))


async def listing(request: web.Request) -> web.Response:
    """The links that targets should have, with what stands at each place, and a summary by target."""
    query = Query(request, "target", "sha256", "state", "problems", "limit", "after")
    after, limit = query.integer("after") or 0, query.limit()
    state = query.choice("state", tuple(LinkState))
    problems = query.choice("problems", ("true", "false")) == "true"
    found = await request.app[STORE].read(page, query.text("target"), query.text("sha256"), state, problems, after, limit)
    shown = [views.link(r) for r in found.rows]
    return views.answer({"links": shown, "summary": found.summary, "next": after + limit if found.more else None})


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/v1/links", listing)]
