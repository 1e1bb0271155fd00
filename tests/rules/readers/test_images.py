"""Picture headers: what they say, and how damage and bombs are told."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from dropdock.rules.header import Damaged
from dropdock.rules.readers.images import orientation, read_image, sniff
from dropdock.rules.terms import ImageFacts
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image


def save(path: Path, form: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: object) -> Path:
    Image.new(mode, size).save(path, form, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_formats_by_content(tmp_path: Path, form: str) -> None:
    """Every format is told by content, whatever the file is called, with its size."""
    found = read_image(save(tmp_path / "x.bin", form))
    assert isinstance(found, ImageFacts)
    assert (found.format, found.width, found.height, found.animated) == (form.lower(), 40, 30, False)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_read_not_applied(tmp_path: Path, form: str) -> None:
    """The EXIF orientation is reported, and the size is the stored one."""
    exif = Image.Exif()
    exif[274] = 6
    found = read_image(save(tmp_path / "x", form, exif=exif))
    assert isinstance(found, ImageFacts)
    assert (found.orientation, found.width, found.height) == (6, 40, 30)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_animation(tmp_path: Path, form: str) -> None:
    """A picture with several frames is called animated."""
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "x", form, save_all=True, append_images=frames[1:])
    found = read_image(tmp_path / "x")
    assert isinstance(found, ImageFacts)
    assert found.animated


def test_lossless_and_transparent_webp(tmp_path: Path) -> None:
    """The three kinds of WebP give the same size; transparency is told."""
    found = read_image(save(tmp_path / "x", "WEBP", mode="RGBA", lossless=True))
    assert isinstance(found, ImageFacts)
    assert (found.width, found.height, found.mode) == (40, 30, "RGBA")


def test_a_pixel_bomb_is_damage(tmp_path: Path) -> None:
    """A tiny PNG that claims 60,000 x 60,000 pixels is refused by its header."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    path = tmp_path / "x.png"
    head = struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    found = read_image(path)
    assert isinstance(found, Damaged)
    assert found.reason == "too-many-pixels"


def test_a_cut_header_is_damage(tmp_path: Path) -> None:
    """A picture cut within its header is damage with a sentence; plain text is no picture."""
    path = tmp_path / "x"
    for form in ("JPEG", "PNG", "WEBP"):
        raw = save(path, form).read_bytes()
        path.write_bytes(raw[:20])
        found = read_image(path)
        assert isinstance(found, Damaged)
        assert found.reason == "bad-image"
    assert sniff(b"BMxx this is text") is None


@settings(max_examples=150, deadline=None)
@given(
    form=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    at=st.integers(0, 2000),
    patch=st.binary(min_size=1, max_size=8),
)
def test_mutated_pictures_never_raise(tmp_path_factory: pytest.TempPathFactory, form: str, at: int, patch: bytes) -> None:
    """A picture with some bytes overwritten is read or refused, never an exception."""
    buffer = io.BytesIO()
    Image.new("RGB", (9, 7)).save(buffer, form)
    raw = bytearray(buffer.getvalue())
    raw[at % len(raw) : at % len(raw) + len(patch)] = patch
    path = tmp_path_factory.mktemp("i") / "x"
    path.write_bytes(raw)
    assert isinstance(read_image(path), ImageFacts | Damaged)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_exif_gives_an_orientation(raw: bytes) -> None:
    """Whatever the EXIF block holds, the answer is 1 to 8."""
    for data in (raw, b"Exif\0\0II*\0" + raw, b"MM\0*" + raw):
        assert 1 <= orientation(data) <= 8
