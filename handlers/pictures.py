"""Pictures: decode each one fully, once, and measure what the dataset wants to know of it.

What must hold: a picture that does not decode to its end is damage, not an exception (Pillow's `verify` passes half a JPEG, so `load`
is what counts); nothing is written; at most MAX_PIXELS are ever decoded.
Difference hash: dHash of 8 x 9 grey pixels, left against right neighbour, 64 bits, as imagehash computes it.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

import xxhash

from ..rules.header import Damaged
from ..rules.terms import Digests, ImageFacts
from .hashing import CHUNK, new_sha256

if TYPE_CHECKING:  # Pillow takes long to import and is only needed once a picture comes
    from PIL import Image

MAX_PIXELS = 180_000_000  # decoded at once; at 4 bytes a pixel 720 MB
MAX_FRAMES = 60  # of an animation: enough to know that it decodes
SMALL = 256  # pixels; a shorter side below it is flagged
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
)  # what a decoder raises at a picture that is none
NEAR = 3  # differing bits of two difference hashes up to which pictures count as near duplicates


@dataclass(frozen=True, slots=True)
class Examined:
    """One picture that decodes. dhash has 16 hex digits."""

    image: ImageFacts
    digests: Digests
    dhash: str

    @property
    def small(self) -> bool:
        return min(self.image.width, self.image.height) < SMALL


def examine(data: bytes | BinaryIO) -> Examined | Damaged:
    """Digest and decode a picture given as bytes or as an open file. Raises OSError only when the file cannot be read."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    digests = _digest(file)
    file.seek(0)
    from PIL import Image, ImageFile, UnidentifiedImageError

    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as image:
                if image.width * image.height > MAX_PIXELS:
                    return Damaged("too-many-pixels", f"{image.width} x {image.height} pixels are more than are decoded here")
                facts = _facts(image)
                image.load()
                dhash = _dhash(image)
                if facts.animated:
                    for frame in range(1, min(MAX_FRAMES, getattr(image, "n_frames", 1))):
                        image.seek(frame)
                        image.load()
        except UnidentifiedImageError:
            return Damaged("not-an-image", "the content is no picture format that is known")
        except Image.DecompressionBombError:
            return Damaged("too-many-pixels", "the picture claims more pixels than can be decoded")
        except DAMAGE as error:
            return Damaged("bad-image", f"the picture does not decode: {str(error)[:120]}")
    return Examined(facts, digests, dhash)


def _facts(image: object) -> ImageFacts:
    from PIL import Image

    assert isinstance(image, Image.Image)
    form = "jpeg" if image.format in ("MPO", "JPEG") else str(image.format).lower()
    animated = form not in ("jpeg", "tiff") and bool(getattr(image, "is_animated", False))
    facts = ImageFacts(form, image.width, image.height, 1, animated, image.mode)
    orientation = image.getexif().get(274, 1)
    return replace(facts, orientation=orientation) if orientation in range(1, 9) else facts


def _dhash(image: object) -> str:
    from PIL import Image

    assert isinstance(image, Image.Image)
    grey = eight_bit(image).convert("L").resize((9, 8), Image.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = grey.tobytes()
    bits = 0
    for row in range(0, 72, 9):
        for x in range(row, row + 8):
            bits = bits << 1 | (pixels[x + 1] > pixels[x])
    return f"{bits:016x}"


def eight_bit(image: Image.Image) -> Image.Image:
    """A picture of more than eight bits a sample (16-bit grey PNG, TIFF of integers or floats) brought to eight; others as they are.

    Pillow's own conversion cuts off instead: every grey above 255 of 65535 would be white.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    wide = image.convert("F")
    most = wide.getextrema()[1]
    assert isinstance(most, (int, float))
    full = 65535.0 if image.mode.startswith("I;16") else max(255.0, float(most)) if most > 1 else 1.0
    return wide.point(lambda v: v * (255.0 / full) + 0.0).convert("L")


def _digest(file: BinaryIO) -> Digests:
    sha, xxh, size = new_sha256(), xxhash.xxh3_128(), 0
    while chunk := file.read(CHUNK):
        sha.update(chunk)
        xxh.update(chunk)
        size += len(chunk)
    return Digests(sha.hexdigest(), xxh.hexdigest(), size)


class NearIndex:
    """Finds a near duplicate among many hashes: two that differ in up to NEAR bits share one of NEAR + 1 bands of 16 bits."""

    def __init__(self) -> None:
        self._bands: dict[tuple[int, int], list[tuple[int, str]]] = {}

    def add(self, dhash: str, rel: str) -> None:
        """Remember a picture's hash."""
        value = int(dhash, 16)
        for band in range(NEAR + 1):
            self._bands.setdefault((band, value >> 16 * band & 0xFFFF), []).append((value, rel))

    def near(self, dhash: str) -> str | None:
        """The relative path of a picture that looks the same, or None. A flat picture (all bits alike) looks like nothing."""
        value = int(dhash, 16)
        if value in (0, (1 << 64) - 1):
            return None
        for band in range(NEAR + 1):
            for other, rel in self._bands.get((band, value >> 16 * band & 0xFFFF), ()):
                if (value ^ other).bit_count() <= NEAR:
                    return rel
        return None
