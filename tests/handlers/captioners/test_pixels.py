"""pixels: what a model sees is the contract to the letter where it is asked for, and next to it where it is not."""

import functools
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from dropdock.handlers import pictures
from dropdock.handlers.captioners import pixels
from dropdock.handlers.captioners.pixels import GAP, Decoded, Shape, decode, fill, squared
from dropdock.rules.header import Damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

SHAPE = Shape(224)
NEAR = 0.25  # of 255: how far the quick way may be from the exact one on average


@functools.cache
def _field(seed: int) -> Image.Image:
    """Noise of all sizes, the coarse ones stronger, as in photographs: what resizers are made for."""
    rng, side = np.random.default_rng(seed), 1024
    field = np.zeros((side, side, 3), np.float32)
    for octave in range(2, 11):
        for channel in range(3):
            coarse = Image.fromarray(rng.normal(0, 0.5 ** (octave - 2), (1 << octave,) * 2).astype(np.float32))
            field[:, :, channel] += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(128 + 55 * field, 0, 255).astype(np.uint8))


def photo(width: int, height: int, seed: int = 1) -> Image.Image:
    """A part of such a field; larger ones are scaled."""
    field = _field(seed % 3)
    if max(width, height) > 1024:
        field = field.resize((max(width, height),) * 2, Image.Resampling.BICUBIC)
    return field.crop((0, 0, width, height))


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def contract(path: Path, shape: Shape = SHAPE) -> np.ndarray:
    """The taggers' own way, written down once more: turn, over white, pad to a square, bicubic."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(pictures.eight_bit(opened))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert("RGB")
    side = max(image.size)
    square = Image.new("RGB", (side, side), shape.pad)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(square.resize((shape.side, shape.side), Image.Resampling.BICUBIC), np.int16)


def seen(path: Path, exact: bool = False, shape: Shape = SHAPE) -> np.ndarray:
    found = decode(path, 0 if exact else int(GAP * shape.side))
    assert isinstance(found, Decoded), found
    return np.asarray(squared(found, shape), np.int16)


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[274] = orientation
    return made


SIZES = [(224, 224), (481, 901), (1203, 333), (37, 90)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exact_way_is_the_contract(tmp_path, size, orientation):
    """Every pixel, for every turn and odd border."""
    path = saved(tmp_path / "a.png", photo(*size), exif=exif(orientation))
    assert (seen(path, exact=True) == contract(path)).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["png", "jpg"])
def test_the_quick_way_is_next_to_it(tmp_path, size, orientation, form):
    """Also where the shrunk picture ends within a pixel, and the turn puts that end on the other side."""
    path = saved(tmp_path / f"a.{form}", photo(*size), exif=exif(orientation))
    apart = np.abs(seen(path) - contract(path))
    assert apart.mean() <= NEAR * 2, apart.mean()  # of one picture; the guard of the benchmark is over many


def test_on_average_the_quick_way_is_within_a_quarter(tmp_path):
    """Of 255, over pictures of many sizes and turns."""
    apart = []
    for n in range(24):
        path = saved(tmp_path / f"{n}.jpg", photo(500 + 37 * n, 420 + 53 * n, n), quality=92, exif=exif(n % 8 + 1))
        apart.append(np.abs(seen(path) - contract(path)).mean())
    assert np.mean(apart) <= NEAR


def test_a_shrunk_picture_is_small_when_it_is_turned(tmp_path):
    """A long picture is never held whole where it need not be: its factor is what the model's side asks for."""
    found = decode(saved(tmp_path / "a.jpg", photo(1600, 800), exif=exif(6)), 200)
    assert isinstance(found, Decoded) and found.factor == 8 and found.image.size == (200, 100)
    assert (found.size, found.displayed) == ((1600, 800), (800, 1600))


RED, WHITE = (255, 0, 0), (255, 255, 255)


def odd() -> dict[str, tuple[bytes, tuple[int, int, int]]]:
    """Pictures of rarer kinds, each of one colour, with the colour that a person sees."""
    made: dict[str, tuple[bytes, tuple[int, int, int]]] = {}

    def add(name: str, image: Image.Image, colour: tuple[int, int, int], form: str = "PNG", **options: object) -> None:
        out = io.BytesIO()
        image.save(out, form, **options)
        made[name] = out.getvalue(), colour

    add("clear RGBA", Image.new("RGBA", (300, 300), (*RED, 0)), WHITE)
    add("half RGBA", Image.new("RGBA", (300, 300), (*RED, 128)), (255, 127, 127))
    add("half LA", Image.new("LA", (300, 300), (0, 128)), (127, 127, 127))
    palette = Image.new("P", (300, 300), 0)
    palette.putpalette([*RED, 0, 0, 255])
    add("palette", palette, RED)
    add("palette and alpha", palette, WHITE, transparency=0)
    add("gif and alpha", palette, WHITE, "GIF", transparency=0)
    add("RGB and a clear colour", Image.new("RGB", (300, 300), RED), WHITE, transparency=RED)
    add("CMYK", Image.new("CMYK", (300, 300), (0, 255, 255, 0)), RED, "JPEG", quality=95)
    add("grey", Image.new("L", (300, 300), 77), (77, 77, 77), "JPEG")
    add("one bit", Image.new("1", (300, 300), 1), WHITE)
    wide = Image.frombytes("I;16", (300, 300), struct.pack("<H", 30000) * 90_000)
    add("16 bit", wide, (117, 117, 117))
    add("16 bit tiff", wide, (117, 117, 117), "TIFF")
    frames = [Image.new("RGB", (300, 300), c) for c in (RED, (0, 255, 0), (0, 0, 255))]
    for form in ("GIF", "WEBP", "PNG"):
        lossless = {"lossless": True} if form == "WEBP" else {}
        add(f"animated {form}", frames[0], RED, form, save_all=True, append_images=frames[1:], **lossless)
    return made


