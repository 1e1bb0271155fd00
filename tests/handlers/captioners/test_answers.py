"""Replies of language models: what every odd one is worth, and what is true of any text whatever."""

from __future__ import annotations

import json

import pytest
from dropdock.handlers.captioners import answers
from dropdock.handlers.captioners.answers import CUT, LOOP, PROSE, SCORES, Then, flags, opinion, read, refusal
from dropdock.handlers.captioners.jsonish import looks_like_json
from dropdock.handlers.captioners.loops import loop_start
from hypothesis import example, given
from hypothesis import strategies as st

TEXT = "A red paper lantern hangs over a wet street at night."
SCORED = {"sharpness": 0.8, "clarity": 0.7, "composition": 0.6, "exposure": 0.5, "overall": 0.7}
WHOLE = {"caption": TEXT, "quality": SCORED, "flags": ["low light"]}
GOOD = json.dumps(WHOLE)


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Sure! Here is the JSON you asked for:\n```\n{GOOD}\n```\nLet me know if you need more.",
        f"Here it is: {GOOD} I hope that helps.",
        f"<think>The user wants {{JSON}}. I see a lantern.</think>\n\n{GOOD}",
        f"I see a lantern, so…</think>{GOOD}",
        f"<think>let me see {GOOD}",
        f"{GOOD}<|im_end|>",
        f"\ufeff{GOOD}</s>",
        GOOD.replace("]}", "],}"),
        json.dumps([WHOLE]),
        json.dumps({"flags": ["low light"], "quality": SCORED, "description": TEXT}),
        json.dumps({**WHOLE, "caption": f"The image shows a{TEXT[1:]}"}),
        json.dumps({**WHOLE, "caption": GOOD}),
    ],
    ids=[
        "plain",
        "fence",
        "chatty",
        "prose",
        "think",
        "half-think",
        "open-think",
        "special",
        "bom",
        "comma",
        "list",
        "other-key",
        "opener",
        "twice",
    ],
)
def test_the_object_is_found_wherever_it_stands(reply: str) -> None:
    """Fences, prose, thoughts, special tokens, commas too many: the text, the scores and the flags come out."""
    found = read(reply, wanted_json=True)
    assert (found.text, found.then, found.flags, found.opinion) == (TEXT, Then.USE, ("low light",), SCORED)


@pytest.mark.parametrize("end", range(len('{"caption": "') + 4, len(GOOD)))
def test_cut_anywhere_json_never_shows(end: int) -> None:
    """A reply cut at any place gives words of the caption, or asks for more; it never gives JSON."""
    found = read(GOOD[:end], wanted_json=True, cut=True)
    assert not looks_like_json(found.text)
    assert TEXT.startswith(found.text.rstrip("."))
    if end > GOOD.index('"quality"'):
        assert (found.text, found.then) == (TEXT, Then.USE)
    else:
        assert found.then in (Then.LONGER, Then.USE) and (found.then is Then.LONGER or found.text == TEXT)


def test_a_cut_text_ends_with_its_last_whole_sentence() -> None:
    """What was stopped in the middle of a sentence is given without it, and says so."""
    found = read(f"{TEXT} Behind it there is a ma", wanted_json=False, cut=True)
    assert (found.text, found.then, found.notes) == (TEXT, Then.USE, (CUT,))
    tags = read("lantern, night, wet street, reflec", wanted_json=False, cut=True, tags=True)
    assert (tags.text, tags.then) == ("lantern, night, wet street", Then.USE)


def test_words_where_json_was_asked_for_are_used_and_noted() -> None:
    """Prose is a caption too: it is used, and the answer says that it came without scores."""
    found = read(TEXT, wanted_json=True)
    assert (found.text, found.then, found.notes, dict(found.opinion)) == (TEXT, Then.USE, (PROSE,), {})


@pytest.mark.parametrize(
    "reply",
    ["", "   \n", "<think></think>", "<|im_end|>", '{"quality": {"overall": 1}}', '{"caption": ""}', "{}", "```json\n```"],
)
def test_nothing_said_is_never_used(reply: str) -> None:
    """Empty content with a good status is no caption."""
    found = read(reply, wanted_json=True)
    assert (found.text, found.then is Then.USE) == ("", False) and found.why


