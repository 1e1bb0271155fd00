"""Hashing: one read gives both digests, a folder has the digest of its sorted lines, a cancelled read stops."""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import xxhash
from dropdock.handlers import hashing
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=5000), st.integers(0, 3))
def test_both_digests_are_those_of_the_libraries(data, megabytes):
    """SHA-256 and xxh3-128 of the bytes, and their number, at every size around the buffer's."""
    whole = b"\x5a" * (megabytes << 20) + data
    with TemporaryDirectory() as name:
        path = Path(name) / "x"
        path.write_bytes(whole)
        found = hashing.digest(path)
    assert found.sha256 == hashlib.sha256(whole).hexdigest()
    assert found.xxh3 == xxhash.xxh3_128(whole).hexdigest() and found.size == len(whole)


def test_a_folder_is_the_digest_of_its_sorted_lines(tmp_path):
    """SHA-256 of `path, two spaces, SHA-256` a line, in the order of the paths, whatever order they come in; size is the sum."""
    for rel, data in (("b.safetensors", b"bb"), ("unet/config.json", b"{}"), ("a.json", b"")):
        (tmp_path / rel).parent.mkdir(exist_ok=True)
        (tmp_path / rel).write_bytes(data)
    lines = "".join(
        f"{rel}  {hashlib.sha256(data).hexdigest()}\n"
        for rel, data in (("a.json", b""), ("b.safetensors", b"bb"), ("unet/config.json", b"{}"))
    )
    for order in (["unet/config.json", "a.json", "b.safetensors"], ["b.safetensors", "unet/config.json", "a.json"]):
        found = hashing.digest_folder(tmp_path, order)
        assert found.sha256 == hashlib.sha256(lines.encode()).hexdigest() and found.size == 4
    (tmp_path / "a.json").write_bytes(b"x")
    assert hashing.digest_folder(tmp_path, order).sha256 != found.sha256


def test_progress_is_told_and_can_end_it(tmp_path, monkeypatch):
    """tick hears rising byte counts, over all files of a folder; what it raises ends the read."""
    monkeypatch.setattr(hashing, "TICK", 1 << 20)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(3 << 20))
    told: list[int] = []
    hashing.digest_folder(tmp_path, ["a", "b"], told.append)
    assert told == sorted(told) and told[-1] == 6 << 20 and len(told) == 6

    def cancel(_: int) -> None:
        raise hashing.Cancelled("enough")

    with pytest.raises(hashing.Cancelled):
        hashing.digest(tmp_path / "a", cancel)
