"""A picture as a language model gets it: a JPEG of what a viewer shows, small enough for a model's eyes.

What must hold: whatever comes is a Shot or a sentence that says why not, never an exception; what pixels.py holds of orientation,
transparency, 16 bits and bombs holds here; it is decoded once, for the model and for the measures of its quality. JPEG always, because
servers differ in all else (LM Studio refuses WebP, llama.cpp TIFF and AVIF).
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...rules.captions import Quality
from ...rules.header import Damaged
from .pixels import decode
from .quality import GRAIN
from .quality import measure as quality_of

if TYPE_CHECKING:  # Pillow takes long to import and is only needed once a picture comes
    from PIL import Image

SIDE = 1024  # pixels of the longer side at most: about 1300 tokens of a Qwen model, which sees no more in a larger one
LEAST = 224  # pixels of the longer side that are still worth asking about
JPEG_QUALITY = 90
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF orientation -> Image.Transpose that makes it upright


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

    decoded = decode(path, side, GRAIN if measure else 0)
    if isinstance(decoded, Damaged):
        return decoded.text
    quality = quality_of(decoded) if measure else None
    image = decoded.image if decoded.image.mode == "RGB" else decoded.image.convert("RGB")
    turn = _TURNS.get(decoded.orientation)
    if turn is not None:
        image = image.transpose(Image.Transpose(turn))
    image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return Shot(_jpeg(image), image.width, image.height, quality)


def smaller(shot: Shot) -> Shot | None:
    """The same at half the side, None when that would be too small to be worth asking about."""
    from PIL import Image

    side = max(shot.width, shot.height) // 2
    if side < LEAST:
        return None
    with Image.open(io.BytesIO(shot.jpeg)) as image:
        image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
        return Shot(_jpeg(image), image.width, image.height, shot.quality)


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
