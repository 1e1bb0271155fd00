"""The safetensors reader refuses what the format forbids, and survives anything."""

import json
import struct
from pathlib import Path

import pytest
from dropdock.rules.header import Damaged, Header
from dropdock.rules.readers import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import safetensors_header, write_safetensors

TENSORS = {"a.weight": ("F16", (4, 8)), "b": ("BF16", ()), "c": ("F8_E4M3", (0, 3))}


def parse(entries: dict[str, object], data: int) -> Header | Damaged:
    raw = json.dumps(entries).encode()
    return safetensors.parse_header(raw, 8 + len(raw) + data)


def entry(begin: int, end: int, dtype: str = "U8", shape: list[int] | None = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def reason(found: Header | Damaged) -> str | None:
    return found.reason if isinstance(found, Damaged) else "ok"


def test_header_is_read(tmp_path: Path) -> None:
    """Names, dtypes, shapes and metadata come out as they were written, scalars and empty tensors included."""
    found = safetensors.read_header(write_safetensors(tmp_path / "x", TENSORS, {"k": "v"}))
    assert isinstance(found, Header)
    assert (dict(found.tensors), dict(found.metadata)) == (TENSORS, {"k": "v"})


@pytest.mark.parametrize(
    ("entries", "data", "expected"),
    [
        ({"a": entry(0, 4)}, 4, "ok"),
        ({"a": entry(0, 4), "b": entry(4, 4)}, 4, "ok"),
        ({"b": entry(4, 8), "a": entry(0, 4)}, 8, "ok"),
        ({"a": entry(0, 4)}, 3, "truncated-data"),
        ({"a": entry(0, 4)}, 5, "trailing-data"),
        ({"a": entry(0, 4), "b": entry(2, 6)}, 6, "overlap"),
        ({"a": entry(0, 4), "b": entry(6, 8)}, 8, "hole"),
        ({"a": entry(0, 4, "F32", [2])}, 4, "span-mismatch"),
        ({"a": entry(0, 4, "F32", [2**62, 2**62])}, 4, "span-mismatch"),
        ({"a": entry(4, 0, "U8", [0])}, 4, "span-mismatch"),
        ({"a": entry(0, 4, "NEW_DTYPE", [1])}, 4, "ok"),
        ({"a": entry(0, 4, "U8", [-4])}, 4, "bad-header"),
        ({"a": entry(0, 4, "U8", [4.0])}, 4, "bad-header"),  # type: ignore[list-item]
        ({"a": entry(0, 4, "U8", [True, 4])}, 4, "bad-header"),
        ({"a": {"dtype": "U8", "shape": [4]}}, 4, "bad-header"),
        ({"a": [1]}, 4, "bad-header"),
        ({"__metadata__": {"k": 1}}, 0, "bad-metadata"),
        ({"__metadata__": [1]}, 0, "bad-metadata"),
        ({}, 0, "ok"),
    ],
)
def test_spans_and_values(entries: dict[str, object], data: int, expected: str) -> None:
    """A header whose tensors do not fill the file exactly, or whose values are of a wrong kind, is damage with its own slug."""
    assert reason(parse(entries, data)) == expected


def test_duplicate_names_are_damage() -> None:
    """A name that stands twice is refused, although JSON parsers keep the last one silently; escapes do not hide it."""
    one = json.dumps(entry(0, 4)).encode()
    for raw in (b'{"a":' + one + b',"a":' + one + b"}", b'{"a":' + one + b',"\\u0061":' + one + b"}"):
        assert reason(safetensors.parse_header(raw, 8 + len(raw) + 4)) == "duplicate-keys"


def test_text_that_looks_like_an_entry_is_no_duplicate() -> None:
    """Metadata or a tensor called data_offsets is not taken for a second entry."""
    found = parse({"__metadata__": {"data_offsets": "x", "k": '"data_offsets"'}, "data_offsets": entry(0, 1)}, 1)
    assert isinstance(found, Header)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "truncated-header"),
        (b"\x05\0\0", "truncated-header"),
        (struct.pack("<Q", 100) + b"{}", "truncated-header"),
        (struct.pack("<Q", 2**62) + b"{}", "header-length"),
        (struct.pack("<Q", 0) + b"{}", "header-length"),
        (struct.pack("<Q", 2) + b"[]", "bad-header"),
        (struct.pack("<Q", 3) + b"{x}", "bad-header"),
        (struct.pack("<Q", 4) + b"{}  ", "ok"),
    ],
)
def test_lengths(tmp_path: Path, raw: bytes, expected: str) -> None:
    """The length field is checked against the file and the format before anything is allocated."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    assert reason(safetensors.read_header(path)) == expected


def test_own_cap_is_below_the_formats(tmp_path: Path) -> None:
    """A header longer than 32 MB is not read, although the format allows 100 MB."""
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", safetensors.MAX_HEADER + 8) + b"{")
        file.truncate(safetensors.MAX_HEADER + 100)
    assert reason(safetensors.read_header(path)) == "header-too-large"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 10**6))
def test_no_bytes_raise(raw: bytes, size: int) -> None:
    """Whatever stands where a header should be, the answer is a value."""
    assert isinstance(safetensors.parse_header(raw, size), Header | Damaged)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**4), st.binary(min_size=1, max_size=6))
def test_mutated_headers_never_raise(at: int, patch: bytes) -> None:
    """A good header with some bytes overwritten is read or refused, never an exception."""
    head, data = safetensors_header(TENSORS, {"k": "v"})
    raw = bytearray(head[8:])
    raw[at % len(raw) : at % len(raw) + len(patch)] = patch
    assert isinstance(safetensors.parse_header(bytes(raw), 8 + len(raw) + data), Header | Damaged)
