"""The models by content."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass

from aiohttp import web

from ..rules.conditions import TYPES
from ..store import links, lookups, models
from ..store.lookups import LookupRow
from ..store.rows import LinkRow, ModelRow
from . import views
from .keys import CONTROL, STORE
from .problems import Refused
from .queries import Query, json_object

_BASE = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")


@dataclass(frozen=True, slots=True)
class Found:
    """The models that a digest, a prefix or a name means; names and links when it is one."""

    rows: list[ModelRow]
    names: list[str]
    links: list[LinkRow]
    lookup: LookupRow | None = None


def found(c: sqlite3.Connection, text: str) -> Found:
    """Look a model up by SHA-256, by its first six digits or more, or by exact name."""
    rows = models.find(c, text)
    if len(rows) != 1:
        return Found(rows, [], [])
    sha256 = rows[0].sha256
    return Found(rows, models.names(c, sha256), links.listing(c, sha256=sha256), lookups.of(c, sha256))


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
    """One model: what it is and on what evidence, every name it was dropped under, its links, and what CivitAI says of it."""
    it = await _meant(request)
    row = it.rows[0]
    shown = [views.link(r) for r in it.links]
    more = {"facts": views.facts(row.facts), "names": it.names, "links": shown, "civitai": views.lookup(it.lookup)}
    return views.answer({**views.model(row), **more})


async def one_model(request: web.Request) -> ModelRow:
    """The model that the address names. Raises Refused when it is none, or more than one."""
    return (await _meant(request)).rows[0]


async def _meant(request: web.Request) -> Found:
    it = await request.app[STORE].read(found, request.match_info["sha256"])
    if not it.rows:
        raise Refused("not-found", "No model has this SHA-256: give all of it, at least its first six digits, or the exact name.")
    if len(it.rows) > 1:
        raise Refused("ambiguous", "More than one model is meant: give more digits.", models=[r.sha256 for r in it.rows[:20]])
    return it


async def set_type(request: web.Request) -> web.Response:
    """Say what a model is. The word is kept by content and wins over everything but damage and danger."""
    row = await one_model(request)
    body = await json_object(request)
    type, base = body.get("type"), body.get("base")
    if not (type is None or type in TYPES):
        raise Refused("bad-body", f"`type` is one of {', '.join(TYPES)}.", parameter="type")
    if not (base is None or (isinstance(base, str) and _BASE.fullmatch(base))):
        raise Refused("bad-body", "`base` is a word of docs/models.md, like sdxl or flux1.", parameter="base")
    if type is None and base is None:
        raise Refused("bad-body", "Give `type`, `base` or both.", parameter="type")
    await request.app[CONTROL].set_type(row.sha256, None if type is None else str(type), base)
    return views.answer(views.model(await one_model(request)))


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/models", listing),
        web.get("/api/v1/models/{sha256}", one),
        web.post("/api/v1/models/{sha256}/type", set_type),
    ]
