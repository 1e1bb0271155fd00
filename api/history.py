"""What happened, newest first."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from aiohttp import web

from ..store import files, history
from ..store.rows import FileRow, HistoryRow
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


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/v1/history", listing)]
