"""Captioning a dataset as one thing: begin a run, see how far it is, pause, resume, cancel it or change its turn, and its pictures.

What must hold: a wish that cannot be carried out is refused before anything begins, with what was expected; what a run did to each
picture can be seen one by one, errors included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from ..rules.captions import EXISTING, KINDS, Style
from ..rules.terms import Job, JobState
from ..store import runs
from ..store.datasets import DEFAULT_SET
from ..store.runs import PICKS, NewRun, RunRow
from . import views
from .keys import STORE
from .problems import Refused
from .queries import Query, json_object, number

KEYS = ("with", "set", "only", "below", "prompt", "trigger", "style", "overwrite_edited", "pictures", "priority")
STYLE_KEYS = ("kind", "max_length", "prefix", "suffix", "exclude", "replace", "underscores", "escape", "implied", "existing")
VERBS = ("pause", "resume", "cancel")
PRIORITY = 100  # of a run at most, up or down; what is dropped has 10
LONGEST = 4000  # characters of a prompt


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run goes: pictures that have ended, pictures a second over the last while, and seconds until the end, if that is known."""

    ended: int
    per_second: float = 0.0
    eta: float | None = None


class Captions(Protocol):
    """What the face may ask of captioning."""

    async def begin(self, wish: NewRun) -> RunRow | str:
        """Begin a run, or say why it cannot be begun."""
        ...

    async def order(self, run_id: int, verb: str) -> bool:
        """Pause, resume or cancel a run; False when its state does not allow that."""
        ...

    async def prioritise(self, run_id: int, priority: int) -> bool:
        """Higher ones go first; False when the run is over."""
        ...

    def progress(self, run: RunRow) -> Progress:
        """How a run goes now."""
        ...

    def try_again(self) -> None:
        """Captioners that wait for something look at once whether it is there."""
        ...


CAPTIONS: web.AppKey[Captions] = web.AppKey("captions")


async def begin(request: web.Request) -> web.Response:
    """Have a dataset's pictures captioned: a run, which goes on whoever looks."""
    wish = wish_of(request.match_info["slug"], await json_object(request))
    found = await request.app[CAPTIONS].begin(wish)
    if isinstance(found, str):
        raise Refused("not-found", found)
    return views.answer(_view(request, found), 202)


async def listing(request: web.Request) -> web.Response:
    """Runs, newest first, a page at a time; `state=open` means running and paused ones."""
    query = Query(request, "dataset", "state", "limit", "before")
    limit = query.limit()
    rows = await request.app[STORE].read(
        runs.listing,
        dataset=query.text("dataset"),
        state=query.choice("state", ("open", *runs.STATES)),
        before=query.integer("before"),
        limit=limit,
    )
    return views.answer({"runs": [_view(request, r) for r in rows], "next": rows[-1].id if len(rows) == limit else None})


async def one(request: web.Request) -> web.Response:
    """One run with its progress."""
    Query(request)
    return views.answer(_view(request, await _row(request)))


async def items(request: web.Request) -> web.Response:
    """The pictures of a run, each with its state and error; those whose turn has not come yet are not listed."""
    query = Query(request, "state", "limit", "after")
    limit = query.limit()
    state = query.choice("state", tuple(JobState))
    run = await _row(request)
    rows = await request.app[STORE].read(runs.items, run.id, state, query.integer("after") or 0, limit)
    return views.answer({"items": [_item(r) for r in rows], "next": rows[-1].id if len(rows) == limit else None})


async def act(request: web.Request) -> web.Response:
    """Pause, resume or cancel a run, and answer with it as it is then."""
    run, verb = await _row(request), request.path.rpartition("/")[2]
    if not await request.app[CAPTIONS].order(run.id, verb):
        raise Refused("not-now", f"A run that is {run.state} cannot be told to {verb}.", state=run.state)
    return views.answer(_view(request, await _row(request)))


async def prioritise(request: web.Request) -> web.Response:
    """Change when a run's pictures have their turn: higher first."""
    run, body = await _row(request), await json_object(request)
    priority = _whole(body, "priority", -PRIORITY, PRIORITY)
    if set(body) != {"priority"} or priority is None:
        raise Refused("bad-body", f"Say `priority`, a whole number from {-PRIORITY} to {PRIORITY}.")
    if not await request.app[CAPTIONS].prioritise(run.id, priority):
        raise Refused("not-now", f"A run that is {run.state} has no turn any more.", state=run.state)
    return views.answer(_view(request, await _row(request)))


async def try_again(request: web.Request) -> web.Response:
    """Captioners that wait, for a service or for what is missing, look at once whether it is there."""
    request.app[CAPTIONS].try_again()
    return views.answer({}, 202)


# ---------------------------------------------------------------- what a body says


def wish_of(slug: str, body: Mapping[str, object]) -> NewRun:
    """The run that a body asks for. Raises Refused."""
    unknown = [key for key in body if key not in KEYS]
    if unknown:
        raise Refused("bad-body", f"`{unknown[0]}` is not known here, only {', '.join(f'`{k}`' for k in KEYS)}.")
    picks = _text(body, "only") or ("below" if body.get("below") is not None else "missing")
    if picks not in PICKS:
        raise Refused("bad-body", f"`only` is one of {', '.join(PICKS)}.")
    below = _below(body, picks)
    return NewRun(
        slug,
        _text(body, "with") or "basic",
        _text(body, "set") or DEFAULT_SET,
        picks,
        below,
        style_of(body),
        _pictures(body),
        _flag(body, "overwrite_edited") or False,
        _whole(body, "priority", -PRIORITY, PRIORITY) or 0,
    )


