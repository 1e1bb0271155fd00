"""Confidence as one number an axis, and as a word: sources that copy from each other count once, and the words cover everything."""

import math

from dropdock.rules.confidence import BANDS, Bands, rank
from dropdock.rules.terms import Evidence
from hypothesis import given
from hypothesis import strategies as st

SHARES = st.floats(0, 1)


def test_a_sidecar_counts_with_civitai_and_not_beside_it() -> None:
    """What a tool wrote down of CivitAI's answer adds nothing to that answer; another group does."""
    civitai, sidecar = Evidence("civitai", "base=sdxl", 0.85, ""), Evidence("sidecar", "base=sdxl", 0.5, "")
    assert rank([civitai, sidecar], "base") == rank([civitai], "base") == [("sdxl", 0.85)]
    assert rank([sidecar, Evidence("name", "base=sdxl", 0.3, "")], "base") == [("sdxl", 0.65)]


def test_the_default_bands() -> None:
    """Sure from 0.9, probable from 0.6, else a guess."""
    words = [Bands().word(x) for x in (1.0, 0.9, 0.8999, 0.6, 0.5999, 0.0)]
    assert words == ["sure", "sure", "probable", "probable", "guess", "guess"]


@given(SHARES, st.tuples(SHARES, SHARES).map(sorted))
def test_every_confidence_has_one_word_and_its_question_agrees(confidence: float, edges: list[float]) -> None:
    """Whatever the borders: the word's own comparison holds, and no other's."""
    bands = Bands(sure=edges[1], probable=edges[0])
    fits = [word for word in BANDS if bands.comparison(word).holds(confidence)]
    assert fits == [bands.word(confidence)]


def test_a_word_that_is_none() -> None:
    """Other words are no question; a NaN is in no band."""
    assert Bands().comparison("certain") is None
    assert not any(Bands().comparison(word).holds(math.nan) for word in BANDS)
