"""Values to columns and back: whatever a file system can name, and every word that the journal keeps, survives the trip."""

import sqlite3
from pathlib import Path

import pytest
from dropdock.rules.terms import (
    Action,
    ArchiveFacts,
    ArchiveMember,
    Aside,
    Caption,
    Condition,
    End,
    Ended,
    Evidence,
    Facts,
    ImageFacts,
    Item,
    Kind,
    Model,
    ModelFacts,
    Move,
    Outcome,
    Prepared,
    Stamp,
    Status,
)
from dropdock.store import codec
from hypothesis import given, settings
from hypothesis import strategies as st

# what os.fsdecode makes of any bytes but NUL: text, with lone surrogates for what is not UTF-8
NAMES = st.binary(min_size=1, max_size=30).filter(lambda b: b"\0" not in b).map(lambda b: b.decode("utf-8", "surrogateescape"))
PATHS = st.lists(NAMES.filter(lambda n: "/" not in n), min_size=1, max_size=3).map(lambda parts: Path("/", *parts))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
STAMPS = st.builds(Stamp, *[st.integers(0, 2**62)] * 4)
SIDES = st.integers(1, 9999)
IMAGES = st.builds(ImageFacts, st.sampled_from(["png", "jpeg"]), SIDES, SIDES, st.integers(1, 8), st.booleans())
ARCHIVES = st.builds(
    ArchiveFacts, st.just("zip"), st.lists(st.builds(ArchiveMember, NAMES, st.integers(0, 99), st.sampled_from(Kind))).map(tuple),
    st.integers(0, 99),
)  # fmt: skip
MODELS = st.builds(
    ModelFacts, st.just("safetensors"), WORDS, WORDS, st.none() | WORDS, roles=st.lists(WORDS).map(tuple),
    confidences=st.dictionaries(st.sampled_from(["type", "base"]), st.floats(0, 1)),
)  # fmt: skip
FACTS = st.builds(
    Facts, PATHS, st.sampled_from(Kind), st.integers(0, 2**50), st.sampled_from(Condition), st.none() | WORDS, st.none() | IMAGES,
    st.none() | ARCHIVES, st.none() | MODELS, st.lists(st.builds(Evidence, WORDS, WORDS, st.floats(0, 1), WORDS)).map(tuple),
    st.lists(WORDS).map(tuple), st.booleans(),
)  # fmt: skip
MOVES = st.builds(Move, PATHS, PATHS, st.none() | STAMPS, st.booleans(), st.none() | STAMPS)


def some(one):
    return st.lists(one, max_size=2).map(tuple)


OUTCOMES = st.builds(
    Outcome, st.sampled_from(Status), NAMES, some(st.builds(Ended, PATHS, st.sampled_from(End), PATHS, NAMES)),
    some(st.builds(Model, WORDS, WORDS, st.integers(0, 99), NAMES, PATHS, FACTS, st.booleans(), st.booleans())), some(WORDS),
    some(st.builds(Item, NAMES, NAMES, WORDS, WORDS, STAMPS, IMAGES, st.none() | WORDS, some(NAMES), NAMES)),
    some(st.builds(Caption, NAMES, NAMES, WORDS, NAMES, WORDS, WORDS, st.none() | STAMPS)),
    some(st.builds(Aside, st.sampled_from([End.TRASH, End.QUARANTINE]), PATHS, PATHS, NAMES, st.floats(0, 1e10))), some(WORDS), some(MOVES),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.builds(Prepared, OUTCOMES, some(MOVES), some(PATHS)))
def test_the_journal_reads_back_what_was_intended(prepared):
    """Every Prepared equals itself after the trip: names that are not UTF-8 too, since a start that cannot read it is no start."""
    text = codec.dumps(prepared)
    text.encode()  # it can be stored as TEXT
    assert codec.loads(Prepared, text) == prepared


@settings(max_examples=40, deadline=None)
@given(FACTS)
def test_facts_survive(facts):
    """A row's facts are read back as they were."""
    assert codec.loads(Facts, codec.dumps(facts)) == facts


PARAM = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | NAMES
    | some(NAMES)
)


@given(st.dictionaries(WORDS, PARAM, max_size=4))
def test_an_actions_parameters_keep_their_types(params):
    """True stays True and is not 1, 1 is not 1.0, a tuple of words is a tuple."""
    found = codec.loads(Action, codec.dumps(Action("tag", params)))
    assert found.params == params and [type(v) for v in found.params.values()] == [type(v) for v in params.values()]


@given(PATHS)
def test_a_path_survives_a_column(path):
    """TEXT where it is UTF-8, BLOB where it is not; equal paths are equal columns."""
    with sqlite3.connect(":memory:") as c:
        (value,) = c.execute("SELECT ?", (codec.to_db(path),)).fetchone()
    assert codec.path_of(value) == path and codec.from_db(value) == str(path)
    assert isinstance(value, str) == all(not 0xDC80 <= ord(ch) <= 0xDCFF for ch in str(path))


@given(NAMES)
def test_what_a_person_reads_can_always_be_sent(name):
    """Escapes stand for what is not UTF-8."""
    codec.printable(name).encode()


def test_what_is_no_value_is_refused():
    """Only words of ours and plain values go into the store, and only what is one of ours comes out."""
    from pydantic import ValidationError

    with pytest.raises(TypeError):
        codec.dumps(object())
    with pytest.raises(ValidationError):
        codec.loads(Stamp, '{"size": "big"}')
    assert codec.dumps(frozenset({"b", "a"})) == '["a","b"]'
