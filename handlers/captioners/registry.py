"""The taggers that are known by name, from tables/taggers.yaml, and what is assumed of a folder that nobody described.

What must hold: an Entry says everything a model wants but what its own graph says (the side and the layout of its input win over it). A
folder may bring its own description: `dropdock.yaml` with the keys of the table, or the `preprocess.json` of the animetimm models.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import yaml

from .pixels import Shape

MODELS = ("model.onnx", "model_optimized.onnx")
LABELS = ("selected_tags.csv", "tag_mapping.json", "model_vocabulary.json", "tags.json", "top_tags.txt")
OWN = "dropdock.yaml"
WD = {"general": 0.35, "character": 0.85}
WORDS = {
    "layout": ("nhwc", "nchw"), "order": ("bgr", "rgb"), "fit": ("pad", "stretch"), "resample": ("bicubic", "bilinear", "lanczos"),
    "activation": ("none", "sigmoid", "auto"),
}  # fmt: skip
KEYS = (
    "repo", "revision", "folder", "files", "labels", "side", *WORDS, "pad", "scale", "mean", "std", "output", "thresholds", "generation",
    "licence", "gated", "mb",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One tagger. Thresholds are by category; `mb` is the size of the download, 0 where it is not known."""

    name: str
    repo: str = ""
    revision: str = "main"
    folder: str = ""  # below the repository
    files: tuple[str, ...] = ("model.onnx",)
    labels: str = ""
    shape: Shape = field(default_factory=lambda: Shape(0))
    output: str = ""
    activation: str = "none"  # sigmoid, auto
    thresholds: Mapping[str, float] = field(default_factory=dict)
    generation: int = 0
    licence: str = ""
    gated: bool = False
    mb: int = 0


class NoSuchTagger(ValueError):
    """A model that is neither in the table nor a folder with a model; the text is for people."""


@functools.cache
def entries() -> Mapping[str, Entry]:
    """All taggers by name."""
    read = yaml.safe_load((resources.files(__package__) / "tables" / "taggers.yaml").read_text("utf-8"))
    return {name: entry(name, given) for name, given in read.items() if not name.startswith(".")}


def entry(name: str, given: Mapping[str, object]) -> Entry:
    """An entry from the table's keys. Raises NoSuchTagger naming what is not as it should be."""
    try:
        _checked(given)
        shape = Shape(
            int(str(given.get("side", 0))),
            str(given.get("layout", "nhwc")),
            str(given.get("order", "bgr")),
            str(given.get("fit", "pad")),
            _colour(given.get("pad", (255, 255, 255))),
            str(given.get("resample", "bicubic")),
            float(str(given.get("scale", 1.0))),
            _three(given.get("mean", (0.0, 0.0, 0.0))),
            _three(given.get("std", (1.0, 1.0, 1.0))),
        )
        thresholds = given.get("thresholds") or {}
        files = given.get("files") or ("model.onnx",)
        if not isinstance(thresholds, Mapping) or not isinstance(files, Sequence):
            raise ValueError("thresholds are a mapping, files a list")
        return Entry(
            name,
            str(given.get("repo", "")),
            str(given.get("revision", "main")),
            str(given.get("folder", "")),
            tuple(str(file) for file in files),
            str(given.get("labels", "")),
            shape,
            str(given.get("output", "")),
            str(given.get("activation", "none")),
            {str(category): float(value) for category, value in thresholds.items()},
            int(str(given.get("generation", 0))),
            str(given.get("licence", "")),
            bool(given.get("gated", False)),
            int(str(given.get("mb", 0))),
        )
    except (ValueError, TypeError) as error:
        raise NoSuchTagger(f"the description of {name} does not read: {error}") from None


def _checked(given: Mapping[str, object]) -> None:
    """Raises ValueError for a key or a word that means nothing: a slip would only show as wrong tags."""
    if unknown := [str(key) for key in given if key not in KEYS]:
        raise ValueError(f"{', '.join(unknown)} is none of {', '.join(KEYS)}")
    for key, words in WORDS.items():
        if key in given and given[key] not in words:
            raise ValueError(f"{key} is {' or '.join(words)}, not {given[key]}")
    numbers = [float(str(given.get("scale", 1.0))), *_three(given.get("std", (1.0, 1.0, 1.0)))]
    if not all(0 < number < math.inf for number in numbers):
        raise ValueError("scale and std are above 0")


def _colour(value: object) -> tuple[int, int, int]:
    red, green, blue = _three(value)
    return int(red), int(green), int(blue)


def _three(value: object) -> tuple[float, float, float]:
    if not isinstance(value, Sequence) or len(value) != 3:
        raise ValueError(f"expected three numbers, not {value!r}")
    first, second, third = (float(item) for item in value)
    return first, second, third


def described(folder: Path, nchw: bool | None = None) -> Entry:
    """What a folder says of itself, else the entry of its name, else what its layout suggests (`nchw`, once that is known).

    Raises NoSuchTagger where its description does not read.
    """
    own = folder / OWN
    if own.is_file():
        return entry(folder.name, _mapping(own))
    if (folder / "preprocess.json").is_file():
        return _timm(folder)
    if folder.name in entries():
        return entries()[folder.name]
    if nchw:
        half = {"layout": "nchw", "order": "rgb", "scale": 1 / 255, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        return entry(folder.name, {**half, "activation": "auto", "thresholds": WD})
    return entry(folder.name, {"activation": "auto", "thresholds": WD})


def _mapping(path: Path) -> Mapping[str, object]:
    try:
        read = yaml.safe_load(path.read_text("utf-8")) if path.suffix == ".yaml" else json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise NoSuchTagger(f"{path} does not read: {str(error).splitlines()[0]}") from None
    if not isinstance(read, Mapping):
        raise NoSuchTagger(f"{path} is no mapping")
    return read


def _timm(folder: Path) -> Entry:
    """preprocess.json of animetimm: {"test": [{"type": "resize", "size": 448}, …, {"type": "normalize", "mean": […], "std": […]}]}."""
    known = entries().get(folder.name)
    steps = _mapping(folder / "preprocess.json").get("test")
    given: dict[str, object] = {"layout": "nchw", "order": "rgb", "scale": 1 / 255, "activation": "auto", "output": "prediction"}
    for step in steps if isinstance(steps, Sequence) else ():
        if isinstance(step, Mapping):
            given |= {key: step[key] for key in ("mean", "std") if step.get("type") == "normalize" and key in step}
            if step.get("type") in ("resize", "center_crop") and "size" in step:
                size = step["size"]
                given["side"] = size[0] if isinstance(size, Sequence) and size else size
    given["thresholds"] = dict(known.thresholds) if known else {}
    return entry(folder.name, given)
