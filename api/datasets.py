"""The datasets with their counts, and their pictures with captions."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from ..rules.captions import Quality
from ..store import datasets, quality
from ..store.rows import DatasetRow, ItemRow
from . import views
from .keys import STORE
from .problems import Refused
from .queries import Query


@dataclass(frozen=True, slots=True)
class Shown:
    """One dataset, the name of its active caption set, and a page of its pictures."""

    row: DatasetRow
    active: str | None
    items: list[ItemRow]
    quality: Mapping[int, Quality] = field(default_factory=dict)  # item -> how good its picture is, where that is known
    flags: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # item -> what a person should know of its caption


def shown(c: sqlite3.Connection, slug: str, after: int = 0, limit: int = 0) -> Shown | None:
    """The dataset of a slug (compared without case), or None."""
    rows = datasets.listing(c, slug)
    if not rows:
        return None
    row = rows[0]
    items = datasets.items(c, row.slug, after, limit) if limit else []
    ids = [item.id for item in items]
    return Shown(row, datasets.active_set(c, row.id), items, quality.of_items(c, ids), quality.flags_of_items(c, ids))


async def listing(request: web.Request) -> web.Response:
    """All datasets by slug."""
    Query(request)
    rows = await request.app[STORE].read(datasets.listing)
    return views.answer({"datasets": [views.dataset(r) for r in rows]})


async def one(request: web.Request) -> web.Response:
    """One dataset with its counts and its active caption set."""
    Query(request)
    found = await _found(request)
    return views.answer({**views.dataset(found.row), "active_set": found.active})


async def items(request: web.Request) -> web.Response:
    """Pictures by id, a page at a time, each with its caption of the active set."""
    query = Query(request, "limit", "after")
    limit = query.limit()
    found = await _found(request, query.integer("after") or 0, limit)
    rows = found.items
    return views.answer(
        {
            "dataset": found.row.slug,
            "items": [{**views.item(r), **_about(found, r.id)} for r in rows],
            "next": rows[-1].id if len(rows) == limit else None,
        }
    )


def _about(found: Shown, item_id: int) -> views.View:
    """How good a picture is, null where that is not known, and the flags of its caption."""
    known = found.quality.get(item_id)
    return {"quality": None if known is None else quality.as_plain(known), "caption_flags": found.flags.get(item_id, ())}


async def _found(request: web.Request, after: int = 0, limit: int = 0) -> Shown:
    slug = request.match_info["slug"]
    found = await request.app[STORE].read(shown, slug, after, limit)
    if found is None:
        raise Refused("not-found", f"There is no dataset `{slug}`.")
    return found


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/datasets", listing),
        web.get("/api/v1/datasets/{slug}", one),
        web.get("/api/v1/datasets/{slug}/items", items),
    ]
