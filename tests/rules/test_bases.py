"""The words for bases: all that the tables can give, and what a slip may have meant."""

import re
from pathlib import Path

import dropdock
import pytest
from dropdock.rules.bases import known_bases, nearest_bases


def test_the_words_are_those_of_the_page() -> None:
    """docs/models.md names every known base, and each word that it lists there is known."""
    page = (Path(dropdock.__file__).parent / "docs" / "models.md").read_text("utf-8")
    listed = page[page.index("## Bases") : page.index("## What else")]
    words = set(re.findall(r"`([a-z0-9.-]+)`", listed)) - {"general.architecture", "subfamily"}
    assert words == known_bases()


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("sdlx", "sdxl"),
        ("Flux.1-dev", "flux1"),
        ("sd1.5", "sd15"),
        ("wan2.2", "wan"),
        ("qwen-imgae", "qwen-image"),
        ("pony", "sdxl"),
    ],
)
def test_a_slip_means_the_nearest_word(word: str, first: str) -> None:
    """By spelling, and by what trainers and uploaders call a family."""
    assert nearest_bases(word)[0] == first


def test_a_word_like_no_other_means_nothing() -> None:
    """Nothing is suggested then."""
    assert nearest_bases("xyzzy") == []
