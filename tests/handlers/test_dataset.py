"""dataset: one picture with its caption into a dataset, byte for byte, and never twice."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.handlers import disk
from dropdock.rules.terms import End, Holdings, Status
from hands import Desk, other_volume, snapshot
from pictures_made import picture, tree


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def take(desk: Desk, lead: Path, *companions: Path, holdings: Holdings | None = None):
    return desk.do(desk.task("dataset", lead, *companions, params={"name": "cats"}, holdings=holdings))


def test_a_picture_and_its_caption_move_together(desk):
    """inbox/cats/sub/a.png + a.txt -> datasets/cats/sub/a.png + a.txt, unchanged; the caption counts as imported."""
    data = picture(1)
    lead, text = desk.put("cats/sub/a.png", data), desk.put("cats/sub/a.txt", b"a tabby\n")
    outcome = take(desk, lead, text)
    assert tree(desk.datasets) == {"cats/sub/a.png": len(data), "cats/sub/a.txt": 8}
    assert (desk.datasets / "cats/sub/a.png").read_bytes() == data
    (item,), (caption,) = outcome.items, outcome.captions
    assert (item.dataset, item.rel, item.image.width, item.stamp) == (
        "cats", "sub/a.png", 320, disk.stamp(desk.datasets / "cats/sub/a.png")
    )  # fmt: skip
    assert (caption.rel, caption.text, caption.source) == ("sub/a.png", "a tabby", "imported")
    assert caption.stamp == disk.stamp(desk.datasets / "cats/sub/a.txt")
    assert {e.path.name: (e.end, e.at) for e in outcome.ended} == {
        "a.png": (End.DATASET, desk.datasets / "cats/sub/a.png"),
        "a.txt": (End.DATASET, desk.datasets / "cats/sub/a.txt"),
    }


def test_a_loose_picture_lies_at_the_top(desk):
    """A file right below the watch root keeps its name alone."""
    take(desk, desk.put("a.png", picture(1)))
    assert list(tree(desk.datasets)) == ["cats/a.png"]


def test_across_volumes_copies_are_kept_and_originals_trashed(tmp_path):
    """Datasets on another disk: picture and caption arrive there, both originals lie in the inbox's trash, no staging is left."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, datasets=elsewhere / "datasets")
        data = picture(1)
        outcome = take(desk, desk.put("a.png", data), desk.put("a.txt", b"words"))
        assert snapshot(desk.datasets) == {"cats/a.png": data, "cats/a.txt": b"words"}
        assert {a.original.name: a.path.read_bytes() for a in outcome.aside} == {"a.png": data, "a.txt": b"words"}
        assert all(desk.inbox in a.path.parents and a.place is End.TRASH for a in outcome.aside)
        assert {e.end for e in outcome.ended} == {End.DATASET} and not desk.staging_left()
        assert outcome.items[0].stamp == disk.stamp(desk.datasets / "cats/a.png")


