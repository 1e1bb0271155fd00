"""Changing texts: what is asked for and nothing else."""

import pytest
from dropdock.handlers.caption_edits import edited, mistake
from dropdock.rules.captions import Edit
from hypothesis import given
from hypothesis import strategies as st

WORD = st.text("abc_ ()\\", min_size=1, max_size=6).filter(lambda w: w.strip("\\ _") and w.rstrip()[-1] != "\\")


@pytest.mark.parametrize(
    ("text", "edit", "after"),
    [
        ("a cat, a cat", Edit(find="cat", replace="dog"), "a dog, a dog"),
        ("a.b", Edit(find=".", replace="\\1"), "a\\1b"),
        ("cat 12", Edit(find=r"(\d+)", replace=r"<\1>", regex=True), "cat <12>"),
        ("1girl, long hair, smile", Edit(remove=("long_hair",)), "1girl, smile"),
        ("1girl, blue hair, red hair", Edit(remove=("*hair",)), "1girl"),
        (r"cat \(animal\), smile, hat", Edit(remove=("hat",)), r"cat \(animal\), smile"),
        ("smile", Edit(prepend=("ohwx", "smile"), append=("photo",)), "ohwx, smile, photo"),
        ("a,b ,c", Edit(remove=("z",)), "a,b ,c"),
        ("", Edit(append=("a", "A")), "a"),
    ],
)
def test_texts_after_an_edit(text, edit, after):
    """Find, remove, prepend, append; escapes stay; a text in which nothing is found stays byte for byte."""
    assert edited(text, edit) == after


@pytest.mark.parametrize(
    "edit",
    [Edit(), Edit(replace="x"), Edit(find="(", regex=True), Edit(find="a", replace=r"\2", regex=True),
     Edit(find="a", replace=r"\g<x>", regex=True), Edit(remove=("/(/",))],
)  # fmt: skip
def test_what_cannot_be_done_is_told(edit):
    """In a sentence, before anything is changed."""
    assert mistake(edit)


@given(st.lists(WORD, max_size=5), WORD)
def test_a_tag_is_put_there_once(tags, tag):
    """However often that is asked."""
    once = edited(", ".join(tags), Edit(prepend=(tag,)))
    assert edited(once, Edit(prepend=(tag,))) == once == edited(once, Edit(append=(tag,)))
