"""What happened, newest first."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from aiohttp import web

from ..store import files, history
from ..store.rows import HistoryRow
from . import views
from .keys import STORE
from .queries import Query

Line = tuple[HistoryRow, str | None, Path | None]  # how the recorded end of its file is called, and where that is


def lines(c: sqlite3.Connection, before: int | None, limit: int, path: Path | None) -> list[Line]:
    """Lines of history, each with the end of the file it is about."""
    rows = history.latest(c, before, limit, path)
    found = files.ends(c, {r.file_id for r in rows if r.file_id is not None})
    return [(r, *found.get(r.file_id or 0, (None, None))) for r in rows]


def view(line: Line) -> views.View:
    """A line with the end of its file, as far as it is known by now."""
    row, end, at = line
    return {**views.history(row), "end": end, "end_at": str(at) if at else None}


async def listing(request: web.Request) -> web.Response:
    """What happened, newest first; `next` is the `before` of the next page. `path` asks for one path's lines."""
    query = Query(request, "limit", "before", "path")
    limit, path = query.limit(), query.text("path")
    found = await request.app[STORE].read(lines, query.integer("before"), limit, Path(path) if path else None)
    return views.answer({"history": [view(line) for line in found], "next": found[-1][0].id if len(found) == limit else None})


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/v1/history", listing)]
