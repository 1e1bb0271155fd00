"""The talk about one picture: which question follows which reply, what is taken in the end, and that it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from caption_servers import CAPTION, GOOD, SCORES
from dropdock.handlers.captioners.jsonish import looks_like_json
from dropdock.handlers.captioners.prompts import Question
from dropdock.handlers.captioners.protocol import Answer, Picture
from dropdock.handlers.captioners.talk import ASKS, BROKEN_WAIT, Patience, Reply, manner_of, talk, with_quality
from dropdock.rules.captions import Quality, Style
from hypothesis import given
from hypothesis import strategies as st

CAT = Picture(1, Path("/in/cats/tom.png"))
REFUSAL, CIRCLE, CUT = "I'm sorry, but I can't do that.", "A lantern hangs there. " + "and a street, " * 40, '{"caption": "A red'


def hold(*replies: Reply | None, picture: Picture = CAT, **options: object) -> tuple[Answer, list[Question]]:
    """Talk with a model that gives these replies, the last one for ever."""
    talking, asked = talk(picture, manner_of(options)), []
    try:
        question = next(talking)
        while True:
            asked.append(question)
            question = talking.send(replies[min(len(asked), len(replies)) - 1])
    except StopIteration as end:
        return end.value, asked


def test_a_good_reply_is_enough() -> None:
    """One question; text, opinion and flags."""
    answer, asked = hold(Reply(GOOD))
    assert (answer.text, answer.error, answer.flags, len(asked)) == (CAPTION, "", (), 1)
    assert answer.quality is not None and dict(answer.quality.opinion) == SCORES and answer.quality.overall == SCORES["overall"]


@pytest.mark.parametrize(
    ("first", "change"),
    [
        (Reply(CUT, cut=True), lambda a, b: b.tokens > a.tokens),
        (Reply(""), lambda a, b: a.json and not b.json),
        (Reply(REFUSAL), lambda a, b: a.words != b.words),
        (Reply(CIRCLE), lambda a, b: b.penalty > a.penalty and b.seed != a.seed),
        (Reply("<think>hm", cut=True), lambda a, b: b.tokens > a.tokens),
        (Reply("????????????????"), lambda a, b: not b.json),
    ],
    ids=["cut", "empty", "refusal", "circle", "thought", "garbage"],
)
def test_each_failure_has_its_own_second_question(first: Reply, change: object) -> None:
    """What can help is asked; the good reply that follows is taken."""
    answer, asked = hold(first, Reply(GOOD))
    assert answer.text == CAPTION and len(asked) == 2 and change(*asked)


@pytest.mark.parametrize("reply", ["", REFUSAL, "<think>", "{}", '{"caption": null}', "????????????????"])
def test_what_never_helps_ends_in_a_reason(reply: str) -> None:
    """After ASKS questions there is an error in words, and no text."""
    answer, asked = hold(Reply(reply))
    assert (answer.text, len(asked)) == ("", ASKS) and answer.error.startswith("the model gave no caption: ")
    assert len({str(q) for q in asked}) == ASKS  # never twice the same


def test_the_second_best_is_taken_in_the_end() -> None:
    """A circle that does not stop is taken up to its last clean end, and noted."""
    answer, asked = hold(Reply(CIRCLE))
    assert (answer.text, answer.flags, len(asked)) == ("A lantern hangs there.", ("loop", "text instead of json"), ASKS)


def test_time_that_runs_out_keeps_what_there_is() -> None:
    """No second reply: what the first had is taken; with nothing at all it is an error."""
    assert hold(Reply(CIRCLE), None)[0].text == "A lantern hangs there."
    assert "in time" in hold(None)[0].error


def test_scores_of_a_first_reply_stay_with_a_second() -> None:
    """The model's opinion is kept when only its text had to be asked for again."""
    circling = json.dumps({"caption": CIRCLE, "quality": SCORES, "flags": []})
    answer, _ = hold(Reply(circling), Reply(CAPTION))
    assert answer.text == CAPTION and answer.quality is not None and dict(answer.quality.opinion) == SCORES


def test_styles_are_laid_over_each_other() -> None:
    """The picture's own wish counts over the captioner's; the text is finished by both."""
    picture = Picture(1, CAT.path, style=Style(kind="tags", suffix=("best",)), existing="old")
    answer, asked = hold(Reply('["Cat", "red_hat"]'), picture=picture, style="natural", trigger="ohwx", existing="append")
    assert asked[0].tags and answer.text == "ohwx, old, Cat, red hat, best"


def test_measures_and_opinions_stand_side_by_side() -> None:
    """What the pixels say and what the model says are kept apart."""
    measured = Quality({"sharpness": 0.9}, flags=("alpha",), overall=0.9, dhash="0" * 16)
    both = with_quality(hold(Reply(GOOD))[0], measured).quality
    assert both is not None and dict(both.measured) == {"sharpness": 0.9} and dict(both.opinion) == SCORES
    assert both.flags == ("alpha", "low light") and both.dhash == "0" * 16
    assert with_quality(Answer("x"), measured).quality == measured and with_quality(Answer("x"), None).quality is None


def test_garbage_in_a_row_is_the_models_fault() -> None:
    """From the third on pictures stay queued; a good answer in between begins anew."""
    patience, bad = Patience(), hold(Reply("????????????????"))[0]
    laters = [patience.judge(a).later for a in (bad, bad, Answer("fine"), bad, bad, bad)]
    assert laters == [0, 0, 0, 0, 0, BROKEN_WAIT]


@given(
    st.lists(st.text(max_size=60) | st.sampled_from([GOOD, CUT, REFUSAL, CIRCLE, "<think>", ""]), min_size=1, max_size=4),
    st.booleans(),
)
def test_any_talk_ends_with_a_text_or_a_reason(replies: list[str], cut: bool) -> None:
    """Whatever is said: at most ASKS questions, then a caption that is no JSON and no refusal, or why there is none."""
    answer, asked = hold(*(Reply(text, cut) for text in replies))
    assert 1 <= len(asked) <= ASKS and bool(answer.text) is not bool(answer.error)
    assert not looks_like_json(answer.text) and not answer.text.startswith("I'm sorry")
