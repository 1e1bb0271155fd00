"""The GGUF reader: shapes in row-major order, caps on every count, damage as a value."""

import struct
from pathlib import Path

import pytest
from dropdock.rules.header import Damaged, Header
from dropdock.rules.readers import gguf
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import gguf_header, write_gguf

TENSORS = {"a.weight": ("F16", (4, 32)), "b": ("Q4_K", (2, 256))}
META: dict[str, object] = {"general.architecture": "flux", "n": 3, "f": 0.5, "yes": True, "list": ["a", "b"], "nums": [1, 2]}


def read(tmp_path: Path, raw: bytes, size: int) -> Header | Damaged:
    path = tmp_path / "x.gguf"
    with path.open("wb") as file:
        file.write(raw)
        file.truncate(size)
    return gguf.read_header(path)


def reason(found: Header | Damaged) -> str:
    return found.reason if isinstance(found, Damaged) else "ok"


def test_header_is_read(tmp_path: Path) -> None:
    """Tensors come out row-major with their ggml types, scalars as text, arrays only as their length or few numbers."""
    found = gguf.read_header(write_gguf(tmp_path / "x.gguf", TENSORS, META))
    assert isinstance(found, Header)
    assert dict(found.tensors) == TENSORS
    assert found.metadata == {"general.architecture": "flux", "n": "3", "f": "0.5", "yes": "true", "list": "[2]", "nums": "1,2"}


def test_reshaped_tensors_get_their_shape_back(tmp_path: Path) -> None:
    """A tensor that was flattened for its quantisation is reported in the shape that its key-value says."""
    meta: dict[str, object] = {"comfy.gguf.orig_shape.a.weight": [8, 16]}
    found = gguf.read_header(write_gguf(tmp_path / "x.gguf", TENSORS, meta))
    assert isinstance(found, Header)
    assert found.tensors["a.weight"] == ("F16", (8, 16))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"tensor_count": 2**62}, "too-many-tensors"),
        ({"kv_count": 2**62}, "too-many-tensors"),
        ({"tensor_count": 3}, "bad-header"),
        ({}, "ok"),
    ],
)
def test_counts_are_capped(tmp_path: Path, counts: dict[str, int], expected: str) -> None:
    """A header that claims absurdly many entries is refused before anything is allocated for them."""
    head, data = gguf_header(TENSORS, META, **counts)
    found = reason(read(tmp_path, head, len(head) + data))
    assert found == expected or (expected == "bad-header" and found != "ok")


def test_a_cut_file_is_damage(tmp_path: Path) -> None:
    """Every cut, in the header or in the data, is truncation, and only the whole file is good."""
    head, data = gguf_header(TENSORS, META)
    for size in range(4, len(head) + data - 32, 7):
        assert reason(read(tmp_path, head, size)) in ("truncated-header", "truncated-data")
    assert reason(read(tmp_path, head, len(head) + data)) == "ok"


def test_string_longer_than_the_file(tmp_path: Path) -> None:
    """A string that claims more bytes than any header may have is refused without reading them."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**60)
    assert reason(read(tmp_path, head, 100)) == "header-too-large"


def test_versions_and_byte_order(tmp_path: Path) -> None:
    """Version 2, 3 and big-endian files are read; others are named as such."""
    assert reason(read(tmp_path, b"GGUF" + struct.pack("<IQQ", 2, 0, 0), 32)) == "ok"
    assert reason(read(tmp_path, b"GGUF" + struct.pack(">IQQ", 3, 0, 0), 32)) == "ok"
    assert reason(read(tmp_path, b"GGUF" + struct.pack("<IQQ", 9, 0, 0), 32)) == "gguf-version"


@settings(max_examples=150, deadline=None)
@given(at=st.integers(4, 10**4), patch=st.binary(min_size=1, max_size=9))
def test_mutated_headers_never_raise(tmp_path_factory: pytest.TempPathFactory, at: int, patch: bytes) -> None:
    """A good header with some bytes overwritten is read or refused, never an exception."""
    head, data = gguf_header(TENSORS, META)
    raw = bytearray(head)
    raw[at % len(raw) : at % len(raw) + len(patch)] = patch
    found = read(tmp_path_factory.mktemp("g"), b"GGUF" + bytes(raw[4:]), len(head) + data)
    assert isinstance(found, Header | Damaged)
