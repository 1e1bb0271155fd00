"""hold, tag and deploy: nothing on disk changes, and the store is told what to remember."""

from dataclasses import replace

import pytest
from dropdock.handlers import hashing
from dropdock.rules.terms import End, Status
from hands import Desk, snapshot


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_hold_says_why_and_touches_nothing(desk):
    """Every path of the unit is held where it lies; a unit that moved on only gets the note."""
    lead, beside = desk.put("a.pt", b"a"), desk.put("a.yaml", b"y")
    before = snapshot(desk.inbox)
    task = desk.task("hold", lead, beside, params={"reason": "type unsure"})
    prepared = desk.prepare(task)
    assert prepared.moves == () and prepared.outcome.note == "type unsure"
    assert [(e.path, e.end, e.at, e.note) for e in prepared.outcome.ended] == [
        (p, End.HELD, p, "type unsure") for p in (lead, beside)
    ]
    assert desk.prepare(replace(task, unit={})).outcome.ended == ()
    assert snapshot(desk.inbox) == before


def test_tags_come_as_a_list_or_as_one_text(desk):
    """tag: [a, b] and tag: "a,b" mean the same."""
    path = desk.put("a", b"a")
    for tags in (("style", "wip"), "style,wip"):
        assert desk.prepare(desk.task("tag", path, params={"tags": tags})).outcome.tags == ("style", "wip")
    assert desk.prepare(desk.task("tag", path)).outcome.tags == ()


def test_only_what_the_hub_keeps_is_deployed(desk):
    """With the hub's copy known the model is wanted; without it the rule is told what it forgot."""
    path = desk.put("a.safetensors", b"a")
    task = desk.task("deploy", path, kept=desk.hub / "x")
    wanted = desk.prepare(task).outcome
    assert (wanted.status, wanted.deploy) == (Status.DONE, (hashing.digest(path).sha256,))
    for lacking in (replace(task, kept=None), replace(task, digests=None)):
        answer = desk.prepare(lacking).outcome
        assert (answer.status, answer.deploy) == (Status.SKIPPED, ()) and "`store` before `deploy`" in answer.note
