"""finish: the fixed order that every caption goes through, and what no order may break."""

import unicodedata

import pytest
from dropdock.handlers.captioners.finish import (
    FACES,
    broken_pattern,
    clean,
    cut,
    escaped,
    finish,
    key,
    split,
    unescaped,
    without_implied,
)
from dropdock.rules.captions import Style
from hypothesis import given
from hypothesis import strategies as st

PLAIN = Style()


def tags(text: str, there: str = "", **style: object) -> str:
    return finish(text, Style(**style), True, there)  # type: ignore[arg-type]


def prose(text: str, there: str = "", **style: object) -> str:
    return finish(text, Style(**style), False, there)  # type: ignore[arg-type]


# ---------------------------------------------------------------- tags


def test_underscores_are_spaces_but_in_faces():
    """Also in the long faces, which a rule by length gets wrong."""
    assert (
        tags("long_hair, ^_^, <o>_<o>, <|>_<|>, ||_||, T_T, t-shirt") == "long hair, ^_^, <o>_<o>, <|>_<|>, ||_||, T_T, t-shirt"
    )
    assert tags("long_hair, ^_^", underscores=True) == "long_hair, ^_^"


def test_brackets_are_escaped_only_where_asked():
    r"""And a backslash of a name, as in \o/, before them."""
    assert tags(r"tail_(animal), \m/") == r"tail (animal), \m/"
    assert tags(r"tail_(animal), \m/", escape=True) == r"tail \(animal\), \\m/"
    assert tags(r"tail \(animal\)") == "tail (animal)"


def test_a_comma_splits_tags_unless_it_is_escaped():
    """Empty parts are none."""
    assert split(r"a, b\, c ,, d\\, e,") == ["a", "b c", "d", "e"]


@pytest.mark.parametrize(
    "exclude, left",
    [
        (("Blue_Eyes",), "1girl, red hair, artist name, tail (animal)"),
        (("*_hair", "artist?name"), "1girl, blue eyes, tail (animal)"),
        ((r"/^(red|blue) /",), "1girl, artist name, tail (animal)"),
        ((r"tail \(animal\)",), "1girl, blue eyes, red hair, artist name"),
        (("/(/",), "1girl, blue eyes, red hair, artist name, tail (animal)"),
    ],
)
def test_tags_are_excluded(exclude, left):
    """Exactly, by wildcard, by expression; case, underscores and escapes do not count; a broken expression excludes nothing."""
    assert tags("1girl, blue_eyes, red_hair, artist_name, tail_(animal)", exclude=exclude) == left


def test_tags_are_replaced_before_they_are_excluded():
    """A replacement may be several tags, or none."""
    swaps = {"bangs": "blunt fringe", "red_dress": "dress, red", "blurry": ""}
    assert tags("bangs, red dress, Blurry, red", replace=swaps) == "blunt fringe, dress, red"
    assert tags("bangs, smile", replace={"bangs": "fringe"}, exclude=("fringe",)) == "smile"


def test_what_another_tag_says_is_left_out():
    """By the table, and by the words that a tag ends in; kept where it is asked for."""
    assert tags("hat, witch_hat, very_long_hair, long_hair, smile") == "witch hat, very long hair, smile"
    assert tags("hat, witch_hat", implied=True) == "hat, witch hat"
    assert without_implied(["no hat", "hat", "shoes", "holding shoes"]) == ["no hat", "hat", "shoes", "holding shoes"]


def test_the_trigger_stands_first_and_once():
    """As a whole tag, whatever its case; a tag that begins alike is another one."""
    assert tags("smile, OHWX, ohwxyz", trigger="ohwx") == "ohwx, smile, ohwxyz"
    assert tags("woman, smile", trigger="ohwx, woman") == "ohwx, woman, smile"
    assert tags("smile", trigger="ohwx", prefix=("photo", "ohwx"), suffix=("smile", "8k")) == "ohwx, photo, smile, 8k"
    assert prose("A cat.", trigger="ohwx", prefix=("Ohwx", "best")) == "ohwx, best, A cat."


