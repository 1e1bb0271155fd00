"""caption: texts appear whole beside their pictures, and what a person wrote there stays."""

from pathlib import Path

import pytest
from dropdock.handlers import caption, disk
from dropdock.handlers.caption import Written
from dropdock.rules.terms import Prepared, Stamp, Status


@pytest.fixture
def staged(tmp_path):
    return disk.own_folder(tmp_path, "staging", "t1")


def written(tmp_path: Path, text: str = "a cat", ours: Stamp | None = None, active: bool = True) -> Written:
    picture = tmp_path / "cats/a.png"
    picture.parent.mkdir(exist_ok=True)
    picture.touch()
    return Written("cats", "a.png", picture, "main", text, "basic", ours, active)


def done(prepared: Prepared) -> Prepared:
    disk.carry_out(prepared.moves)
    return prepared


def test_a_text_lies_beside_its_picture(tmp_path, staged):
    """The text with a newline, in UTF-8; the recorded stamp is that of the file as it lies there."""
    (prepared,) = caption.prepare([written(tmp_path, "ein Kätzchen")], staged)
    assert not (tmp_path / "cats/a.txt").exists(), "preparing writes into staging only"
    done(prepared)
    assert (tmp_path / "cats/a.txt").read_bytes() == "ein Kätzchen\n".encode()
    (told,) = prepared.outcome.captions
    assert (told.text, told.source, told.captioner, told.stamp) == (
        "ein Kätzchen", "generated", "basic", disk.stamp(tmp_path / "cats/a.txt")
    )  # fmt: skip


def test_ours_is_replaced_by_a_newer_one_of_ours(tmp_path, staged):
    """The .txt is as we left it: the new text takes its place."""
    first = done(caption.prepare([written(tmp_path)], staged)[0])
    ours = first.outcome.captions[0].stamp
    done(caption.prepare([written(tmp_path, "a better text", ours)], staged)[0])
    assert (tmp_path / "cats/a.txt").read_text() == "a better text\n"


def test_a_persons_text_stays_and_is_recorded_as_theirs(tmp_path, staged):
    """Another text, or ours edited since: skipped, byte for byte as it was, its words in the record."""
    first = done(caption.prepare([written(tmp_path)], staged)[0])
    beside = tmp_path / "cats/a.txt"
    beside.write_text("my own words\n")
    for ours in (None, first.outcome.captions[0].stamp):
        (prepared,) = caption.prepare([written(tmp_path, "something else", ours)], staged)
        assert prepared.outcome.status is Status.SKIPPED and prepared.moves == ()
        (told,) = prepared.outcome.captions
        assert (told.text, told.source, told.stamp) == ("my own words", "manual", disk.stamp(beside))
        assert beside.read_text() == "my own words\n"


def test_a_text_that_appears_in_between_wins(tmp_path, staged):
    """Between preparing and moving a person saves their own: Taken, theirs stands."""
    (prepared,) = caption.prepare([written(tmp_path)], staged)
    (tmp_path / "cats/a.txt").write_text("mine")
    with pytest.raises(disk.Taken):
        disk.carry_out(prepared.moves)
    assert (tmp_path / "cats/a.txt").read_text() == "mine"


def test_an_edit_of_ours_that_is_saved_in_between_wins(tmp_path, staged):
    """Ours is to be replaced, and a person saves their edit of it at that very moment: refused, their words stand."""
    first = done(caption.prepare([written(tmp_path)], staged)[0])
    (prepared,) = caption.prepare([written(tmp_path, "newer", first.outcome.captions[0].stamp)], staged)
    (tmp_path / "cats/a.txt").write_text("edited by hand")
    with pytest.raises((disk.Taken, disk.Changed)):
        disk.carry_out(prepared.moves)
    assert (tmp_path / "cats/a.txt").read_text() == "edited by hand"


def test_a_set_that_is_not_active_writes_no_file(tmp_path, staged):
    """Its text is only recorded."""
    (prepared,) = caption.prepare([written(tmp_path, active=False)], staged)
    assert prepared.moves == () and prepared.outcome.captions[0].text == "a cat" and prepared.outcome.captions[0].stamp is None


def test_a_picture_that_is_gone_gets_no_text(tmp_path, staged):
    """Nothing is written beside nothing."""
    order = written(tmp_path)
    order.picture.unlink()
    (prepared,) = caption.prepare([order], staged)
    assert (prepared.outcome.status, prepared.moves, prepared.outcome.captions) == (Status.SKIPPED, (), ())


@pytest.mark.parametrize("name", ["a.txt", "a.TXT"])
def test_a_picture_that_bears_the_name_of_its_text_is_not_overwritten(tmp_path, staged, name):
    """A picture by content, .txt by name: skipped with the reason, even where a text of ours is said to lie there."""
    picture = tmp_path / "cats" / name
    picture.parent.mkdir()
    picture.write_bytes(b"\xff\xd8\xff a picture")
    order = Written("cats", name, picture, "main", "a cat", "basic", disk.stamp(picture))
    (prepared,) = caption.prepare([order], staged)
    assert (prepared.outcome.status, prepared.moves, prepared.outcome.captions) == (Status.SKIPPED, (), ())
    assert "picture's suffix" in prepared.outcome.note
