"""Pictures: each is decoded to its end or told as damage, and looks are compared by a hash that others compute alike."""

import io
import random
import struct
import zlib

import pytest
from dropdock.handlers import pictures
from dropdock.handlers.pictures import NEAR, Examined, NearIndex, eight_bit, examine
from dropdock.rules.header import Damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_made import picture
from PIL import Image


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def blocks(rows: list[list[int]], side: int = 10) -> Image.Image:
    """A grey picture of flat blocks."""
    image = Image.new("L", (len(rows[0]) * side, len(rows) * side))
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            image.paste(value, (x * side, y * side, (x + 1) * side, (y + 1) * side))
    return image


def good(data: bytes) -> Examined:
    found = examine(data)
    assert isinstance(found, Examined), found
    return found


# ---------------------------------------------------------------- looks

BRIGHTER = [[n * 28 for n in range(9)]] * 8
GOLDEN = {
    "brighter to the right": (BRIGHTER, "ffffffffffffffff"),
    "darker to the right": ([row[::-1] for row in BRIGHTER], "0000000000000000"),
    "stripes": ([[0, 255] * 4 + [0]] * 8, "aaaaaaaaaaaaaaaa"),
    "rows in turn": ([row[:: 1 if n % 2 else -1] for n, row in enumerate(BRIGHTER)], "00ff00ff00ff00ff"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_difference_hash_has_its_golden_value(name):
    """Row by row, left against right, the first bit highest: what imagehash.dhash gives for the same 9 x 8 greys."""
    rows, expected = GOLDEN[name]
    assert good(saved(blocks(rows, 1))).dhash == expected
    assert good(saved(blocks(rows, 10))).dhash == expected


def test_the_difference_hash_is_computed_bit_by_bit():
    """Against a second reckoning, on random greys that need no resizing."""
    rng = random.Random(4)
    rows = [[rng.randrange(256) for _ in range(9)] for _ in range(8)]
    bits = "".join(str(int(row[x + 1] > row[x])) for row in rows for x in range(8))
    assert good(saved(blocks(rows, 1))).dhash == f"{int(bits, 2):016x}"


def test_the_same_look_in_another_size_and_format_is_near():
    """A JPEG at half the size differs in a few bits at most, another picture in many."""
    with Image.open(io.BytesIO(picture(5))) as image:
        half = saved(image.resize((160, 140)), "JPEG", quality=70)

    def apart(one: bytes, other: bytes) -> int:
        return (int(good(one).dhash, 16) ^ int(good(other).dhash, 16)).bit_count()

    assert apart(picture(5), half) <= NEAR < 10 < apart(picture(5), picture(6))


def test_sixteen_bit_greys_are_not_all_white():
    """A 16-bit PNG has the hash of its 8-bit twin; 32-bit and float pictures keep their shades."""
    rows = GOLDEN["rows in turn"][0]
    grey = blocks(rows)
    deep = Image.frombytes("I;16", grey.size, b"".join(struct.pack("<H", v * 257) for v in grey.tobytes()))
    found = good(saved(deep))
    assert found.image.mode == "I;16" and found.dhash == "00ff00ff00ff00ff"
    assert list(eight_bit(deep).tobytes()) == list(grey.tobytes())
    for image in (grey.convert("F"), grey.convert("I"), grey.convert("F").point(lambda v: v / 255 + 0)):
        assert max(abs(a - b) for a, b in zip(eight_bit(image).tobytes(), grey.tobytes(), strict=True)) <= 1
    assert eight_bit(grey) is grey


HASH = st.integers(1, (1 << 64) - 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(HASH, min_size=1, max_size=30), HASH, st.sets(st.integers(0, 63), max_size=6), st.booleans())
def test_the_index_finds_exactly_what_is_near(known, other, flips, close):
    """Two hashes are near when they differ in up to NEAR bits: the bands find them as a walk over all would."""
    index = NearIndex()
    for n, value in enumerate(known):
        index.add(f"{value:016x}", str(n))
    asked = known[0] ^ sum(1 << bit for bit in flips) if close else other
    found = index.near(f"{asked:016x}")
    near = {str(n) for n, value in enumerate(known) if (value ^ asked).bit_count() <= NEAR}
    assert found in near if near and asked not in (0, (1 << 64) - 1) else found is None


def test_flat_pictures_look_like_nothing():
    """All-black scans are no near duplicates of each other."""
    index = NearIndex()
    index.add("0000000000000000", "black")
    assert index.near("0000000000000000") is None and index.near("0000000000000001") == "black"


# ---------------------------------------------------------------- whole or damaged


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_facts_and_digests_of_every_format(form):
    """Format, size, orientation and mode, and both digests of the very bytes."""
    data = picture(2, form=form)
    found = good(data)
    assert (found.image.format, found.image.width, found.image.height, found.image.animated) == (form.lower(), 320, 280, False)
    assert found.digests.size == len(data) and found == examine(io.BytesIO(data))


def test_orientation_is_recorded_and_not_applied():
    """EXIF 6 stays a fact; width and height are those of the stored pixels."""
    found = good(picture(2, form="JPEG", exif_orientation=6))
    assert (found.image.orientation, found.image.width, found.image.height) == (6, 320, 280)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_half_a_picture_is_damage(form):
    """The header is good and the end is missing: damage with a reason, no exception."""
    data = picture(3, form=form)
    found = examine(data[: len(data) // 2])
    assert isinstance(found, Damaged) and found.reason in ("bad-image", "not-an-image") and found.text


def test_a_late_broken_frame_of_an_animation_is_damage():
    """All frames count, not only the first."""
    frames = [Image.open(io.BytesIO(picture(n, (64, 64)))).convert("P") for n in range(4)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    assert good(data).image.animated
    assert isinstance(examine(data[: len(data) - 900]), Damaged)


def test_a_bomb_is_never_decoded(monkeypatch):
    """More pixels than are decoded here: damage by the header alone."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    found = examine(data)
    assert isinstance(found, Damaged) and found.reason == "too-many-pixels"
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100 * 100)
    found = examine(picture(1, (101, 100)))
    assert isinstance(found, Damaged) and found.reason == "too-many-pixels"


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"]), st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_no_bytes_are_an_exception(form, at, noise):
    """A picture with bytes overwritten anywhere is whole or damaged; either way its digests are those of its bytes."""
    data = bytearray(MADE[form])
    at %= len(data)
    data[at : at + len(noise)] = noise
    found = examine(bytes(data))
    assert isinstance(found, (Examined, Damaged))
    if isinstance(found, Examined):
        assert found.digests.size == len(data)


MADE = {form: picture(1, (40, 30), form) for form in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")}


@given(st.binary(max_size=300))
def test_what_is_no_picture_is_damage(data):
    """Random bytes never decode and never raise."""
    assert isinstance(examine(data), Damaged)


def test_small_is_the_shorter_side():
    """Below 256 pixels on the shorter side a picture is flagged as small."""
    sizes = [(256, 256), (255, 900), (900, 255)]
    assert [good(picture(1, size)).small for size in sizes] == [False, True, True]
