"""How rows become JSON: one function a row type, every key written out.

What must hold: a view shows only what is named here (a job's payload, say, is not), so nothing secret can slip out with a new column;
sizes are bytes, times epoch seconds; a path whose bytes are no UTF-8 is shown with escapes, so that every answer is valid JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import orjson
from aiohttp import web

from ..rules.terms import Job
from ..store.codec import printable
from ..store.lookups import LookupRow
from ..store.rows import AsideRow, DatasetRow, FileRow, HistoryRow, ItemRow, LinkRow, ModelRow, WatchRow
from .ports import CaptionerState, DaemonStatus, Event

View = dict[str, object]


def dump(value: object) -> bytes:
    """JSON of plain values. Text with lone surrogates (names that are no UTF-8), which orjson refuses, is escaped first."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_clean(value))


def _clean(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(k)): _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    return value


def answer(value: object, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=dump(value), status=status, content_type="application/json")


# ---------------------------------------------------------------- rows


def watch(r: WatchRow) -> View:
    """A watch as the daemon last saw it."""
    return {
        "name": r.name,
        "path": str(r.path),
        "mode": r.mode,
        "paused": r.paused,
        "state": r.state,
        "detail": r.detail,
        "scanned": r.scanned,
        "files": r.files,
    }


def file(r: FileRow) -> View:
    """A file: what it is, why what was done, and where it ended."""
    return {
        "id": r.id,
        "watch": r.watch,
        "path": str(r.path),
        "name": r.path.name,
        "size": r.stamp.size,
        "present": r.present,
        "state": r.state,
        "kind": r.kind,
        "condition": r.condition,
        "reason": r.reason,
        "type": r.type,
        "base": r.base,
        "confidence": r.confidence,
        "pipeline": r.pipeline,
        "rule": r.rule,
        "why": r.why,
        "sha256": r.sha256,
        "xxh3": r.xxh3,
        "end": r.end,
        "end_at": _path(r.end_at),
        "note": r.note,
        "tags": r.tags,
        "first_seen": r.first_seen,
        "last_seen": r.last_seen,
    }


def facts(text: str | None) -> object:
    """The facts as the store keeps them: what the header said, with the evidence."""
    return None if text is None else json.loads(text)


def model(r: ModelRow) -> View:
    """A model by content."""
    return {
        "id": r.id,
        "sha256": r.sha256,
        "xxh3": r.xxh3,
        "size": r.size,
        "name": r.name,
        "blob": str(r.blob),
        "in_hub": r.in_hub,
        "folder": r.folder,
        "type": r.type,
        "base": r.base,
        "variant": r.variant,
        "subfamily": r.subfamily,
        "precision": r.precision,
        "lora_format": r.lora_format,
        "confidence": r.confidence,
        "condition": r.condition,
        "reason": r.reason,
        "wanted": r.wanted,
        "tags": r.tags,
        "added": r.added,
    }


def link(r: LinkRow) -> View:
    """A link that a target should have, and what stands at its place."""
    return {
        "target": r.target,
        "type": r.type,
        "at": str(r.at),
        "points_to": str(r.points_to),
        "sha256": r.sha256,
        "state": r.state,
        "ours": r.ours,
        "method": r.method,
        "made": r.made,
        "note": r.note,
    }


def dataset(r: DatasetRow) -> View:
    """A dataset with its counts."""
    return {
        "id": r.id,
        "slug": r.slug,
        "name": r.name,
        "path": str(r.path),
        "created": r.created,
        "pictures": r.pictures,
        "captioned": r.captioned,
        "bytes": r.bytes,
    }


def item(r: ItemRow) -> View:
    """A picture of a dataset with its caption of the active set; width and height as stored, before orientation."""
    return {
        "id": r.id,
        "rel": r.rel,
        "sha256": r.sha256,
        "size": r.stamp.size,
        "format": r.format,
        "width": r.width,
        "height": r.height,
        "orientation": r.orientation,
        "flags": r.flags,
        "origin": r.origin,
        "added": r.added,
        "verified": r.verified,
        "caption": r.caption,
        "source": r.source,
        "captioner": r.captioner,
    }


def history(r: HistoryRow) -> View:
    """A line of what happened."""
    return {
        "id": r.id,
        "at": r.at,
        "event": r.event,
        "path": _path(r.path),
        "verb": r.verb,
        "status": r.status,
        "rule": r.rule,
        "note": r.note,
        "file": r.file_id,
        "job": r.job_id,
        "sha256": r.sha256,
        "dataset": r.dataset,
        "undoable": r.undoable and r.undone is None,
        "undone": r.undone,
    }


def lookup(r: LookupRow | None) -> View | None:
    """What CivitAI says of a content: None when it was never asked, `known` false when it has no such file."""
    if r is None or r.at is None:
        return None
    p = r.published
    found = None if p is None else {
        "name": p.name, "version": p.release, "type": p.type, "base": p.base, "file": p.file, "words": list(p.words), "nsfw": p.nsfw,
        "page": p.page, "model_id": p.model, "version_id": p.version,
    }  # fmt: skip
    return {"at": r.at, "known": p is not None, "note": r.note, **(found or {})}


def happening(r: HistoryRow) -> Event:
    """A line of history as the event that the feed sends: the same words on both roads."""
    return Event(r.id, r.event, history(r))


def aside(r: AsideRow) -> View:
    """A thing in the trash or the quarantine; `until` is when it may go."""
    return {
        "id": r.id,
        "place": r.place,
        "path": str(r.path),
        "original": str(r.original),
        "reason": r.reason,
        "at": r.at,
        "until": r.until,
    }


def job(r: Job) -> View:
    """A job. Of its payload only the file it is about is shown."""
    about = r.payload.get("file")
    return {
        "id": r.id,
        "key": r.key,
        "lane": r.lane,
        "state": r.state,
        "title": r.title,
        "file": about if isinstance(about, int) else None,
        "priority": r.priority,
        "attempts": r.attempts,
        "max_attempts": r.max_attempts,
        "progress": r.progress,
        "error": r.error,
        "run_at": r.run_at,
        "created": r.created,
        "finished": r.finished,
    }


def captioner(c: CaptionerState) -> View:
    """How a captioner is."""
    return {
        "name": c.name,
        "engine": c.engine,
        "device": c.device,
        "state": c.state,
        "note": c.note,
        "in_hand": c.in_hand,
        "per_second": c.per_second,
        "last_per_second": c.last_per_second,
    }


def daemon(s: DaemonStatus, now: float) -> View:
    """The process's own state."""
    return {
        "version": s.version,
        "pid": s.pid,
        "started": s.started,
        "uptime": max(0.0, now - s.started),
        "ready": s.ready,
        "waiting": s.waiting,
        "notices": s.notices,
    }


def _path(path: object) -> str | None:
    return None if path is None else str(path)
