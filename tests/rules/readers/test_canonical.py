"""The quick way through a safetensors header accepts what the slow way accepts, with the same answer, and nothing else."""

import json
from collections.abc import Callable

import pytest
from dropdock.rules.header import Damaged, Header
from dropdock.rules.readers import canonical
from dropdock.rules.readers.safetensors import parse_any, parse_header
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import BYTES, safetensors_header

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.from_regex(
    r"[a-z]{1,4}\.[0-9]\.weight", fullmatch=True
)
TENSORS = st.dictionaries(
    NAMES.filter(lambda n: n != "__metadata__"),
    st.tuples(st.sampled_from(sorted(BYTES)), st.lists(st.integers(0, 5), max_size=4)),
    max_size=6,
)
METADATA = st.none() | st.dictionaries(st.text(max_size=6), st.text(max_size=12), max_size=3)


def both(raw: bytes, size: int) -> None:
    """What is read quickly is what is read slowly; the tensors are in the same order."""
    quick = canonical.read(raw, size - 8 - len(raw))
    slow = parse_any(raw, size)
    if quick is not None:
        assert isinstance(slow, Header), slow
        assert (list(quick[0].items()), quick[1]) == (list(slow.tensors.items()), dict(slow.metadata))
    assert parse_header(raw, size) == slow


@settings(deadline=None)
@given(TENSORS, METADATA, st.integers(-1, 1))
def test_sound_headers(tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None, more: int) -> None:
    """Whatever tools write, and files a byte too short or too long."""
    head, data = safetensors_header(tensors, metadata)
    both(head[8:], len(head) + data + more)


@settings(deadline=None, max_examples=500)
@given(TENSORS, METADATA, st.data())
def test_mutated_headers(tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None, data: st.DataObject) -> None:
    """A header in which a piece was cut out, doubled or replaced by what JSON is made of."""
    head, room = safetensors_header(tensors, metadata)
    raw = head[8:]
    begin = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(begin, min(len(raw), begin + 12)))
    piece = data.draw(
        st.sampled_from(
            [b"", b'"', b"\\", b",", b"}", b"]", b"0", b"-1", b"1.0", b"true", b"{}", b" ", b"\x01", b"\xff", raw[begin:end] * 2]
        )
    )
    raw = raw[:begin] + piece + raw[end:]
    both(raw, 8 + len(raw) + room)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("a name twice", lambda t: t.replace('"b"', '"a"')),
        ("an escape in a name", lambda t: t.replace('"a"', '"\\u0061"')),
        ("a control character", lambda t: t.replace('"a"', '"a\n"')),
        ("a number with a nought before it", lambda t: t.replace("[2,3]", "[02,3]")),
        ("a gap", lambda t: t.replace("[24,32]", "[25,33]")),
        ("an overlap", lambda t: t.replace("[24,32]", "[23,31]")),
        ("other order of the fields", lambda t: t.replace('"dtype":"F32","shape":[2]', '"shape":[2],"dtype":"F32"')),
        ("blanks", lambda t: t.replace(":", ": ")),
        ("a colon and a comma that changed places", lambda t: t.replace('},"b":{', '}"b",:{')),
        ("a name that is said twice", lambda t: t.replace('{"a":{', '{"":{":{')),
        ("quotes in a name", lambda t: t.replace('{"a":{', '{"":{"{"":{')),
        ("a word between", lambda t: t.replace('},"b"', '},x"b"')),
        ("more behind the end", lambda t: t + "x"),
        ("a tensor that is metadata", lambda t: t.replace('"a"', '"__metadata__"')),
        ("a dtype nobody knows", lambda t: t.replace("F32", "F99")),
        ("four bits that fill no byte", lambda t: t.replace('"F32","shape":[2,3]', '"F4","shape":[49]')),
        ("numbers beyond every file", lambda t: t.replace("[2,3]", f"[{10**30},3]")),
    ],
)  # fmt: skip
def test_what_is_not_usual(what: str, change: Callable[[str], str]) -> None:
    """Each way to write it otherwise, sound or not, is judged as the slow way judges it."""
    head, data = safetensors_header({"a": ("F32", (2, 3)), "b": ("F32", (2,))}, {"k": "v"})
    text = change(head[8:].decode())
    both(text.encode(), 8 + len(text) + data)


def test_it_is_the_way_that_real_headers_go() -> None:
    """What tools write is read quickly, with metadata and without, in the order of the data or in any other."""
    tensors = {"a": ("F32", (2, 3)), "b": ("BF16", ()), "c": ("F32", (0, 4))}
    head, data = safetensors_header(tensors, {"k": 'quo"te'})
    assert canonical.read(head[8:], data) == ({n: (d, tuple(s)) for n, (d, s) in tensors.items()}, {"k": 'quo"te'})
    first, second = (
        f'"{name}":{{"dtype":"U8","shape":[4],"data_offsets":[{begin},{begin + 4}]}}' for name, begin in (("a", 4), ("b", 0))
    )
    assert canonical.read(f"{{{first},{second}}}  ".encode(), 8) == ({"a": ("U8", (4,)), "b": ("U8", (4,))}, {})


def test_a_shape_of_a_million_sizes() -> None:
    """Their product would take hours: such a header is refused at once."""
    entry = {"a": {"dtype": "U8", "shape": [2**62] * 1_000_000, "data_offsets": [0, 1]}}
    raw = json.dumps(entry, separators=(",", ":")).encode()
    found = parse_header(raw, 9 + len(raw))
    assert isinstance(found, Damaged)
    assert found.reason == "bad-header"
