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


@dataclass(frozen=True, slots=True)
class Going:
    """An undo that goes on: `done` of `total` moves are made; total 0 while it is still looked at."""

    done: int = 0
    total: int = 0


class Undo(Protocol):
    """What the face may ask to be taken back. None: there is nothing of that id."""

    async def undo(self, line: int) -> Answer | Going | None:
        """Take back one line of history; Going when it takes longer than a question may, and goes on."""
        ...

    async def undoing(self, line: int) -> Answer | Going | None:
        """How an undo that was asked for goes, or went; waits a moment for its end."""
        ...

    async def restore(self, aside_id: int, release: bool) -> Answer | None:
        """Put something kept aside back, held; with `release` the rules decide again."""
        ...


UNDO: web.AppKey[Undo] = web.AppKey("undo")


async def undo(request: web.Request) -> web.Response:
    """Take back one line of history, where that is still possible."""
    line = number(request)
    return _going(line, await request.app[UNDO].undo(line), f"There is no line {line} in the history.")


async def undoing(request: web.Request) -> web.Response:
    """How the undo of a line goes, or went."""
    line = number(request)
    return _going(line, await request.app[UNDO].undoing(line), f"No undo of line {line} is remembered: POST asks for one.")


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


def _going(line: int, found: Answer | Going | None, unknown: str) -> web.Response:
    """202 with the progress while it goes on, then the answer."""
    if not isinstance(found, Going):
        return _answer(line, found, unknown)
    where = f"/api/v1/history/{line}/undo"
    response = views.answer({"id": line, "going": True, "done": found.done, "total": found.total}, 202)
    response.headers["Location"] = where
    return response


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
        web.get("/api/v1/history/{id}/undo", undoing),
        web.get("/api/v1/aside", aside),
        web.post("/api/v1/aside/{id}/restore", restore),
        web.post("/api/v1/aside/{id}/release", release),
    ]