def test_a_thought_that_never_ends_asks_for_more_room() -> None:
    """A model that thinks until it is stopped is asked again with more tokens."""
    assert read("<think>well, let me think about it", wanted_json=True, cut=True).then is Then.LONGER


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't help with describing this image.",
        "I cannot assist with that request.",
        "I’m unable to identify people in images.",
        "As an AI language model, I do not see pictures.",
        json.dumps({**WHOLE, "caption": "I apologize, but I can't describe this."}),
        '"Sorry, I can\'t do that."',
        "I don't see an image attached to your message.",
    ],
)
def test_a_refusal_is_no_caption(reply: str) -> None:
    """A refusal is recognised where it begins, in JSON too, and another question is asked."""
    found = read(reply, wanted_json=True)
    assert (found.text, found.then) == ("", Then.SIMPLER)


@pytest.mark.parametrize(
    "text",
    [
        "A sorry looking dog on a porch.",
        "A sign that says 'I can't even'.",
        "An AI robot in a lab.",
        "I cannot help but admire the red house.",
    ],
)
def test_words_of_refusals_inside_a_caption_are_fine(text: str) -> None:
    """Only the beginning counts."""
    assert not refusal(text) and read(text, wanted_json=False).text == text


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        ("A lantern hangs over a street. " + "It is red, and it is red, " * 12, "A lantern hangs over a street."),
        ("a red lantern, and a lantern" + ", and a lantern" * 20, "A red lantern"),
        ("a wet street at night, " + "ha" * 60, "a wet street at night"),
        ('{"caption": "A lantern. ' + "the the the " * 40, ""),
    ],
)
def test_a_circle_is_cut_and_asked_again(reply: str, kept: str) -> None:
    """What goes round is cut before it does; the rest is only the second best."""
    found = read(reply, wanted_json=False, cut=True)
    assert found.then is Then.STEADILY and found.notes == (LOOP,)
    assert found.text.casefold() == kept.casefold() or (not kept and "the the" not in found.text)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "1girl, solo, long hair, blue eyes, blue hair, blue dress, blue sky, blue flower, standing, outdoors, smile, day, cloud, tree",
        "A man and a woman walk along the beach, and a dog runs along the beach, and the sun sets over the sea.",
        "A long corridor of doors: " + ", ".join(f"door {n} is painted number {n}" for n in range(1, 6)),
    ],
)
def test_an_ordinary_text_is_no_circle(text: str) -> None:
    """Words that come back, as they do in tags and lists, are no loop."""
    assert loop_start(text) is None


@pytest.mark.parametrize("reply", ["????????????????", "#@!%^&*()_+{}|:<>~~~~", "▁▁▁▁▁▁▁▁▁▁▁", "0000 1111 ,,,, 0000 ...."])
def test_garbage_is_no_caption(reply: str) -> None:
    """Signs without words, as a wrong vision half makes them, are not written."""
    assert read(reply, wanted_json=False).text == ""


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Caption: a cat", "a cat"),
        ('"A cat on a mat."', "A cat on a mat."),
        ("**Caption:** A cat on a mat.", "A cat on a mat."),
        ("Sure! Here's a description of the image: A cat on a mat.", "A cat on a mat."),
        ("The image shows a cat on a mat.", "A cat on a mat."),
        ("In this picture, there is a cat on a mat.", "A cat on a mat."),
        ("A photograph of a cat.", "A photograph of a cat."),
        ("An image of a cat.", "A cat."),
        ("Certainly a cat person.", "Certainly a cat person."),
        ("A sign says: closed.", "A sign says: closed."),
        ("**A red house** stands *here* at 2*3*4.", "A red house stands here at 2*3*4."),
        ("- A cat.\n- A mat", "A cat. A mat"),
        ("***A cat*** says f**k on **a** shirt.", "A cat says f**k on a shirt."),
        ("A poster says:\n1. Eat\n2. Sleep", "A poster says: Eat, Sleep"),
        ("A poster says:\n1. Eat\n2. Sleep\nA man stands by it.", "A poster says: 1. Eat 2. Sleep A man stands by it."),
        ("Zwei Katzen\nauf einer Matte.", "Zwei Katzen auf einer Matte."),
        ("一只猫坐在垫子上。", "一只猫坐在垫子上。"),
    ],
)
def test_openers_and_wrappings_go(reply: str, text: str) -> None:
    """Labels, quotes, markdown and `The image shows` go; the rest begins with a capital letter; nothing else is touched."""
    assert read(reply, wanted_json=False).text == text