def test_no_room_for_a_copy_writes_nothing(tmp_path, monkeypatch):
    """The guard speaks first: the inbox is as it was."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, datasets=elsewhere / "datasets")
        task = desk.task("dataset", desk.put("a.png", picture(1)), params={"name": "cats"})
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, disk.COPY_MARGIN))
        with pytest.raises(disk.NoRoom):
            desk.prepare(task)
        assert (desk.inbox / "a.png").exists() and tree(desk.datasets) == {} and not desk.staging_left()


def test_the_same_picture_again_goes_to_the_trash_with_a_note(desk):
    """What the dataset holds is not taken twice; a text that holds nothing goes along to the trash."""
    held = take(desk, desk.put("a.png", picture(1))).items[0]
    holdings = Holdings("cats", desk.datasets / "cats", frozenset({"a.png"}), {held.sha256: "a.png"})
    outcome = take(desk, desk.put("b.png", picture(1)), desk.put("b.txt", b" \n"), holdings=holdings)
    assert outcome.status is Status.SKIPPED and "same picture as a.png" in outcome.note and outcome.items == ()
    assert {e.path.name: e.end for e in outcome.ended} == {"b.png": End.TRASH, "b.txt": End.TRASH}
    assert all(e.at.is_file() for e in outcome.ended) and list(tree(desk.datasets)) == ["cats/a.png"]


@pytest.mark.parametrize("words", ["fenêtre".encode(), "fenêtre".encode("cp1252")])
def test_the_caption_of_a_duplicate_goes_to_the_kept_picture_that_has_none(desk, words):
    """b.png is a.png again, with words: a.png has them now, b.png lies in the trash; undo gives both back."""
    held = take(desk, desk.put("a.png", picture(1))).items[0]
    holdings = Holdings("cats", desk.datasets / "cats", frozenset({"a.png"}), {held.sha256: "a.png"})
    lead, text = desk.put("b.png", picture(1)), desk.put("b.txt", words)
    outcome = take(desk, lead, text, holdings=holdings)
    assert snapshot(desk.datasets / "cats") == {"a.png": picture(1), "a.txt": "fenêtre".encode()}
    (caption,) = outcome.captions
    assert (caption.rel, caption.text, caption.source) == ("a.png", "fenêtre", "imported") and outcome.status is Status.DONE
    assert caption.stamp == disk.stamp(desk.datasets / "cats/a.txt")
    ends = {e.path.name: (e.end, e.at.is_file()) for e in outcome.ended}
    assert ends == {"b.png": (End.TRASH, True), "b.txt": (End.DATASET, True)} and not desk.staging_left()
    disk.carry_out(outcome.undo)
    assert (lead.read_bytes(), text.read_bytes()) == (picture(1), words)


@pytest.mark.parametrize("how", ["on record", "on disk", "picture gone"])
def test_the_caption_of_a_duplicate_never_replaces_one(desk, how):
    """The kept picture has a text, on record or only on the disk, or is gone: both go to the trash and the note says so."""
    held = take(desk, desk.put("a.png", picture(1))).items[0]
    captioned = frozenset({"a.png"} if how == "on record" else ())
    holdings = Holdings("cats", desk.datasets / "cats", frozenset({"a.png"}), {held.sha256: "a.png"}, captioned=captioned)
    if how == "on disk":
        (desk.datasets / "cats/a.txt").write_bytes(b"mine")
    elif how == "picture gone":
        (desk.datasets / "cats/a.png").unlink()
    before = snapshot(desk.datasets / "cats")
    outcome = take(desk, desk.put("b.png", picture(1)), desk.put("b.txt", b"again"), holdings=holdings)
    assert snapshot(desk.datasets / "cats") == before and outcome.captions == () and outcome.status is Status.SKIPPED
    assert {e.path.name: e.end for e in outcome.ended} == {"b.png": End.TRASH, "b.txt": End.TRASH}
    assert "the text that came now is in the trash too" in outcome.note and all(a.path.is_file() for a in outcome.aside)


def test_a_picture_that_is_called_a_text_gets_the_right_suffix(desk):
    """Content decides: pic_as.txt is pic_as.jpg in the dataset, byte for byte, so that no caption is ever written over it."""
    photo = picture(3, form="JPEG")
    outcome = take(desk, desk.put("pic_as.txt", photo), desk.put("pic_as.caption", b"a fox"))
    assert snapshot(desk.datasets / "cats") == {"pic_as.jpg": photo, "pic_as.txt": b"a fox"}
    assert outcome.items[0].rel == outcome.captions[0].rel == "pic_as.jpg"


def test_a_companion_that_is_a_picture_is_left(desk):
    """a.txt beside a.png is a JPEG: no caption is made of it, and it is not thrown away."""
    other = picture(3, form="JPEG")
    text = desk.put("a.txt", other)
    outcome = take(desk, desk.put("a.png", picture(1)), text)
    assert tree(desk.datasets).keys() == {"cats/a.png"} and text.read_bytes() == other
    assert {e.path.name: e.end for e in outcome.ended} == {"a.png": End.DATASET, "a.txt": End.LEFT}


def test_a_folder_that_is_a_file_in_the_dataset_gets_a_number(desk):
    """The dataset has a file `sub`: sub/b.png is placed beside it."""
    (desk.datasets / "cats").mkdir()
    (desk.datasets / "cats/sub").write_bytes(b"put there by hand")
    assert take(desk, desk.put("cats/sub/b.png", picture(1))).items[0].rel == "sub-2/b.png"
    assert (desk.datasets / "cats/sub").read_bytes() == b"put there by hand"


def test_a_disk_that_turns_out_full_is_no_room(tmp_path, monkeypatch):
    """The copy fails for want of space although there seemed to be some: NoRoom, nothing is left, the inbox is as it was."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, datasets=elsewhere / "datasets")
        task = desk.task("dataset", desk.put("a.png", picture(1)), params={"name": "cats"})

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(disk.NoRoom):
            desk.prepare(task)
        assert (desk.inbox / "a.png").exists() and tree(desk.datasets) == {} and not desk.staging_left()


