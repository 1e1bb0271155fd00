"""Models told again what they are, and their hashes: what a person may order about contents that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from aiohttp import web

from ..rules.terms import Hashes
from . import views
from .models import named_models, one_model
from .problems import Refused
from .queries import Query, json_object

MOST = 100  # models that one request may name, and those of one page of a dry run


@dataclass(frozen=True, slots=True)
class Told:
    """What a model is said to be, as far as a person asks."""

    type: str
    base: str
    variant: str | None
    subfamily: str | None
    confidence: float
    condition: str


@dataclass(frozen=True, slots=True)
class Change:
    """A model that is told otherwise from now on (or would be)."""

    sha256: str
    name: str
    before: Told
    after: Told

    def text(self) -> str:
        """In one line: `type unknown -> lora, base unknown -> sdxl`."""
        axes = ("type", "base", "variant", "subfamily", "condition", "confidence")
        both = ((axis, getattr(self.before, axis), getattr(self.after, axis)) for axis in axes)
        shown = (f"{axis} {_shown(old)} -> {_shown(new)}" for axis, old, new in both if old != new)
        return ", ".join(shown) or "the same, by other evidence"


def _shown(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value or "none")


@dataclass(frozen=True, slots=True)
class Preview:
    """One page of a dry run over all models: `next` is where the next one goes on, None at the end."""

    changes: Sequence[Change]
    looked: int
    next: int | None


class Reclassify(Protocol):
    """What the face may ask of reclassifying."""

    async def look(self, sha256s: Sequence[str], dry: bool = False) -> Sequence[Change]:
        """Ask the present rules about these contents; what changes. `dry`: nothing is written."""
        ...

    async def preview(self, after: int, limit: int) -> Preview:
        """What would change among the models behind an id."""
        ...

    async def queue(self, everything: bool) -> int | None:
        """Queue the job that asks about all models; its id, None when it is queued already."""
        ...


class AskHashes(Protocol):
    """What the face may ask of hashes."""

    async def known(self, sha256: str) -> tuple[Hashes, bool]:
        """The hashes that are known of a content, and whether these are all that can be had."""
        ...

    async def want(self, sha256: str) -> int | None:
        """Queue the job that reads its file for them; its id, None when it is queued already."""
        ...


RECLASSIFY: web.AppKey[Reclassify] = web.AppKey("reclassify")
HASHES: web.AppKey[AskHashes] = web.AppKey("hashes")


async def reclassify(request: web.Request) -> web.Response:
    """Ask the present rules again about the models that are named, or about all. All of them is a job, unless it is a dry run."""
    Query(request)
    body = await json_object(request)
    named, everything, dry = body.get("models"), body.get("all", False), body.get("dry_run", False)
    if not isinstance(everything, bool) or not isinstance(dry, bool) or (named is None) is not everything:
        detail = "Give `models`, a list of SHA-256, first digits or exact names, or `all`: true; `dry_run` is true or false."
        raise Refused("bad-body", detail, parameter="models")
    orders = request.app[RECLASSIFY]
    if not everything:
        changes = await orders.look(await named_models(request, named, MOST), dry)
        return views.answer({"changes": [_view(c) for c in changes], "dry_run": dry})
    if not dry:
        return views.answer({"job": await orders.queue(everything=True)}, 202)
    after = body.get("after", 0)
    if not isinstance(after, int) or isinstance(after, bool) or after < 0:
        raise Refused("bad-body", "`after` is the `next` of the page before.", parameter="after")
    page = await orders.preview(min(after, 2**62), MOST)
    return views.answer({"changes": [_view(c) for c in page.changes], "dry_run": True, "looked": page.looked, "next": page.next})


def _view(change: Change) -> views.View:
    return {
        "sha256": change.sha256,
        "name": change.name,
        "before": asdict(change.before),
        "after": asdict(change.after),
        "text": change.text(),
    }


# ---------------------------------------------------------------- hashes


async def hashes(request: web.Request) -> web.Response:
    """The hashes by which sites and tools call a model; those that nobody asked for yet are null."""
    Query(request)
    found, whole = await request.app[HASHES].known((await one_model(request)).sha256)
    return views.answer({**asdict(found), "complete": whole})


async def ask_hashes(request: web.Request) -> web.Response:
    """Have a model's file read for its hashes: a job, unless they are known."""
    Query(request)
    row = await one_model(request)
    if row.folder:
        raise Refused("not-now", "It is a folder: sites call only single files by their hashes.")
    found, whole = await request.app[HASHES].known(row.sha256)
    job = None if whole else await request.app[HASHES].want(row.sha256)
    return views.answer({**asdict(found), "complete": whole, "job": job}, 200 if whole else 202)


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.post("/api/v1/models/reclassify", reclassify),
        web.get("/api/v1/models/{sha256}/hashes", hashes),
        web.post("/api/v1/models/{sha256}/hashes", ask_hashes),
    ]
