"""Archive members: judged before the first byte is written, read exactly, whatever a hostile archive says of itself."""

import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dropdock.handlers.members import DAMAGE, Refused, TarReader, ZipReader, guess_encoding, is_zip, judge_name, strip_top
from dropdock.handlers.task import UnpackLimits
from hypothesis import given, settings
from hypothesis import strategies as st

LIMITS = UnpackLimits(total=10 << 20, ratio=100, files=50, depth=4, name=100)


def made(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def all_of(reader: ZipReader | TarReader) -> dict[str, bytes]:
    try:
        return {member.name: stream.read() for member, stream in reader}
    finally:
        reader.close()


# ---------------------------------------------------------------- names


@given(st.text(max_size=60) | st.lists(st.sampled_from(["a", "..", ".", "", "b c", "\\", "C:", "ä"]), max_size=8).map("/".join))
def test_a_name_is_refused_or_lies_inside(name):
    """What comes out is relative, has no way up, no NUL, and is within depth and length."""
    try:
        rel = judge_name(name, LIMITS)
    except Refused:
        return
    parts = rel.split("/")
    assert not rel.startswith("/") and ".." not in parts and "\0" not in rel and "\\" not in rel
    assert len(parts) - 1 <= LIMITS.depth and all(len(p.encode("utf-8", "surrogateescape")) <= LIMITS.name for p in parts)


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "a\\..\\..\\b", "/a", "\\a", "C:\\a", "c:a", "a/\0", "1/2/3/4/5/a", "x" * 101]
)
def test_names_that_point_elsewhere_are_refused(name):
    """Traversal, absolute and drive names, NUL, too deep, too long."""
    with pytest.raises(Refused):
        judge_name(name, LIMITS)


def test_names_are_made_one_way():
    """Backslashes are folders, dots and double slashes are nothing."""
    assert judge_name("./a//b\\c.png", LIMITS) == "a/b/c.png"


@pytest.mark.parametrize("names, dropped", [
    (["cats/a.png", "cats/sub/b.png"], 1), (["cats/a.png", "b.png"], 0), (["a.png", "b.png"], 0), (["a/x.png", "b/y.png"], 0),
    (["cats/a.png", "__MACOSX/cats/._a.png", ".DS_Store"], 1), ([], 0),
])  # fmt: skip
def test_a_single_top_folder_is_dropped(names, dropped):
    """Junk beside it does not count."""
    assert strip_top(names) == dropped


@pytest.mark.parametrize("encoding, name", [
    ("cp932", "ねこ.png"), ("euc_kr", "고양이.png"), ("gb18030", "猫咪照片.png"), ("cp866", "кошка.png"), ("cp1251", "кошка.png"),
    ("cp437", "für.png"), ("cp437", "Straße in Besançon.png"), ("cp437", "Ärger, déjà vu.jpg"),
])  # fmt: skip
def test_old_encodings_are_guessed_from_the_letters(encoding, name):
    """The encoding in which the names make sense."""
    assert name.encode(encoding).decode(guess_encoding([name.encode(encoding)])) == name


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6))
def test_any_bytes_have_an_encoding(raws):
    """A guess is always made, and decoding with it never fails when asked to replace."""
    encoding = guess_encoding(raws)
    for raw in raws:
        raw.decode(encoding, "replace")


# ---------------------------------------------------------------- reading

MEMBERS = st.dictionaries(
    st.text("abcä", min_size=1, max_size=8).map(lambda n: f"{n}.png"), st.binary(max_size=4000), min_size=1, max_size=8
)


@settings(max_examples=40, deadline=None)
@given(MEMBERS, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
def test_a_zip_gives_back_what_went_in(members, compression):
    """Every member, its name and its bytes, in all usual packings."""
    with TemporaryDirectory() as name:
        path = made(Path(name) / "x.zip", members, compression)
        assert is_zip(path) and all_of(ZipReader(path, LIMITS)) == members


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_gives_back_what_went_in(tmp_path, mode):
    """Plain and packed, in one pass; it is no ZIP."""
    members = {"a.png": b"a" * 3000, "sub/b.png": b"b"}
    path = tarred(tmp_path / "x", members, mode)
    assert not is_zip(path) and all_of(TarReader(path, LIMITS)) == members


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, type):
    """Nothing that is not a plain file or a folder."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("evil.png")
        info.type, info.linkname = type, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(Refused, match="link or a device"):
        all_of(TarReader(tmp_path / "x.tar", LIMITS))


def test_a_link_in_a_zip_is_refused(tmp_path):
    """Unix attributes say it is a symlink."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("evil.png")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(Refused, match="link or a device"):
        ZipReader(tmp_path / "x.zip", LIMITS)


@pytest.mark.parametrize("make, reader", [(made, ZipReader), (tarred, TarReader)])
@pytest.mark.parametrize("members, why", [
    ({f"{n}.png": b"" for n in range(51)}, "51 files"), ({"a.png": random.Random(1).randbytes(11 << 20)}, "11 MiB"),
])  # fmt: skip
def test_limits_hold_for_both_containers(tmp_path, make, reader, members, why):
    """Too many files, too many bytes: refused, with the figure."""
    path = make(tmp_path / "x", members)
    with pytest.raises(Refused, match=why):
        all_of(reader(path, LIMITS))


@pytest.mark.parametrize("make, reader", [(made, ZipReader), (lambda p, m: tarred(p, m, "w:gz"), TarReader)])
def test_a_bomb_is_refused_by_its_ratio(tmp_path, make, reader):
    """Zeros that unpack to more than a hundred times."""
    path = make(tmp_path / "x", {"a.png": bytes(9 << 20)})
    with pytest.raises(Refused, match="times its size"):
        all_of(reader(path, LIMITS))


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.integers(0, 100_000), st.binary(min_size=1, max_size=6), st.booleans())
def test_a_damaged_archive_is_refused_or_damage_and_never_another_exception(packed, at, noise, cut):
    """Bytes overwritten or cut off anywhere: what is read is a subset of what went in, or it ends as Refused or as damage."""
    members = {"a.png": b"some bytes " * 30, "sub/b.png": bytes(range(256))}
    with TemporaryDirectory() as name:
        path = Path(name) / "x"
        made(path, members) if packed else tarred(path, members)
        data = bytearray(path.read_bytes())
        at %= len(data)
        if cut:
            del data[at:]
        else:
            data[at : at + len(noise)] = noise
        path.write_bytes(data)
        try:
            reader = ZipReader(path, LIMITS) if packed else TarReader(path, LIMITS)
            found = all_of(reader)
        except (Refused, *DAMAGE):
            return
        assert len(found) <= 2
        if packed:
            assert all(content in members.values() for content in found.values()), "a ZIP's checksum vouches for its bytes"