def style_of(body: Mapping[str, object]) -> Style:
    """How the texts shall read: `style` (a kind, or an object of what a Style says), `prompt`, `trigger`. Raises Refused."""
    given = body.get("style")
    said: dict[str, object] = {}
    if isinstance(given, str):
        said["kind"] = given
    elif isinstance(given, dict):
        said = given
    elif given is not None:
        raise Refused("bad-body", f"`style` is one of {', '.join(KINDS)}, or an object.")
    unknown = [key for key in said if key not in STYLE_KEYS]
    if unknown:
        raise Refused("bad-body", f"`style.{unknown[0]}` is not known here, only {', '.join(STYLE_KEYS)}.")
    return Style(
        _choice(said, "kind", KINDS),
        _text(body, "prompt", LONGEST),
        _text(body, "trigger"),
        _whole(said, "max_length", 0, 1 << 20) or 0,
        _texts(said, "prefix"),
        _texts(said, "suffix"),
        _texts(said, "exclude"),
        _words(said, "replace"),
        _flag(said, "underscores"),
        _flag(said, "escape"),
        _flag(said, "implied"),
        _choice(said, "existing", EXISTING),
    )


def _below(body: Mapping[str, object], picks: str) -> float | None:
    value = body.get("below")
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 < value <= 1
    if picks == "below" and not number:
        raise Refused("bad-body", "`below` is a number above 0 and up to 1: pictures whose overall quality is less.")
    if picks != "below" and value is not None:
        raise Refused("bad-body", "`below` goes with `only: below`.")
    return float(value) if isinstance(value, (int, float)) and number else None


def _pictures(body: Mapping[str, object]) -> tuple[int, ...] | None:
    value = body.get("pictures")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(v, int) and not isinstance(v, bool) and 0 < v < 2**63 for v in value):
        raise Refused("bad-body", "`pictures` is a list of ids of pictures.")
    return tuple(dict.fromkeys(value))


def _text(body: Mapping[str, object], key: str, longest: int = 255) -> str:
    value = body.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise Refused("bad-body", f"`{key}` is a text of at most {longest} characters.")
    return value.strip()


def _choice(body: Mapping[str, object], key: str, among: tuple[str, ...]) -> str:
    value = _text(body, key)
    if value and value not in among:
        raise Refused("bad-body", f"`{key}` is one of {', '.join(among)}.")
    return value


def _texts(body: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise Refused("bad-body", f"`{key}` is a list of texts.")
    return tuple(value)


def _words(body: Mapping[str, object], key: str) -> dict[str, str]:
    value = body.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise Refused("bad-body", f"`{key}` is an object of texts.")
    return dict(value)


def _flag(body: Mapping[str, object], key: str) -> bool | None:
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise Refused("bad-body", f"`{key}` is true or false.")
    return value


def _whole(body: Mapping[str, object], key: str, least: int, most: int) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refused("bad-body", f"`{key}` is a whole number from {least} to {most}.")
    return value


# ---------------------------------------------------------------- how it is shown


async def _row(request: web.Request) -> RunRow:
    run_id = number(request)
    row = await request.app[STORE].read(runs.get, run_id)
    if row is None:
        raise Refused("not-found", f"There is no run {run_id}.")
    return row


def _view(request: web.Request, r: RunRow) -> views.View:
    """A run with its progress; times are epoch seconds, `eta` seconds."""
    p = request.app[CAPTIONS].progress(r)
    w = r.wish
    return {
        "id": r.id,
        "dataset": w.dataset,
        "set": w.set,
        "with": w.captioner,
        "only": w.picks,
        "below": w.below,
        "style": runs.style_json(w.style),
        "overwrite_edited": w.overwrite,
        "priority": w.priority,
        "state": r.state,
        "phase": r.phase,
        "total": r.total,
        "done": r.done,
        "failed": r.failed,
        "cancelled": r.cancelled,
        "progress": round(p.ended / r.total, 4) if r.total else 1.0 if r.state == "done" else 0.0,
        "per_second": round(p.per_second, 3),
        "eta": p.eta,
        "created": r.created,
        "finished": r.finished,
    }


def _item(job: Job) -> views.View:
    """One picture of a run."""
    return {
        "job": job.id,
        "rel": str(job.payload["rel"]),
        "state": job.state,
        "attempts": job.attempts,
        "error": job.error,
        "finished": job.finished,
    }


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.post("/api/v1/datasets/{slug}/caption", begin),
        web.get("/api/v1/captioning", listing),
        web.post("/api/v1/captioning/retry", try_again),
        web.get("/api/v1/captioning/{id}", one),
        web.get("/api/v1/captioning/{id}/items", items),
        web.post("/api/v1/captioning/{id}/priority", prioritise),
        *(web.post(f"/api/v1/captioning/{{id}}/{verb}", act) for verb in VERBS),
    ]
