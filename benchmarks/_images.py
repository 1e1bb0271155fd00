"""Pictures as varied as people's: 512 to 3000 pixels, JPEG, PNG and WebP of many kinds, with the grain and detail of photographs.

Made once into the cache folder. They are fields of noise of all sizes (as photographs have them), shapes with sharp edges, and sensor
noise, so that they pack and decode like photographs of their size.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 2048  # of the fields that pictures are cut from
ASPECTS = [(1, 1)] * 5 + [(2, 3), (3, 2)] * 3 + [(3, 4), (4, 3)] * 3 + [(9, 16), (16, 9), (5, 2), (1, 3)]
KINDS = (
    ["jpg"] * 50 + ["jpg progressive"] * 5 + ["jpg turned"] * 6 + ["jpg grey"] * 2 + ["jpg cmyk"] * 3 + ["png"] * 14 + ["png alpha"] * 6
    + ["png palette"] * 4 + ["png grey alpha"] + ["png 16 bit"] + ["webp"] * 6 + ["webp alpha"]
)  # fmt: skip


def pictures(folder: Path, count: int, seed: int = 7) -> list[Path]:
    """`count` pictures, the same ones each time."""
    done = folder / f"done-{count}-{seed}"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rng, fields = random.Random(seed), [_field(n) for n in range(4)]
        for n in range(count):
            _save(_picture(fields, rng), rng.choice(KINDS), folder / f"{n:05d}", rng)
        done.touch()
    return sorted(p for p in folder.iterdir() if p.suffix in (".jpg", ".png", ".webp"))[:count]


def _field(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    field = np.zeros((SIDE, SIDE, 3), np.float32)
    for octave in range(2, 12):
        grey = rng.normal(0, 0.52 ** (octave - 2), (1 << octave,) * 2).astype(np.float32)
        for channel in range(3):
            coarse = grey + rng.normal(0, 0.3 * 0.52 ** (octave - 2), grey.shape).astype(np.float32)
            field[:, :, channel] += np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(125 + 52 * field, 0, 255).astype(np.uint8))


def _picture(fields: list[Image.Image], rng: random.Random) -> Image.Image:
    long = int(math.exp(rng.uniform(math.log(512), math.log(3000))))
    across, down = rng.choice(ASPECTS)
    width, height = (long, max(64, long * down // across)) if across >= down else (max(64, long * across // down), long)
    field = rng.choice(fields).transpose(rng.choice(list(Image.Transpose)))
    by = max(width, height) / SIDE
    if by > 1:
        field = field.resize((math.ceil(SIDE * by),) * 2, Image.Resampling.BICUBIC)
    x, y = rng.randint(0, field.width - width), rng.randint(0, field.height - height)
    image = field.crop((x, y, x + width, y + height))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(4, 24)):
        left, top, size = rng.randint(0, width), rng.randint(0, height), rng.randint(20, 60 + long // 5)
        colour = tuple(rng.randint(0, 255) for _ in range(3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((left, top, left + size, top + size // 2), colour, "black", 2)
    noise = np.random.default_rng(rng.randint(0, 1 << 30)).normal(0, rng.uniform(1, 4), (height, width, 1)).astype(np.int16)
    return Image.fromarray(np.clip(np.asarray(image).astype(np.int16) + noise, 0, 255).astype(np.uint8))


def _save(image: Image.Image, kind: str, path: Path, rng: random.Random) -> None:
    form, _, way = kind.partition(" ")
    target = path.with_suffix(f".{form}")
    if form == "jpg":
        options: dict[str, object] = {"quality": rng.choice([85, 90, 92, 95]), "progressive": way == "progressive"}
        if way == "turned":
            exif = Image.Exif()
            exif[274] = rng.choice([2, 3, 4, 5, 6, 6, 7, 8, 8])
            options["exif"] = exif
        image.convert({"grey": "L", "cmyk": "CMYK"}.get(way, "RGB")).save(target, "JPEG", **options)
        return
    if way.endswith("alpha"):
        mask = Image.radial_gradient("L").resize(image.size).point(lambda v: 255 - v)
        image = image.convert("L" if way == "grey alpha" else "RGB")
        image.putalpha(mask)
    elif way == "palette":
        image = image.quantize(256)
    elif way == "16 bit":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    image.save(target, **({"compress_level": 4} if form == "png" else {"quality": 90, "method": 2}))
