"""unpack: whole or not at all, hostile archives refused whole, broken pictures put aside alone."""

import errno
import io
import shutil
import stat
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.handlers import disk, hashing
from dropdock.handlers.placing import safe_rel
from dropdock.handlers.table import HANDLERS
from dropdock.handlers.task import Places, Task, Tools, UnpackLimits
from dropdock.rules.terms import Action, End, Facts, Holdings, Kind, Mode, Status, Watch
from pictures_made import picture, tree, zipped


@pytest.fixture
def tools(tmp_path):
    for name in ("inbox", "hub", "datasets"):
        (tmp_path / name).mkdir()
    roots = (tmp_path / "inbox", tmp_path / "hub", tmp_path / "datasets")
    return Tools(Places(tmp_path / "hub", tmp_path / "datasets", roots), UnpackLimits(total=50 << 20, files=500), floor=0)


def unpack(tools: Tools, archive: Path, holdings: Holdings | None = None, token: str = "t1"):
    watch = Watch("inbox", archive.parent, Mode.INBOX)
    facts = Facts(archive, Kind.ARCHIVE, archive.stat().st_size)
    task = Task(Action("unpack", {"dataset": archive.stem}), facts, archive, {archive: disk.stamp(archive)}, token, 1e9, watch,
                holdings=holdings)  # fmt: skip
    prepared = HANDLERS["unpack"].prepare(task, tools)
    disk.carry_out(prepared.moves)
    for folder in prepared.staging:
        disk.clear(folder)
    return prepared.outcome


def test_a_zip_becomes_a_dataset(tools, tmp_path):
    """Single top folder dropped, sub-folders kept, junk left, captions kept, duplicates once, broken pictures aside, bytes unchanged."""
    turned = picture(3, form="JPEG", exif_orientation=6)
    archive = zipped(tmp_path / "inbox/cats.zip", {
        "cats/a.png": picture(1), "cats/a.txt": b"a tabby\n", "cats/sub/b.jpg": turned, "cats/again.png": picture(1),
        "cats/half.jpg": picture(4, form="JPEG")[:900], "__MACOSX/cats/._a.png": b"x", "cats/Thumbs.db": b"x", "cats/readme.md": b"hi",
    })  # fmt: skip
    outcome = unpack(tools, archive)
    assert tree(tmp_path / "datasets") == {"cats/a.png": len(picture(1)), "cats/a.txt": 8, "cats/sub/b.jpg": len(turned)}
    assert (tmp_path / "datasets/cats/sub/b.jpg").read_bytes() == turned
    assert {i.rel: i.image.orientation for i in outcome.items} == {"a.png": 1, "sub/b.jpg": 6}
    assert [(c.rel, c.text, c.source) for c in outcome.captions] == [("a.png", "a tabby", "imported")]
    places = {a.original.name: a.place for a in outcome.aside}
    assert places == {"half.jpg": End.QUARANTINE, "cats.zip": End.TRASH}
    assert all(a.path.is_file() for a in outcome.aside)
    assert outcome.status is Status.DONE and "1 broken, in quarantine" in outcome.note
    assert "1 with its caption, 1 exact duplicate left out" in outcome.note and "1 text left in the archive" in outcome.note
    assert tree(tmp_path / "inbox") == {}


