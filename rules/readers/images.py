"""A picture's header: format, size, EXIF orientation, animation, mode. No pixel is decoded.

What must hold: at most 16 MB are read whatever the file says, a picture that claims more than MAX_PIXELS is damage, and
Pillow is imported only when the first picture comes (a daemon without pictures does not carry it). WebP is read here,
because Pillow reads a whole WebP to open it (RFC 9649).
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from ..header import Damaged
from ..terms import ImageFacts
from .bounded import Bounded

MAX_READ = 16 << 20
MAX_PIXELS = 500_000_000  # width x height; beyond it a decoder would need gigabytes
ORIENTATION = 274  # EXIF tag
_EXIF_HEAD = b"Exif\0\0"


def sniff(head: bytes) -> str | None:
    """The picture format that the first 16 bytes announce (jpeg, png, webp, gif, bmp, tiff, avif), or None. Pure."""
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "avif"
    # "BM" alone is two letters of text: the four reserved bytes of a real bitmap are zero
    return "bmp" if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and len(head) >= 16 else None


def read_image(path: Path) -> ImageFacts | Damaged:
    """Read the header of the picture at `path`. Raises OSError only when the file cannot be opened."""
    with path.open("rb") as file:
        head = file.read(16)
        form = sniff(head)
        if form is None:
            return Damaged("not-an-image", "the content is no picture format that is known")
        file.seek(0)
        facts = _webp(file) if form == "webp" else _by_pillow(file, form)
    if isinstance(facts, Damaged):
        return facts
    if facts.width * facts.height > MAX_PIXELS:
        return Damaged("too-many-pixels", f"{facts.width} x {facts.height} pixels are more than any picture here may have")
    if facts.width < 1 or facts.height < 1:
        return Damaged("bad-image", "the picture has no pixels")
    return facts


def _by_pillow(file: BinaryIO, form: str) -> ImageFacts | Damaged:
    from PIL import Image, UnidentifiedImageError

    # what Pillow says about a damaged TIFF is ours to report; its bomb warning comes at a quarter of our own limit;
    # a filter of one call would not be safe among threads
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    try:
        with Image.open(Bounded(file, MAX_READ), formats=(form.upper(),)) as image:  # type: ignore[arg-type]
            animated = form not in ("jpeg", "tiff") and bool(getattr(image, "is_animated", False))
            turned = _orientation_of(image.info, form, image)
            width, height = image.size
            if form == "tiff" and turned >= 5:  # of a TIFF alone Pillow tells the size after turning
                width, height = height, width
            return ImageFacts(form, width, height, turned, animated, image.mode)
    except Image.DecompressionBombError:
        return Damaged("too-many-pixels", "the picture claims more pixels than can be decoded")
    except UnidentifiedImageError:
        return Damaged("bad-image", "the picture's header is damaged")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, IndexError, TypeError, OverflowError) as error:
        return Damaged("bad-image", f"the picture's header is damaged: {str(error)[:80]}")


def _orientation_of(info: Mapping[str | tuple[int, int], object], form: str, image: object) -> int:
    if form == "tiff":
        tags = getattr(image, "tag_v2", {})
        value = tags.get(ORIENTATION, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    exif = info.get("exif")
    return orientation(exif) if isinstance(exif, bytes) else 1


def orientation(exif: bytes) -> int:
    """The orientation (1..8) that an EXIF block says, 1 when it says none. Pure; EXIF 2.32, section 4.6.2 (TIFF IFD0)."""
    data = exif.removeprefix(_EXIF_HEAD)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 10:
        return 1
    at = struct.unpack_from(order + "I", data, 4)[0]
    if at + 2 > len(data):
        return 1
    for i in range(struct.unpack_from(order + "H", data, at)[0]):
        entry = at + 2 + 12 * i
        if entry + 12 > len(data):
            return 1
        tag, kind, _, value = struct.unpack_from(order + "HHIH", data, entry)
        if tag == ORIENTATION:
            return value if kind == 3 and 1 <= value <= 8 else 1
    return 1


def _webp(file: BinaryIO) -> ImageFacts | Damaged:
    """Walk the RIFF chunks: VP8X (canvas and flags), VP8 and VP8L (a plain picture), EXIF."""
    size: tuple[int, int] | None = None
    animated, alpha, turned, at = False, False, 1, 12
    for _ in range(64):
        file.seek(at)
        head = file.read(8 + 32)
        if len(head) < 8:
            break
        tag, length, body = head[:4], int.from_bytes(head[4:8], "little"), head[8:]
        if tag == b"VP8X" and len(body) >= 10:
            animated, alpha = bool(body[0] & 2), bool(body[0] & 16)
            size = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
        elif tag == b"VP8 " and size is None and body[3:6] == b"\x9d\x01\x2a":
            size = int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
        elif tag == b"VP8L" and size is None and body[:1] == b"\x2f" and len(body) >= 5:
            bits = int.from_bytes(body[1:5], "little")
            size, alpha = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), bool(bits >> 28 & 1)
        elif tag == b"EXIF":
            file.seek(at + 8)
            turned = orientation(file.read(min(length, 1 << 20)))
        at += 8 + length + (length & 1)
    if size is None:
        return Damaged("bad-image", "the WebP has no picture in it")
    return ImageFacts("webp", *size, turned, animated, "RGBA" if alpha else "RGB")
