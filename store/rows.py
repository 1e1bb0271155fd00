"""What the store hands out: one frozen dataclass a table, as the API, the CLI and the daemon read it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..rules.terms import Move, Stamp
from .codec import DbPath, path_of


@dataclass(frozen=True, slots=True)
class WatchRow:
    """One watch as the daemon last saw it."""

    name: str
    path: Path
    mode: str
    paused: bool
    state: str
    detail: str
    scanned: float | None
    files: int


@dataclass(frozen=True, slots=True)
class FileRow:
    """One path that lies or lay under a watch. `end` says where it went, `end_at` where its bytes are."""

    id: int
    watch: str
    path: Path
    stamp: Stamp
    lead: int | None
    present: bool
    state: str
    kind: str
    condition: str
    reason: str | None
    type: str | None
    base: str | None
    confidence: float | None
    facts: str | None
    pipeline: str | None
    rule: str | None
    why: str
    sha256: str | None
    xxh3: str | None
    end: str | None
    end_at: Path | None
    note: str
    tags: tuple[str, ...]
    first_seen: float
    last_seen: float
    placed_by: int | None = None  # the line of history of our own action that put it there


FILE_COLUMNS = """id, watch, folder, name, size, mtime_ns, ino, dev, lead, present, state, kind, condition, reason, type, base,
 confidence, facts, pipeline, rule, why, sha256, xxh3, end_kind, end_at, note, tags, first_seen, last_seen,
 placed_by"""


def file_row(v: Any) -> FileRow:
    """A row of FILE_COLUMNS."""
    columns = (
        v[0], v[1], path_of(v[2]) / path_of(v[3]), Stamp(*v[4:8]), v[8], bool(v[9]), *v[10:24], _maybe_path(v[24]), v[25],
        split(v[26]), v[27], v[28], v[29],
    )  # fmt: skip
    return FileRow(*columns)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model by content. `wanted` is None, '*' or target names."""

    id: int
    sha256: str
    xxh3: str
    size: int
    name: str
    blob: Path
    in_hub: bool
    folder: bool
    type: str
    base: str
    variant: str | None
    subfamily: str | None
    precision: str | None
    lora_format: str | None
    confidence: float
    condition: str
    reason: str | None
    facts: str
    wanted: str | None
    tags: tuple[str, ...]
    added: float


MODEL_COLUMNS = """id, sha256, xxh3, size, name, blob, in_hub, folder, type, base, variant, subfamily, precision, lora_format,
 confidence, condition, reason, facts, wanted, tags, added"""


def model_row(v: Any) -> ModelRow:
    """A row of MODEL_COLUMNS."""
    columns = (*v[0:5], path_of(v[5]), bool(v[6]), bool(v[7]), *v[8:19], split(v[19]), v[20])
    return ModelRow(*columns)


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One link that a target should have, and what stands at its place."""

    at: Path
    target: str
    type: str
    points_to: Path
    sha256: str
    state: str
    ours: bool
    method: str
    made: float | None
    note: str = ""  # why it is as it is, where that is worth a word
    scope: Path | None = None  # the folder of the target in which names must differ
    identity: str | None = None  # the folded name that it claims there
    stamp: Stamp | None = None  # of a copy, as we left it


LINK_COLUMNS = (
    """at, target, type, points_to, sha256, state, ours, method, made, note, scope, identity, size, mtime_ns, ino, dev"""
)


def link_row(v: Any) -> LinkRow:
    """A row of LINK_COLUMNS."""
    stamp = None if v[12] is None else Stamp(*v[12:16])
    return LinkRow(
        path_of(v[0]), v[1], v[2], path_of(v[3]), v[4], v[5], bool(v[6]), v[7], v[8], v[9], _maybe_path(v[10]), v[11], stamp
    )


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One dataset with its counts."""

    id: int
    slug: str
    name: str
    path: Path
    created: float
    pictures: int
    captioned: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One picture of a dataset with its caption of the active set. `verified`: when it was last seen to lie there as it is recorded."""

    id: int
    dataset: str
    rel: str
    sha256: str
    stamp: Stamp
    format: str
    width: int
    height: int
    orientation: int
    dhash: str | None
    flags: tuple[str, ...]
    origin: str
    added: float
    caption: str | None
    source: str | None
    captioner: str | None
    verified: float


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One line of what happened; `id` is also the event id of the feed."""

    id: int
    at: float
    event: str
    path: Path | None
    verb: str | None
    status: str | None
    rule: str | None
    note: str
    file_id: int | None
    job_id: int | None
    sha256: str | None
    dataset: str | None
    undone: int | None = None  # the line that undid it
    undoable: bool = False  # it was kept how to take it back


HISTORY_COLUMNS = "id, at, event, path, verb, status, rule, note, file_id, job_id, sha256, dataset, undone, did IS NOT NULL"


def history_row(v: Any) -> HistoryRow:
    """A row of HISTORY_COLUMNS."""
    columns = (v[0], v[1], v[2], _maybe_path(v[3]), *v[4:13], bool(v[13]))
    return HistoryRow(*columns)


@dataclass(frozen=True, slots=True)
class Switched:
    """A target that a person switched. `configured` is what the configuration said then; `was` is the switch before, None without one."""

    target: str
    enabled: bool
    configured: bool
    was: tuple[bool, bool] | None = None  # (enabled, configured)


@dataclass(frozen=True, slots=True)
class Deed:
    """What one action changed in the store, as it was before: what undo must know besides the moves."""

    models: tuple[tuple[str, Path | None], ...] = ()  # contents that came into the hub, and where each was tracked before
    origins: tuple[tuple[str, Path], ...] = ()  # (SHA-256, dropped path): names that contents gained
    wanted: tuple[tuple[str, str | None, str | None], ...] = ()  # SHA-256, who wanted it before, and after
    items: tuple[tuple[str, str], ...] = ()  # (dataset, rel) of pictures that came
    tags: tuple[str, ...] = ()  # those that were new
    adopted: tuple[Path, ...] = ()  # places
    switched: Switched | None = None  # a target that was switched


@dataclass(frozen=True, slots=True)
class DeedRow:
    """A line of history as undo reads it. `moves` take it back; `deed` None: nothing was kept for an undo."""

    id: int
    at: float
    path: Path | None
    verb: str
    file_id: int | None
    sha256: str | None
    note: str
    moves: tuple[Move, ...]
    deed: Deed | None
    undone: int | None


@dataclass(frozen=True, slots=True)
class AsideRow:
    """One thing in the trash or the quarantine."""

    id: int
    place: str
    path: Path
    original: Path
    reason: str
    at: float
    until: float
    state: str


@dataclass(frozen=True, slots=True)
class JournalRow:
    """An open intent: its Prepared as JSON, and the job step it belongs to."""

    id: int
    verb: str
    file_id: int | None
    job_id: int | None
    step: int | None
    prepared: str


def split(text: str) -> tuple[str, ...]:
    """A comma separated column as a tuple."""
    return tuple(text.split(",")) if text else ()


def stamp_of(columns: tuple[int, int, int, int]) -> Stamp:
    """The four stamp columns as a Stamp."""
    return Stamp(*columns)


def _maybe_path(value: DbPath | None) -> Path | None:
    return None if value is None else path_of(value)


def scalar(c: sqlite3.Connection, sql: str, *args: object) -> object:
    """The first column of the first row, or None."""
    row = c.execute(sql, args).fetchone()
    return row[0] if row else None
