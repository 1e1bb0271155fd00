"""A picture as a language model gets it: a JPEG of what a viewer shows, small enough for a model's eyes.

What must hold: whatever comes is a Shot or a sentence that says why not, never an exception; at most MAX_PIXELS are decoded; EXIF
orientation is applied, transparency lies on white, 16 bits are scaled and not cut off, CMYK becomes RGB, an animation is its first frame.
JPEG always, because servers differ in all else (LM Studio refuses WebP, llama.cpp TIFF and AVIF).
"""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...rules.captions import Quality
from ..pictures import DAMAGE, MAX_PIXELS, eight_bit

if TYPE_CHECKING:  # Pillow takes long to import and is only needed once a picture comes
    from PIL import Image

SIDE = 1024  # pixels of the longer side at most: about 1300 tokens of a Qwen model, which sees no more in a larger one
LEAST = 224  # pixels of the longer side that are still worth asking about
JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture, ready to be sent. `quality` is what was measured on its pixels, None when nobody asked."""

    jpeg: bytes
    width: int
    height: int
    quality: Quality | None = None

    @property
    def base64(self) -> str:
        """The bytes as base64 text."""
        return base64.b64encode(self.jpeg).decode("ascii")

    @property
    def data_url(self) -> str:
        """The bytes as a data: URL (RFC 2397)."""
        return f"data:image/jpeg;base64,{self.base64}"


def shoot(path: Path, side: int = SIDE, measure: bool = False) -> Shot | str:
    """Decode, turn, shrink to `side` pixels at most, and encode. A sentence where that is not possible."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    return f"the picture has {image.width} x {image.height} pixels, more than are decoded here"
                size = image.size
                if not measure:  # a JPEG then decodes at a half, quarter or eighth; what is measured is measured on the whole
                    image.draft(None, (side * 2, side * 2))
                shown = as_displayed(image)
        except Image.DecompressionBombError:
            return "the picture claims more pixels than can be decoded"
        except (*DAMAGE, MemoryError) as error:
            return f"the picture does not decode: {' '.join(str(error).split())[:160]}"
    quality = measured(shown, size) if measure else None
    shown.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=JPEG_QUALITY)
    return Shot(out.getvalue(), shown.width, shown.height, quality)


def smaller(shot: Shot) -> Shot | None:
    """The same at half the side, None when that would be too small to be worth asking about."""
    from PIL import Image

    side = max(shot.width, shot.height) // 2
    if side < LEAST:
        return None
    with Image.open(io.BytesIO(shot.jpeg)) as image:
        image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=JPEG_QUALITY)
    return Shot(out.getvalue(), image.width, image.height, shot.quality)


def as_displayed(image: Image.Image) -> Image.Image:
    """The picture as a viewer shows it, in RGB. Raises what a decoder raises."""
    from PIL import Image, ImageOps

    turned = eight_bit(ImageOps.exif_transpose(image))
    if turned.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in turned.info:
        turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned.convert("RGBA"))
    return turned.convert("RGB")


def measured(image: Image.Image, size: tuple[int, int]) -> Quality | None:
    """What the pixels say of the picture's quality. `size` is the whole picture's, in pixels."""
    return None