def test_a_taken_name_gets_a_number_and_so_does_its_caption(desk):
    """Another picture of the same stem, on disk or on record, never shares its .txt."""
    (desk.datasets / "cats").mkdir()
    (desk.datasets / "cats/a.jpg").write_bytes(b"put there by hand")
    outcome = take(desk, desk.put("a.png", picture(2)), desk.put("a.txt", b"words"))
    assert outcome.items[0].rel == "a-2.png" and (desk.datasets / "cats/a-2.txt").read_bytes() == b"words"


def test_a_picture_that_does_not_decode_is_quarantined(desk):
    """Half a JPEG has a good header: it goes to the quarantine with the reason, its bytes whole."""
    half = picture(3, form="JPEG")[:1500]
    outcome = take(desk, desk.put("half.jpg", half))
    (kept,) = outcome.aside
    assert (outcome.status, kept.place) == (Status.FAILED, End.QUARANTINE) and "bad-image" in kept.reason
    assert kept.path.read_bytes() == half and tree(desk.datasets) == {}


def test_a_caption_of_another_encoding_becomes_utf8_and_the_original_is_kept(desk):
    """Windows-1252 text: UTF-8 beside the picture, the original bytes in the trash, staging cleared."""
    outcome = take(desk, desk.put("a.png", picture(1)), desk.put("a.txt", "une fenêtre".encode("cp1252")))
    assert (desk.datasets / "cats/a.txt").read_bytes() == "une fenêtre".encode()
    (kept,) = outcome.aside
    assert kept.path.read_bytes() == "une fenêtre".encode("cp1252") and not desk.staging_left()


def test_what_is_no_caption_ends_in_the_trash_and_is_said_to(desk):
    """An empty text and a second one are not in the dataset: their recorded end is where their bytes are."""
    lead = desk.put("a.png", picture(1))
    unit = (desk.put("a.caption", b" \n"), desk.put("a.txt", b"words"), desk.put("a.second.txt", b"more words"))
    outcome = take(desk, lead, *unit)
    assert tree(desk.datasets).keys() == {"cats/a.png", "cats/a.txt"} and outcome.captions[0].text == "words"
    ends = {e.path.name: e for e in outcome.ended}
    assert {name: e.end for name, e in ends.items()} == {
        "a.png": End.DATASET, "a.txt": End.DATASET, "a.caption": End.TRASH, "a.second.txt": End.TRASH
    }  # fmt: skip
    assert ends["a.caption"].at.read_bytes() == b" \n" and ends["a.second.txt"].at.read_bytes() == b"more words"


def test_what_is_skipped_is_not_touched(desk):
    """A picture in a dataset already, a file that is no picture, a library's picture, a unit that moved on: no moves, and why."""
    inside = desk.datasets / "dogs/a.png"
    inside.parent.mkdir()
    inside.write_bytes(picture(1))
    loose, words = desk.put("a.png", picture(1)), desk.put("a.md", b"# words")
    tasks = [desk.task("dataset", path, params={"name": "cats"}) for path in (inside, words, loose)]
    answers = [desk.prepare(t) for t in (*tasks[:2], desk.library(tasks[2]), replace(tasks[2], unit={}))]
    assert [(a.outcome.status, a.moves) for a in answers] == [(Status.SKIPPED, ())] * 4
    assert [a.outcome.note.split()[-1] for a in answers] == ["already", "picture", "lies", "already"]


def test_a_picture_replaced_between_look_and_move_is_left_alone(desk):
    """Changed: what came in its place stays in the inbox, the dataset gets nothing, not even the caption."""
    lead, text = desk.put("a.png", picture(1)), desk.put("a.txt", b"words")
    prepared = desk.prepare(desk.task("dataset", lead, text, params={"name": "cats"}))
    text.write_bytes(b"other words")
    with pytest.raises(disk.Changed):
        disk.carry_out(prepared.moves)
    assert lead.exists() and text.read_bytes() == b"other words" and tree(desk.datasets) == {}
