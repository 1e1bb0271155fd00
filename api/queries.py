"""What a request says, as typed values: query parameters, ids of an address, JSON bodies.

What must hold: a value that cannot be used is refused with its name and what was expected; an unknown parameter is refused too, so that
a typing mistake never looks like "no filter"; integers fit SQLite.
"""

from __future__ import annotations

from collections.abc import Collection

import orjson
from aiohttp import web

from .problems import Refused

BIGGEST = 2**63 - 1  # of an SQLite integer
PAGE, MOST = 100, 1000  # rows of a page: when nothing is said, and at most


class Query:
    """The query parameters of one request, each asked for once by name."""

    def __init__(self, request: web.Request, *known: str) -> None:
        """Raises Refused when a parameter is not among `known`, or is given twice."""
        self._given: dict[str, str] = {}
        for name, value in request.query.items():
            if name not in known:
                raise Refused("bad-parameter", f"`{name}` is not known here, only {_listed(known) or 'nothing'}.", parameter=name)
            if name in self._given:
                raise Refused("bad-parameter", f"`{name}` is given twice.", parameter=name)
            self._given[name] = value

    def text(self, name: str) -> str | None:
        """A text as it was given; None when it is absent or empty."""
        return self._given.get(name) or None

    def choice(self, name: str, among: Collection[str]) -> str | None:
        """One of a set of words, or None."""
        value = self.text(name)
        if value is not None and value not in among:
            raise Refused("bad-parameter", f"`{name}` is one of {_listed(among)}.", parameter=name)
        return value

    def integer(self, name: str, least: int = 0, most: int = BIGGEST) -> int | None:
        """A whole number within bounds, or None."""
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= most):
            raise Refused("bad-parameter", f"`{name}` is a whole number from {least} to {most}.", parameter=name)
        return int(value)

    def limit(self) -> int:
        """How many rows a page shall have."""
        return self.integer("limit", 1, MOST) or PAGE


def number(request: web.Request, name: str = "id") -> int:
    """The id in the address; one that no row can have is not found."""
    value = request.match_info[name]
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= BIGGEST):
        raise Refused("not-found", f"There is no {name} like this one: it is a whole number.")
    return int(value)


async def json_object(request: web.Request) -> dict[str, object]:
    """The JSON object of a body. Raises Refused for another content type, or a body that is none."""
    if request.content_type != "application/json":
        raise Refused("unsupported-media-type", "Send the body as application/json.")
    try:
        body: object = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Refused("bad-body", f"The body is no JSON: line {error.lineno}, column {error.colno}.") from error
    if not isinstance(body, dict):
        raise Refused("bad-body", "The body is one JSON object.")
    return body


def _listed(words: Collection[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
