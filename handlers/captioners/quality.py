"""How good a picture is, measured from pixels that were decoded anyway: no model, no second decode, a few milliseconds.

Everything is measured on a grey copy whose long side is SIDE, because sharpness depends on the size it is taken at. Each score is 0..1
by a curve that stands beside it, and the raw value stands under `raw_…`; what a model thinks of a picture is kept apart (`opinion`).
Where numpy is not installed nothing is measured.

- sharpness: variance of the Laplacian (4 neighbours), log scale: 20 -> 0, 2000 -> 1; blurred photographs lie below 100 (0.35). Flat
  drawings have little to be sharp at: there the steepest edges count (percentile 99.7 of the steps, 8 -> 0, 70 -> 1, times 0.9).
- exposure: 1 for a mean between 70 and 185 of 255, falling to 0 at 10 and 245, less the share of clipped pixels beyond a twentieth.
- contrast: standard deviation of grey, 8 -> 0, 55 -> 1.
- clarity: entropy of the grey histogram, 3 bits -> 0, 7 bits -> 1.
- clean: 1 less the blockiness of an 8-pixel grid (how much larger steps are on the grid than beside it): 1.1 -> 1, 1.7 -> 0.
- resolution: the shorter side against 1024 pixels, 256 -> 0.
- overall: the mean of sharpness (0.35), exposure (0.2), clarity (0.15), contrast (0.1), resolution (0.15), clean (0.05), and never more
  than 0.25 above the worst of sharpness, exposure and resolution: one thing can spoil a picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ...rules.captions import Quality
from .pixels import Decoded

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Grey = np.ndarray[tuple[int, ...], np.dtype[np.int16]]

SIDE = 768  # pixels: the long side of the grey copy
GRAIN = 512  # pixels: side of the middle that blockiness is measured on, unshrunk
_WEIGHTS = {"sharpness": 0.35, "exposure": 0.2, "clarity": 0.15, "resolution": 0.15, "contrast": 0.1, "clean": 0.05}
_SPOILERS = ("sharpness", "exposure", "resolution")
_LOW = 0.3  # a score below it is flagged
_FLAGS = {"sharpness": "blurry", "contrast": "low contrast", "clarity": "nearly empty", "clean": "blocky", "resolution": "small"}


def measure(picture: Decoded) -> Quality | None:
    """The scores of a decoded picture, its difference hash and flags. None without numpy."""
    try:
        import numpy as np
    except ImportError:
        return None
    from PIL import Image

    grey = picture.image if picture.image.mode == "L" else picture.image.convert("L")
    dhash = hash_of(grey)
    if max(grey.size) > SIDE:
        by = SIDE / max(grey.size)
        size = (max(1, round(grey.width * by)), max(1, round(grey.height * by)))
        grey = grey.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
    pixels = np.asarray(grey, np.int16)
    found = {**_light(grey), **_edges(pixels)}
    if picture.grain is not None:
        found["raw_blockiness"] = blockiness(np.asarray(picture.grain, np.int16))
    return scored(found, picture.displayed, picture.flags, dhash)


def scored(found: Mapping[str, float], size: tuple[int, int], flags: tuple[str, ...], dhash: str) -> Quality:
    """Raw measurements and the size as displayed (pixels) turned into scores by the curves above. Pure."""
    clipped = found["raw_shadows"] + found["raw_highlights"]
    sharp = max(_log(found["raw_laplacian"], 20, 2000), 0.9 * _line(found["raw_edge"], 8, 70))
    light = min(_line(found["raw_mean"], 10, 70), _line(found["raw_mean"], 245, 185))
    scores = {
        "sharpness": sharp,
        "exposure": max(0.0, light - max(0.0, min(clipped, 1.0) - 0.05) * 0.6),
        "contrast": _line(found["raw_deviation"], 8, 55),
        "clarity": _line(found["raw_entropy"], 3, 7),
        "resolution": _line(min(size), 256, 1024),
        "clean": _line(found.get("raw_blockiness", 1.0), 1.7, 1.1),
    }
    said = [_FLAGS[name] for name in _FLAGS if scores[name] < _LOW]
    if scores["exposure"] < _LOW:
        said.append("underexposed" if found["raw_mean"] < 128 else "overexposed")
    if max(size) > 3 * min(size):
        said.append("extreme aspect")
    overall = sum(_WEIGHTS[name] * value for name, value in scores.items())
    overall = min(overall, min(scores[name] for name in _SPOILERS) + 0.25)
    measured = {name: round(value, 4) for name, value in {**scores, **found}.items()}
    return Quality(measured, flags=(*said, *flags), overall=round(overall, 4), dhash=dhash)


def with_opinion(measured: Quality | None, opinion: Mapping[str, float], flags: tuple[str, ...] = ()) -> Quality:
    """What a model said of the picture put beside what was measured. Its `overall` counts for half where it gave one."""
    quality = measured or Quality()
    said = opinion.get("overall")
    halves = [value for value in (quality.overall, said) if value is not None]
    overall = round(sum(halves) / len(halves), 4) if halves else None
    both = (*quality.flags, *(flag for flag in flags if flag not in quality.flags))
    return replace(quality, opinion=dict(opinion), flags=both, overall=overall)


def hash_of(grey: Image.Image) -> str:
    """dHash of 8 x 9 grey pixels as handlers/pictures.py has it, 16 hex digits; from a shrunk copy it may differ in a bit or two."""
    from PIL import Image

    pixels = grey.resize((9, 8), Image.Resampling.LANCZOS, reducing_gap=3.0).tobytes()
    bits = 0
    for row in range(0, 72, 9):
        for x in range(row, row + 8):
            bits = bits << 1 | (pixels[x + 1] > pixels[x])
    return f"{bits:016x}"


def _light(grey: Image.Image) -> dict[str, float]:
    """Mean and deviation (0..255), entropy (bits), shares of black (<= 3) and white (>= 252) pixels: all from one histogram."""
    import numpy as np

    counts = np.array(grey.histogram(), np.float64)
    share = counts / counts.sum()
    values = np.arange(256)
    mean = float(share @ values)
    there = share[share > 0]
    return {
        "raw_mean": mean,
        "raw_deviation": math.sqrt(max(0.0, float(share @ (values - mean) ** 2))),
        "raw_entropy": max(0.0, float(-(there * np.log2(there)).sum())),
        "raw_shadows": float(share[:4].sum()),
        "raw_highlights": float(share[252:].sum()),
    }


def _edges(grey: Grey) -> dict[str, float]:
    """Variance of the Laplacian, and percentile 99.7 of the steps between neighbours; 0 where there are too few pixels."""
    import numpy as np

    if min(grey.shape) < 3:
        return {"raw_laplacian": 0.0, "raw_edge": 0.0}
    inner = grey[1:-1:2, 1:-1]  # every second row says the same at half the cost
    laplacian = grey[:-2:2, 1:-1] + grey[2::2, 1:-1]
    laplacian += grey[1:-1:2, :-2]
    laplacian += grey[1:-1:2, 2:]
    laplacian -= inner << 2
    flat = laplacian.ravel().astype(np.float32)
    variance = float(flat @ flat / flat.size - flat.mean() ** 2)
    steps = np.abs(grey[1::4, 2::2] - grey[1::4, 1:-1:2]).ravel()
    counts = np.cumsum(np.bincount(steps, minlength=256))
    edge = int(np.searchsorted(counts, 0.997 * steps.size)) if steps.size else 0
    return {"raw_laplacian": max(0.0, variance), "raw_edge": float(edge)}


def blockiness(grey: Grey) -> float:
    """How much larger the steps across an 8-pixel grid are than those beside it (1: no grid), the larger of both directions.

    The picture's own grid must begin at the first pixel, as _middle of pixels.py cuts it.
    """
    import numpy as np

    found = 1.0
    for along in (grey, grey.T):
        if along.shape[1] < 24:
            continue
        steps = np.minimum(np.abs(along[::4, 1:] - along[::4, :-1]), 24).sum(axis=0, dtype=np.int64)  # real edges are larger
        at = steps[7::8].mean()
        beside = np.delete(steps, np.s_[7::8]).mean()
        found = max(found, float((at + len(along) / 2) / (beside + len(along) / 2)))
    return found


def _line(value: float, zero: float, one: float) -> float:
    return max(0.0, min(1.0, (value - zero) / (one - zero)))


def _log(value: float, zero: float, one: float) -> float:
    return _line(math.log(max(value, 1e-9)), math.log(zero), math.log(one))
