"""What would be done with what lies at a path or in a library, in its order. Nothing is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiohttp import web

from . import views
from .explain import LONGEST
from .problems import Refused
from .queries import json_object

PAGE, MOST = 200, 2000  # units that are planned: when nothing is said, and at most


@dataclass(frozen=True, slots=True)
class Plan:
    """The units in their order as the command's `--json` has them; `more`: there are others behind; `unreadable`: (path, why)."""

    units: Sequence[Mapping[str, object]]
    more: bool = False
    unreadable: Sequence[tuple[str, str]] = ()


class Plans(Protocol):
    """What the face may ask of planning."""

    async def plan(self, path: Path, most: int) -> Plan | None:
        """The first `most` units at a path; None when it is in no folder that we serve, or nothing is there."""
        ...

    def library(self, name: str) -> Path | None:
        """The folder of a watch; None when there is none of that name."""
        ...


PLANS: web.AppKey[Plans] = web.AppKey("plans")


async def plan(request: web.Request) -> web.Response:
    """What would be done. The path is resolved, and refused outside our folders, by the daemon."""
    body = await json_object(request)
    unknown = sorted(body.keys() - {"path", "library", "limit"})
    if unknown:
        raise Refused("bad-body", f"`{unknown[0]}` is not known here, only `path`, `library` and `limit`.", parameter=unknown[0])
    limit = body.get("limit", PAGE)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST:
        raise Refused("bad-body", f"`limit` is a whole number from 1 to {MOST}.", parameter="limit")
    found = await request.app[PLANS].plan(_place(request, body), limit)
    if found is None:
        raise Refused("not-found", "Nothing is there, or it is in no folder that dropdock serves.")
    unreadable = [{"path": path, "why": why} for path, why in found.unreadable]
    return views.answer({"units": found.units, "more": found.more, "unreadable": unreadable})


def _place(request: web.Request, body: Mapping[str, object]) -> Path:
    path, library = body.get("path"), body.get("library")
    if (path is None) is (library is None):
        raise Refused("bad-body", "Give `path` or `library`.", parameter="path")
    if library is not None:
        home = request.app[PLANS].library(library) if isinstance(library, str) else None
        if home is None:
            raise Refused("not-found", "There is no watch of this name: GET /api/v1/watches lists them.")
        return home
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path or len(path.encode("utf-8", "replace")) > LONGEST:
        raise Refused("bad-body", f"`path` is an absolute path of at most {LONGEST} bytes.", parameter="path")
    return Path(path)


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.post("/api/v1/plan", plan)]
