"""Pictures on their way to a language model: upright, on white, small, JPEG; what does not decode is a sentence."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import pytest
from dropdock.handlers.captioners.picture_bytes import LEAST, SIDE, Shot, shoot, smaller
from pictures_made import picture
from PIL import Image


def opened(shot: Shot | str) -> Image.Image:
    assert isinstance(shot, Shot), shot
    image = Image.open(io.BytesIO(shot.jpeg))
    image.load()
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (shot.width, shot.height))
    return image


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(("size", "sent"), [((3000, 1500), (1024, 512)), ((700, 2100), (341, 1024)), ((90, 70), (90, 70))])
def test_large_pictures_are_shrunk_and_small_ones_left(tmp_path: Path, size: tuple[int, int], sent: tuple[int, int]) -> None:
    """The longer side is SIDE pixels at most; nothing is enlarged; the aspect stays."""
    for name, measure in (("a.jpg", False), ("a.png", False), ("b.jpg", True)):
        path = save(tmp_path / name, Image.new("RGB", size, "red"))
        found = opened(shoot(path, measure=measure))
        assert found.size == sent and max(found.size) <= SIDE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright(tmp_path: Path, orientation: int) -> None:
    """Whatever way EXIF says it lies, what is red in the viewer's top left corner is red there for the model."""
    shown = Image.new("RGB", (320, 160), "blue")
    shown.paste("red", (0, 0, 80, 80))
    stored = shown
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    if back is not None:
        stored = shown.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[274] = orientation
    found = opened(shoot(save(tmp_path / "a.jpg", stored, exif=exif, quality=95)))
    assert found.size == (320, 160)
    assert found.getpixel((30, 30))[0] > 200 > 60 > found.getpixel((30, 30))[2]
    assert found.getpixel((250, 120))[2] > 200


def test_every_mode_comes_out_as_it_looks(tmp_path: Path) -> None:
    """Transparency is white, 16 bits are scaled, CMYK and palettes become RGB, an animation is its first frame."""
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    cases = {
        "clear.png": (clear, {}, (255, 255, 255)),
        "wide.png": (Image.new("I;16", (64, 64), 32768), {}, (128, 128, 128)),
        "cmyk.jpg": (Image.new("CMYK", (64, 64), (0, 255, 255, 0)), {}, (254, 0, 0)),
        "palette.png": (palette, {}, (254, 0, 0)),
        "hole.png": (palette, {"transparency": 0}, (255, 255, 255)),
        "grey.png": (Image.new("L", (64, 64), 77), {}, (77, 77, 77)),
        "webp.webp": (Image.new("RGB", (64, 64), "blue"), {"lossless": True}, (0, 0, 254)),
        "moves.gif": (
            Image.new("RGB", (64, 64), "red"),
            {"save_all": True, "append_images": [Image.new("RGB", (64, 64))]},
            (254, 0, 0),
        ),
    }
    for name, (image, options, colour) in cases.items():
        pixel = opened(shoot(save(tmp_path / name, image, **options))).getpixel((32, 32))
        assert all(abs(a - b) <= 3 for a, b in zip(pixel, colour, strict=True)), (name, pixel)


def bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (picture(1)[:300], "decode"),
        (picture(1, form="JPEG")[:400], "decode"),
        (b"not a picture", "no picture"),
        (bomb(), "pixels"),
        (b"", ""),
    ],
    ids=["png", "jpeg", "text", "bomb", "empty"],
)
def test_what_does_not_decode_is_a_sentence(tmp_path: Path, data: bytes, said: str) -> None:
    """Truncated, hostile and foreign files are told, never raised; so is one that is not there."""
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    found = shoot(path, measure=True)
    assert isinstance(found, str) and said in found
    assert isinstance(shoot(tmp_path / "gone.png"), str)


def test_smaller_halves_until_nothing_is_to_be_seen(tmp_path: Path) -> None:
    """For a model whose context is too short: half the side each time, down to LEAST."""
    shot = shoot(save(tmp_path / "a.png", Image.new("RGB", (1000, 500))))
    assert isinstance(shot, Shot)
    sides = []
    while shot is not None:
        sides.append((shot.width, shot.height))
        shot = smaller(shot)
    assert sides == [(1000, 500), (500, 250), (250, 125)] and min(max(s) for s in sides) >= LEAST


def test_the_forms_it_is_sent_in(tmp_path: Path) -> None:
    """Base64 without line ends, and a data: URL that names JPEG, which it is."""
    shot = shoot(save(tmp_path / "a.png", Image.new("RGB", (300, 200), "green")))
    assert isinstance(shot, Shot)
    assert base64.b64decode(shot.base64) == shot.jpeg and shot.data_url == f"data:image/jpeg;base64,{shot.base64}"
    assert shot.jpeg[:3] == b"\xff\xd8\xff" and "\n" not in shot.data_url