def hostile(name: str = "ok.png", **attributes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("first.png", picture(1))
        info = zipfile.ZipInfo(name)
        for key, value in attributes.items():
            setattr(info, key, value)
        z.writestr(info, picture(2))
    return out.getvalue()


def overlapping() -> bytes:
    """Two directory entries that name the same local member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("a.png", picture(1))
        z.filelist.append(z.filelist[0])
    return out.getvalue()


def encrypted() -> bytes:
    data = bytearray(hostile())
    at = data.rfind(b"PK\x01\x02")
    local = int.from_bytes(data[at + 42 : at + 46], "little")
    data[at + 8] |= 1
    data[local + 6] |= 1
    return bytes(data)


HOSTILE = {
    "traversal": (hostile("../../evil.png"), "points outside"),
    "absolute": (hostile("/etc/evil.png"), "absolute"),
    "drive": (hostile("C:\\evil.png"), "absolute"),
    "backslash": (hostile("a\\..\\..\\evil.png"), "points outside"),
    "link": (hostile("evil.png", create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16), "link or a device"),
    "device": (hostile("evil.png", create_system=3, external_attr=(stat.S_IFCHR | 0o777) << 16), "link or a device"),
    "encrypted": (encrypted(), "password"),
    "overlap": (overlapping(), "overlap"),
    "deep": (hostile("/".join(["d"] * 40) + "/a.png"), "folders deep"),
    "long": (hostile("x" * 300 + ".png"), "longer than"),
    "truncated": (hostile()[:-60], "truncated-data"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_quarantined_whole(tools, tmp_path, case):
    """Nothing of it reaches the datasets, its bytes are in the quarantine with the reason, no staging is left."""
    data, reason = HOSTILE[case]
    archive = tmp_path / "inbox/x.zip"
    archive.write_bytes(data)
    outcome = unpack(tools, archive)
    assert outcome.status is Status.FAILED and reason in outcome.note
    (kept,) = outcome.aside
    assert kept.place is End.QUARANTINE and kept.path.read_bytes() == data
    assert tree(tmp_path / "datasets") == {}
    assert not list((tmp_path / "datasets/.dropdock/staging").iterdir())
    assert not (tmp_path / "etc").exists() and not Path("/etc/evil.png").exists()


@pytest.mark.parametrize("members, limits, reason", [
    ({f"{n}.png": b"x" for n in range(9)}, UnpackLimits(files=8), "9 files"),
    ({"a.png": b"\0" * (40 << 20)}, UnpackLimits(total=10 << 20, ratio=1e9), "40 MiB"),
    ({"a.png": b"\0" * (40 << 20)}, UnpackLimits(ratio=100), "times its size"),
])  # fmt: skip
def test_an_archive_over_the_limits_is_quarantined(tmp_path, tools, members, limits, reason):
    """Count, total size and ratio are limited before anything is written."""
    archive = zipped(tmp_path / "inbox/big.zip", members)
    outcome = unpack(replace(tools, limits=limits), archive)
    assert outcome.status is Status.FAILED and reason in outcome.note
    assert tree(tmp_path / "datasets") == {}


def test_a_lying_size_is_damage(tools, tmp_path):
    """A member that holds more than its header declares is refused, whatever it declares."""
    data = bytearray(zipped(tmp_path / "x", {"a.png": picture(1)}, zipfile.ZIP_STORED).read_bytes())
    at = data.rfind(b"PK\x01\x02")
    for where in (at + 24, 22):
        data[where : where + 4] = (10).to_bytes(4, "little")
    archive = tmp_path / "inbox/lie.zip"
    archive.write_bytes(data)
    assert unpack(tools, archive).aside[0].place is End.QUARANTINE


def test_a_later_zip_adds_and_the_same_zip_again_only_says_so(tools, tmp_path):
    """New pictures join, a taken name gets a number, an equal picture is skipped; a repeated ZIP ends in the trash with a note."""
    first = unpack(tools, zipped(tmp_path / "inbox/cats.zip", {"a.png": picture(1)}))
    item = first.items[0]
    holdings = Holdings("cats", tmp_path / "datasets/cats", frozenset({"a.png"}), {item.sha256: "a.png"}, {"a.png": item.dhash})
    data = {"a.png": picture(1), "A.PNG": picture(2), "a.jpg": picture(5, form="JPEG"), "new.png": picture(7)}
    again = unpack(tools, zipped(tmp_path / "inbox/cats.zip", data), holdings, "t2")
    assert sorted(tree(tmp_path / "datasets")) == ["cats/A-2.PNG", "cats/a-3.jpg", "cats/a.png", "cats/new.png"]
    contents = {i.sha256: i.rel for i in (*first.items, *again.items)}
    holdings = Holdings("cats", tmp_path / "datasets/cats", frozenset(contents.values()), contents)
    third = unpack(tools, zipped(tmp_path / "inbox/cats.zip", data), holdings, "t3")
    assert (
        third.items == ()
        and "no new picture" in third.note
        and "4 exact duplicates left out" in third.note
        and third.ended[0].end is End.TRASH
    )


def test_near_duplicates_and_small_pictures_are_kept_and_flagged(tools, tmp_path):
    """Flags say what a trainer may not like; nothing is thrown away."""
    data = {"a.png": picture(1), "b.jpg": picture(1, form="JPEG"), "small.png": picture(9, size=(64, 64))}
    outcome = unpack(tools, zipped(tmp_path / "inbox/n.zip", data))
    assert {i.rel: i.flags for i in outcome.items} == {"a.png": (), "b.jpg": ("near-duplicate:a.png",), "small.png": ("small",)}


def test_a_tar_is_unpacked_and_a_tar_with_a_link_is_not(tools, tmp_path):
    """tar streams serve like ZIPs; links and traversal in them are refused whole."""
    for name, evil in (("good.tar.gz", False), ("bad.tar.gz", True)):
        with tarfile.open(tmp_path / "inbox" / name, "w:gz") as tar:
            info = tarfile.TarInfo("in/a.png")
            info.size = len(picture(1))
            tar.addfile(info, io.BytesIO(picture(1)))
            if evil:
                link = tarfile.TarInfo("in/b.png")
                link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(link)
    assert unpack(tools, tmp_path / "inbox/good.tar.gz").status is Status.DONE
    assert unpack(tools, tmp_path / "inbox/bad.tar.gz", token="t2").status is Status.FAILED
    assert sorted(tree(tmp_path / "datasets")) == ["good.tar/a.png"]


@pytest.mark.parametrize("name, held", [
    ("m.safetensors", True), ("film.mp4", True), ("more.zip", True), ("README", True), ("big.txt", True), ("sub/read.me.MD", False),
    ("x.json", False), ("Thumbs.db", False), ("__MACOSX/._a.png", False), ("note.txt", False), ("empty.txt", False),
])  # fmt: skip
def test_an_archive_with_more_than_pictures_is_held(tools, tmp_path, name, held):
    """Pictures are taken; an archive that holds what the dataset does not have stays at its path, held, and says what it is; with
    junk and small texts it goes to the trash."""
    data = {"big.txt": b"x" * (70 << 10), "empty.txt": b""}.get(name, b"x")
    archive = zipped(tmp_path / "inbox/cats.zip", {"a.png": picture(1), "b.png": picture(2)[:900], name: data})
    before = archive.read_bytes()
    outcome = unpack(tools, archive)
    assert "cats/a.png" in tree(tmp_path / "datasets") and outcome.status is Status.DONE
    (ended,) = outcome.ended
    places = [a.place for a in outcome.aside]
    if held:
        assert (ended.end, ended.at, places) == (End.HELD, archive, [End.QUARANTINE]) and outcome.undo == ()
        assert archive.read_bytes() == before and f"1 file that was not taken: {name}" in ended.note
    else:
        assert (ended.end, archive.exists(), places) == (End.DATASET, False, [End.QUARANTINE, End.TRASH])


def test_a_held_archive_looked_at_again_stays_held(tools, tmp_path):
    """The second time there is nothing to move, nothing goes to the trash, and the note names the first of many."""
    more = {f"{n}.mp4": b"x" for n in range(5)}
    archive = zipped(tmp_path / "inbox/cats.zip", {"a.png": picture(1), **more})
    item = unpack(tools, archive).items[0]
    holdings = Holdings("cats", tmp_path / "datasets/cats", frozenset({"a.png"}), {item.sha256: "a.png"})
    again = unpack(tools, archive, holdings, "t2")
    assert [e.end for e in again.ended] == [End.HELD] and again.aside == () and archive.exists()
    assert "5 files that were not taken: 0.mp4, 1.mp4, 2.mp4 and 2 more" in again.note and not staging_left(tmp_path)


def staging_left(root: Path) -> list[Path]:
    return list((root / "datasets/.dropdock/staging").iterdir())


@pytest.mark.parametrize(
    "names", [("x.png", "x.png/y.png"), ("x.png", "X.PNG/y.png"), ("a.png", "a.txt/b.png"), ("x", "x/y/z.png")]
)
def test_a_member_that_is_a_parent_of_another_is_placed_beside_it(tools, tmp_path, names):
    """Names that cannot both be on a disk, or would not leave room for a caption: all pictures are taken, nothing is left."""
    members = {name: picture(n) for n, name in enumerate(names)}
    archive = tmp_path / "inbox/odd.zip"
    zipped(archive, {**members, "a.txt2.txt": b"x"} if "a.png" in names else members)
    outcome = unpack(tools, archive)
    assert len(outcome.items) == 2 and not staging_left(tmp_path)
    found = {(tmp_path / "datasets/odd" / i.rel).read_bytes() for i in outcome.items}
    assert found == set(members.values())


def test_whatever_goes_wrong_nothing_is_left_in_staging(tools, tmp_path, monkeypatch):
    """An error while the dataset is put together: it travels up, the staging is gone, the archive lies where it lay."""
    archive = zipped(tmp_path / "inbox/cats.zip", {"a.png": picture(1)})

    def broken(folder: Path) -> None:
        raise FileExistsError(errno.EEXIST, "exists", str(folder))

    monkeypatch.setattr(disk, "sync_volume", broken)
    with pytest.raises(FileExistsError):
        unpack(tools, archive)
    assert archive.exists() and tree(tmp_path / "datasets") == {} and not staging_left(tmp_path)


@pytest.mark.parametrize("name, mode", [("cats.zip", ""), ("cats.tar.gz", "w:gz")])
def test_a_picture_that_is_called_a_text_is_a_picture(tools, tmp_path, name, mode):
    """Content decides: a JPEG called .txt or without a suffix joins the dataset with the right one, and keeps its caption."""
    photo, plain = picture(3, form="JPEG"), picture(4)
    members = {"pic_as.txt": photo, "pic_as.caption": b"a fox", "IMG_1": plain, "words.txt": b"no picture", "z.png": picture(5)}
    archive = tmp_path / "inbox" / name
    tarred(archive, members, mode) if mode else zipped(archive, members)
    outcome = unpack(tools, archive)
    home = tmp_path / "datasets" / archive.stem
    assert {p.name for p in home.iterdir()} == {"pic_as.jpg", "pic_as.txt", "IMG_1.png", "z.png"}
    assert (home / "pic_as.jpg").read_bytes() == photo and (home / "pic_as.txt").read_bytes() == b"a fox"
    assert (home / "IMG_1.png").read_bytes() == plain and outcome.ended[0].end is End.DATASET


def tarred(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_the_caption_of_a_duplicate_goes_to_the_picture_that_is_kept(tools, tmp_path):
    """In the archive and in the dataset: a text that came with a duplicate is not lost when the kept picture has none; where it has
    one, that one stays and the other is counted as left."""
    first = unpack(
        tools, zipped(tmp_path / "inbox/cats.zip", {"old.png": picture(1), "told.png": picture(2), "told.txt": b"mine"})
    )
    home, contents = tmp_path / "datasets/cats", {i.sha256: i.rel for i in first.items}
    holdings = Holdings("cats", home, frozenset(contents.values()), contents, captioned=frozenset({"told.png"}))
    members = {
        "a.png": picture(3), "b.png": picture(3), "b.txt": b"of a", "c.png": picture(3), "c.txt": b"too late",
        "d.png": picture(1), "d.txt": b"of old", "e.png": picture(2), "e.txt": b"not wanted",
    }  # fmt: skip
    outcome = unpack(tools, zipped(tmp_path / "inbox/cats.zip", members), holdings, "t2")
    assert {c.rel: (c.text, c.source) for c in outcome.captions} == {
        "a.png": ("of a", "imported"),
        "old.png": ("of old", "imported"),
    }
    assert {p.name: p.read_bytes() for p in home.glob("*.txt")} == {"a.txt": b"of a", "old.txt": b"of old", "told.txt": b"mine"}
    assert all(c.stamp == disk.stamp((home / c.rel).with_suffix(".txt")) for c in outcome.captions)
    assert "1 caption for a picture it had" in outcome.note and "2 texts left in the archive" in outcome.note


def test_a_text_that_somebody_wrote_beside_the_kept_picture_stays(tools, tmp_path):
    """Not on record yet, but on the disk: it is theirs; and beside a picture that was taken away nothing is written."""
    first = unpack(tools, zipped(tmp_path / "inbox/cats.zip", {"a.png": picture(1), "b.png": picture(2)}))
    home, contents = tmp_path / "datasets/cats", {i.sha256: i.rel for i in first.items}
    (home / "a.txt").write_bytes(b"theirs")
    (home / "b.png").unlink()
    holdings = Holdings("cats", home, frozenset(contents.values()), contents)
    members = {"a.png": picture(1), "a.txt": b"ours", "b.png": picture(2), "b.txt": b"ours"}
    outcome = unpack(tools, zipped(tmp_path / "inbox/cats.zip", members), holdings, "t2")
    assert outcome.captions == () and {p.name: p.read_bytes() for p in home.glob("*.txt")} == {"a.txt": b"theirs"}


@pytest.mark.parametrize("name, mode", [("cats.zip", ""), ("cats.tar.gz", "w:gz")])
def test_an_archive_that_does_not_fit_waits_for_room(tools, tmp_path, monkeypatch, name, mode):
    """Room for one picture only: NoRoom before the disk is full, whatever the packed size says; no half dataset, nothing staged."""
    members = {f"{n}.bmp": picture(n, (400, 400), "BMP") for n in range(6)}
    archive = tmp_path / "inbox" / name
    tarred(archive, members, mode) if mode else zipped(archive, members)
    full = disk.COPY_MARGIN + (1 << 20)

    def usage(folder: Path):
        used = sum(p.stat().st_size for p in (tmp_path / "datasets").rglob("*") if p.is_file())
        return shutil._ntuple_diskusage(full, used, full - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(disk.NoRoom):
        unpack(tools, archive)
    assert archive.exists() and tree(tmp_path / "datasets") == {} and not staging_left(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_turns_out_full_is_no_damage(tools, tmp_path, monkeypatch, code):
    """Writing fails although there seemed to be room: NoRoom, the archive is not quarantined, nothing is left in staging."""
    archive = zipped(tmp_path / "inbox/cats.zip", {"a.png": picture(1)})

    def full(path: Path, data: bytes) -> int:
        raise OSError(code, "full", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(disk.NoRoom):
        unpack(tools, archive)
    assert archive.exists() and not staging_left(tmp_path)


def test_an_archive_that_cannot_be_opened_is_not_called_damaged(tools, tmp_path, monkeypatch):
    """Too many open files is the machine's trouble: the archive is not put aside for it."""
    archive = zipped(tmp_path / "inbox/cats.zip", {"a.png": picture(1)})

    def refused(path: Path) -> bool:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr("dropdock.handlers.members.is_zip", refused)
    with pytest.raises(OSError, match="Too many"):
        unpack(tools, archive)
    assert archive.exists() and not staging_left(tmp_path)


def test_skipping_a_large_member_of_a_tar_can_be_stopped(tools, tmp_path):
    """A model of 30 MiB before the pictures is read through for minutes on a slow disk: every read tells, and stops when asked."""
    archive = tarred(tmp_path / "inbox/x.tar.gz", {"m.bin": bytes(30 << 20), "a.png": picture(1)})
    told: list[float] = []

    def stopping(fraction: float) -> None:
        told.append(fraction)
        if len(told) == 3:
            raise hashing.Cancelled("the daemon stops")

    with pytest.raises(hashing.Cancelled):
        unpack(replace(tools, tick=stopping, limits=UnpackLimits(ratio=1e9)), archive)
    assert archive.exists() and not staging_left(tmp_path)


@pytest.mark.parametrize("encoding, name", [("cp932", "ねこ.png"), ("cp866", "кошка.png"), ("euc_kr", "고양이.png")])
def test_names_in_old_encodings_are_repaired(tools, tmp_path, encoding, name):
    """A ZIP made by an old Windows tool shows the names its maker saw."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        info = zipfile.ZipInfo("x" * len(name.encode(encoding)))
        z.writestr(info, picture(1))
    data = out.getvalue().replace(info.filename.encode(), name.encode(encoding))
    archive = tmp_path / "inbox/old.zip"
    archive.write_bytes(data)
    unpack(tools, archive)
    assert list(tree(tmp_path / "datasets")) == [f"old/{name}"]


def test_unsafe_names_are_made_plain():
    """Control characters and leading dots never reach the disk; length is kept within bounds."""
    assert safe_rel("a\tb/.hidden.png") == "a_b/_hidden.png"
    assert len(safe_rel("ä" * 300 + ".png").encode()) <= 250
