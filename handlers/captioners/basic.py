"""basic: what can be said of a picture from its pixels alone, true and without any model.

Says orientation and size as displayed, light, contrast, sharpness of colour, and the dominant colours by name. What must hold: the
same picture gives the same words; EXIF orientation is applied; transparency counts as white; nothing is guessed about the content.
Colours are named in HSV by hue sectors of 30 degrees; light is the mean of Rec. 601 luma.
"""

from __future__ import annotations

import colorsys
import warnings
from collections.abc import Iterator, Mapping, Sequence

from ...rules.captions import Style
from ...rules.header import Damaged
from ...rules.terms import Param
from .finish import finish
from .options import style_of
from .pixels import decode
from .protocol import Answer, Picture, Source
from .quality import GRAIN, measure
from .quality import SIDE as MEASURED

SIDE = 64  # pixels the picture is reduced to before its colours are counted
LEAST = 256  # pixels the long side is decoded at, where nothing else is measured
SHARE = 0.12  # of all pixels, from which on a colour is named
HUES = ("red", "orange", "yellow", "lime green", "green", "teal", "cyan", "azure", "blue", "violet", "magenta", "pink")


class Basic:
    """engine: basic. It has no options of its own."""

    ahead = 8
    device = "cpu"

    def __init__(self, options: Mapping[str, Param]) -> None:
        from PIL import Image

        self._style = style_of(options)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # bounded by pixels.py

    def captions(self, source: Source) -> Iterator[tuple[int, Answer]]:
        """One sentence for each picture."""
        while pictures := source.take(1, wait=True):
            yield from ((picture.id, _answer(picture, picture.style.over(self._style))) for picture in pictures)

    def close(self) -> None:
        """Nothing is held."""


def _answer(picture: Picture, style: Style) -> Answer:
    from PIL import Image

    found = decode(picture.path, MEASURED if picture.quality else LEAST, GRAIN if picture.quality else 0)
    if isinstance(found, Damaged):
        return Answer(error=found.text)
    small = found.image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    raw = small.tobytes()
    said = describe(found.displayed, [(raw[i], raw[i + 1], raw[i + 2]) for i in range(0, len(raw), 3)])
    return Answer(finish(said, style, False, picture.existing), quality=measure(found) if picture.quality else None)


def describe(size: tuple[int, int], pixels: Sequence[tuple[int, int, int]]) -> str:
    """The sentence for a picture of this size (pixels) with these RGB samples (0..255). Pure."""
    width, height = size
    shape = "square" if abs(width - height) <= 0.05 * max(size) else "landscape" if width > height else "portrait"
    luma = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in pixels]
    mean = sum(luma) / len(luma)
    spread = (sum((v - mean) ** 2 for v in luma) / len(luma)) ** 0.5
    light = (
        "very dark"
        if mean < 40
        else "dark"
        if mean < 90
        else "evenly lit"
        if mean < 165
        else "bright"
        if mean < 225
        else "very bright"
    )
    contrast = "flat" if spread < 18 else "soft contrast" if spread < 50 else "strong contrast"
    counts: dict[str, int] = {}
    for pixel in pixels:
        name = colour(*pixel)
        counts[name] = counts.get(name, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [name for name, n in ranked if n >= SHARE * len(pixels)][:3] or [ranked[0][0]]
    colours = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    return f"a {shape} picture, {width}x{height}, {light}, {contrast}, mostly {colours}"


def colour(red: int, green: int, blue: int) -> str:
    """The plain name of an RGB colour (0..255 each)."""
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    if value < 0.16:
        return "black"
    if saturation < 0.12:
        return "white" if value > 0.88 else "light grey" if value > 0.65 else "grey" if value > 0.35 else "dark grey"
    name = HUES[int(hue * 12 + 0.5) % 12]
    if name in ("orange", "red") and value < 0.62 and saturation > 0.25:
        return "brown"
    return f"dark {name}" if value < 0.4 else f"pale {name}" if saturation < 0.35 else name
