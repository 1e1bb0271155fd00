"""What a language model is asked: every kind, the variables, the trigger, and how a question is put again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dropdock.handlers.captioners.prompts import KIND_WORDS, SCHEMA, SCORES, Question, ask, bounded_schema, fill
from dropdock.handlers.captioners.protocol import Picture
from dropdock.rules.captions import KINDS, Style
from hypothesis import given
from hypothesis import strategies as st

CAT = Picture(1, Path("/in/my cats/tom_01.png"), tags="cat, solo, {name}")


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_every_kind_asks_for_json_with_its_schema_in_words(kind: str) -> None:
    """The form of the answer stands in the prompt too: a grammar forces a shape and not a meaning."""
    asked = ask(CAT, Style(kind=kind))
    assert asked.json and asked.tags is (kind == "tags")
    assert all(f'"{name}"' in asked.text for name in ("caption", "flags", *SCORES))
    assert KIND_WORDS.get(kind, KIND_WORDS["natural"]) in asked.text


def test_kinds_differ_in_what_they_ask_for() -> None:
    """One sentence, a short one, two or three, tags."""
    assert len({ask(CAT, Style(kind=kind)).words for kind in KINDS if kind != "custom"}) == len(KINDS) - 1


def test_a_persons_prompt_stands_as_written() -> None:
    """Variables are filled, other braces stay, and nothing is added to the words but the form of the answer."""
    words = "Name it {name} in {folder}: {tags}; {trigger} {other} {{x}}"
    asked = ask(CAT, Style(prompt=words, trigger="ohwx", kind="custom"))
    assert asked.words == "Name it tom_01 in my cats: cat, solo, {name}; ohwx {other} {{x}}"
    assert ask(CAT, Style(prompt=words), structured=False).text.endswith("no JSON, no markdown.")


def test_the_trigger_is_asked_for() -> None:
    """First words of a text, first tag of tags."""
    assert "first words of the text: ohwx" in ask(CAT, Style(trigger="ohwx")).words
    assert "first tag: ohwx" in ask(CAT, Style(trigger="ohwx", kind="tags")).words


def test_what_a_tagger_saw_helps_with_prose_alone() -> None:
    """Tags go along with a question for prose; a question for tags is not answered for the model."""
    assert "cat, solo" in ask(CAT, Style()).words and "cat, solo" not in ask(CAT, Style(kind="tags")).words
    assert "tagger" not in ask(Picture(1, CAT.path), Style()).words


def test_a_length_is_asked_for() -> None:
    """A model that knows the limit is cut less often."""
    assert "At most 120 characters" in ask(CAT, Style(max_length=120)).words


@given(st.text(max_size=80), st.text(max_size=40), st.text(max_size=40))
def test_what_is_filled_in_is_not_filled_again(words: str, trigger: str, tags: str) -> None:
    """Whatever braces a name, a tag or a trigger hold, they stay; the result is UTF-8."""
    path = Path("/in/{tags}/{trigger}.png")
    filled = fill(f"{words}{{folder}}", Picture(1, path, tags=tags), trigger)
    assert filled.endswith("{tags}")
    filled.encode("utf-8", "surrogatepass")


def test_a_name_that_is_no_unicode_can_be_sent() -> None:
    """Bytes of a file's name that are no UTF-8 do not end in a request that cannot be written."""
    fill("{name}", Picture(1, Path("/in/b\udcffd.png")), "").encode("utf-8")


def test_asking_again_is_another_question() -> None:
    """In words, simpler, with a brake, with more room: each differs from the one before, and says what it changes."""
    first = Question("What?", json=True)
    assert not first.plainly().json and first.plainly().words == "What?"
    assert first.simpler().words != "What?" and first.simpler().seed == 1
    assert first.steadily().penalty > 1 and first.steadily().steadily().penalty > first.steadily().penalty
    assert first.longer().tokens == 3 * first.tokens


def test_the_schema_is_closed_and_its_caption_comes_first() -> None:
    """Strict servers want every property required and no others; a cut answer has the caption nevertheless."""
    assert list(SCHEMA["properties"]) == SCHEMA["required"] == ["caption", "quality", "flags"]
    assert SCHEMA["additionalProperties"] is False
    bounded = bounded_schema(77)
    assert bounded["properties"]["caption"]["maxLength"] == 77 and "maxLength" not in json.dumps(SCHEMA)