def test_tags_come_out_of_lists() -> None:
    """A JSON list is what many models think of when they hear tags."""
    for reply in ('["1girl", "solo", "smile"]', '{"caption": ["1girl", "solo", "smile"]}', "Tags: 1girl, solo, smile."):
        assert read(reply, wanted_json=True, tags=True).text == "1girl, solo, smile"
    for reply in (
        "1. red hair\n2. blue eyes\n10) ^_^",
        "- red hair,\n- **blue eyes**\n\n- ^_^",
        "Tags:\n* red hair\n* blue eyes\n* ^_^",
    ):
        assert read(reply, wanted_json=False, tags=True).text == "red hair, blue eyes, ^_^"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"sharpness": 0.8, "overall": 1}, {"sharpness": 0.8, "overall": 1.0}),
        ({"sharpness": 8, "overall": 9.5}, {"sharpness": 0.8, "overall": 0.95}),
        ({"sharpness": 85, "overall": 40}, {"sharpness": 0.85, "overall": 0.4}),
        ({"sharpness": "8/10", "overall": "85 %", "clarity": "0,5"}, {"sharpness": 0.8, "overall": 0.85, "clarity": 0.5}),
        ({"sharpness": "high", "overall": None, "clarity": True}, {}),
        ({"sharpness": float("nan"), "overall": 10**400, "clarity": -0.1}, {"clarity": 0.0}),
        ("good", {}),
        ([0.5], {}),
    ],
)
def test_scores_on_any_scale(given: object, found: dict[str, float]) -> None:
    """Scores of 1, of 10, of 100 and in words of a scale come out as 0..1; anything else is left out."""
    assert opinion(given) == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["Blurry", "low_light", "blurry"], ("blurry", "low light")),
        ("blurry, watermark; none", ("blurry", "watermark")),
        ({"blurry": True, "watermark": False, "text": "yes", "cropped": "no"}, ("blurry", "text")),
        ([1, None, {"a": 1}], ()),
        (None, ()),
        (["x" * 99] + [str(n) for n in range(50)], ("x" * 40, "0", "1", "2", "3", "4", "5", "6")),
    ],
)
def test_flags_of_any_shape(given: object, found: tuple[str, ...]) -> None:
    """A list, a text or an object become a few short words."""
    assert flags(given) == found


PIECES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            GOOD,
            "```json",
            "```",
            "<think>",
            "</think>",
            '{"caption": "',
            '"}',
            "{",
            "}",
            "[",
            "]",
            '\\"',
            "\\u12",
            ",",
            ":",
            "null",
            TEXT,
        ]
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10) | st.sampled_from(SCORES), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.lists(PIECES, max_size=12).map("".join), st.booleans(), st.booleans(), st.booleans())
@example('"}.', False, True, True)  # the end of an object, cut behind it
def test_any_reply_is_words_or_another_question(reply: str, wanted: bool, cut: bool, tags: bool) -> None:
    """Nothing is raised; what is used is one line of text that is no JSON; a reply without text is never used."""
    found = read(reply, wanted, cut, tags)
    assert found.text or found.then is not Then.USE
    assert not looks_like_json(found.text) and "\n" not in found.text and "<think>" not in found.text
    assert found.text == found.text.strip()
    found.text.encode("utf-8")
    assert all(0 <= v <= 1 for v in found.opinion.values()) and set(found.opinion) <= set(SCORES)


@given(VALUES, VALUES)
def test_any_value_for_scores_and_flags(quality: object, listed: object) -> None:
    """Whatever stands where scores and flags belong, they come out as agreed and the text stays."""
    found = read(json.dumps({"caption": TEXT, "quality": quality, "flags": listed}), wanted_json=True)
    assert found.text == TEXT
    assert all(0 <= v <= 1 for v in found.opinion.values())
    assert len(found.flags) <= 8 and all(0 < len(flag) <= 40 for flag in found.flags)


@given(st.text(alphabet="abcdefgh ,.", min_size=1, max_size=40).filter(str.strip), st.text(alphabet="ijklmno ", max_size=60))
def test_any_circle_is_found(turn: str, before: str) -> None:
    """A text that repeats anything often enough goes in a circle, and the cut is not behind the second turn's end."""
    start = loop_start(before + turn * (3 + answers_needed(turn)))
    assert start is not None and start <= len(before) + 2 * len(turn)


def answers_needed(turn: str) -> int:
    """Turns after which even a short one has filled what must repeat."""
    return 60 // len(turn) + 2


def test_a_huge_reply_is_read_in_bounded_time() -> None:
    """Only the first characters are looked at, and nested braces cost nothing much."""
    for reply in ("{" * 200_000, '{"caption": "' + "x, " * 100_000, "[{" * 50_000, "```" * 50_000, "<think>" * 30_000):
        assert not looks_like_json(read(reply, True, True).text)
    assert answers.LONGEST <= 100_000
