"""Archive lists: members, kinds, junk, and damage as a value."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from dropdock.rules.header import Damaged
from dropdock.rules.readers.archives import is_junk, list_archive
from dropdock.rules.readers.zipdir import decode_name
from dropdock.rules.terms import ArchiveFacts, Kind
from hypothesis import given, settings
from hypothesis import strategies as st

FILES = {"a/cat.png": b"12345", "a/cat.txt": b"a cat", "m.safetensors": b"x", "b" * 150 + "/ü.jpg": b"1", "notes.md": b""}


def make_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("a")
        for name, data in FILES.items():
            archive.writestr(name, data)
        archive.writestr("__MACOSX/a/._cat.png", b"junk")
    return path


def make_tar(path: Path, mode: str, form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        archive.addfile(link)
    return path


def names(found: ArchiveFacts | Damaged) -> dict[str, int]:
    assert isinstance(found, ArchiveFacts), found
    return {m.name: m.size for m in found.members}


def test_zip_members(tmp_path: Path) -> None:
    """Files are listed with size and kind; folders and what macOS adds are not."""
    found = list_archive(make_zip(tmp_path / "x.safetensors"))
    assert names(found) == {n: len(d) for n, d in FILES.items()}
    assert isinstance(found, ArchiveFacts)
    assert (found.format, found.total) == ("zip", sum(map(len, FILES.values())))
    assert found.contains == {Kind.IMAGE, Kind.CAPTION, Kind.MODEL, Kind.OTHER}


@pytest.mark.parametrize(("mode", "form"), [("w", "tar"), ("w:gz", "tar.gz"), ("w:bz2", "tar.bz2"), ("w:xz", "tar.xz")])
@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_tar_members(tmp_path: Path, mode: str, form: str, style: int) -> None:
    """Long and non-ASCII names come out right in both of tar's styles, in every compression; links are no files."""
    found = list_archive(make_tar(tmp_path / "x", mode, style))
    assert names(found) == {n: len(d) for n, d in FILES.items()}
    assert isinstance(found, ArchiveFacts)
    assert found.format == form


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_cut_archives_are_damage_or_shorter(tmp_path: Path, mode: str) -> None:
    """A cut archive never raises: it is damage, or a tar that ends earlier, as tar itself takes it."""
    raw = make_tar(tmp_path / "x", mode).read_bytes()
    for size in range(0, len(raw), max(1, len(raw) // 40)):
        (tmp_path / "y").write_bytes(raw[:size])
        assert isinstance(list_archive(tmp_path / "y"), ArchiveFacts | Damaged)


def test_a_zip_without_its_end_is_truncated(tmp_path: Path) -> None:
    """The directory is at the end, so every cut of a ZIP is found."""
    path = make_zip(tmp_path / "x.zip")
    os.truncate(path, path.stat().st_size - 1)
    found = list_archive(path)
    assert isinstance(found, Damaged)
    assert found.reason == "truncated-data"


def test_a_program_before_a_zip_is_no_damage(tmp_path: Path) -> None:
    """A comment at the end and foreign bytes within the offsets are understood as zip tools do."""
    path = make_zip(tmp_path / "x.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\x05\x06 and words"
    assert len(names(list_archive(path))) == len(FILES)


@pytest.mark.parametrize(
    ("name", "junk"),
    [
        ("__MACOSX/x.png", True),
        ("a/._x.png", True),
        (".DS_Store", True),
        ("a\\Thumbs.db", True),
        ("x.png", False),
        ("a/MACOSX.png", False),
    ],
)
def test_junk(name: str, junk: bool) -> None:
    """What systems leave behind is junk by its name, and nothing else is."""
    assert is_junk(name) is junk


def test_names_are_repaired() -> None:
    """UTF-8 without its flag is still UTF-8, and other bytes are read as the code page that ZIP means."""
    assert decode_name("ü.png".encode(), 0) == "ü.png"
    assert decode_name(b"\x81.png", 0) == "ü.png"


@settings(max_examples=150, deadline=None)
@given(tar=st.booleans(), at=st.integers(0, 10**5), patch=st.binary(min_size=1, max_size=9))
def test_mutated_archives_never_raise(tmp_path_factory: pytest.TempPathFactory, tar: bool, at: int, patch: bytes) -> None:
    """An archive with some bytes overwritten is listed or refused, never an exception."""
    folder = tmp_path_factory.mktemp("a")
    path = make_tar(folder / "x", "w") if tar else make_zip(folder / "x")
    raw = bytearray(path.read_bytes())
    raw[at % len(raw) : at % len(raw) + len(patch)] = patch
    path.write_bytes(raw)
    assert isinstance(list_archive(path), ArchiveFacts | Damaged)
