"""quality: scores that fall when a picture gets worse, from pixels that were decoded anyway."""

from pathlib import Path

import numpy as np
import pytest
from dropdock.handlers.captioners.pixels import Decoded, decode
from dropdock.handlers.captioners.quality import GRAIN, SIDE, blockiness, measure, scored, with_opinion
from dropdock.handlers.pictures import Examined, examine
from dropdock.rules.captions import Quality
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter


def scene(width: int = 1400, height: int = 1000, seed: int = 1) -> Image.Image:
    """Flat shapes with outlines over soft colours, and grain."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(40, 216, (5, 7, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(120):
        x, y, size = (int(rng.integers(0, most)) for most in (width, height, width // 7))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        draw.rectangle((x, y, x + size, y + size // 2), colour, "black", width // 350)
    pixels = np.asarray(image).astype(np.int16) + rng.normal(0, 3, (height, width, 1)).astype(np.int16)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def measured(tmp_path: Path, image: Image.Image, name: str = "a.png", **options: object) -> Quality:
    image.save(tmp_path / name, **options)
    found = decode(tmp_path / name, SIDE, GRAIN)
    assert isinstance(found, Decoded)
    quality = measure(found)
    assert quality is not None
    return quality


def test_a_good_picture_is_good(tmp_path):
    """Nothing is flagged, every score and the whole is high."""
    good = measured(tmp_path, scene())
    scores = {name: value for name, value in good.measured.items() if not name.startswith("raw_")}
    assert good.flags == () and good.overall is not None and good.overall > 0.7
    assert set(scores) == {"sharpness", "exposure", "contrast", "clarity", "resolution", "clean"}
    assert all(0 <= value <= 1 for value in scores.values())


@pytest.mark.parametrize(
    "spoil, score, flag",
    [
        (lambda i: i.filter(ImageFilter.GaussianBlur(9)), "sharpness", "blurry"),
        (lambda i: ImageEnhance.Brightness(i).enhance(0.12), "exposure", "underexposed"),
        (lambda i: i.point(lambda v: min(255, 200 + v // 2)), "exposure", "overexposed"),
        (lambda i: i.point(lambda v: 128 + v // 16), "contrast", "low contrast"),
        (lambda i: Image.new("RGB", i.size, (90, 120, 140)), "clarity", "nearly empty"),
        (lambda i: i.resize((350, 250)), "resolution", "small"),
        (lambda i: i.resize((1400, 320)), "resolution", "extreme aspect"),
    ],
)
def test_what_spoils_a_picture_lowers_its_score(tmp_path, spoil, score, flag):
    """Each by its own score, with a flag in words, and in the whole."""
    good, bad = measured(tmp_path, scene()), measured(tmp_path, spoil(scene()))
    assert bad.measured[score] < good.measured[score] - 0.2 and flag in bad.flags
    assert bad.overall < good.overall - 0.05


def test_a_heavily_packed_jpeg_is_blocky(tmp_path):
    """Its grid of eight shows; the same picture packed lightly has none, whatever part of it is looked at."""
    heavy, light = (measured(tmp_path, scene(1300, 1100), "a.jpg", quality=q) for q in (4, 95))
    assert heavy.measured["raw_blockiness"] > 1.5 > 1.2 > light.measured["raw_blockiness"] and "blocky" in heavy.flags
    assert blockiness(np.zeros((9, 9), np.int16)) == 1.0


def test_sharpness_does_not_depend_on_the_size_of_the_file(tmp_path):
    """It is taken at one size: the same scene, four times as many pixels."""
    small, large = measured(tmp_path, scene()), measured(tmp_path, scene().resize((2800, 2000), Image.Resampling.LANCZOS))
    assert abs(small.measured["sharpness"] - large.measured["sharpness"]) < 0.1


@pytest.mark.parametrize("size", [(1400, 1000), (300, 200), (2900, 2100)])
@pytest.mark.parametrize("form", ["png", "jpg"])
def test_the_hash_is_the_one_of_the_intake(tmp_path, size, form):
    """From shrunk pixels too, but for a bit or two: far below what counts as another picture."""
    found = measured(tmp_path, scene(*size), f"a.{form}")
    known = examine((tmp_path / f"a.{form}").read_bytes())
    assert isinstance(known, Examined)
    assert (int(found.dhash, 16) ^ int(known.dhash, 16)).bit_count() <= 2


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (3, 3), (700, 1)])
def test_any_size_is_measured(tmp_path, size):
    """Also where there is no inner pixel to be sharp at."""
    quality = measured(tmp_path, Image.new("RGB", size, (10, 20, 30)))
    assert quality.overall is not None and "small" in quality.flags and len(quality.dhash) == 16


def test_flags_of_the_file_are_told(tmp_path):
    """Transparency, turns and the like are passed on."""
    assert "alpha" in measured(tmp_path, Image.new("RGBA", (50, 50), (1, 2, 3, 100))).flags


def test_an_opinion_stands_beside_what_was_measured():
    """Both are kept; the whole is their mean; without either there is none."""
    seen = Quality({"sharpness": 0.5}, flags=("small",), overall=0.4)
    both = with_opinion(seen, {"sharpness": 0.9, "overall": 0.8}, ("watermark", "small"))
    assert (both.measured, both.opinion["sharpness"], both.overall) == ({"sharpness": 0.5}, 0.9, 0.6)
    assert both.flags == ("small", "watermark")
    assert with_opinion(None, {"overall": 0.8}).overall == 0.8 and with_opinion(None, {}).overall is None


RAW = st.fixed_dictionaries(
    {
        "raw_mean": st.floats(0, 255),
        "raw_deviation": st.floats(0, 128),
        "raw_entropy": st.floats(0, 8),
        "raw_shadows": st.floats(0, 1),
        "raw_highlights": st.floats(0, 1),
        "raw_laplacian": st.floats(0, 1e5),
        "raw_edge": st.floats(0, 255),
    },
    optional={"raw_blockiness": st.floats(1, 50)},
)


@given(RAW, st.tuples(st.integers(1, 60_000), st.integers(1, 60_000)))
def test_every_score_is_from_nought_to_one(raw, size):
    """Whatever was measured."""
    quality = scored(raw, size, (), "0" * 16)
    assert all(0 <= v <= 1 for k, v in quality.measured.items() if not k.startswith("raw_"))
    assert quality.overall is not None and 0 <= quality.overall <= 1


@given(RAW, st.floats(0, 1e5))
def test_sharper_is_never_worse(raw, more):
    """The whole does not fall when only the sharpness rises."""
    before, after = (
        scored(raw, (800, 800), (), ""),
        scored({**raw, "raw_laplacian": raw["raw_laplacian"] + more}, (800, 800), (), ""),
    )
    assert after.overall >= before.overall
