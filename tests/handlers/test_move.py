"""move and copy: nothing is overwritten, nothing is lost, and the companions follow."""

import pytest
from dropdock.handlers import disk
from dropdock.rules.terms import End, Status
from hands import Desk, contents, other_volume


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def to(desk, verb, lead, *companions, folder=None, **params):
    """Do one move or copy of a unit."""
    given = {"to": str(folder or desk.inbox.parent / "sorted"), "name": lead.name, **params}
    return desk.do(desk.task(verb, lead, *companions, params=given))


def test_a_unit_moves_with_its_companions_under_the_new_name(desk):
    """a.bin + a.preview.png become b.bin + b.preview.png; the end of each is where its bytes are."""
    lead, preview = desk.put("a.bin", b"1"), desk.put("a.preview.png", b"2")
    outcome = to(desk, "move", lead, preview, name="b.bin")
    folder = desk.inbox.parent / "sorted"
    assert {e.path.name: (e.end, e.at) for e in outcome.ended} == {
        "a.bin": (End.MOVED, folder / "b.bin"),
        "a.preview.png": (End.MOVED, folder / "b.preview.png"),
    }
    assert (folder / "b.bin").read_bytes() == b"1" and not lead.exists() and not preview.exists()
    disk.carry_out(outcome.undo)
    assert lead.read_bytes() == b"1" and preview.read_bytes() == b"2"


def test_a_relative_folder_is_below_the_watched_one(desk):
    """`to: kept` stands for a folder in the inbox itself."""
    lead = desk.put("a.bin", b"1")
    to(desk, "move", lead, folder="kept")
    again = to(desk, "move", desk.inbox / "kept/a.bin", folder="kept")
    assert (desk.inbox / "kept/a.bin").exists() and again.status is Status.SKIPPED and again.ended[0].end is End.LEFT


@pytest.mark.parametrize(
    ("mode", "data", "status", "left", "there"),
    [
        ("skip_same_else_rename", b"same", Status.SKIPPED, False, ["a.bin"]),
        ("skip_same_else_rename", b"new", Status.DONE, False, ["a (2).bin", "a.bin"]),
        ("rename", b"same", Status.DONE, False, ["a (2).bin", "a.bin"]),
        ("skip", b"new", Status.SKIPPED, True, ["a.bin"]),
        ("fail", b"new", Status.FAILED, True, ["a.bin"]),
    ],
)
def test_a_taken_name(desk, mode, data, status, left, there):
    """Each way of on_conflict: what lies there stays as it is, and no bytes are lost."""
    folder = desk.inbox.parent / "sorted"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"same")
    lead = desk.put("a.bin", data)
    before = contents([desk.inbox, folder])
    outcome = to(desk, "move", lead, on_conflict=mode)
    assert (outcome.status, lead.exists(), sorted(p.name for p in folder.iterdir())) == (status, left, there)
    assert (folder / "a.bin").read_bytes() == b"same" and contents([desk.inbox, folder]) == before


def test_across_volumes_the_original_is_in_the_trash(desk):
    """The copy is checked and in place, the original can be taken back, and undo knows both."""
    with other_volume(desk.inbox) as far:
        lead = desk.put("a.bin", b"12345")
        outcome = to(desk, "move", lead, folder=far / "kept")
        (aside,) = outcome.aside
        assert (far / "kept/a.bin").read_bytes() == aside.path.read_bytes() == b"12345"
        disk.carry_out(outcome.undo)
        assert lead.read_bytes() == b"12345" and not (far / "kept/a.bin").exists()


def test_a_copy_leaves_the_unit_where_it_is(desk):
    """Both lie there then; the undo of a copy puts the copy into the trash."""
    lead, text = desk.put("a.bin", b"1"), desk.put("a.txt", b"2")
    outcome = to(desk, "copy", lead, text)
    folder = desk.inbox.parent / "sorted"
    assert sorted(p.name for p in folder.glob("*.*")) >= ["a.bin", "a.txt"] and lead.exists() and outcome.ended == ()
    disk.carry_out(outcome.undo)
    assert not (folder / "a.bin").exists() and lead.exists()
    assert to(desk, "copy", lead).status is Status.DONE and to(desk, "copy", lead).status is Status.SKIPPED


def test_a_copy_after_store_copies_what_the_hub_has(desk):
    """The dropped path is gone: the action names the record, not the path."""
    from dataclasses import replace

    lead = desk.put("a.bin", b"1")
    kept = desk.hub / "a.bin"
    task = desk.task("copy", lead, params={"to": str(desk.inbox.parent / "sorted"), "name": "a.bin"})
    lead.rename(kept)
    outcome = desk.do(replace(task, unit={}, at=kept))
    assert outcome.status is Status.DONE and (desk.inbox.parent / "sorted/a.bin").read_bytes() == b"1"
    assert desk.do(replace(task, unit={}, at=None)).status is Status.SKIPPED
