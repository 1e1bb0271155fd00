"""The frames between the daemon and its workers: what is packed is unpacked, and nothing else is taken for a frame."""

import json
import os
from pathlib import Path

import pytest
from dropdock.daemon.frames import (
    HEAD,
    LONGEST,
    Answers,
    BadFrame,
    Broken,
    Drop,
    Hello,
    News,
    Order,
    Ready,
    length,
    pack,
    unpack,
)
from dropdock.handlers.captioners.protocol import Answer, Picture
from dropdock.rules.captions import Quality, Style
from hypothesis import given
from hypothesis import strategies as st

# names as any file system may hold them: bytes that are no UTF-8 come as lone surrogates
PATHS = st.binary(min_size=1, max_size=40).filter(lambda b: b"\0" not in b).map(lambda b: Path(os.fsdecode(b)))
PARAMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.lists(st.text()).map(tuple),
)
TEXTS = st.lists(st.text()).map(tuple)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | st.booleans()
STYLES = st.builds(
    Style, st.text(), st.text(), st.text(), st.integers(), TEXTS, TEXTS, TEXTS, st.dictionaries(st.text(), st.text()),
    MAYBE, MAYBE, MAYBE, st.text(),
)  # fmt: skip
SCORES = st.dictionaries(st.text(), NUMBERS)
QUALITIES = st.builds(Quality, SCORES, SCORES, TEXTS, st.none() | NUMBERS, st.text(), st.integers())
ANSWERS = st.builds(Answer, st.text(), st.text(), NUMBERS, TEXTS, st.none() | QUALITIES)
PICTURES = st.builds(Picture, st.integers(), PATHS, STYLES, st.text(), st.text(), st.booleans())
FRAMES = st.one_of(
    st.builds(Hello, st.text(), st.dictionaries(st.text(), PARAMS)),
    st.builds(News, st.text(), st.text()),
    st.builds(Ready, st.integers(), st.text()),
    st.builds(Broken, st.text(), st.booleans()),
    st.builds(Order, st.lists(PICTURES, max_size=4).map(tuple)),
    st.builds(Drop, st.lists(st.integers()).map(tuple)),
    st.builds(Answers, st.lists(st.tuples(st.integers(), ANSWERS), max_size=4).map(tuple)),
)
KEYS = st.sampled_from(["frame", "engine", "options", "ahead", "device", "reason", "lasting", "ids", "pictures", "answers", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)
)
KINDS = st.sampled_from(["hello", "news", "ready", "broken", "order", "drop", "answers", "other", 1, None])


@given(FRAMES)
def test_what_is_packed_is_unpacked(frame):
    """Every frame comes out as it went in, and its head says how long it is."""
    packed = pack(frame)
    assert length(packed[:HEAD]) == len(packed) - HEAD
    assert unpack(packed[HEAD:]) == frame


@given(st.binary(max_size=200))
def test_other_bytes_are_no_frame(body):
    """Whatever is written into the socket is a frame, or a BadFrame, and never another surprise."""
    try:
        unpack(body)
    except BadFrame:
        return
    assert json.loads(body)["frame"]


@given(KINDS, st.dictionaries(KEYS, JSON))
def test_objects_that_are_nearly_frames_are_none(kind, found):
    """A missing key or a value of another type: what is taken can be packed again, all else is a BadFrame."""
    try:
        frame = unpack(json.dumps({**found, "frame": kind}).encode())
    except BadFrame:
        return
    assert unpack(pack(frame)[HEAD:]) == frame


@given(st.sampled_from(["order", "answers"]), st.lists(st.lists(JSON, min_size=5, max_size=7), max_size=3))
def test_pictures_and_answers_that_are_nearly_right_are_none(kind, parts):
    """The right number of parts of the wrong kinds: a BadFrame, or a frame that can be packed again."""
    name = "pictures" if kind == "order" else "answers"
    try:
        frame = unpack(json.dumps({"frame": kind, name: parts}).encode())
    except BadFrame:
        return
    assert unpack(pack(frame)[HEAD:]) == frame


def test_a_style_travels_by_what_it_asks_for():
    """An empty style is no bytes; a field that no style has is a BadFrame."""
    assert b"{}" in pack(Order((Picture(1, Path("/a")),)))
    with pytest.raises(BadFrame):
        unpack(pack(Order((Picture(1, Path("/a")),)))[HEAD:].replace(b"{}", b'{"over": 1}'))


def test_what_is_too_long_or_too_deep_is_none():
    """A length that no frame has is refused before a byte of it is read, and so is nesting without end."""
    with pytest.raises(BadFrame):
        length((LONGEST + 1).to_bytes(HEAD, "big"))
    with pytest.raises(BadFrame):
        unpack(b"[" * 100_000)
