"""`dropdock hash`: the hashes of one read, checksum files beside, and what is told when they do not match."""

import hashlib
import json
import sys
import zlib

from click.testing import CliRunner
from dropdock.daemon.cli import cli
from dropdock.handlers import hashes


def call(*args):
    return CliRunner().invoke(cli, ["hash", *map(str, args)], prog_name="dropdock")


def made(tmp_path, name="x.bin", data=b"some bytes"):
    path = tmp_path / name
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def test_alone_it_prints_what_sha256sum_prints(tmp_path):
    """One line a file: digest, two blanks, path."""
    path, digest = made(tmp_path)
    other, second = made(tmp_path, "y.bin", b"")
    result = call(path, other)
    assert (result.exit_code, result.stdout) == (0, f"{digest}  {path}\n{second}  {other}\n")


def test_several_hashes_and_json(tmp_path):
    """Those that are named, in the order of the definitions when it is all; none where a file has none."""
    path, digest = made(tmp_path)
    result = call("--crc32", "--autov2", path)
    assert f"crc32   {zlib.crc32(b'some bytes'):08x}" in result.stdout and f"autov2  {digest[:10]}" in result.stdout
    assert digest not in result.stdout
    found = json.loads(call("--all", "--json", path).stdout)
    assert found["sha256"] == digest and found["autov1"] is None and found["autov3"] is None and found["matches"] is None
    assert set(found) == {"path", "matches", *hashes.KINDS}


def test_write_leaves_a_checksum_file_and_checks_it_later(tmp_path):
    """Written once; a file that changed since does not match it, is told, and the checksum file stays."""
    path, digest = made(tmp_path)
    assert call("--write", path).exit_code == 0
    beside = tmp_path / "x.bin.sha256"
    assert beside.read_text() == f"{digest}  x.bin\n"
    assert json.loads(call("--json", path).stdout)["matches"] is True
    path.write_bytes(b"other bytes")
    result = call("--write", path)
    assert result.exit_code == 1
    assert "does not match x.bin.sha256" in result.stderr and "left as it is" in result.stderr
    assert beside.read_text() == f"{digest}  x.bin\n"


def test_what_cannot_be_read_is_told_and_the_rest_hashed(tmp_path):
    """A missing file and a folder are lines on stderr, code 1."""
    path, digest = made(tmp_path)
    result = call(tmp_path / "gone", tmp_path, path)
    assert result.exit_code == 1 and digest in result.stdout
    assert "No such file" in result.stderr and "directory" in result.stderr


def test_without_the_extra_blake3_is_refused_with_a_line(tmp_path, monkeypatch):
    """Asked for by name it is a mistake in the call; with --all the others are printed, and that it is missing is said."""
    monkeypatch.setitem(sys.modules, "blake3", None)
    path, digest = made(tmp_path)
    result = call("--blake3", path)
    assert (result.exit_code, result.stdout) == (2, "") and "dropdock[blake3]" in result.stderr
    result = call("--all", path)
    assert result.exit_code == 0 and digest in result.stdout and "dropdock[blake3]" in result.stderr
