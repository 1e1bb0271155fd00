"""options: what the config was told reaches the engine as a Style and plain values."""

from pathlib import Path

from dropdock.daemon.config import read
from dropdock.handlers.captioners.options import flag, number, pairs, style_of, text, texts
from dropdock.rules.captions import Style

ENV = {"HOME": "/home/me"}


def test_no_options_ask_for_nothing():
    """An engine made with {} has the empty style, so that whatever is laid over it shows."""
    assert style_of({}) == Style()


def test_what_the_config_says_is_the_style():
    """Every key of the style, written in YAML, comes out as it was meant; mappings too, also for faces that hold `=`."""
    config = read(
        """
captioners:
  fixed:
    engine: simple
    text: a photo
    style: tags
    prompt: what is it?
    trigger: ohwx
    max_length: 300
    prefix: [masterpiece]
    suffix: [photo]
    exclude: [sign*]
    replace: {bangs: fringe, "=_=": sleepy, blur: ""}
    underscores: true
    escape: false
    implied: true
    existing: merge
""",
        Path("/home/me/config.yaml"),
        ENV,
    )
    options = config.captioners["fixed"].options
    swaps = {"bangs": "fringe", "=_=": "sleepy", "blur": ""}
    assert style_of(options) == Style(
        "tags", "what is it?", "ohwx", 300, ("masterpiece",), ("photo",), ("sign*",), swaps, True, False, True, "merge"
    )
    assert (options["timeout"], options["idle_unload"], options["when_busy"], options["min_free"]) == (120, 300, "wait", 10**9)


def test_values_of_another_kind_are_the_default():
    """What a frame brought in another form than asked for is as if it were not there."""
    odd = {"a": True, "b": "x", "c": 3, "d": ("x -> y", "z -> ")}
    assert (number(odd, "a", 7), number(odd, "c", 7), text(odd, "c", "d"), flag(odd, "b"), flag(odd, "a")) == (
        7,
        3,
        "d",
        None,
        True,
    )
    assert texts(odd, "b") == ("x",) and texts(odd, "c") == () and pairs(odd, "d") == {"x": "y", "z": ""}