@pytest.mark.parametrize("name", odd())
@pytest.mark.parametrize("exact", [True, False])
def test_odd_pictures_are_seen_as_they_look(tmp_path, name, exact):
    """Transparency is white, palettes and print colours are colours, 16 bits are scaled, an animation is its first frame."""
    data, colour = odd()[name]
    (tmp_path / "a").write_bytes(data)
    assert np.abs(seen(tmp_path / "a", exact) - np.array(colour)).max() <= 3


def test_what_is_odd_is_flagged(tmp_path):
    """So that a person can look at it."""
    flags = {}
    for name, (data, _) in odd().items():
        (tmp_path / "a").write_bytes(data)
        found = decode(tmp_path / "a", 0)
        assert isinstance(found, Decoded)
        flags[name] = found.flags
    assert flags["half RGBA"] == flags["palette and alpha"] == ("alpha",) and flags["CMYK"] == ("cmyk",)
    assert flags["16 bit"] == ("16-bit",) and "animated" in flags["animated WEBP"] and flags["grey"] == ()


def bad() -> dict[str, bytes]:
    whole = io.BytesIO()
    photo(400, 300).save(whole, "JPEG")
    png = io.BytesIO()
    photo(400, 300).save(png, "PNG")
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    bomb += struct.pack(">I", 4) + b"IDAT" + bytes(8)
    return {
        "empty": b"",
        "text": b"<!doctype html>",
        "half a JPEG": whole.getvalue()[:3000],
        "half a PNG": png.getvalue()[:9000],
        "bomb": bomb,
    }


@pytest.mark.parametrize("name", bad())
def test_a_bad_picture_is_damage_with_a_reason(tmp_path, name):
    """Never an exception, whatever is in it."""
    (tmp_path / "a").write_bytes(bad()[name])
    found = decode(tmp_path / "a", 200, 64)
    assert isinstance(found, Damaged) and found.text
    assert (found.reason == "too-many-pixels") is (name == "bomb")


def test_what_is_not_there_or_too_large_says_so(tmp_path, monkeypatch):
    """A missing file and more pixels than are decoded have reasons of their own."""
    missing = decode(tmp_path / "a", 200)
    assert isinstance(missing, Damaged) and missing.text == "the picture cannot be read: No such file or directory"
    monkeypatch.setattr(pixels, "MAX_PIXELS", 1000)
    large = decode(saved(tmp_path / "b.png", photo(40, 30)), 200)
    assert isinstance(large, Damaged) and "40 x 30 pixels" in large.text


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 "])
)
@settings(max_examples=60, deadline=None)
def test_any_bytes_decode_or_are_damage(tmp_path_factory, data, magic):
    """A parser of strangers' files never raises."""
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes(magic + data)
    assert isinstance(decode(path, 100), (Decoded, Damaged))


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize("fit, corner", [("pad", (0, 0, 0)), ("stretch", (9, 99, 199))])
def test_a_row_is_what_the_model_wants(tmp_path, fit, corner):
    """Layout, order, scale and padding each change the numbers in the row as they say."""
    path = saved(tmp_path / "a.png", Image.new("RGB", (200, 100), (9, 99, 199)))
    shape = Shape(32, "nchw", "rgb", fit, (0, 0, 0), scale=1 / 255, mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 1.0))
    found = decode(path, 0)
    assert isinstance(found, Decoded)
    row = np.empty(shape.dimensions(), np.float32)
    fill(row, squared(found, shape), shape)
    want = (np.array(corner) / 255 - [0.5, 0.25, 0.0]) / [0.5, 0.5, 1.0]
    assert np.allclose(row[:, 0, 0], want, atol=1e-5)
    assert np.allclose(row[:, 16, 16], (np.array((9, 99, 199)) / 255 - [0.5, 0.25, 0.0]) / [0.5, 0.5, 1.0], atol=1e-5)


def test_the_family_wants_bgr_from_0_to_255(tmp_path):
    """Without any scale, and grey pictures too."""
    found = decode(saved(tmp_path / "a.png", Image.new("RGB", (50, 50), (9, 99, 199))), 0)
    grey = decode(saved(tmp_path / "b.png", Image.new("L", (50, 25), 7)), 0)
    row = np.empty(SHAPE.dimensions(), np.float32)
    assert isinstance(found, Decoded) and isinstance(grey, Decoded)
    fill(row, squared(found, SHAPE), SHAPE)
    assert row[5, 5].tolist() == [199, 99, 9]
    fill(row, squared(grey, Shape(224, pad=(1, 2, 3))), SHAPE)
    assert row[0, 0].tolist() == [3, 2, 1] and row[112, 112].tolist() == [7, 7, 7]
