"""The hashes by which sites call a model: as their definitions say, of one read; and a checksum file that never replaces another."""

import hashlib
import sys
import zlib

import pytest
from dropdock.handlers import hashes
from dropdock.handlers.hashes import Written, read_hashes, write_checksum
from dropdock.handlers.hashing import Cancelled
from model_files import write_safetensors


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, 5, 0x100000, 0x100001, 0x10FFFF, 0x110000, 0x110001, 3 * 2**20 + 7])
def test_every_definition(tmp_path, size):
    """Each hash is that of its part, at every border of the parts and of the read."""
    data = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
    path = tmp_path / "x.ckpt"
    path.write_bytes(data)
    found = read_hashes(path)
    part = data[0x100000:0x110000]
    assert found.sha256 == sha(data) and found.autov2 == sha(data)[:10]
    assert found.autov1 == (sha(part)[:8] if part else None)
    assert found.crc32 == f"{zlib.crc32(data):08x}" and found.autov3 is None


def test_the_known_answers(tmp_path):
    """The published vectors of `abc`."""
    (tmp_path / "abc").write_bytes(b"abc")
    found = read_hashes(tmp_path / "abc")
    assert found.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found.crc32 == "352441c2"
    if hashes.has_blake3():
        assert found.blake3 == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


def test_autov3_is_of_the_tensors_alone(tmp_path):
    """Two files of one content under other metadata have one AutoV3, that of the bytes behind the header."""
    tensors = {"a": ("F32", (4000,))}
    one = write_safetensors(tmp_path / "one.safetensors", tensors)
    two = write_safetensors(tmp_path / "two.safetensors", tensors, {"title": "x" * 3_000_000})
    first, second = read_hashes(one), read_hashes(two)
    assert first.autov3 == second.autov3 == sha(bytes(16000))[:12]
    assert first.sha256 != second.sha256


def test_only_what_is_asked_for(tmp_path):
    """SHA-256 is always there, the others when they are wanted."""
    path = write_safetensors(tmp_path / "x.safetensors", {"a": ("F32", (4,))})
    found = read_hashes(path, ("crc32",))
    assert found.crc32 and (found.autov1, found.autov2, found.autov3, found.blake3) == (None, None, None, None)


def test_without_the_extra_blake3_is_none(tmp_path, monkeypatch):
    """The others come all the same."""
    monkeypatch.setitem(sys.modules, "blake3", None)
    (tmp_path / "x").write_bytes(b"x")
    assert not hashes.has_blake3()
    assert read_hashes(tmp_path / "x").blake3 is None and read_hashes(tmp_path / "x").crc32 == f"{zlib.crc32(b'x'):08x}"


def test_a_long_read_can_be_stopped(tmp_path, monkeypatch):
    """`tick` gets the bytes so far and may end it."""
    monkeypatch.setattr(hashes, "TICK", 1)
    (tmp_path / "x").write_bytes(b"x" * (3 << 20))

    def tick(done: int) -> None:
        if done >= 2 << 20:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        read_hashes(tmp_path / "x", tick=tick)


def test_a_checksum_file_is_written_once(tmp_path):
    """As coreutils writes it; asked again it is there already."""
    path = tmp_path / "x.bin"
    path.write_bytes(b"x")
    assert write_checksum(path, sha(b"x")) is Written.WRITTEN
    assert (tmp_path / "x.bin.sha256").read_text() == f"{sha(b'x')}  x.bin\n"
    assert write_checksum(path, sha(b"x")) is Written.SAME
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin", "x.bin.sha256"]


@pytest.mark.parametrize("there", ["00" * 32 + "  x.bin\n", "a note of mine", ""])
def test_another_one_is_never_replaced(tmp_path, there):
    """Another digest, or anything that is no claim: it stays to the byte, and that is told. A link is not followed."""
    (tmp_path / "x.bin").write_bytes(b"x")
    (tmp_path / "x.bin.sha256").write_text(there)
    assert write_checksum(tmp_path / "x.bin", sha(b"x")) is Written.DIFFERS
    assert (tmp_path / "x.bin.sha256").read_text() == there
    (tmp_path / "y.bin.sha256").symlink_to(tmp_path / "nowhere")
    assert write_checksum(tmp_path / "y.bin", sha(b"x")) is Written.DIFFERS
    assert not (tmp_path / "nowhere").exists()


def test_somebody_was_faster(tmp_path, monkeypatch):
    """A checksum file that appears while ours is made is not replaced, and nothing of ours is left."""
    (tmp_path / "x.bin").write_bytes(b"x")

    def rename(source, target):
        target.write_text("theirs")
        raise FileExistsError(17, "exists")

    monkeypatch.setattr(hashes.disk, "rename_new", rename)
    assert write_checksum(tmp_path / "x.bin", sha(b"x")) is Written.DIFFERS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin", "x.bin.sha256"]


def test_a_claim_that_does_not_hold_is_said(tmp_path):
    """Another digest is a sentence with both; the right one, none, or one about another file is nothing to say."""
    path = tmp_path / "x.bin"
    beside = tmp_path / "x.bin.sha256"
    assert hashes.contradiction(path, [beside], sha(b"x")) == ""
    beside.write_text(f"{sha(b'y')}  x.bin\n")
    told = hashes.contradiction(path, [beside], sha(b"x"))
    assert "x.bin.sha256 says " + sha(b"y")[:12] in told and sha(b"x")[:12] in told
    beside.write_text(f"{sha(b'x')}  x.bin\n")
    assert hashes.contradiction(path, [beside], sha(b"x")) == ""
