"""simple: the configured text, once for each picture, whatever the pictures are."""

from pathlib import Path

import pytest
from dropdock.daemon.engines import ENGINES as SETTINGS
from dropdock.handlers.captioners.protocol import Fixed, Picture
from dropdock.handlers.captioners.simple import Simple
from dropdock.handlers.captioners.table import ENGINES, make


def test_every_picture_gets_the_text():
    """One answer a picture, in order, without opening any."""
    pictures = [Picture(0, Path("/nowhere/a.png")), Picture(1, Path("/nowhere/b.png"))]
    answers = [a for _, a in Simple({"text": "sks style"}).captions(Fixed(pictures))]
    assert [(a.text, a.error) for a in answers] == [("sks style", "")] * 2


def test_engines_are_made_by_their_word():
    """Every engine of the table is made, or says in a sentence which model it lacks; another word is a KeyError."""
    for name in ENGINES:
        try:
            captioner = make(name, {"text": "x", "url": "http://127.0.0.1:9"})
        except (ImportError, ValueError, RuntimeError) as error:
            assert name in ("onnx", "llama") and str(error)
            continue
        assert captioner.ahead > 0 and captioner.device
        captioner.close()
    with pytest.raises(KeyError):
        make("magic", {})


def test_the_table_and_the_settings_know_the_same_engines():
    """What the configuration takes can be made, and the other way round."""
    assert set(ENGINES) == set(SETTINGS)
