"""Why a path is where it is, or why it still waits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiohttp import web

from . import views
from .explain import LONGEST
from .problems import Refused
from .queries import Query


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is known of a path: what it is about (waiting, watch, file, rule, job, undo), and the sentence for a person."""

    about: str
    text: str


class Why(Protocol):
    """What the face may ask of a path."""

    async def why(self, path: Path) -> list[Reason]:
        """All that is known of a path, the most telling first; the disk is not asked."""
        ...


WHY: web.AppKey[Why] = web.AppKey("why")


async def why(request: web.Request) -> web.Response:
    """Why a path is where it is, or why it still waits."""
    text = Query(request, "path").text("path")
    if text is None or not text.startswith("/") or "\0" in text or len(os.fsencode(text)) > LONGEST:
        raise Refused("bad-parameter", f"`path` is an absolute path of at most {LONGEST} bytes.", parameter="path")
    path = _plain(text)
    found = await request.app[WHY].why(path)
    return views.answer({"path": str(path), "why": [{"about": r.about, "text": r.text} for r in found]})


def _plain(text: str) -> Path:
    """A path without `.` and `..`, by its text alone."""
    return Path(os.path.normpath(text))


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/v1/why", why)]
