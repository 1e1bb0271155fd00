"""The models by content."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from aiohttp import web

from ..rules.bases import known_bases, nearest_bases
from ..rules.conditions import TYPES
from ..rules.confidence import Bands
from ..rules.terms import Hashes
from ..store import hashes, headers, links, lookups, models, standing
from ..store.headers import HeaderRow
from ..store.lookups import LookupRow
from ..store.rows import LinkRow, ModelRow
from ..store.standing import Standing
from . import views
from .keys import CONTROL, STORE
from .problems import Refused
from .queries import Query, json_object

BANDS: web.AppKey[Callable[[], Bands]] = web.AppKey("bands")  # the words for a confidence, as they are in force
OWN_WORDS = ("llm", "mmproj")  # types whose base is what the file itself calls its architecture
CANDIDATES = 10  # models that a refusal names
_BASE = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")


@dataclass(frozen=True, slots=True)
class Found:
    """The models that a digest, a prefix or a name means, and how each stands; names and links when it is one."""

    rows: list[ModelRow]
    stand: dict[str, Standing]
    names: list[str]
    links: list[LinkRow]
    lookup: LookupRow | None = None
    hashes: Hashes | None = None
    header: HeaderRow | None = None


def found(c: sqlite3.Connection, text: str) -> Found:
    """Look a model up by SHA-256, by its first six digits or more, or by exact name."""
    rows = models.find(c, text)
    stand = standing.standings(c, [r.sha256 for r in rows])
    if len(rows) != 1:
        return Found(rows, stand, [], [])
    sha256 = rows[0].sha256
    shown = links.listing(c, sha256=sha256)
    return Found(
        rows, stand, models.names(c, sha256), shown, lookups.of(c, sha256), hashes.get(c, sha256), headers.get(c, sha256)
    )


def page(
    c: sqlite3.Connection, ask: Callable[[sqlite3.Connection], list[ModelRow]]
) -> tuple[list[ModelRow], dict[str, Standing]]:
    """The models of a question, with how each stands."""
    rows = ask(c)
    return rows, standing.standings(c, [r.sha256 for r in rows])


async def listing(request: web.Request) -> web.Response:
    """Models, a page at a time, by id or by what `sort` says."""
    query = Query(request, "type", "base", "name", "unsure", "sort", "limit", "after")
    limit = query.limit()
    unsure = query.choice("unsure", ("true", "false")) == "true"
    ask = partial(
        models.listing,
        type=query.text("type"),
        base=query.text("base"),
        name=query.text("name"),
        below=bands(request).probable if unsure else None,
        sort=query.choice("sort", models.SORTS) or "added",
        after=query.integer("after") or 0,
        limit=limit,
    )
    rows, stand = await request.app[STORE].read(page, ask)
    return views.answer(
        {"models": [_view(request, r, stand[r.sha256]) for r in rows], "next": rows[-1].id if len(rows) == limit else None}
    )


def bands(request: web.Request) -> Bands:
    """The words for a confidence, as they are in force."""
    asked = request.app.get(BANDS)
    return Bands() if asked is None else asked()


def _view(request: web.Request, row: ModelRow, stands: Standing) -> views.View:
    """A model with the word for how sure it is, and how its bytes stand: `blob` is where they are, or were last."""
    word = bands(request).word(row.confidence)
    return {**views.model(row), "band": word, "state": stands.state, "blob": str(stands.at)}


async def one(request: web.Request) -> web.Response:
    """One model: what it is and on what evidence, its names, links and known hashes, and what CivitAI says of it.

    `verdict` is what the rules say without a person's word: type, base and confidence.
    """
    it = await _meant(request)
    row = it.rows[0]
    shown = [views.link(r) for r in it.links]
    more = {"facts": views.facts(row.facts), "names": it.names, "links": shown, "civitai": views.lookup(it.lookup)}
    more["hashes"] = None if it.hashes is None else asdict(it.hashes)
    more["asking"] = it.lookup is not None and it.lookup.asked is not None
    more["verdict"] = it.header.verdict or None if it.header is not None else None
    return views.answer({**_view(request, row, it.stand[row.sha256]), **more})


async def one_model(request: web.Request) -> ModelRow:
    """The model that the address names. Raises Refused when it is none, or more than one."""
    return (await _meant(request)).rows[0]


async def _meant(request: web.Request) -> Found:
    it = await request.app[STORE].read(found, request.match_info["sha256"])
    if not it.rows:
        raise Refused("not-found", "No model has this SHA-256: give all of it, at least its first six digits, or the exact name.")
    if len(it.rows) > 1:
        raise _ambiguous(request.match_info["sha256"], it.rows)
    return it


def _ambiguous(text: str, rows: Sequence[ModelRow]) -> Refused:
    """The refusal of a text that fits several models: it names them with the first digits of each, CANDIDATES at most."""
    named = [f"{r.name} {r.sha256[:12]}" for r in rows[:CANDIDATES]]
    more = [f"and {len(rows) - CANDIDATES} more"] if len(rows) > CANDIDATES else []
    said = f"{text!r} means more than one model, give the digits of one: {', '.join([*named, *more])}."
    return Refused("ambiguous", said, models=[r.sha256 for r in rows[:20]])


async def named_models(request: web.Request, named: object, most: int) -> list[str]:
    """The contents that a body names, each once, at most `most`. Raises Refused for a name that means none, or more than one."""
    if not isinstance(named, list) or not 0 < len(named) <= most or not all(isinstance(text, str) for text in named):
        raise Refused("bad-body", f"`models` is a list of 1 to {most} texts.", parameter="models")
    found: dict[str, None] = {}
    for text in named:
        rows = await request.app[STORE].read(models.find, str(text))
        if not rows:
            raise Refused("not-found", f"No model is called {text!r}, or has a SHA-256 that begins so.")
        if len(rows) > 1:
            raise _ambiguous(str(text), rows)
        found[rows[0].sha256] = None
    return list(found)


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
    if not isinstance(force := body.get("force", False), bool):
        raise Refused("bad-body", "`force` is true or false.", parameter="force")
    if base is not None and not force and (type or row.type) not in OWN_WORDS and base not in known_bases():
        await _known_base(request, base)
    await request.app[CONTROL].set_type(row.sha256, None if type is None else str(type), base)
    return views.answer(views.model(await one_model(request)))


async def _known_base(request: web.Request, base: str) -> None:
    """Raises Refused for a base that neither the tables know nor a model has, with those that it may mean."""
    if await request.app[STORE].read(models.has_base, base):
        return
    near = nearest_bases(base)
    meant = f": did you mean {' or '.join(filter(None, (', '.join(near[:-1]), near[-1])))}?" if near else "."
    said = (
        f"`{base}` is no base that is known{meant} docs/models.md lists them; `force` (--force) takes one that is too new for it."
    )
    raise Refused("bad-body", said, parameter="base", nearest=near)


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/models", listing),
        web.get("/api/v1/models/{sha256}", one),
        web.post("/api/v1/models/{sha256}/type", set_type),
    ]
