"""simple: the configured text, once for each picture, whatever the pictures are."""

from pathlib import Path

import pytest
from dropdock.daemon.engines import ENGINES as SETTINGS
from dropdock.handlers.captioners.protocol import Fixed, Picture
from dropdock.handlers.captioners.simple import Simple
from dropdock.handlers.captioners.table import ENGINES, make
from dropdock.rules.captions import Style


def test_every_picture_gets_the_text():
    """One answer a picture, in order, without opening any."""
    pictures = [Picture(0, Path("/nowhere/a.png")), Picture(1, Path("/nowhere/b.png"))]
    answers = [a for _, a in Simple({"text": "sks style"}).captions(Fixed(pictures))]
    assert [(a.text, a.error) for a in answers] == [("sks style", "")] * 2


def test_what_is_known_is_filled_in_and_finished():
    """Name, folder and tags stand where they are asked for; the style of captioner and picture applies; nothing left is a failure."""
    captioner = Simple({"text": "{name} in {folder}, {tags}", "trigger": "ohwx", "suffix": ("photo",)})
    pictures = [Picture(0, Path("/sea/boat.png"), tags="blue, wide"), Picture(1, Path("/sea/a.png"), Style(trigger="sks"))]
    assert [a.text for _, a in captioner.captions(Fixed(pictures))] == [
        "ohwx, boat in sea, blue, wide, photo",
        "sks, a in sea, photo",
    ]
    ((_, empty),) = Simple({"text": "{tags}"}).captions(Fixed([Picture(0, Path("/a.png"))]))
    assert empty.error and not empty.text


def test_engines_are_made_by_their_word():
    """An engine of the table is made with its options; another word is an error of the config check, here a KeyError."""
    for name in ("basic", "simple"):
        assert make(name, {"text": "x"}).ahead > 0
    assert set(ENGINES) == set(SETTINGS)
    with pytest.raises(KeyError):
        make("magic", {})
