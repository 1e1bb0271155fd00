"""simple: the configured text, once for each picture, whatever the pictures are."""

from pathlib import Path

import pytest
from dropdock.handlers.captioners.protocol import Fixed, Picture
from dropdock.handlers.captioners.simple import Simple
from dropdock.handlers.captioners.table import ENGINES, make


def test_every_picture_gets_the_text():
    """One answer a picture, in order, without opening any."""
    pictures = [Picture(0, Path("/nowhere/a.png")), Picture(1, Path("/nowhere/b.png"))]
    answers = [a for _, a in Simple({"text": "sks style"}).captions(Fixed(pictures))]
    assert [(a.text, a.error) for a in answers] == [("sks style", "")] * 2


def test_engines_are_made_by_their_word():
    """Every engine of the table is made with its options; another word is an error of the config check, here a KeyError."""
    for name in ENGINES:
        assert make(name, {"text": "x"}).ahead > 0
    with pytest.raises(KeyError):
        make("magic", {})
