"""The files that arrived: list with filters, and one file with its companions and its history."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from aiohttp import web

from ..rules.terms import Kind
from ..store import files, history
from ..store.rows import FileRow, HistoryRow
from . import views
from .keys import STORE
from .problems import Refused
from .queries import Query, number

STATES = ("queued", "done", "left", "held", "failed", "away", "gone")
LINES = 100  # of history that one file's page shows


@dataclass(frozen=True, slots=True)
class Story:
    """One file with all that is remembered of it."""

    unit: list[FileRow]  # the lead first
    lines: list[HistoryRow]  # newest first


def story(c: sqlite3.Connection, file_id: int) -> Story | None:
    """The file of an id (a companion's id gives its whole unit too), or None."""
    row = files.get(c, file_id)
    if row is None:
        return None
    unit = files.unit(c, row.lead or row.id)
    return Story(unit or [row], history.latest(c, path=row.path, limit=LINES))


async def listing(request: web.Request) -> web.Response:
    """Files by id, a page at a time. Companions are not listed: they come with their lead."""
    query = Query(request, "state", "watch", "kind", "name", "limit", "after")
    limit = query.limit()
    rows = await request.app[STORE].read(
        files.listing,
        state=query.choice("state", STATES),
        watch=query.text("watch"),
        kind=query.choice("kind", tuple(Kind)),
        name=query.text("name"),
        after=query.integer("after") or 0,
        limit=limit,
    )
    return views.answer({"files": [views.file(r) for r in rows], "next": rows[-1].id if len(rows) == limit else None})


async def one(request: web.Request) -> web.Response:
    """One file: what it is and on what evidence, which rule fired, its companions and its history."""
    file_id = number(request)
    found = await request.app[STORE].read(story, file_id)
    if found is None:
        raise Refused("not-found", f"There is no file {file_id}.")
    row = next((r for r in found.unit if r.id == file_id), found.unit[0])
    return views.answer(
        {
            **views.file(row),
            "facts": views.facts(row.facts),
            "companions": [views.file(r) for r in found.unit if r.id != file_id],
            "history": [views.history(r) for r in found.lines],
        }
    )


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/v1/files", listing), web.get("/api/v1/files/{id}", one)]
