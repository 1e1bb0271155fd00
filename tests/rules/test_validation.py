"""Validation: each finding where it belongs, and none where nothing is wrong."""

from __future__ import annotations

import pytest
from dropdock.rules.validation import KINDS, Finding, Limits, Looked, findings, has_trigger
from hypothesis import given
from hypothesis import strategies as st

FINE = Looked(1, "a.png", 1024, 768, "ohwx, a cat")


def kinds(*pictures: Looked, limits: Limits | None = None) -> list[tuple[str, str]]:
    return [(f.rel, f.kind) for f in findings(pictures, limits or Limits(trigger="ohwx"))]


def test_a_fit_picture_has_no_finding() -> None:
    """Large enough, a text of its own, the trigger first."""
    assert kinds(FINE, Looked(2, "b.png", 512, 1024, "OHWX  a dog")) == []


@pytest.mark.parametrize(
    ("looked", "kind"),
    [
        (Looked(2, "b.png", 511, 900, "ohwx b"), "small"),
        (Looked(2, "b.png", 2000, 600, "ohwx b"), "aspect"),
        (Looked(2, "b.png", 600, 600, None), "caption missing"),
        (Looked(2, "b.png", 600, 600, " \n"), "caption empty"),
        (Looked(2, "b.png", 600, 600, "Ohwx, a cat "), "caption duplicate"),
        (Looked(2, "b.png", 600, 600, "a dog, ohwx"), "trigger missing"),
        (Looked(2, "a.jpg", 600, 600, "ohwx b"), "shared caption"),
        (Looked(2, "b.png", 600, 600, "ohwx b", ("near-duplicate:a.png",)), "near duplicate"),
        (Looked(2, "b.png", 600, 600, "ohwx b", bad=("corrupt", "half of it")), "corrupt"),
    ],
)
def test_each_fault_is_found_alone(looked: Looked, kind: str) -> None:
    """Of the picture that has it."""
    assert kinds(FINE, looked) == [(looked.rel, kind)]


def test_two_pictures_without_a_text_are_no_duplicates() -> None:
    """Missing and empty are said of each; a folder parts stems."""
    found = kinds(Looked(1, "a.png", 600, 600, None), Looked(2, "x/a.png", 600, 600, None), Looked(3, "c.png", 600, 600, ""))
    assert [kind for _, kind in found] == ["caption missing", "caption missing", "caption empty"]


@pytest.mark.parametrize(
    ("text", "trigger", "there"),
    [("ohwx", "ohwx", True), ("ohwxyz, a", "ohwx", False), ("ohwx style, a", "ohwx  Style", True), ("a ohwx", "ohwx", False)],
)
def test_a_trigger_is_whole_words_at_the_start(text: str, trigger: str, there: bool) -> None:
    """Whatever its case and blanks."""
    assert has_trigger(text, trigger) is there


@given(
    st.lists(
        st.builds(
            Looked,
            st.integers(1, 9),
            st.sampled_from(["a.png", "a.jpg", "b", "x/a.png"]),
            st.integers(0, 4000),
            st.integers(0, 4000),
            st.none() | st.text(max_size=5),
            bad=st.none() | st.sampled_from([("gone", "x"), ("corrupt", "y")]),
        ),
        max_size=6,
    )
)
def test_every_finding_has_its_level_and_mend(pictures: list[Looked]) -> None:
    """Whatever is looked at, a picture of no size included."""
    for found in findings(pictures, Limits()):
        assert isinstance(found, Finding) and found.kind in KINDS and found.level in ("error", "warning") and found.mend
