"""The models by content, and the links that targets have of them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass

from aiohttp import web

from ..rules.terms import LinkState
from ..store import models
from ..store.rows import LinkRow, ModelRow
from . import views
from .keys import STORE
from .problems import Refused
from .queries import Query


@dataclass(frozen=True, slots=True)
class Found:
    """The models that a digest, a prefix or a name means; names and links when it is one."""

    rows: list[ModelRow]
    names: list[str]
    links: list[LinkRow]


def found(c: sqlite3.Connection, text: str) -> Found:
    """Look a model up by SHA-256, by its first six digits or more, or by exact name."""
    rows = models.find(c, text)
    if len(rows) != 1:
        return Found(rows, [], [])
    sha256 = rows[0].sha256
    return Found(rows, models.names(c, sha256), models.links(c, sha256=sha256))


@dataclass(frozen=True, slots=True)
class LinkPage:
    """A page of links, and of all links how many each target has in each state."""

    rows: list[LinkRow]
    more: bool
    summary: dict[str, Counter[str]]


def link_page(
    c: sqlite3.Connection, target: str | None, sha256: str | None, state: str | None, after: int, limit: int
) -> LinkPage:
    """Links in order of target and place, from behind the first `after` of them."""
    rows = models.links(c, target=target, sha256=sha256)
    summary: dict[str, Counter[str]] = {}
    for row in rows:
        summary.setdefault(row.target, Counter())[row.state] += 1
    wanted = [r for r in rows if state is None or r.state == state]
    return LinkPage(wanted[after : after + limit], len(wanted) > after + limit, summary)


async def listing(request: web.Request) -> web.Response:
    """Models by id, a page at a time."""
    query = Query(request, "type", "base", "name", "limit", "after")
    limit = query.limit()
    rows = await request.app[STORE].read(
        models.listing,
        type=query.text("type"),
        base=query.text("base"),
        name=query.text("name"),
        after=query.integer("after") or 0,
        limit=limit,
    )
    return views.answer({"models": [views.model(r) for r in rows], "next": rows[-1].id if len(rows) == limit else None})


async def one(request: web.Request) -> web.Response:
    """One model: what it is and on what evidence, every name it was dropped under, and its links."""
    text = request.match_info["sha256"]
    it = await request.app[STORE].read(found, text)
    if not it.rows:
        raise Refused("not-found", "No model has this SHA-256: give all of it, at least its first six digits, or the exact name.")
    if len(it.rows) > 1:
        raise Refused("ambiguous", "More than one model is meant: give more digits.", models=[r.sha256 for r in it.rows[:20]])
    row = it.rows[0]
    links = [views.link(r) for r in it.links]
    return views.answer({**views.model(row), "facts": views.facts(row.facts), "names": it.names, "links": links})


async def links(request: web.Request) -> web.Response:
    """The links that targets should have, with what stands at each place, and a summary by target."""
    query = Query(request, "target", "sha256", "state", "limit", "after")
    after, limit = query.integer("after") or 0, query.limit()
    state = query.choice("state", tuple(LinkState))
    page = await request.app[STORE].read(link_page, query.text("target"), query.text("sha256"), state, after, limit)
    return views.answer(
        {
            "links": [views.link(r) for r in page.rows],
            "summary": page.summary,
            "next": after + limit if page.more else None,
        }
    )


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/models", listing),
        web.get("/api/v1/models/{sha256}", one),
        web.get("/api/v1/links", links),
    ]