@pytest.mark.parametrize(
    "how, text",
    [
        ("", "ohwx, cat, sofa"),
        ("replace", "ohwx, cat, sofa"),
        ("append", "ohwx, dog, Sofa, cat"),
        ("prepend", "ohwx, cat, sofa, dog"),
        ("merge", "ohwx, dog, Sofa, cat"),
    ],
)
def test_a_caption_that_is_there(how, text):
    """Is replaced, or stands before or behind the new tags, with nothing twice."""
    assert tags("cat, sofa", "ohwx, dog, Sofa", trigger="ohwx", existing=how) == text


def test_tags_are_cut_between_tags_and_never_through_the_trigger():
    """First the body gives way, then suffix and prefix; the trigger is whole even where it is longer than all there is."""
    style = {"trigger": "ohwx woman", "prefix": ("photo",), "suffix": ("8k",)}
    assert tags("red hair, smile", max_length=34, **style) == "ohwx woman, photo, red hair, 8k"
    assert tags("red hair, smile", max_length=30, **style) == "ohwx woman, photo, 8k"
    assert tags("red hair, smile", max_length=17, **style) == "ohwx woman, photo"
    assert tags("red hair, smile", max_length=4, **style) == "ohwx woman"
    assert tags(r"a_(b), c_(d)", max_length=9, escape=True) == r"a \(b\)"


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\ufeff", "\x00\x07"])
@pytest.mark.parametrize("kind", [True, False])
def test_saying_nothing_is_the_empty_text(text, kind):
    """Even with a trigger: nobody wants a sidecar of an answer that was none."""
    assert finish(text, Style(trigger="ohwx"), kind) == ""


# ---------------------------------------------------------------- prose


def test_prose_is_one_clean_line():
    """Control characters and line breaks go, letters are composed."""
    assert prose("A  cafe\u0301.\n\nIt is\x07 late.\u200b") == "A caf\u00e9. It is late."


@pytest.mark.parametrize(
    "text, with_trigger",
    [
        ("A woman smiles.", "ohwx, A woman smiles."),
        ("ohwx, a woman.", "ohwx, a woman."),
        ("OHWX a woman.", "ohwx, a woman."),
        ("ohwxyz is a word.", "ohwx, ohwxyz is a word."),
        ("A woman, ohwx, smiles.", "ohwx, A woman, smiles."),
        ("non-ohwx and ohwx's hat.", "ohwx, non-ohwx and ohwx's hat."),
    ],
)
def test_the_trigger_begins_prose_once(text, with_trigger):
    """As a whole token; elsewhere in the text it is taken out."""
    assert prose(text, trigger="ohwx") == with_trigger


def test_words_of_prose_are_replaced_and_excluded():
    """Whole words and phrases, by wildcard, by expression; the commas they leave behind go too."""
    assert prose("A lady, blurry, in a hat.", replace={"lady": "woman"}, exclude=("blurry",)) == "A woman, in a hat."
    assert prose("A photo by jane_doe of cats.", exclude=("by jane*",)) == "A photo of cats."
    assert prose("Seen at 12:30 and 9:15 today.", exclude=(r"/ at \d+:\d+ and \d+:\d+/",)) == "Seen today."
    assert prose("A cap", replace={"cap": r"\1 cup"}) == r"A \1 cup"


def test_prefix_and_suffix_stand_once():
    """Also when the text has them already."""
    style = {"trigger": "ohwx", "prefix": ("a photo",), "suffix": ("film grain",)}
    once = "ohwx, a photo, A cat sits. film grain"
    assert prose("A cat sits.", **style) == once == prose(once, **style)


@pytest.mark.parametrize("how, text", [("append", "A dog. A cat."), ("prepend", "A cat. A dog."), ("merge", "A dog. A cat.")])
def test_prose_that_is_there(how, text):
    """Old and new stand side by side; merging twice adds nothing."""
    assert prose("A cat.", "A dog.", existing=how) == text
    assert prose("A cat.", text, existing="merge") == text


