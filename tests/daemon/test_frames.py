"""The frames between the daemon and its workers: what is packed is unpacked, and nothing else is taken for a frame."""

import json
import os
from pathlib import Path

import pytest
from dropdock.daemon.frames import HEAD, LONGEST, Answers, BadFrame, Broken, Hello, Order, Ready, length, pack, unpack
from dropdock.handlers.captioners.protocol import Answer
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
FRAMES = st.one_of(
    st.builds(Hello, st.text(), st.dictionaries(st.text(), PARAMS)),
    st.builds(Ready, st.integers()),
    st.builds(Broken, st.text()),
    st.builds(Order, st.integers(), st.lists(PATHS).map(tuple)),
    st.builds(Answers, st.integers(), st.lists(st.builds(Answer, st.text(), st.text())).map(tuple)),
)
KEYS = st.sampled_from(["frame", "engine", "options", "batch", "reason", "id", "pictures", "answers", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)
)
KINDS = st.sampled_from(["hello", "ready", "broken", "order", "answers", "other", 1, None])


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


def test_what_is_too_long_or_too_deep_is_none():
    """A length that no frame has is refused before a byte of it is read, and so is nesting without end."""
    with pytest.raises(BadFrame):
        length((LONGEST + 1).to_bytes(HEAD, "big"))
    with pytest.raises(BadFrame):
        unpack(b"[" * 100_000)
