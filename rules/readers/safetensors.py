"""The safetensors header: an 8-byte length, JSON, and the promise that the data area is covered exactly.

What must hold: everything that the format's own library refuses is refused here too (length beyond the file, bad JSON,
overlapping or missing spans, a shape that does not fit its span, metadata that is not text, a file shorter or longer than its
data), and duplicate names, which that library lets pass. At most 8 bytes + the header are read, the header at most 32 MB.
Format: https://github.com/huggingface/safetensors, section Format.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import orjson

from ..header import MAX_TENSORS, Damaged, Header, Shape, Tensor
from . import canonical
from .canonical import BITS, MAX_DIMENSIONS, MAX_SIZE

MAX_HEADER = 32 << 20  # bytes; the format allows 100 MB, but a hostile header of that size costs seconds and a gigabyte
BIG = 4 << 20  # bytes: ten times the header of an SDXL checkpoint; a larger one is worth a process of its own
FORMAT_MAX = 100_000_000
Span = tuple[int, int, str]  # begin, end, name


def read_header(path: Path) -> Header | Damaged:
    """Read and check the header of `path`. Raises OSError only when the file cannot be opened or read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(9)
        if len(start) < 9:
            return Damaged("truncated-header", f"the file ends after {size} bytes, inside its header")
        length = int.from_bytes(start[:8], "little")
        bad = _check_length(length, size, start[8:])
        if bad:
            return bad
        raw = start[8:] + file.read(length - 1)
    if len(raw) != length:
        return Damaged("truncated-header", "the file became shorter while it was read")
    return parse_header(raw, size)


def _check_length(length: int, size: int, first: bytes) -> Damaged | None:
    if length > FORMAT_MAX or length < 2:
        return Damaged("header-length", f"the header claims to be {length} bytes long, which no safetensors file is")
    if first != b"{":
        return Damaged("bad-header", "the header does not start with '{'")
    if length > size - 8:
        return Damaged("truncated-header", f"the header is {length} bytes long but the file has only {size}")
    if length > MAX_HEADER:
        return Damaged("header-too-large", f"the header is {length} bytes long; more than {MAX_HEADER} is not read")
    return None


def parse_header(raw: bytes, size: int) -> Header | Damaged:
    """Check the JSON `raw` against a file of `size` bytes (8 + len(raw) + data). Pure; never raises."""
    room = size - 8 - len(raw)
    usual = canonical.read(raw, room)
    if usual is not None and len(usual[0]) <= MAX_TENSORS:
        return Header("safetensors", size, *usual)
    return parse_any(raw, size)


def parse_any(raw: bytes, size: int) -> Header | Damaged:
    """As parse_header, for a header in any spelling that JSON allows, and for one that is wrong. Pure; never raises."""
    room = size - 8 - len(raw)
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Damaged("bad-header", f"the header is not valid JSON: {error}")
    if not isinstance(parsed, dict):
        return Damaged("bad-header", "the header is not a JSON object")
    if len(parsed) > MAX_TENSORS:
        return Damaged("too-many-tensors", f"the header lists {len(parsed)} tensors; more than {MAX_TENSORS} is not read")
    metadata = parsed.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        return Damaged("bad-metadata", "__metadata__ must map text to text")
    # orjson keeps the last of two equal names without a word; a count of the entries finds that almost for nothing
    if raw.count(b'"data_offsets"') != len(parsed) or raw.count(b'"__metadata__"') > 1:
        twice = _duplicates(raw)
        if twice:
            return Damaged("duplicate-keys", f"the header names {twice!r} twice")
    tensors = _tensors(parsed)
    if isinstance(tensors, Damaged):
        return tensors
    entries, spans = tensors
    return check_spans(spans, room) or Header("safetensors", size, entries, metadata)


def _duplicates(raw: bytes) -> str | None:
    """The first name that one JSON object holds twice. Slow, so it is asked only when the count says that something is off."""
    found: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(items)
        if len(table) != len(items):
            seen: set[str] = set()
            found.extend(k for k, _ in items if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        return table

    try:
        json.loads(raw, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return "?"
    return found[0] if found else None


def _tensors(parsed: Mapping[str, object]) -> tuple[dict[str, Tensor], list[Span]] | Damaged:
    entries: dict[str, Tensor] = {}
    spans: list[Span] = []
    for name, entry in parsed.items():
        if not isinstance(entry, dict):
            return Damaged("bad-header", f"{name!r} is not described by an object")
        dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        if not isinstance(dtype, str) or not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
            return Damaged("bad-header", f"{name!r} has no proper dtype, shape and data_offsets")
        if len(shape) > MAX_DIMENSIONS:
            return Damaged("bad-header", f"{name!r} has {len(shape)} dimensions; more than {MAX_DIMENSIONS} are not read")
        begin, end = offsets
        dims: Shape = tuple(shape)
        bits = BITS.get(dtype)  # an unknown dtype has an unknown size: not corruption
        if begin > end or (bits is not None and math.prod(dims) * bits != (end - begin) * 8):
            return Damaged("span-mismatch", f"{name!r} is {dtype} {list(dims)}, which does not fill its {end - begin} bytes")
        entries[name] = (dtype, dims)
        spans.append((begin, end, name))
    return entries, spans


def announced(head: bytes) -> bool:
    """Do these first bytes (at least 9) begin a safetensors file: a length that one can have, then a brace? Pure.

    Asked before any other magic, because the length's bytes may spell another format's (0x80 begins a pickle).
    """
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= FORMAT_MAX


def _sizes(values: object) -> TypeGuard[list[int]]:
    if type(values) is not list:
        return False
    for value in values:  # noqa: SIM110 (a generator per tensor would double the cost of reading a header)
        if type(value) is not int or not 0 <= value < MAX_SIZE:
            return False
    return True


def check_spans(spans: list[Span], room: int) -> Damaged | None:
    """None when `spans` cover `room` bytes exactly, without hole or overlap. Pure."""
    spans.sort()
    at = 0
    for begin, end, name in spans:
        if begin < at:
            return Damaged("overlap", f"the data of {name!r} overlaps the tensor before it")
        if begin > at:
            return Damaged("hole", f"{begin - at} bytes before {name!r} belong to no tensor")
        at = end
    if at > room:
        return Damaged("truncated-data", f"{at - room} of {at} bytes of tensor data are missing")
    if at < room:
        return Damaged("trailing-data", f"{room - at} bytes follow the last tensor")
    return None
