"""unpack: whole or not at all, hostile archives refused whole, broken pictures put aside alone."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from dropdock.handlers import disk
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
    assert outcome.status is Status.DONE and "1 exact duplicates" in outcome.note and "1 broken" in outcome.note
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
    from dataclasses import replace

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
    assert third.items == () and "nothing new" in third.note and third.ended[0].end is End.TRASH


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
