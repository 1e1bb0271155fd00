"""Taking back: one line of history undone, and what lies in the trash and the quarantine restored or released."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiohttp import web

from ..rules.terms import End
from ..store import history
from ..store.rows import AsideRow
from . import views
from .keys import STORE
from .problems import Refused
from .queries import Query, number


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a wish to take something back: done or not, why, and the paths that lie again where they came from."""

    done: bool
    note: str
    paths: tuple[Path, ...] = ()


class Undo(Protocol):
    """What the face may ask to be taken back. None: there is nothing of that id."""

    async def undo(self, line: int) -> Answer | None:
        """Take back one line of history."""
        ...

    async def restore(self, aside_id: int, release: bool) -> Answer | None:
        """Put something kept aside back, held; with `release` the rules decide again."""
        ...


UNDO: web.AppKey[Undo] = web.AppKey("undo")


async def undo(request: web.Request) -> web.Response:
    """Take back one line of history, where that is still possible."""
    line = number(request)
    return _answer(line, await request.app[UNDO].undo(line), f"There is no line {line} in the history.")


async def restore(request: web.Request) -> web.Response:
    """Put something back from the trash or the quarantine; it is held there."""
    return await _back(request, False)


async def release(request: web.Request) -> web.Response:
    """Put something back, and let the rules decide again."""
    return await _back(request, True)


async def _back(request: web.Request, decide: bool) -> web.Response:
    aside_id = number(request)
    done = await request.app[UNDO].restore(aside_id, decide)
    return _answer(aside_id, done, f"Nothing of the number {aside_id} was ever put aside.")


def _answer(of: int, answer: Answer | None, unknown: str) -> web.Response:
    if answer is None:
        raise Refused("not-found", unknown)
    if not answer.done:
        raise Refused("not-now", answer.note[:1].upper() + answer.note[1:])
    return views.answer({"id": of, "note": answer.note, "paths": [str(p) for p in answer.paths]})


def page(c: sqlite3.Connection, place: str | None, after: int, limit: int) -> list[AsideRow]:
    """Things kept aside by id, from behind `after`."""
    rows = [r for r in history.kept_aside(c, place) if r.id > after]
    return rows[:limit]


async def aside(request: web.Request) -> web.Response:
    """What is in the trash and the quarantine, why, and until when."""
    query = Query(request, "place", "limit", "after")
    limit = query.limit()
    place = query.choice("place", (End.TRASH, End.QUARANTINE))
    rows = await request.app[STORE].read(page, place, query.integer("after") or 0, limit)
    return views.answer({"aside": [views.aside(r) for r in rows], "next": rows[-1].id if len(rows) == limit else None})


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.post("/api/v1/history/{id}/undo", undo),
        web.get("/api/v1/aside", aside),
        web.post("/api/v1/aside/{id}/restore", restore),
        web.post("/api/v1/aside/{id}/release", release),
    ]
