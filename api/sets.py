"""Caption sets of a dataset: how their texts shall read, who writes them, how many there are, and which one lies beside the pictures.

What must hold: a style that cannot be followed is refused with what was expected; the active set cannot be deleted, because its texts lie
beside the pictures; activating answers at once, and the files follow as a job.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from ..rules.captions import Style
from ..store import datasets, runs, sets
from ..store.sets import SetRow
from . import views
from .captioning import style_of
from .keys import STORE
from .problems import Refused
from .queries import Query, json_object

KEYS = ("name", "style", "captioner")
_NAME = re.compile(r"[^\x00-\x1f/\\]{1,80}")


class SetOrders(Protocol):
    """Who has the files follow."""

    async def activate(self, slug: str, name: str) -> int | None:
        """Have a set lie beside the pictures; the job that writes the files, None while another change of this dataset goes on."""
        ...


SETS: web.AppKey[SetOrders] = web.AppKey("sets")


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a body says. None: nothing."""

    name: str | None
    captioner: str | None
    style: Style | None


async def listing(request: web.Request) -> web.Response:
    """The sets of a dataset, the active one first."""
    Query(request)
    slug = await dataset(request)
    rows = await request.app[STORE].read(sets.listing, slug)
    return views.answer({"dataset": slug, "sets": [view(r) for r in rows]})


async def one(request: web.Request) -> web.Response:
    """One set."""
    Query(request)
    return views.answer(view(await the_set(request)))


async def create(request: web.Request) -> web.Response:
    """Make a set."""
    slug = await dataset(request)
    wish = _wish(await json_object(request), Style())
    if wish.name is None:
        raise Refused("bad-body", "Say `name`: what the set is called.", parameter="name")
    store = request.app[STORE]
    if not await store.write(sets.create, slug, wish.name, wish.captioner or "", wish.style or Style(), store.now()):
        raise Refused("not-now", f"There is a set `{wish.name}` already.")
    return views.answer(view(await _found(request, slug, wish.name)), 201)


async def change(request: web.Request) -> web.Response:
    """Change a set's name, captioner or style; of the style what is named, null takes a part of it back. No text is changed."""
    row = await the_set(request)
    wish = _wish(await json_object(request), row.style)
    store = request.app[STORE]
    captioner = row.captioner if wish.captioner is None else wish.captioner
    await store.write(sets.describe, row.id, captioner, wish.style or row.style)
    if wish.name is not None and wish.name != row.name and not await store.write(sets.rename, row.id, wish.name):
        raise Refused("not-now", f"There is a set `{wish.name}` already.")
    return views.answer(view(await _found(request, row.dataset, wish.name or row.name)))


async def delete(request: web.Request) -> web.Response:
    """Forget a set with its texts."""
    row = await the_set(request)
    if not await request.app[STORE].write(sets.delete, row.id):
        raise Refused("not-now", "The active set lies beside the pictures: activate another one first.")
    return views.answer({"deleted": row.name, "captions": row.captions})


async def activate(request: web.Request) -> web.Response:
    """Have a set lie beside the pictures; the answer names the job that writes the files (null: it is the active one already)."""
    row = await the_set(request)
    if row.active:
        return views.answer({**view(row), "job": None})
    job = await request.app[SETS].activate(row.dataset, row.name)
    if job is None:
        raise Refused("not-now", "The texts of this dataset are being changed: try again when that is done.")
    return views.answer({**view(await _found(request, row.dataset, row.name)), "job": job}, 202)


# ---------------------------------------------------------------- what is meant


async def dataset(request: web.Request) -> str:
    """The slug of the dataset that the address names. Raises Refused."""
    slug = request.match_info["slug"]
    found = await request.app[STORE].read(datasets.listing, slug)
    if not found:
        raise Refused("not-found", f"There is no dataset `{slug}`.")
    return found[0].slug


async def the_set(request: web.Request) -> SetRow:
    """The set that the address names. Raises Refused."""
    return await _found(request, await dataset(request), request.match_info["name"])


async def _found(request: web.Request, slug: str, name: str) -> SetRow:
    def one(c: sqlite3.Connection) -> SetRow | None:
        return sets.one(c, slug, name)

    row = await request.app[STORE].read(one)
    if row is None:
        raise Refused("not-found", f"There is no set `{name}` in `{slug}`.")
    return row


def _wish(body: Mapping[str, object], style: Style) -> _Wish:
    """What a body asks for; its style is laid over `style`. Raises Refused."""
    unknown = [key for key in body if key not in KEYS]
    if unknown:
        raise Refused(
            "bad-body", f"`{unknown[0]}` is not known here, only {', '.join(f'`{k}`' for k in KEYS)}.", parameter=unknown[0]
        )
    name, captioner, given = body.get("name"), body.get("captioner"), body.get("style")
    if name is not None and not (
        isinstance(name, str) and _NAME.fullmatch(name) and name == name.strip() and name not in (".", "..")
    ):
        raise Refused("bad-body", "`name` is a text of 1 to 80 characters without slashes.", parameter="name")
    if captioner is not None and not (isinstance(captioner, str) and len(captioner) <= 255):
        raise Refused("bad-body", "`captioner` is the name of a captioner, or empty for whoever is asked.", parameter="captioner")
    if given is not None and not isinstance(given, (dict, str)):
        raise Refused("bad-body", "`style` is a kind, or an object.", parameter="style")
    said = {"kind": given} if isinstance(given, str) else given
    return _Wish(name, captioner, None if said is None else _laid(said, style))


def _laid(said: Mapping[str, object], style: Style) -> Style:
    merged = {**runs.style_json(style), **said}
    merged = {key: value for key, value in merged.items() if value is not None}
    words: dict[str, object] = {key: merged.pop(key) for key in ("prompt", "trigger") if key in merged}
    return style_of({**words, "style": merged})


def view(r: SetRow) -> views.View:
    """A set with its counts; times are epoch seconds, `quality` 0..1 over the pictures with a text that were measured."""
    return {
        "name": r.name,
        "dataset": r.dataset,
        "active": r.active,
        "captioner": r.captioner,
        "style": runs.style_json(r.style),
        "created": r.created,
        "changed": r.at,
        "pictures": r.pictures,
        "captions": r.captions,
        "generated": r.generated,
        "imported": r.imported,
        "manual": r.manual,
        "empty": r.empty,
        "quality": None if r.quality is None else round(r.quality, 4),
    }


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/datasets/{slug}/sets", listing),
        web.post("/api/v1/datasets/{slug}/sets", create),
        web.get("/api/v1/datasets/{slug}/sets/{name}", one),
        web.patch("/api/v1/datasets/{slug}/sets/{name}", change),
        web.delete("/api/v1/datasets/{slug}/sets/{name}", delete),
        web.post("/api/v1/datasets/{slug}/sets/{name}/activate", activate),
    ]
