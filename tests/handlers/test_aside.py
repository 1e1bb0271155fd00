"""quarantine and trash: a rename into our folder at the file's own root, found again with its reason."""

from dropdock.handlers import disk
from dropdock.handlers.task import Places
from dropdock.rules.terms import End, Status
from hands import DAY, NOW, Desk
from pictures_made import tree


def test_a_unit_goes_to_the_quarantine_of_its_own_root(tmp_path):
    """Lead and companions lie under .dropdock/quarantine with their own names; reason, end and way back are told."""
    desk = Desk(tmp_path)
    lead, beside = desk.put("sub/bad.pt", b"pickle"), desk.put("sub/bad.yaml", b"notes")
    outcome = desk.do(desk.task("quarantine", lead, beside, params={"reason": "it would run code"}))
    assert tree(desk.inbox) == {}
    assert {a.original: (a.place, a.path.name, a.reason) for a in outcome.aside} == {
        lead: (End.QUARANTINE, "bad.pt", "it would run code"),
        beside: (End.QUARANTINE, "bad.yaml", "it would run code"),
    }
    assert all(desk.inbox / ".dropdock/quarantine" in a.path.parents for a in outcome.aside)
    assert {e.path: (e.end, e.at.read_bytes()) for e in outcome.ended} == {
        lead: (End.QUARANTINE, b"pickle"),
        beside: (End.QUARANTINE, b"notes"),
    }
    disk.carry_out(outcome.undo)
    assert lead.read_bytes() == b"pickle" and beside.read_bytes() == b"notes"


def test_the_trash_keeps_for_as_long_as_the_rule_says(tmp_path):
    """Without `keep` the usual 14 days, with it that many seconds."""
    desk = Desk(tmp_path)
    usual = desk.do(desk.task("trash", desk.put("a", b"a")))
    hour = desk.do(desk.task("trash", desk.put("b", b"b"), params={"keep": 3600, "reason": "only a log"}))
    assert usual.aside[0].until == NOW + 14 * DAY and hour.aside[0].until == NOW + 3600
    assert (hour.status, hour.note, hour.aside[0].path.read_bytes()) == (Status.DONE, "only a log", b"b")


def test_equal_names_of_one_unit_do_not_meet(tmp_path):
    """Two paths of one name from two folders get their own names in the trash."""
    desk = Desk(tmp_path)
    one, two = desk.put("x/a.txt", b"1"), desk.put("y/a.txt", b"2")
    outcome = desk.do(desk.task("trash", one, two))
    assert {a.original: (a.path.name, a.path.read_bytes()) for a in outcome.aside} == {
        one: ("a.txt", b"1"),
        two: ("a (2).txt", b"2"),
    }


def test_two_tasks_of_a_day_have_folders_of_their_own(tmp_path):
    """The same name twice in a day: neither is in the way of the other."""
    desk = Desk(tmp_path)
    first = desk.do(desk.task("trash", desk.put("a", b"1"))).aside[0].path
    second = desk.do(desk.task("trash", desk.put("a", b"2"))).aside[0].path
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")


def test_the_deepest_root_is_the_files_own(tmp_path):
    """A watch inside another folder of ours has its own trash; a path below no root is put aside in its own folder."""
    inner = tmp_path / "inbox/phone"
    places = Places(tmp_path / "hub", tmp_path / "sets", (tmp_path / "inbox", inner))
    assert places.root_of(inner / "a/b.png") == inner
    assert places.root_of(tmp_path / "inbox/b.png") == tmp_path / "inbox"
    assert places.root_of(tmp_path / "elsewhere/b.png") == tmp_path / "elsewhere"