@pytest.mark.parametrize(
    "most, text",
    [(100, "A cat sits. It is red. And old."), (25, "A cat sits. It is red."), (20, "A cat sits."), (10, "A cat"), (3, "A")],
)
def test_prose_is_cut_after_a_sentence_else_after_a_word(most, text):
    """Never within a word, where one fits."""
    assert prose("A cat sits. It is red. And old.", max_length=most) == text


def test_a_cut_leaves_the_trigger_whole():
    """And what stands behind it gives way."""
    assert prose("A cat sits on the mat", trigger="ohwx", max_length=14) == "ohwx, A cat"
    assert prose("Supercalifragilistic", trigger="ohwx woman", max_length=8) == "ohwx woman"


# ---------------------------------------------------------------- what holds for all of them

WORDS = st.text(alphabet="abcxyz_() \\,.^*/?é\u0301\u200b\n", max_size=12)
LINES = st.lists(WORDS, max_size=6).map(", ".join)
STYLES = st.builds(
    Style,
    trigger=st.sampled_from(["", "ohwx", "ohwx woman", "sks, man"]),
    max_length=st.integers(0, 40),
    prefix=st.sampled_from([(), ("photo",), ("best (q)",)]),
    suffix=st.sampled_from([(), ("8k",)]),
    exclude=st.lists(WORDS, max_size=2).map(tuple),
    replace=st.dictionaries(WORDS, WORDS, max_size=2),
    underscores=st.booleans(),
    escape=st.booleans(),
    implied=st.booleans(),
    existing=st.sampled_from(["", "replace", "append", "prepend", "merge"]),
)


@given(LINES, STYLES, st.booleans(), LINES)
def test_every_caption_is_one_line_that_fits(text, style, kind, existing):
    """Composed, trimmed, no control characters, not longer than asked for but by the trigger, which stands first."""
    out = finish(text, style, kind, existing)
    assert out == out.strip() == unicodedata.normalize("NFC", out) and "\n" not in out
    least = len(escaped(style.trigger) if style.escape else style.trigger)
    assert not style.max_length or len(out) <= max(style.max_length, least)
    assert not out or not style.trigger or out.startswith(style.trigger)


@given(LINES, STYLES)
def test_no_tag_stands_twice_and_every_escape_is_whole(text, style):
    """Whatever is replaced, prefixed and cut: tags differ by their key, and read back they are what was written."""
    out = finish(text, style, True)
    found = split(out)
    keys = [key(tag) for tag in found]
    assert len(set(keys)) == len(keys)
    if style.escape:
        assert ", ".join(escaped(tag) for tag in found) == out


@given(LINES, STYLES.map(lambda s: Style(**{**{f: getattr(s, f) for f in ("trigger", "prefix", "suffix", "implied", "escape")}})))
def test_finishing_tags_again_changes_nothing(text, style):
    """So that a caption may be finished anew when its style changes."""
    once = finish(text, style, True)
    assert finish(once, style, True) == once


@given(st.text(max_size=60))
def test_escaping_loses_nothing(tag):
    """What was escaped reads back as it was."""
    assert unescaped(escaped(tag)) == tag


@given(st.text(max_size=80), st.integers(1, 60))
def test_a_cut_is_the_beginning(text, most):
    """Not longer than asked, and nothing is changed on the way."""
    line = clean(text)
    part = cut(line, most)
    assert len(part) <= most and line.startswith(part)


def test_a_broken_expression_is_told():
    """So that the config can name it."""
    assert broken_pattern("/(/") and not broken_pattern("/a+/") and not broken_pattern("(")


def test_every_face_is_written_as_it_is_compared():
    """The table is in the form that the comparison uses."""
    assert all(face == face.casefold() and "_" in face for face in FACES)
