"""Globs and regexes over names and paths."""

import unicodedata

import pytest
from dropdock.rules.globs import compile_pattern
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("glob", "subject", "fits"),
    [
        ("*.png", "Cat.PNG", True),
        ("*.png", "a/cat.png", False),
        ("**/*.png", "a/b/cat.png", True),
        ("**/*.png", "cat.png", True),
        ("**/loras/**", "ComfyUI/models/loras/x.safetensors", True),
        ("loras/**", "loras", True),
        ("/srv/**/x", "/srv/a/b/x", True),
        ("/srv/*/x", "/srv/a/b/x", False),
        ("*.{jpg,jp{e,}g,webp}", "a.jpeg", True),
        ("*.{jpg,png}", "a.gif", False),
        ("[!a]*", "b1", True),
        ("[!a]*", "a1", False),
        ("?.txt", "a.txt", True),
        ("a/**/**/b", "a/b", True),
        ("/xl/", "sdxl-lora", True),
        ("/XL/", "sdxl-lora", False),
        ("/XL/i", "sdxl-lora", True),
        (r"/^v\d+$/", "v12", True),
    ],
)
def test_matching(glob: str, subject: str, fits: bool) -> None:
    """A star stays in one name, two stars cross folders, case does not count in globs but in regexes."""
    assert compile_pattern(glob).matches(subject) is fits


def test_composed_and_decomposed_names_are_the_same() -> None:
    """macOS hands out decomposed names; a glob typed with an umlaut matches them."""
    assert compile_pattern("*ü*").matches(unicodedata.normalize("NFD", "grün.png"))


@pytest.mark.parametrize("bad", ["", "a{b", "/(/", "{a,b}" * 7, "x" * 501])
def test_bad_patterns_are_refused(bad: str) -> None:
    """An open brace, a broken regex, or a pattern that would blow up is a ValueError with a sentence."""
    with pytest.raises(ValueError, match=r"expected|not a regular"):
        compile_pattern(bad)


def test_many_stars_stay_cheap() -> None:
    """A pattern that makes backtracking matchers explode ends at once."""
    assert not compile_pattern("*a" * 40 + "/" + "**/" * 40 + "b").matches("a" * 250 + "/" + "a/" * 100 + "c")


NAMES = st.text(st.characters(exclude_characters="/"), min_size=1, max_size=12)


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=5), st.integers(0, 5), st.integers(0, 5))
def test_stars_always_match_what_they_replace(parts: list[str], first: int, length: int) -> None:
    """Putting `**` in the place of any run of folders, or `*` in the place of one name, still matches the path."""
    path = "/".join(parts)
    escaped = [_escape(p) for p in parts]
    assert compile_pattern("/".join(["**", *escaped[min(first, len(parts) - 1) :]])).matches(path)
    start = min(first, len(parts))
    run = "/".join([*escaped[:start], "**", *escaped[start + length :]])
    assert compile_pattern(run).matches(path)


@settings(deadline=None)
@given(st.text(alphabet="ab*?[]{},!/-\\^", max_size=20), st.text(alphabet="ab/", max_size=20))
def test_only_value_errors(glob: str, subject: str) -> None:
    """Any pattern either compiles and answers, or is refused with a ValueError."""
    try:
        pattern = compile_pattern(glob)
    except ValueError:
        return
    assert pattern.matches(subject) in (True, False)


def _escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else "?" if c in "{}" else c for c in name)
