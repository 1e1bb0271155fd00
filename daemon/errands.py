"""Errands: actions that wait for somebody else, as jobs of their own lanes, and what is done with a file whose action fails.

What must hold: a picture has one caption job for a captioner and set, an action one webhook job; what a webhook tells holds no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import aiohttp

from .. import __version__
from ..handlers.webhook import send, shown
from ..rules.terms import Action, Item, Job, Lane
from ..store import datasets
from ..store.jobs import NewJob
from ..store.rows import FileRow

NOW_PRIORITY = 10  # a picture dropped now overtakes a bulk job
TRIES = 3  # attempts of a job whose actions do not say how often to try
WEBHOOK_TRIES = 5


# ---------------------------------------------------------------- captions


def caption_job(action: Action, item: Item, priority: int) -> NewJob:
    """The job that captions one picture of a dataset."""
    return caption_of(action, item.dataset, item.rel, priority)


def caption_of(action: Action, slug: str, rel: str, priority: int) -> NewJob:
    """The same for a picture by its dataset and path."""
    captioner, which = action.text("with", "basic"), action.text("set", datasets.DEFAULT_SET)
    payload = {"dataset": slug, "rel": rel, "captioner": captioner, "set": which, "only": action.text("only", "missing")}
    key = f"caption:{slug}:{which}:{captioner}:{rel}"
    return NewJob(key, Lane.CAPTION, f"caption {slug}/{rel} with {captioner}", payload, priority)


# ---------------------------------------------------------------- webhooks


def webhook_job(action: Action, job: Job, step: int) -> NewJob:
    """The job of the net lane that tells of what another job works on."""
    about = {name: job.payload[name] for name in ("file", "path") if name in job.payload}
    data = {"verb": action.verb, "params": dict(action.params)}
    title = f"webhook: {shown(action.text('url'))}"
    retry = tries(action)
    most = WEBHOOK_TRIES if retry is None else retry
    return NewJob(f"webhook:{job.id}:{step}", Lane.NET, title, {**about, "actions": [data], "step": 0}, max_attempts=most)


async def tell(action: Action, rows: Sequence[FileRow], now: float) -> str:
    """Send what is known of a unit; what was answered. Raises Failure."""
    timeout = action.params.get("timeout")
    seconds = float(timeout) if isinstance(timeout, (int, float)) else 10.0
    async with aiohttp.ClientSession(headers={"User-Agent": f"dropdock/{__version__}"}) as session:
        return await send(session, action.text("url"), body_of(rows, now), seconds)


def body_of(rows: Sequence[FileRow], now: float) -> dict[str, object]:
    """What is told of a unit: what it is, which rule fired, where it is now. Times are seconds since the epoch."""
    lead = rows[0]
    return {
        "event": "file",
        "at": now,
        "file": {
            "id": lead.id,
            "path": _text(lead.path),
            "name": lead.path.name.encode("utf-8", "backslashreplace").decode(),
            "watch": lead.watch,
            "size": lead.stamp.size,
            "kind": lead.kind,
            "type": lead.type,
            "base": lead.base,
            "confidence": lead.confidence,
            "condition": lead.condition,
            "reason": lead.reason,
            "sha256": lead.sha256,
            "rule": lead.rule,
            "why": lead.why,
            "tags": list(lead.tags),
            "end": lead.end,
            "end_at": None if lead.end_at is None else _text(lead.end_at),
            "companions": [_text(row.path) for row in rows[1:]],
        },
    }


def _text(path: object) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()


# ---------------------------------------------------------------- when an action fails


def tries(action: Action) -> int | None:
    """How many attempts an action has by its `on_error`; None when it does not say."""
    retry = action.params.get("on_error.retry")
    return 1 + int(retry) if isinstance(retry, (int, float)) else None


def most_tries(actions: Iterable[Action]) -> int:
    """How many attempts a job of these actions needs."""
    return max((n for action in actions if (n := tries(action)) is not None), default=TRIES)


def last_word(action: Action, job: Job) -> str | None:
    """What is to become of the file now that an action failed: hold, quarantine, or None while the queue should try again."""
    then = action.text("on_error.then") or None
    limit = tries(action)
    if job.attempts < (job.max_attempts if limit is None else limit):
        return None
    return then or ("hold" if limit is not None and limit < job.max_attempts else None)
