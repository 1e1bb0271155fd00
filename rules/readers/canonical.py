"""The safetensors header as all tools write it, taken apart without building a JSON tree: half of what reading one costs.

What must hold: what is accepted here is exactly what the slow way (safetensors.py) accepts, with the same answer; whatever is spelled
otherwise, or wrong, is None, and the slow way says what it is. Every character of the text is looked at: a gap is no match.
"""

from __future__ import annotations

import math
import re
from itertools import accumulate
from operator import sub

import orjson

from ..header import Shape, Tensor

MAX_SIZE = 1 << 63
MAX_DIMENSIONS = 64  # NumPy's own bound; the product of a million sizes would take hours
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "C64": 64,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip
_INTEGER = "(?:0|[1-9][0-9]*)"
# from the end of a name to the beginning of the next: what is left between two of these is a name
_ENTRY = re.compile(rf'":\{{"dtype":"([^]]*)\],"data_offsets":\[({_INTEGER}),({_INTEGER})\]\}}(?:,"|\}} *\Z)', re.ASCII)
_KIND = re.compile(rf'([A-Za-z0-9_]+)","shape":\[((?:{_INTEGER}(?:,{_INTEGER})*)?)', re.ASCII)
_METADATA = '{"__metadata__":'
_MOST_DIGITS = 20  # of a size: 2^63 has 19


def read(raw: bytes, room: int) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata of a header whose spans cover `room` bytes exactly; None when the slow way must look. Pure; never raises."""
    try:
        pieces = _ENTRY.split(raw.decode())
    except UnicodeDecodeError:
        return None
    if len(pieces) < 5 or pieces.pop() or not (first := _first(pieces[0])):
        return None
    metadata, pieces[0] = first
    names, kinds, begins, ends = pieces[0::4], pieces[1::4], pieces[2::4], pieces[3::4]
    plain = "".join(names)
    # a quote would end the name, a backslash begins an escape, and what cannot be printed JSON may not hold
    if '"' in plain or "\\" in plain or not plain.isprintable() or "__metadata__" in plain:
        return None
    known = _known(set(kinds))
    if known is None or not (_in_order(kinds, begins, ends, known, room) or _cover(kinds, begins, ends, known, room)):
        return None
    tensors = dict(zip(names, map(known.__getitem__, kinds), strict=True))
    return (tensors, metadata) if len(tensors) == len(names) else None


def _first(piece: str) -> tuple[dict[str, str], str] | None:
    """What stands before the first tensor: the metadata, and that tensor's name."""
    if not piece.startswith(_METADATA):
        return ({}, piece[2:]) if piece.startswith('{"') else None
    text, comma, name = piece[len(_METADATA) :].rpartition('},"')
    try:
        found = orjson.loads(text + "}") if comma else None
    except orjson.JSONDecodeError:
        return None
    # several objects, or one that is not flat, may hide in this text: the slow way counts them
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        return None
    return found, name


def _known(kinds: set[str]) -> dict[str, Tensor] | None:
    """dtype and shape of each spelling, of which a model has dozens and not thousands."""
    known: dict[str, Tensor] = {}
    for kind in kinds:
        found = _KIND.fullmatch(kind)
        if found is None:
            return None
        sizes = found[2].split(",") if found[2] else []
        if len(sizes) > MAX_DIMENSIONS or any(len(size) >= _MOST_DIGITS for size in sizes):
            return None
        dims: Shape = tuple(map(int, sizes))
        if any(size >= MAX_SIZE for size in dims):
            return None
        known[kind] = (found[1], dims)
    return known


def _in_order(kinds: list[str], begins: list[str], ends: list[str], known: dict[str, Tensor], room: int) -> bool:
    """Does each tensor begin where the one before it ends, and is it as long as it must be? So nearly every file is written."""
    try:
        bits = {kind: math.prod(dims) * BITS[dtype] for kind, (dtype, dims) in known.items()}
    except KeyError:
        return False  # an unknown dtype has an unknown size
    if any(size % 8 for size in bits.values()):
        return False
    lengths = {kind: size // 8 for kind, size in bits.items()}
    wanted = list(map(str, accumulate(map(lengths.__getitem__, kinds), initial=0)))
    return wanted[1:] == ends and wanted[:-1] == begins and wanted[-1] == str(room)


def _cover(kinds: list[str], begins: list[str], ends: list[str], known: dict[str, Tensor], room: int) -> bool:
    """Does every tensor fill its span, and do the spans cover `room` bytes without hole or overlap, in any order?

    Of all spans, what begins and what ends must be the same numbers but for 0 and the end: then every byte lies in exactly one.
    """
    if max(map(len, ends)) >= _MOST_DIGITS or max(map(len, begins)) >= _MOST_DIGITS:
        return False
    starts, stops = list(map(int, begins)), list(map(int, ends))
    if not all(_fills(*known[kind], length) for kind, length in set(zip(kinds, map(sub, stops, starts), strict=True))):
        return False
    return [*sorted(starts), room] == [0, *sorted(stops)]


def _fills(dtype: str, dims: Shape, length: int) -> bool:
    """Does a tensor fill its bytes? An unknown dtype has an unknown size: not corruption."""
    bits = BITS.get(dtype)
    return length >= 0 and (bits is None or math.prod(dims) * bits == length * 8)
