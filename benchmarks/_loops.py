"""What captioning is compared with: the loop that everybody's tagging script is, alone and with two processes that load pictures."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SIDE = 448
Run = Callable[["np.ndarray"], "np.ndarray"]


def load(path: Path) -> np.ndarray:
    """A picture as the taggers' contract says: turned, over white, padded to a square, bicubic, BGR."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        image = image.point(lambda v: v / 257).convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGBA", rgba.size, "white")
        image.alpha_composite(rgba)
    image = image.convert("RGB")
    side = max(image.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC))[:, :, ::-1]


class Script:
    """Reads the names, runs the model on batches, writes a text beside each picture."""

    def __init__(self, folder: Path, run: Run, batch: int = 8) -> None:
        with (folder / "selected_tags.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.names = [row["name"].replace("_", " ") for row in rows]
        kinds = np.array([int(row["category"]) for row in rows])
        self.limits = np.where(kinds == 4, 0.85, np.where(kinds == 9, 2.0, 0.35))
        self.run, self.batch = run, batch

    def alone(self, paths: Iterable[Path], out: Path) -> None:
        """One thing after the other."""
        self._all(((path, load(path)) for path in paths), out)

    def with_loaders(self, paths: list[Path], out: Path, processes: ProcessPoolExecutor) -> None:
        """Pictures are loaded by other processes meanwhile."""
        self._all(zip(paths, processes.map(load, paths), strict=True), out)

    def _all(self, loaded: Iterable[tuple[Path, np.ndarray]], out: Path) -> None:
        for group in _groups(loaded, self.batch):
            scores = self.run(np.stack([pixels for _, pixels in group]).astype(np.float32))
            for (path, _), row in zip(group, scores, strict=True):
                chosen = np.flatnonzero(row > self.limits)
                text = ", ".join(self.names[i] for i in chosen[np.argsort(-row[chosen])])
                (out / path.name).with_suffix(".txt").write_text(text + "\n", encoding="utf-8")


def _groups(items: Iterable[tuple[Path, np.ndarray]], size: int) -> Iterator[list[tuple[Path, np.ndarray]]]:
    group: list[tuple[Path, np.ndarray]] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
