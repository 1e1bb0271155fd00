"""The safetensors header as all tools write it, taken apart without building a JSON tree: half of what reading one costs.

What must hold: what is accepted here is exactly what the slow way (safetensors.py) accepts, with the same answer; whatever is spelled
otherwise, or wrong, is None, and the slow way says what it is. Every character of the text is looked at: a gap is no match.
"""

from __future__ import annotations

import functools
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
_INTEGER = b"(?:0|[1-9][0-9]*)"
_BEFORE = b'":{"dtype":"'  # between the first name and what is said of it
_KIND = re.compile(rb'"dtype":"([A-Za-z0-9_]+)","shape":\[((?:%b(?:,%b)*)?)' % (_INTEGER, _INTEGER))
_SPAN = re.compile(rb',"data_offsets":\[(%b),(%b)' % (_INTEGER, _INTEGER))
_METADATA = b'{"__metadata__":'
_MOST_DIGITS = 20  # of a size: 2^63 has 19
SHORT = 120  # bytes of a kind that is worth keeping


def read(raw: bytes, room: int) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata of a header whose spans cover `room` bytes exactly; None when the slow way must look. Pure; never raises.

    It is split at single characters, which costs a fifth of what a search for words would. What is taken together to be split again
    has a line feed between its parts, which none of them may hold: so each is known to stand where it was.
    """
    at = raw.find(_BEFORE)
    first = _first(raw[:at]) if at > 0 else None
    # {]"dtype":"F16","shape":[4,8],"data_offsets":[0,64]},"the next name":{]"dtype": ...
    parts = raw[at + 2 :].replace(b"{", b"{]").split(b"]")
    if first is None or len(parts) % 3 != 1 or parts[0] != b"{" or parts.pop().rstrip(b" ") != b"}}":
        return None
    metadata, name = first
    kinds, spans = parts[1::3], parts[2::3]
    names = _names(name, parts[3::3])
    if names is None:
        return None
    known = _known(kinds)
    if known is None or not (_in_order(kinds, spans, known, room) or _cover(kinds, spans, known, room)):
        return None
    tensors = dict(zip(names, map(known.__getitem__, kinds), strict=True))
    return (tensors, metadata) if len(tensors) == len(names) and "__metadata__" not in tensors else None


def _names(first: bytes, between: list[bytes]) -> list[str] | None:
    """The names: the first one, and what stands in each `},"name":{` between two tensors."""
    try:
        pieces = b"\n".join([first + b'":{', *between]).decode().split('"')
        names, plain = pieces[0::2], "".join(pieces[0::2])
        sound = orjson.loads(f'"{plain}"') == plain  # no escapes, and nothing that JSON does not let stand in a text
    except (UnicodeDecodeError, orjson.JSONDecodeError):
        return None
    return names if sound and pieces[1::2] == [":{\n},"] * len(between) + [":{"] and len(names) == len(between) + 1 else None


def _first(piece: bytes) -> tuple[dict[str, str], bytes] | None:
    """What stands before the first tensor: the metadata, and that tensor's name."""
    if not piece.startswith(_METADATA):
        return ({}, piece[2:]) if piece.startswith(b'{"') else None
    text, comma, name = piece[len(_METADATA) :].rpartition(b'},"')
    try:
        found = orjson.loads(text + b"}") if comma else None
    except orjson.JSONDecodeError:
        return None
    # several objects, or one that is not flat, may hide in this text: the slow way counts them
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        return None
    return found, name


def _known(kinds: list[bytes]) -> dict[bytes, Tensor] | None:
    """dtype and shape of each spelling, of which a model has dozens and not thousands."""
    known = {kind: _short_kind(kind) if len(kind) < SHORT else _kind(kind) for kind in set(kinds)}
    found = {kind: tensor for kind, tensor in known.items() if tensor}
    return found if len(found) == len(known) else None


def _kind(kind: bytes) -> Tensor | None:
    found = _KIND.fullmatch(kind)
    sizes = found[2].split(b",") if found and found[2] else []
    if found is None or len(sizes) > MAX_DIMENSIONS or any(len(size) >= _MOST_DIGITS for size in sizes):
        return None
    dims: Shape = tuple(map(int, sizes))
    return None if any(size >= MAX_SIZE for size in dims) else (found[1].decode(), dims)


_short_kind = functools.lru_cache(maxsize=1024)(_kind)  # the same few hundred in all models


def _in_order(kinds: list[bytes], spans: list[bytes], known: dict[bytes, Tensor], room: int) -> bool:
    """Does each tensor begin where the one before it ends, and is it as long as it must be? So nearly every file is written."""
    try:
        bits = {kind: math.prod(dims) * BITS[dtype] for kind, (dtype, dims) in known.items()}
    except KeyError:
        return False  # an unknown dtype has an unknown size
    if any(size % 8 for size in bits.values()):
        return False
    lengths = {kind: size // 8 for kind, size in bits.items()}
    ends = list(accumulate(map(lengths.__getitem__, kinds)))
    if ends[-1] != room:
        return False
    # what the spans must be is written and compared as text: cheaper than reading thousands of numbers
    wanted = orjson.dumps(list(zip([0, *ends], ends, strict=False)))[1:-2]
    return b",%b" % wanted.replace(b"[", b'"data_offsets":[') == b"]".join(spans)


def _cover(kinds: list[bytes], spans: list[bytes], known: dict[bytes, Tensor], room: int) -> bool:
    """Does every tensor fill its span, and do the spans cover `room` bytes without hole or overlap, in any order?

    Of all spans, what begins and what ends must be the same numbers but for 0 and the end: then every byte lies in exactly one.
    """
    found = list(map(_SPAN.fullmatch, spans))
    texts = [span.groups() for span in found if span]
    if len(texts) < len(spans) or max(len(text) for pair in texts for text in pair) >= _MOST_DIGITS:
        return False
    starts, stops = zip(*(map(int, pair) for pair in texts), strict=True)
    if not all(_fills(*known[kind], length) for kind, length in set(zip(kinds, map(sub, stops, starts), strict=True))):
        return False
    return [*sorted(starts), room] == [0, *sorted(stops)]


def _fills(dtype: str, dims: Shape, length: int) -> bool:
    """Does a tensor fill its bytes? An unknown dtype has an unknown size: not corruption."""
    bits = BITS.get(dtype)
    return length >= 0 and (bits is None or math.prod(dims) * bits == length * 8)
