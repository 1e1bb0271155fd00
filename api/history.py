"""What happened, newest first, and what is kept aside: the trash and the quarantine."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from aiohttp import web

from ..rules.terms import End
from ..store import files, history
from ..store.rows import AsideRow, FileRow, HistoryRow
from . import views
from .keys import STORE
from .queries import Query

Line = tuple[HistoryRow, FileRow | None]


def lines(c: sqlite3.Connection, before: int | None, limit: int, path: Path | None) -> list[Line]:
    """Lines of history, each with the file it is about, so that a line can say where the file ended."""
    rows = history.latest(c, before, limit, path)
    about = {r.file_id for r in rows if r.file_id is not None}
    found = {file_id: files.get(c, file_id) for file_id in about}
    return [(r, found.get(r.file_id) if r.file_id is not None else None) for r in rows]


def view(line: Line) -> views.View:
    """A line with the end of its file, as far as it is known by now."""
    row, file = line
    at = str(file.end_at) if file and file.end_at else None
    return {**views.history(row), "end": file.end if file else None, "end_at": at}


async def listing(request: web.Request) -> web.Response:
    """What happened, newest first; `next` is the `before` of the next page. `path` asks for one path's lines."""
    query = Query(request, "limit", "before", "path")
    limit, path = query.limit(), query.text("path")
    found = await request.app[STORE].read(lines, query.integer("before"), limit, Path(path) if path else None)
    return views.answer({"history": [view(line) for line in found], "next": found[-1][0].id if len(found) == limit else None})


def aside_page(c: sqlite3.Connection, place: str | None, after: int, limit: int) -> list[AsideRow]:
    """Things kept aside by id, from behind `after`."""
    rows = [r for r in history.kept_aside(c, place) if r.id > after]
    return rows[:limit]


async def aside(request: web.Request) -> web.Response:
    """What is in the trash and the quarantine, why, and until when."""
    query = Query(request, "place", "limit", "after")
    limit = query.limit()
    place = query.choice("place", (End.TRASH, End.QUARANTINE))
    rows = await request.app[STORE].read(aside_page, place, query.integer("after") or 0, limit)
    return views.answer({"aside": [views.aside(r) for r in rows], "next": rows[-1].id if len(rows) == limit else None})


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/v1/history", listing), web.get("/api/v1/aside", aside)]
