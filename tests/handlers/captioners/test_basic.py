"""basic: true words from pixels alone, the same for the same picture, in any format a picture comes in."""

import io
import struct
from pathlib import Path

import pytest
from dropdock.handlers.captioners.basic import HUES, Basic, colour, describe
from dropdock.handlers.captioners.protocol import Fixed, Picture
from hypothesis import given
from hypothesis import strategies as st
from pictures_made import picture
from PIL import Image

RED, GREEN, BLUE, WHITE, BLACK = (220, 30, 30), (40, 200, 40), (20, 60, 230), (255, 255, 255), (0, 0, 0)


def said(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "x"
    path.write_bytes(data)
    ((_, answer),) = Basic({}).captions(Fixed([Picture(0, path)]))
    assert not answer.error, answer.error
    return answer.text


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def halves(left: tuple[int, int, int], right: tuple[int, int, int], size: tuple[int, int] = (400, 300)) -> Image.Image:
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def test_the_same_picture_gives_the_same_words(tmp_path):
    """Twice, and by another captioner of the engine: no random, no time."""
    data = picture(3)
    assert said(tmp_path, data) == said(tmp_path, data)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_size_shape_and_colours_are_told(tmp_path, form):
    """Half red, half blue, 400 x 300: whatever the format."""
    text = said(tmp_path, saved(halves(RED, BLUE), form))
    assert text.startswith("a landscape picture, 400x300, ") and "mostly blue and red" in text


def test_a_big_jpeg_tells_its_own_size(tmp_path):
    """JPEGs are decoded at a fraction; the size that is told is the whole one's."""
    assert "2400x1600" in said(tmp_path, saved(halves(RED, BLUE, (2400, 1600)), "JPEG"))


WIDE, TALL = "landscape picture, 400x300", "portrait picture, 300x400"


@pytest.mark.parametrize("orientation, shape", [(1, WIDE), (3, WIDE), (6, TALL), (8, TALL)])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(tmp_path, form, orientation, shape):
    """A picture turned by its EXIF is described as a viewer shows it."""
    exif = Image.Exif()
    exif[274] = orientation
    assert shape in said(tmp_path, saved(halves(RED, BLUE), form, exif=exif))


def test_transparency_counts_as_white(tmp_path):
    """Full transparency in RGBA, LA and palette pictures is white, whatever colour hides below."""
    clear = Image.new("RGBA", (300, 300), (*RED, 0))
    grey = Image.new("LA", (300, 300), (0, 0))
    palette = Image.new("P", (300, 300), 0)
    palette.putpalette([*RED, *BLUE])
    for data in (saved(clear), saved(grey), saved(palette, "PNG", transparency=0), saved(palette, "GIF", transparency=0)):
        assert said(tmp_path, data).endswith("very bright, flat, mostly white")
    half = Image.new("RGBA", (300, 300), (*BLACK, 128))
    assert "mostly grey" in said(tmp_path, saved(half))


def test_cmyk_is_read_as_it_looks(tmp_path):
    """A print JPEG of a red field is red."""
    field = Image.new("RGB", (300, 300), RED).convert("CMYK")
    assert "red" in said(tmp_path, saved(field, "JPEG")) and "red" in said(tmp_path, saved(field, "TIFF"))


LIGHTS = [(0, "very dark"), (20_000, "dark"), (33_000, "evenly lit"), (50_000, "bright"), (65_535, "very bright")]


@pytest.mark.parametrize("value, light", LIGHTS)
def test_sixteen_bit_greys_have_their_light(tmp_path, value, light):
    """A 16-bit PNG is as dark as it looks."""
    image = Image.frombytes("I;16", (64, 64), struct.pack("<H", value) * 64 * 64)
    assert f", {light}, flat, " in said(tmp_path, saved(image))


def test_a_bad_picture_is_an_answer_of_its_own(tmp_path):
    """Among good ones: its place in the answers holds the reason, the others hold their words."""
    for name, data in (("a", picture(1)), ("b", picture(2, form="JPEG")[:500]), ("c", b"text")):
        (tmp_path / name).write_bytes(data)
    names = ("a", "b", "gone", "c", "a")
    answers = [a for _, a in Basic({}).captions(Fixed([Picture(n, tmp_path / name) for n, name in enumerate(names)]))]
    assert [bool(a.error) for a in answers] == [False, True, True, True, False]
    assert [bool(a.text) for a in answers] == [True, False, False, False, True]


def test_quality_comes_with_the_words_where_it_is_wanted(tmp_path):
    """Measured from the same pixels; not where the picture says that nobody asks."""
    (tmp_path / "x").write_bytes(picture(1))
    asked = [Picture(0, tmp_path / "x"), Picture(1, tmp_path / "x", quality=False)]
    first, second = (a for _, a in Basic({}).captions(Fixed(asked)))
    assert first.text == second.text and first.quality and 0 <= first.quality.overall <= 1 and second.quality is None


def test_the_style_of_the_captioner_applies(tmp_path):
    """Trigger first; a caption that is there is kept where it is to be appended to."""
    (tmp_path / "x").write_bytes(picture(1))
    asked = [Picture(0, tmp_path / "x", existing="my cat.")]
    ((_, answer),) = Basic({"trigger": "ohwx", "existing": "append"}).captions(Fixed(asked))
    assert answer.text.startswith("ohwx, my cat. a landscape picture, 320x280")


# ---------------------------------------------------------------- words

PIXEL = st.tuples(*[st.integers(0, 255)] * 3)


@given(st.tuples(st.integers(1, 60_000), st.integers(1, 60_000)), st.lists(PIXEL, min_size=1, max_size=40))
def test_every_picture_has_a_sentence(size, pixels):
    """Total, deterministic, independent of the order of the pixels, and about that very size."""
    text = describe(size, pixels)
    assert text == describe(size, pixels[::-1]) and f"{size[0]}x{size[1]}" in text and "mostly " in text


@given(PIXEL)
def test_every_colour_has_a_name(pixel):
    """And it is a plain one."""
    words = colour(*pixel).split()
    assert words and set(words) <= {*["black", "white", "light", "grey", "dark", "pale", "brown"], *" ".join(HUES).split()}


@pytest.mark.parametrize("pixel, name", [
    (RED, "red"), (GREEN, "green"), (BLUE, "blue"), (WHITE, "white"), (BLACK, "black"), ((128, 128, 128), "grey"),
    ((250, 240, 20), "yellow"), ((120, 70, 20), "brown"), ((10, 10, 90), "dark blue"),
])  # fmt: skip
def test_colours_as_people_name_them(pixel, name):
    """The usual ones."""
    assert colour(*pixel) == name


SHAPES = [((100, 100), "square"), ((104, 100), "square"), ((120, 100), "landscape"), ((100, 120), "portrait")]


@pytest.mark.parametrize("size, shape", SHAPES)
def test_nearly_square_is_square(size, shape):
    """Five in a hundred make no landscape."""
    assert describe(size, [WHITE]).startswith(f"a {shape} picture")


def test_many_colours_are_the_three_that_show_most():
    """A colour below twelve in a hundred is not named; three at most are."""
    pixels = [RED] * 40 + [GREEN] * 30 + [BLUE] * 20 + [WHITE] * 10
    assert describe((10, 10), pixels).endswith("mostly red, green and blue")
