"""Checksum files: what coreutils writes is read, what is written here coreutils reads, and nothing else is taken for a claim."""

import os
import shutil
import subprocess

import pytest
from dropdock.rules.readers.checksums import claim_of, claimed, line
from hypothesis import given
from hypothesis import strategies as st

A, B = "ab" * 32, "cd" * 32


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"{A}  x.bin\n", A),
        (f"{A} *x.bin\r\n", A),
        (f"{A.upper()}  ./models/x.bin", A),
        (f"{A}  models\\x.bin", A),
        (f"{B}  other.bin\n{A}  x.bin\n", A),
        (f"SHA256 (x.bin) = {A}\n", A),
        (f"{A}\n", A),
        (f"  {A}\n", None),
        (f"{B}  other.bin\n", None),
        (f"{A}\n{B}\n", None),
        (f"{A}  ax.bin\n", None),
        (A[:-1], None),
        ("", None),
    ],
)
def test_forms(text, wanted):
    """Text and binary lines, BSD's, a bare digest; a line about another file says nothing of this one."""
    assert claimed(text, "x.bin") == wanted


NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=20)


@given(NAMES, st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read(name, raw):
    """Any name, line ends and backslashes among them."""
    assert claimed(line(name, raw.hex()), name) == raw.hex()


@given(st.text(max_size=200), NAMES)
def test_any_text_is_a_claim_or_none(text, name):
    """Never an exception, and a claim is 64 digits."""
    found = claimed(text, name)
    assert found is None or len(found) == 64


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no coreutils")
@pytest.mark.parametrize("name", ["x.bin", "a b\\c\n.bin", "ö.bin"])
def test_coreutils_agree(tmp_path, name):
    """Its line is ours to the byte, and it checks ours."""
    (tmp_path / name).write_bytes(b"x")
    told = subprocess.run(["sha256sum", name], cwd=tmp_path, capture_output=True, check=True).stdout
    digest = claimed(os.fsdecode(told), name)
    assert digest and os.fsencode(line(name, digest)) == told


def test_only_a_regular_file_of_sane_size_claims(tmp_path):
    """A link, a folder and a file of 70 kB claim nothing; the file beside them does."""
    model = tmp_path / "x.bin"
    (tmp_path / "big.sha256").write_text(f"{A}\n" + "\n" * 70_000)
    (tmp_path / "dir.sha256").mkdir()
    (tmp_path / "real.sha256").write_text(f"{A}\n")
    (tmp_path / "link.sha256").symlink_to(tmp_path / "real.sha256")
    names = ["big.sha256", "dir.sha256", "gone.sha256", "link.sha256", "notes.txt"]
    assert claim_of(model, [tmp_path / name for name in names]) is None
    found = claim_of(model, [tmp_path / "real.sha256", *(tmp_path / name for name in names)])
    assert (found.path.name, found.sha256) == ("real.sha256", A)
