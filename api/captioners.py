"""The captioners: who is configured, whether each could work now, which models are offered to it, and having its model fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from . import views
from .problems import Refused
from .queries import Query


@dataclass(frozen=True, slots=True)
class CaptionerRow:
    """A captioner of the configuration. `note`: why it could not work now, '' when it could; `models`: how many are offered to it."""

    name: str
    engine: str
    model: str
    device: str
    note: str = ""
    models: int = 0
    state: str = ""  # what it does now, where a daemon has it in hand


@dataclass(frozen=True, slots=True)
class Pull:
    """A download of a captioner's model: bytes done and in all (0: not known), and how it ended."""

    captioner: str
    model: str
    status: str = "begins"
    done: int = 0
    total: int = 0
    going: bool = True
    error: str = ""


class Captioners(Protocol):
    """What the face may ask of the captioners. An unknown name raises KeyError."""

    async def listing(self) -> Sequence[CaptionerRow]:
        """Every captioner; servers are asked, for a few seconds at most."""
        ...

    async def models(self, name: str) -> Sequence[str] | str:
        """The models that are offered, or why they cannot be told."""
        ...

    def pull(self, name: str) -> Pull | str:
        """Begin to fetch its model, or join the download that is under way; or why there is nothing to fetch."""
        ...

    async def pulled(self, name: str) -> Pull | None:
        """How far the last download is; answers when something changed, or after a moment. None when there never was one."""
        ...


CAPTIONERS: web.AppKey[Captioners] = web.AppKey("captioners")


async def listing(request: web.Request) -> web.Response:
    """Every captioner: engine, model, where it runs, and why it could not work now."""
    Query(request)
    return views.answer({"captioners": [row_view(row) for row in await request.app[CAPTIONERS].listing()]})


def row_view(r: CaptionerRow) -> views.View:
    """A captioner as JSON has it."""
    return {
        "name": r.name,
        "engine": r.engine,
        "model": r.model,
        "device": r.device,
        "available": not r.note,
        "note": r.note,
        "models": r.models,
        "state": r.state,
    }


async def models(request: web.Request) -> web.Response:
    """The models that a captioner may be given."""
    Query(request)
    name = request.match_info["name"]
    try:
        found = await request.app[CAPTIONERS].models(name)
    except KeyError as error:
        raise _unknown(name) from error
    if isinstance(found, str):
        raise Refused("not-now", f"{found}.")
    return views.answer({"name": name, "models": list(found)})


async def pull(request: web.Request) -> web.Response:
    """Begin to fetch a captioner's model; events `pull` tell how far it is."""
    Query(request)
    name = request.match_info["name"]
    try:
        begun = request.app[CAPTIONERS].pull(name)
    except KeyError as error:
        raise _unknown(name) from error
    if isinstance(begun, str):
        raise Refused("not-now", f"{begun}.")
    return views.answer(pull_view(begun), 202)


async def pulled(request: web.Request) -> web.Response:
    """How far the last download of a captioner's model is; waits a moment for news."""
    Query(request)
    name = request.match_info["name"]
    try:
        found = await request.app[CAPTIONERS].pulled(name)
    except KeyError as error:
        raise _unknown(name) from error
    if found is None:
        raise Refused("not-found", f"Nothing was fetched for `{name}`: POST begins it.")
    return views.answer(pull_view(found))


def pull_view(p: Pull) -> views.View:
    """A download as JSON has it."""
    return {
        "captioner": p.captioner,
        "model": p.model,
        "status": p.status,
        "done": p.done,
        "total": p.total,
        "going": p.going,
        "error": p.error,
    }


def _unknown(name: str) -> Refused:
    return Refused("not-found", f"There is no captioner `{name}`: GET /api/v1/captioners lists them.")


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/captioners", listing),
        web.get("/api/v1/captioners/{name}/models", models),
        web.post("/api/v1/captioners/{name}/pull", pull),
        web.get("/api/v1/captioners/{name}/pull", pulled),
    ]
