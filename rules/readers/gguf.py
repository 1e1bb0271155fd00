"""The GGUF header: key-values and tensor descriptions, read with a cap on every count and length.

What must hold: versions 2 and 3, either byte order; at most 64 MB are read and at most 100,000 tensors and key-values;
arrays are stepped over, not kept; a tensor that lies beyond the end of the file is damage. Shapes are turned to row-major
order, and `comfy.gguf.orig_shape.NAME` restores the shape of a tensor that was reshaped for its quantisation.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from ..header import Damaged, Header, Tensor

MAX_HEADER = 64 << 20
MAX_COUNT = 100_000
MANY = 20_000  # tensors or key-values: more than any published file has; worth a process of its own
MAX_ITEMS = 2_000_000  # of one array: the largest tokenizers have 300,000
MAX_TEXT = 4096  # characters of one kept value
FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
TYPES: dict[int, tuple[str, int, int]] = {  # ggml type: name, elements a block, bytes a block
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip


class _Short(Exception):
    """The header runs beyond the end of the file."""


class _Bad(Exception):
    """The header breaks a limit or a rule of the format: args are reason and text."""


@dataclass(slots=True)
class _Cursor:
    """A position in the file's first bytes; more are read when they are needed."""

    file: BinaryIO
    order: str = "<"
    data: bytearray = field(default_factory=bytearray)
    at: int = 0

    def _reach(self, end: int) -> None:
        """Have the file's bytes up to `end`."""
        if end > MAX_HEADER:
            raise _Bad("header-too-large", f"the header is longer than {MAX_HEADER} bytes, which is not read")
        while len(self.data) < end:
            more = self.file.read(max(1 << 18, min(end - len(self.data), MAX_HEADER)))
            if not more:
                raise _Short
            self.data += more

    def skip_texts(self, count: int) -> None:
        """Step over so many texts: a tokenizer's words and merges are nearly all of a language model's header."""
        length_at, data, at, there = struct.Struct(self.order + "Q").unpack_from, self.data, self.at, len(self.data)
        for _ in range(count):
            if at + 8 > there:
                self._reach(at + 8)
                there = len(data)
            at += 8 + length_at(data, at)[0]
        self._reach(at)
        self.at = at

    def take(self, size: int) -> bytes:
        end = self.at + size
        self._reach(end)
        piece = bytes(self.data[self.at : end])
        self.at = end
        return piece

    def number(self, code: str) -> int | float | bool:
        value: int | float | bool = struct.unpack(self.order + code, self.take(struct.calcsize("=" + code)))[0]
        return value

    def count(self) -> int:
        return int(self.number("Q"))

    def text(self) -> str:
        return self.take(self.count()).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _Info:
    """One tensor description: offset and length are bytes in the data area, length None when the type is unknown."""

    name: str
    tensor: Tensor
    offset: int
    length: int | None


def read_header(path: Path) -> Header | Damaged:
    """Read and check the header of `path`. Raises OSError only when the file cannot be opened or read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            return _read(_Cursor(file), size)
        except _Short:
            return Damaged("truncated-header", f"the file ends after {size} bytes, inside its header")
        except _Bad as error:
            return Damaged(str(error.args[0]), str(error.args[1]))


def announced_counts(head: bytes) -> tuple[int, int]:
    """The tensors and key-values that a file's first 24 bytes announce, in the byte order that makes its version small. Pure."""
    order: Literal["little", "big"] = "little" if int.from_bytes(head[4:8], "little") < 1 << 16 else "big"
    return int.from_bytes(head[8:16], order), int.from_bytes(head[16:24], order)


