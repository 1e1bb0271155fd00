"""Placing: every new picture gets a path of its own, also on disks that ignore case or normalise Unicode."""

import hashlib
import unicodedata
from pathlib import Path

import pytest
from dropdock.handlers.pictures import Examined
from dropdock.handlers.placing import MAX_NAME, Placer, key, safe_rel, stem_key
from dropdock.rules.terms import Digests, Holdings, ImageFacts
from hypothesis import given
from hypothesis import strategies as st


def seen(content: object, dhash: str = "0123456789abcdef", size: tuple[int, int] = (640, 480)) -> Examined:
    sha = hashlib.sha256(repr(content).encode()).hexdigest()
    return Examined(ImageFacts("png", *size), Digests(sha, sha[:32], 10), dhash)


NAME = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
REL = st.lists(NAME, min_size=1, max_size=3).map("/".join)


@given(st.lists(st.tuples(REL, st.integers(0, 8)), max_size=25), st.lists(REL, max_size=5))
def test_no_two_pictures_share_a_stem_on_any_disk(wishes, on_disk):
    """Whatever names come, the places differ in their stem even without case and in one normal form, and none is taken on disk."""
    placer = Placer(None, on_disk)
    places = [placer.place(rel, seen(content)) for rel, content in wishes]
    new = [p.rel for p in places if p.same_as is None]
    stems = [stem_key(rel) for rel in new]
    assert len(set(stems)) == len(stems) and not set(stems) & {stem_key(rel) for rel in on_disk}
    assert len(new) == len({content for _, content in wishes}), "each content is placed once"
    for rel in new:
        assert rel == safe_rel(rel)


@given(REL)
def test_names_are_plain(rel):
    """No control character, no leading dot, no climbing out, not too long for any disk; doing it twice changes nothing."""
    found = safe_rel(rel)
    assert safe_rel(found) == found
    for part in found.split("/"):
        assert not part.startswith(".") and not any(unicodedata.category(ch) == "Cc" and ord(ch) < 128 for ch in part)
        assert len(part.encode("utf-8", "surrogateescape")) <= MAX_NAME + 20


def test_names_stay_as_they_came_where_they_can():
    """Blanks, other alphabets and signs are kept."""
    for rel in ("sub folder/Ärger & Co.png", "猫/ねこ.jpg", "a.b.c.webp"):
        assert Placer(None).place(rel, seen(rel)).rel == rel


@pytest.mark.parametrize("first, second, placed", [
    ("a.png", "A.PNG", "A-2.PNG"), ("a.png", "a.jpg", "a-2.jpg"), ("caf\u00e9.png", "cafe\u0301.png", "cafe\u0301-2.png"),
    ("Sub/a.png", "sub/A.png", "sub/A-2.png"), ("straße.png", "STRASSE.png", "STRASSE-2.png"),
])  # fmt: skip
def test_collisions_get_a_number(first, second, placed):
    """Case, normal form and suffix alone do not make two pictures."""
    placer = Placer(None)
    placer.place(first, seen(1))
    assert placer.place(second, seen(2)).rel == placed


def test_what_the_dataset_holds_is_known():
    """The same content is named, a picture that looks the same and a small one are flagged and placed."""
    holdings = Holdings("cats", Path("/d"), frozenset({"a.png"}), {seen(1).digests.sha256: "a.png"},
                        {"a.png": "00000000000000ff"})  # fmt: skip
    placer = Placer(holdings)
    assert placer.place("b.png", seen(1)).same_as == "a.png"
    near = placer.place("c.png", seen(2, "00000000000000fe", (100, 900)))
    assert (near.rel, near.same_as, near.flags) == ("c.png", None, ("small", "near-duplicate:a.png"))
    assert placer.place("a.png", seen(3)).rel == "a-2.png"


def test_keys_are_what_disks_compare():
    """NFC and case folding."""
    assert key("CAFE\u0301") == key("caf\u00e9")
