"""Pixels for models: a picture file decoded once, as small as its use allows, and laid into a model's square.

Two ways: exact, which is the taggers' contract to the letter (turn, composite over white, pad to a square, bicubic at full size), and
shrink-first, which decodes a JPEG at an eighth to a half and averages whole blocks of pixels before the last, fractional step; it stays
within 0.25 of 255 of the exact way on average and costs a third less. What must hold: EXIF orientation is applied, transparency counts
as white, 16 bits are scaled and not clipped, an animation is its first frame, and what does not decode is Damaged, never an exception.
"""

from __future__ import annotations

import math
import threading
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...rules.header import Damaged
from ..pictures import DAMAGE, MAX_PIXELS, eight_bit

if TYPE_CHECKING:  # Pillow and numpy take long to import and are only needed once a picture comes
    import numpy as np
    from PIL import Image

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

GAP = 1.5  # how many times the model's side the long side is kept at before the last step; 2 is nearer to exact, 1 is not near
HUGE = 40_000_000  # pixels from which on pictures are decoded one at a time, so that memory stays bounded
_one_huge = threading.Lock()
# orientation -> (axes swapped, stored x runs backwards when displayed, stored y runs backwards)
_TURNS = {
    2: (False, True, False), 3: (False, True, True), 4: (False, False, True), 5: (True, False, False),
    6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model wants to see: a square of `side` pixels, its channels, and how a picture is laid into it.

    value = (pixel * scale - mean) / std for each channel, in the model's own order of channels.
    """

    side: int
    layout: str = "nhwc"  # or nchw
    order: str = "bgr"  # or rgb
    fit: str = "pad"  # or stretch
    pad: tuple[int, int, int] = (255, 255, 255)  # RGB
    resample: str = "bicubic"  # or bilinear, lanczos
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def dimensions(self) -> tuple[int, int, int]:
        """The tensor's shape without the batch."""
        return (self.side, self.side, 3) if self.layout == "nhwc" else (3, self.side, self.side)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture as it is stored, not yet turned: each of its pixels stands for factor x factor of the file's."""

    image: Image.Image  # L or RGB, transparency composited
    size: tuple[int, int]  # width and height in the file
    factor: int
    orientation: int  # EXIF, 1..8
    grain: (
        Image.Image | None
    )  # the middle of the picture at its own size, grey, from a multiple of eight pixels; None: not decoded so
    flags: tuple[str, ...]

    @property
    def displayed(self) -> tuple[int, int]:
        """Width and height as a viewer shows them."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def decode(path: Path, least: int, grain: int = 0) -> Decoded | Damaged:
    """A picture whose long side is still at least `least` pixels (0: all of it). `grain`: side of the middle that is kept unshrunk."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                return Damaged("too-many-pixels", f"{image.width} x {image.height} pixels are more than are decoded here")
            with _one_huge if image.width * image.height > HUGE else nullcontext():
                return _decoded(image, least, grain)
    except UnidentifiedImageError:
        return Damaged("not-an-image", "the content is no picture format that is known")
    except Image.DecompressionBombError:
        return Damaged("too-many-pixels", "the picture claims more pixels than can be decoded")
    except MemoryError:
        return Damaged("too-many-pixels", "there is not enough memory to decode it")
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        return Damaged("unreadable", f"the picture cannot be read: {error.strerror}")
    except DAMAGE as error:
        return Damaged("bad-image", f"the picture does not decode: {str(error)[:160]}")


def _decoded(image: Image.Image, least: int, grain: int) -> Decoded:
    size, flags = image.size, _flags(image)
    orientation = image.getexif().get(274, 1)
    whole = max(1, max(size) // least) if least else 1
    half = next(scale for scale in (8, 4, 2, 1) if scale <= whole)
    if half > 1:  # only a JPEG decodes smaller; others ignore it
        image.draft(None, (max(1, size[0] // half), max(1, size[1] // half)))
    image.load()
    drafted = max(1, round(max(size) / max(image.size)))
    flat: Image.Image = eight_bit(image)
    middle = _middle(flat, grain) if grain and drafted == 1 else None
    rest = max(1, whole // drafted)
    flat = _opaque(flat, rest)
    known = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return Decoded(flat, size, drafted * rest, known, middle, flags)


def _opaque(image: Image.Image, factor: int) -> Image.Image:
    """In RGB or grey over white, each side divided by `factor`. Blocks are averaged with their transparency."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        clear = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
        if factor > 1:
            clear = clear.reduce(factor)
        if clear.mode == "LA":
            grey = Image.new("L", clear.size, 255)
            grey.paste(clear.getchannel(0), mask=clear.getchannel(1))
            return grey
        white = Image.new("RGB", clear.size, (255, 255, 255))
        white.paste(clear, mask=clear.getchannel(3))
        return white
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image.reduce(factor) if factor > 1 else image


def _middle(image: Image.Image, side: int) -> Image.Image:
    x, y = (max(0, (length - side) // 16 * 8) for length in image.size)
    part = image.crop((x, y, min(image.width, x + side), min(image.height, y + side)))
    return part if part.mode == "L" else part.convert("RGB").convert("L") if part.mode == "P" else part.convert("L")


def _flags(image: Image.Image) -> tuple[str, ...]:
    """What a person should know of the file: that more is in it than captions see, or that trainers may trip over it."""
    found = []
    if image.format not in ("JPEG", "MPO", "TIFF") and getattr(image, "is_animated", False):
        found.append("animated")
    if image.mode == "CMYK":
        found.append("cmyk")
    if image.mode.startswith(("I", "F")):
        found.append("16-bit")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        found.append("alpha")
    if image.getexif().get(274, 1) in range(2, 9):
        found.append("rotated")
    return tuple(found)


def squared(picture: Decoded, shape: Shape) -> Image.Image:
    """The model's square of a picture, RGB, as displayed. Exact where the picture was decoded whole (factor 1)."""
    from PIL import Image

    turn = _transposition(picture.orientation)
    if picture.factor == 1 and turn is not None:  # turned before it is resized, as the contract has it
        picture = replace(picture, image=picture.image.transpose(turn), size=picture.displayed, orientation=1)
        turn = None
    image = picture.image if shape.pad[0] == shape.pad[1] == shape.pad[2] or picture.image.mode != "L" else None
    image = image or picture.image.convert("RGB")
    resample = {"bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS}.get(
        shape.resample, Image.Resampling.BICUBIC
    )
    square = _laid(picture, image, shape, resample)
    square = square if turn is None else square.transpose(turn)
    return square if square.mode == "RGB" else square.convert("RGB")


def _laid(picture: Decoded, image: Image.Image, shape: Shape, resample: Image.Resampling) -> Image.Image:
    """The square, not yet turned. Only the part of it that the picture reaches is computed: the rest is border.

    The spare pixel of an odd border is at the right and below as displayed, which is at the left or above where the turn runs backwards.
    """
    from PIL import Image

    (width, height), by = picture.size, picture.factor
    if shape.fit == "stretch":
        return image.resize((shape.side, shape.side), resample, (0.0, 0.0, width / by, height / by))
    whole = max(width, height)
    _, back_x, back_y = _TURNS.get(picture.orientation, (False, False, False))
    left, top = ((spare + 1) // 2 if back else spare // 2 for spare, back in ((whole - width, back_x), (whole - height, back_y)))
    x, y = _along(left, width, whole, by, shape.side), _along(top, height, whole, by, shape.side)
    colour = _colour(shape, image.mode)
    canvas = image
    if (x.at, y.at) != (0, 0) or image.size != (x.size, y.size):
        canvas = Image.new(image.mode, (x.size, y.size), colour)
        canvas.paste(image, (x.at, y.at))
    part = canvas.resize((x.last - x.first, y.last - y.first), resample, (x.start, y.start, x.end, y.end))
    if part.size == (shape.side, shape.side):
        return part
    square = Image.new(image.mode, (shape.side, shape.side), colour)
    square.paste(part, (x.first, y.first))
    return square


@dataclass(frozen=True, slots=True)
class _Along:
    """One axis: where the picture begins on its canvas, the canvas's size, and which part of it becomes which pixels of the square.

    A shrunk picture ends within its last pixel, so start and end are fractions.
    """

    at: int
    size: int
    start: float
    end: float
    first: int
    last: int


def _along(before: int, length: int, whole: int, by: int, side: int) -> _Along:
    """`before` pixels of border, `length` of picture, `whole` together with the border behind, all in the file's pixels."""
    scale = whole / by / side
    # How far a pixel of the square may look on either side: lanczos is widest. An exact square is computed whole, because the
    # resizer's own rounding depends on where it begins.
    reach = whole if by == 1 else 3 * max(1.0, scale) + 1
    begin, end = before / by, (before + length) / by
    first, last = max(0, math.floor((begin - reach) / scale)), min(side, math.ceil((end + reach) / scale))
    at = min(math.ceil(begin), math.ceil(begin - first * scale + reach))
    zero = at - begin  # where the square begins on the canvas
    size = min(math.ceil(zero + whole / by), math.ceil(zero + last * scale + reach))
    upto = whole / by if last == side else last * scale  # the first without the error of a division and a multiplication
    return _Along(at, size, zero + first * scale, zero + upto, first, last)


def _colour(shape: Shape, mode: str) -> int | tuple[int, int, int]:
    return shape.pad[0] if mode == "L" else shape.pad


def _transposition(orientation: int) -> Image.Transpose | None:
    from PIL.Image import Transpose

    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)


def fill(row: Floats, square: Image.Image, shape: Shape) -> None:
    """Lay a square into a model's row: one pass that turns bytes into floats in the model's layout, a second where it wants a scale.

    Pillow swaps the channels: numpy would take four times as long to read them backwards.
    """
    import numpy as np

    raw = square.tobytes("raw", "BGR") if shape.order == "bgr" else square.tobytes()
    pixels = np.frombuffer(raw, np.uint8).reshape(shape.side, shape.side, 3)
    row[...] = pixels if shape.layout == "nhwc" else pixels.transpose(2, 0, 1)
    if shape.scale == 1.0 and shape.mean == (0.0, 0.0, 0.0) and shape.std == (1.0, 1.0, 1.0):
        return
    of = (3,) if shape.layout == "nhwc" else (3, 1, 1)
    std = np.array(shape.std, np.float32).reshape(of)
    row *= np.float32(shape.scale) / std
    row -= np.array(shape.mean, np.float32).reshape(of) / std
