"""Placing: every new picture gets a path of its own, also on disks that ignore case or normalise Unicode."""

import hashlib
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dropdock.handlers.pictures import Examined
from dropdock.handlers.placing import MAX_NAME, Placer, fitting, key, safe_rel, stem_key
from dropdock.rules.readers import archives
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
        assert Path(rel).suffix.lower() in archives.IMAGE_SUFFIXES, "or it could bear the name of a caption"


PLAIN = st.lists(st.sampled_from(["x.png", "X.PNG", "x.txt", "x", "y.jpg"]), min_size=1, max_size=3).map("/".join)


@given(st.lists(PLAIN, max_size=20), st.lists(PLAIN, max_size=3, unique=True))
def test_nothing_is_both_a_file_and_a_folder(wishes, on_disk):
    """Pictures whose folders are called like other pictures or captions: all can be written, each with a text beside it."""
    on_disk = [a for a in on_disk if not any(key(b).startswith(key(a)) for b in on_disk if b != a)]
    placer = Placer(None, on_disk)
    with TemporaryDirectory() as name:
        root = Path(name)
        for rel in on_disk:
            (root / rel).parent.mkdir(parents=True, exist_ok=True)
            (root / rel).touch()
        for n, rel in enumerate(wishes):
            at = root / placer.place(rel, seen(n)).rel
            at.parent.mkdir(parents=True, exist_ok=True)
            for new in (at, at.with_suffix(".txt")):
                new.touch(exist_ok=False)


@pytest.mark.parametrize("rel, form, found", [
    ("a.png", "jpeg", "a.png"), ("A.JPEG", "jpeg", "A.JPEG"), ("sub/pic_as.txt", "jpeg", "sub/pic_as.jpg"),
    ("a.caption", "tiff", "a.tif"), ("IMG_1", "webp", "IMG_1.webp"), ("v1.5", "png", "v1.5.png"), ("a.txt", "ppm", "a.ppm"),
])  # fmt: skip
def test_a_picture_has_a_suffix_of_pictures(rel, form, found):
    """A suffix that pictures have stays, whatever it says; a caption's gives way; behind others the right one is put."""
    assert fitting(rel, form) == found


def test_what_turns_the_text_around_it_is_dropped():
    """A name reads as it is written: no U+202E, no zero-width blanks; line separators are no part of a name."""
    assert safe_rel("cats\u202e/a\u200b\u2028b.png") == "cats/a_b.png" and safe_rel("\u200d/..\u200b/x\x85.png") == "_/_/x_.png"


@given(REL)
def test_names_are_plain(rel):
    """No control or invisible character, no leading dot, no climbing out, not too long for any disk; doing it twice changes nothing."""
    found = safe_rel(rel)
    assert safe_rel(found) == found
    for part in found.split("/"):
        assert part and not part.startswith(".") and not any(unicodedata.category(ch) in ("Cc", "Cf", "Zl", "Zp") for ch in part)
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
