"""Captions: the texts of a set listed and searched, those of one picture read and written, many changed at once.

What must hold: a text that comes over HTTP is `manual`, so that no captioner replaces it unasked; a change of many is shown before it is
made (`dry_run` is true unless it is said to be false).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from ..rules.captions import Edit
from ..store import captions
from ..store.captions import SOURCES, CaptionRow
from . import views
from .keys import STORE
from .problems import Refused
from .queries import Query, json_object, number
from .sets import dataset, the_set

LONGEST = 32 << 10  # characters of a text: what a caption file may hold
_TEXTS = ("prepend", "append", "remove")


@dataclass(frozen=True, slots=True)
class Preview:
    """What an edit would do: how many of `captions` texts change, and a few of them (relative path, before, after)."""

    changed: int
    captions: int
    examples: tuple[tuple[str, str, str], ...] = ()


class TextOrders(Protocol):
    """Who writes texts and has the files follow."""

    async def write(self, slug: str, item: int, name: str, text: str | None) -> str:
        """Write or forget (None) one picture's text by hand; why that was not done, '' when it was."""
        ...

    async def edit(self, slug: str, name: str, edit: Edit) -> int | None:
        """Change many texts of a set; the job, None while another change of this dataset goes on."""
        ...

    async def preview(self, slug: str, name: str, edit: Edit) -> Preview:
        """How many texts an edit would change, and a few of them."""
        ...

    def mistake(self, edit: Edit) -> str:
        """Why an edit cannot be carried out; '' when it can."""
        ...


TEXTS: web.AppKey[TextOrders] = web.AppKey("texts")


async def listing(request: web.Request) -> web.Response:
    """Texts of a set by the picture's id, a page at a time; `search` is found in texts and paths."""
    query = Query(request, "search", "source", "limit", "after")
    row, limit = await the_set(request), query.limit()
    rows = await request.app[STORE].read(
        captions.listing,
        row.dataset,
        row.name,
        query.text("search"),
        query.choice("source", SOURCES),
        query.integer("after") or 0,
        limit,
    )
    return views.answer({"captions": [view(r) for r in rows], "next": rows[-1].item if len(rows) == limit else None})


async def of_item(request: web.Request) -> web.Response:
    """The texts of one picture in all its sets, that of the active set first."""
    Query(request)
    slug, item, rel = await _picture(request)
    rows = await request.app[STORE].read(captions.of_item, slug, item)
    return views.answer({"item": item, "rel": rel, "captions": [view(r) for r in rows]})


async def one(request: web.Request) -> web.Response:
    """One picture's text in a set."""
    Query(request)
    slug, item, _ = await _picture(request)
    return views.answer(view(await _row(request, slug, item, (await the_set(request)).name)))


async def put(request: web.Request) -> web.Response:
    """Write one picture's text by hand; of the active set the file follows at once."""
    slug, item, _ = await _picture(request)
    name = (await the_set(request)).name
    body = await json_object(request)
    text = body.get("text")
    if set(body) != {"text"} or not isinstance(text, str) or not text.strip() or len(text) > LONGEST or "\0" in text:
        raise Refused("bad-body", f"Say `text`, of 1 to {LONGEST} characters; DELETE forgets a text.", parameter="text")
    await _written(request, slug, item, name, text.strip())
    return views.answer(view(await _row(request, slug, item, name)))


async def delete(request: web.Request) -> web.Response:
    """Forget one picture's text; the file of the active set goes to the trash."""
    slug, item, _ = await _picture(request)
    row = await _row(request, slug, item, (await the_set(request)).name)
    await _written(request, slug, item, row.set, None)
    return views.answer({"deleted": view(row)})


async def edit(request: web.Request) -> web.Response:
    """Change many texts of a set at once: what would change, or with `dry_run: false` the job that does it."""
    row = await the_set(request)
    wish, dry = edit_of(await json_object(request))
    orders = request.app[TEXTS]
    if why := orders.mistake(wish):
        raise Refused("bad-body", f"{why[0].upper()}{why[1:]}.")
    if dry:
        found = await orders.preview(row.dataset, row.name, wish)
        examples = [{"rel": rel, "before": before, "after": after} for rel, before, after in found.examples]
        return views.answer({"dry_run": True, "changed": found.changed, "captions": found.captions, "examples": examples})
    job = await orders.edit(row.dataset, row.name, wish)
    if job is None:
        raise Refused("not-now", "The texts of this dataset are being changed: try again when that is done.")
    return views.answer({"dry_run": False, "job": job}, 202)


# ---------------------------------------------------------------- what is meant


def edit_of(body: Mapping[str, object]) -> tuple[Edit, bool]:
    """The edit of a body, and whether it is only to be shown. Raises Refused."""
    known = ("find", "replace", "regex", *_TEXTS, "dry_run")
    unknown = [key for key in body if key not in known]
    if unknown:
        raise Refused("bad-body", f"`{unknown[0]}` is not known here, only {', '.join(known)}.", parameter=unknown[0])
    texts = {key: _text(body, key) for key in ("find", "replace")}
    flags = {key: body.get(key, default) for key, default in (("regex", False), ("dry_run", True))}
    wrong = next((key for key, value in flags.items() if not isinstance(value, bool)), None)
    if wrong:
        raise Refused("bad-body", f"`{wrong}` is true or false.", parameter=wrong)
    lists = {key: _list(body, key) for key in _TEXTS}
    wish = Edit(texts["find"], texts["replace"], bool(flags["regex"]), lists["prepend"], lists["append"], lists["remove"])
    return wish, bool(flags["dry_run"])


def _text(body: Mapping[str, object], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > LONGEST or "\0" in value:
        raise Refused("bad-body", f"`{key}` is a text.", parameter=key)
    return value


def _list(body: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() and "\0" not in v for v in value):
        raise Refused("bad-body", f"`{key}` is a list of texts.", parameter=key)
    return tuple(v.strip() for v in value)


async def _picture(request: web.Request) -> tuple[str, int, str]:
    """Dataset, id and relative path of the picture that the address names. Raises Refused."""
    slug, item = await dataset(request), number(request)
    rel = await request.app[STORE].read(captions.rel_of, slug, item)
    if rel is None:
        raise Refused("not-found", f"There is no picture {item} in `{slug}`.")
    return slug, item, rel


async def _row(request: web.Request, slug: str, item: int, name: str) -> CaptionRow:
    rows = await request.app[STORE].read(captions.of_item, slug, item)
    found = next((r for r in rows if r.set == name), None)
    if found is None:
        raise Refused("not-found", f"Picture {item} has no text in set `{name}`.")
    return found


async def _written(request: web.Request, slug: str, item: int, name: str, text: str | None) -> None:
    if why := await request.app[TEXTS].write(slug, item, name, text):
        raise Refused("not-now", f"{why[0].upper()}{why[1:]}.")


def view(r: CaptionRow) -> views.View:
    """One text; `at` is epoch seconds."""
    return {
        "item": r.item,
        "rel": r.rel,
        "set": r.set,
        "active": r.active,
        "text": r.text,
        "source": r.source,
        "captioner": r.captioner or None,
        "at": r.at,
    }


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/datasets/{slug}/sets/{name}/captions", listing),
        web.post("/api/v1/datasets/{slug}/sets/{name}/edit", edit),
        web.get("/api/v1/datasets/{slug}/items/{id}/captions", of_item),
        web.get("/api/v1/datasets/{slug}/items/{id}/captions/{name}", one),
        web.put("/api/v1/datasets/{slug}/items/{id}/captions/{name}", put),
        web.delete("/api/v1/datasets/{slug}/items/{id}/captions/{name}", delete),
    ]