def _read(cursor: _Cursor, size: int) -> Header | Damaged:
    tensor_count, kv_count = _preamble(cursor)
    metadata: dict[str, str] = {}
    for _ in range(kv_count):
        name = cursor.text()
        if name in metadata:
            raise _Bad("duplicate-keys", f"the key {name!r} stands twice")
        metadata[name] = _value(cursor, int(cursor.number("I")))
    infos = [_info(cursor) for _ in range(tensor_count)]
    tensors = {i.name: i.tensor for i in infos}
    if len(tensors) != len(infos):
        raise _Bad("duplicate-keys", "two tensors have one name")
    alignment = metadata.get("general.alignment", "32")
    align = int(alignment) if alignment.isdecimal() and 0 < int(alignment) <= 1 << 20 else 32
    start = -(-cursor.at // align) * align
    bad = _check_data(infos, size - start)
    return bad or Header("gguf", size, _restore_shapes(tensors, metadata), metadata)


def _preamble(cursor: _Cursor) -> tuple[int, int]:
    if cursor.take(4) != b"GGUF":
        raise _Bad("bad-header", "the file does not start with GGUF")
    version = int(cursor.number("I"))
    if version & 0xFFFF == 0 and version:  # the low half is empty only in a big-endian file
        cursor.order = ">"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in (2, 3):
        raise _Bad("gguf-version", f"GGUF version {version} is not known")
    tensors, kvs = cursor.count(), cursor.count()
    if tensors > MAX_COUNT or kvs > MAX_COUNT:
        raise _Bad("too-many-tensors", f"the header claims {tensors} tensors and {kvs} keys; more than {MAX_COUNT} is not read")
    return tensors, kvs


def _value(cursor: _Cursor, kind: int, depth: int = 0) -> str:
    """A value as text. Arrays are stepped over and leave their items only when they are few numbers."""
    if kind == STRING:
        return cursor.text()[:MAX_TEXT]
    if kind in FIXED:
        value = cursor.number(FIXED[kind])
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind != ARRAY or depth > 3:
        raise _Bad("bad-header", f"value type {kind} is not known")
    inner, items = int(cursor.number("I")), cursor.count()
    if items > MAX_ITEMS:
        raise _Bad("header-too-large", f"an array claims {items} items; more than {MAX_ITEMS} is not read")
    if inner in FIXED:
        raw = cursor.take(items * struct.calcsize("=" + FIXED[inner]))
        return ",".join(map(str, struct.unpack(f"{cursor.order}{items}{FIXED[inner]}", raw))) if items <= 16 else f"[{items}]"
    if inner == STRING:
        cursor.skip_texts(items)
        return f"[{items}]"
    for _ in range(items):
        _value(cursor, inner, depth + 1)
    return f"[{items}]"


def _info(cursor: _Cursor) -> _Info:
    name = cursor.text()
    dims = int(cursor.number("I"))
    if dims > 8:
        raise _Bad("bad-header", f"{name!r} has {dims} dimensions")
    shape = tuple(reversed([cursor.count() for _ in range(dims)]))
    kind, offset = int(cursor.number("I")), cursor.count()
    label, block, width = TYPES.get(kind, (f"ggml-{kind}", 0, 0))
    length = -(-math.prod(shape) // block) * width if block else None
    return _Info(name, (label, shape), offset, length)


def _check_data(infos: list[_Info], room: int) -> Damaged | None:
    at = 0
    for info in sorted(infos, key=lambda i: i.offset):
        if info.offset < at:
            return Damaged("overlap", f"the data of {info.name!r} overlaps the tensor before it")
        at = info.offset + (info.length or 0)
        if at > room:
            return Damaged("truncated-data", f"{info.name!r} ends {at - room} bytes beyond the end of the file")
    return None


def _restore_shapes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> dict[str, Tensor]:
    prefix = "comfy.gguf.orig_shape."
    for key, value in metadata.items():
        name = key.removeprefix(prefix)
        numbers = value.split(",")
        if name != key and name in tensors and all(n.isdecimal() and len(n) < 20 for n in numbers):
            tensors[name] = (tensors[name][0], tuple(map(int, numbers)))
    return tensors
