"""The apps that want files: list, switch on or off, what would be done, which model goes where, and a look at all links now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from ..rules.terms import Target
from ..store import links, models
from . import views
from .keys import STORE
from .models import one_model
from .problems import Refused
from .queries import Query

SHOWN = 1000  # steps of a plan that are written out


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """A target as it is in force: `configured` is what the configuration says of `enabled`, `told` the app's last answer."""

    target: Target
    configured: bool
    exists: bool  # its folder is there
    url: str | None = None
    told_at: float | None = None
    told_ok: bool | None = None
    told: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that would be done, or cannot be: `do` is link, copy, replace, remove, or the state of what is in the way."""

    do: str
    at: str
    to: str = ""
    note: str = ""


class Targets(Protocol):
    """What the face may ask of deployment. An unknown name of a target raises KeyError."""

    async def list_targets(self) -> Sequence[TargetStatus]:
        """Every target, in the order of the configuration."""
        ...

    async def enable(self, name: str, enabled: bool) -> None:
        """Switch a target; it stays so after a restart, until the configuration says something new."""
        ...

    async def plan(self, name: str) -> Sequence[Step]:
        """What would be done if the target were enabled, or (when it is) what is still to do. Nothing is touched."""
        ...

    async def deploy(self, sha256: str | None, targets: Sequence[str], on: bool) -> list[str]:
        """Deploy or undeploy one model, or all; no target named means all. The SHA-256 of those it changes anything for."""
        ...

    def audit(self) -> None:
        """Look at all links and blobs soon."""
        ...


TARGETS: web.AppKey[Targets] = web.AppKey("targets")


async def listing(request: web.Request) -> web.Response:
    """Every target: its app, folder, whether it is enabled, how many links are in which state, and the app's last answer."""
    Query(request)
    counts = await request.app[STORE].read(links.summary)
    found = await request.app[TARGETS].list_targets()
    return views.answer({"targets": [_view(status, counts.get(status.target.name, {})) for status in found]})


def _view(s: TargetStatus, counts: dict[str, int]) -> views.View:
    t = s.target
    told = None if s.told_at is None else {"at": s.told_at, "ok": s.told_ok, "note": s.told}
    return {
        "name": t.name,
        "layout": t.layout,
        "path": str(t.path),
        "exists": s.exists,
        "enabled": t.enabled,
        "configured": s.configured,
        "relative": t.relative,
        "map": dict(t.map),
        "url": s.url,
        "told": told,
        "links": counts,
    }


async def enable(request: web.Request) -> web.Response:
    """Switch a target on; its links are made."""
    return await _switch(request, True)


async def disable(request: web.Request) -> web.Response:
    """Switch a target off; its links are taken away."""
    return await _switch(request, False)


async def _switch(request: web.Request, on: bool) -> web.Response:
    Query(request)
    name = request.match_info["name"]
    try:
        await request.app[TARGETS].enable(name, on)
    except KeyError as error:
        raise _unknown(name) from error
    return views.answer({"name": name, "enabled": on})


async def plan(request: web.Request) -> web.Response:
    """What would be done for a target. Nothing is touched."""
    Query(request)
    name = request.match_info["name"]
    try:
        steps = await request.app[TARGETS].plan(name)
    except KeyError as error:
        raise _unknown(name) from error
    shown = [{"do": s.do, "at": s.at, "to": s.to, "note": s.note} for s in steps[:SHOWN]]
    return views.answer({"name": name, "steps": shown, "total": len(steps)})


async def audit(request: web.Request) -> web.Response:
    """Look at every link and every blob now. Answers at once; the look goes on."""
    Query(request)
    request.app[TARGETS].audit()
    return views.answer({"audit": True}, 202)


async def deploy(request: web.Request) -> web.Response:
    """Make targets want one model, or all."""
    return await _want(request, True)


async def undeploy(request: web.Request) -> web.Response:
    """Make targets want one model, or all, no longer."""
    return await _want(request, False)


async def _want(request: web.Request, on: bool) -> web.Response:
    query = Query(request, "targets")
    names = [name for name in (query.text("targets") or "").split(",") if name]
    sha256 = None
    if "sha256" in request.match_info:
        row = await one_model(request)
        if not row.in_hub:
            raise Refused("not-now", "This model lies in a library: only what is kept in the hub can be deployed.")
        sha256 = row.sha256
    try:
        changed = await request.app[TARGETS].deploy(sha256, names, on)
    except KeyError as error:
        raise _unknown(str(error.args[0])) from error
    if sha256 is None:
        return views.answer({"changed": len(changed)}, 202)
    row_now = await request.app[STORE].read(models.get, sha256)
    wanted = row_now.wanted if row_now is not None else None
    return views.answer({"sha256": sha256, "wanted": wanted, "changed": len(changed)}, 202)


def _unknown(name: str) -> Refused:
    return Refused("not-found", f"There is no target `{name}`: GET /api/v1/targets lists them.")


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/targets", listing),
        web.post("/api/v1/targets/{name}/enable", enable),
        web.post("/api/v1/targets/{name}/disable", disable),
        web.get("/api/v1/targets/{name}/plan", plan),
        web.post("/api/v1/links/audit", audit),
        web.post("/api/v1/models/{sha256}/deploy", deploy),
        web.post("/api/v1/models/{sha256}/undeploy", undeploy),
        web.post("/api/v1/deploy", deploy),
        web.post("/api/v1/undeploy", undeploy),
    ]
