"""Validation of a dataset for training: findings with their mend, streamed, since a look into every picture takes its time.

What must hold: nothing is changed; what is asked for is checked before anything is looked at.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from ..rules.validation import ASPECT, LEAST, Limits
from ..store import sets
from . import views
from .keys import STOPPING, STORE
from .problems import Refused
from .queries import Query, json_object
from .sets import dataset

KEYS = ("set", "least", "aspect", "trigger", "decode")


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be checked. `decode`: look into every picture, too."""

    dataset: str
    set: str
    limits: Limits
    decode: bool


class Validator(Protocol):
    """Who looks."""

    def validate(self, wish: Wish) -> AsyncIterator[Mapping[str, object]]:
        """Rows as they are sent: progress, findings, the end."""
        ...


VALIDATOR: web.AppKey[Validator] = web.AppKey("validator")


async def validate(request: web.Request) -> web.StreamResponse:
    """Check a dataset; one JSON object a line: progress, then a finding each, then the end with counts."""
    Query(request)
    wish = await _wish(request, await dataset(request), await json_object(request))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    async for row in request.app[VALIDATOR].validate(wish):
        if request.app[STOPPING].is_set():
            break
        await response.write(views.dump(row) + b"\n")
    await response.write_eof()
    return response


async def _wish(request: web.Request, slug: str, body: Mapping[str, object]) -> Wish:
    unknown = [key for key in body if key not in KEYS]
    if unknown:
        raise Refused(
            "bad-body", f"`{unknown[0]}` is not known here, only {', '.join(f'`{k}`' for k in KEYS)}.", parameter=unknown[0]
        )
    name, trigger, decode = body.get("set"), body.get("trigger"), body.get("decode", True)
    found = await request.app[STORE].read(sets.listing, slug)
    row = next((r for r in found if (r.active if name is None else r.name == name)), None)
    if row is None and name is not None:
        raise Refused("not-found", f"There is no set `{name}` in `{slug}`.")
    if not isinstance(decode, bool) or not (trigger is None or isinstance(trigger, str)):
        raise Refused("bad-body", "`decode` is true or false, `trigger` a text.")
    asked = trigger if trigger is not None else row.style.trigger if row is not None else ""
    limits = Limits(int(_number(body, "least", LEAST, 0)), _number(body, "aspect", ASPECT, 1), asked.strip())
    return Wish(slug, row.name if row is not None else "", limits, decode)


def _number(body: Mapping[str, object], key: str, default: float, least: float) -> float:
    value = body.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value < least:
        raise Refused("bad-body", f"`{key}` is a number of at least {least:g}.", parameter=key)
    return float(value)


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.post("/api/v1/datasets/{slug}/validate", validate)]
