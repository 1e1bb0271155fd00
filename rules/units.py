"""Units: which files of one folder are one thing to a person, and which folders are one model. Names only, nothing is opened.

A model leads its companions (`x.safetensors` + `x.preview.png` + `x.civitai.info` + `x.yaml` ...), a picture leads its caption (`cat.png`
+ `cat.txt`), everything else stands alone. What must hold: the units of a folder share no file and leave none out; an archive never
takes companions; two pictures, or two models, of one stem are two units; the answer does not depend on the order of the names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from pathlib import PurePath

# In the order of who leads when two models share a stem.
MODEL_SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin", ".onnx")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic")
CAPTION_SUFFIXES = (".txt", ".caption")
# The longer ones first, for the stem of `x.tar.gz` is `x`.
ARCHIVE_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tbz2", ".txz", ".tar", ".zip", ".cbz", ".7z", ".rar")
# Written beside a model by Civitai-Helper, A1111/Forge, Lora-Manager, StabilityMatrix, SwarmUI and hash tools.
_NOTE = re.compile(
    r"(.+?)\.(?:civitai\.info|(?:metadata|cm-info|swarm)\.json|json|ya?ml|sha256|md5|info)", re.IGNORECASE | re.DOTALL
)
_PREVIEW = re.compile(
    rf"(.+?)\.(?:(?:preview|thumb)(?:{'|'.join(re.escape(s) for s in PICTURE_SUFFIXES)}|\.mp4|\.webm)|mp4|webm)",
    re.IGNORECASE | re.DOTALL,
)
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}\.(?:safetensors|bin|gguf|pt|pth)", re.IGNORECASE | re.DOTALL)
_SHARD_INDEX = re.compile(r"(.+)\.(?:safetensors|bin)\.index(?:\.[\w-]+)?\.json", re.IGNORECASE | re.DOTALL)
_LIBRARY_WEIGHTS = re.compile(
    r"(?:model|pytorch_model|diffusion_pytorch_model|open_clip_model|flax_model|adapter_model)(?:\.[\w-]+)?\.(?:safetensors|bin|pt|ckpt)",
    re.IGNORECASE,
)


class Part(Enum):
    """What a name can be in a unit."""

    MODEL = auto()
    PICTURE = auto()
    ARCHIVE = auto()
    CAPTION = auto()  # a text: of a picture, or of a model
    PREVIEW = auto()  # a picture or clip that says it is a preview: alone it is only a picture
    NOTE = auto()  # a model's metadata
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing: the name of its lead and, sorted, of its companions, all of one folder."""

    lead: str
    companions: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.lead, *self.companions)


@lru_cache(maxsize=8192)
def part(name: str) -> tuple[str, Part]:
    """(key, part) of a name. Files that can be in one unit have equal keys; every name is its key, or begins with key + "."."""
    low = name.lower()
    if archive := next((s for s in ARCHIVE_SUFFIXES if low.endswith(s) and low != s), None):
        return name[: -len(archive)], Part.ARCHIVE
    if found := _NOTE.fullmatch(name):
        return _lead_stem(found[1]), Part.NOTE
    if found := _PREVIEW.fullmatch(name):
        return _lead_stem(found[1]), Part.PREVIEW
    suffix = PurePath(low).suffix
    stem = name[: len(name) - len(suffix)]
    if suffix in MODEL_SUFFIXES:
        return stem, Part.MODEL
    if suffix in PICTURE_SUFFIXES:
        return stem, Part.PICTURE
    if suffix in CAPTION_SUFFIXES:
        return _lead_stem(stem), Part.CAPTION
    return stem, Part.OTHER


def _lead_stem(stem: str) -> str:
    """`x.safetensors` -> `x`: tools also name a companion after the whole file name (`x.safetensors.json`, `cat.png.txt`)."""
    suffix = PurePath(stem).suffix
    return stem[: -len(suffix)] if suffix.lower() in MODEL_SUFFIXES + PICTURE_SUFFIXES else stem


def key(name: str) -> str:
    """The stem by which `name` finds its unit."""
    return part(name)[0]


def units(names: Iterable[str]) -> list[Unit]:
    """The names of one folder as units, sorted by lead."""
    groups: dict[str, list[tuple[Part, str]]] = {}
    for name in sorted(set(names)):
        stem, what = part(name)
        groups.setdefault(stem, []).append((what, name))
    found = [unit for members in groups.values() for unit in _group(members)]
    return sorted(found, key=lambda unit: unit.lead)


def unit_of(path: PurePath, siblings: Iterable[str]) -> Unit:
    """The unit of `path` among the names of its folder. `siblings` may hold or lack the path's own name."""
    stem = key(path.name)
    near = {name for name in siblings if key(name) == stem} | {path.name}
    return next(unit for unit in units(near) if path.name in unit.names)


def _group(members: list[tuple[Part, str]]) -> list[Unit]:
    """The units of names that share one key. `members` are sorted by name."""
    models = sorted((n for p, n in members if p is Part.MODEL), key=_rank)
    pictures = [n for p, n in members if p is Part.PICTURE]
    if models:
        takes, lead = {Part.NOTE, Part.PREVIEW, Part.CAPTION, Part.PICTURE}, models[0]
    elif pictures:
        takes, lead = {Part.CAPTION}, pictures[0]
    else:
        return [Unit(name) for _, name in members]
    companions = tuple(n for p, n in members if p in takes and n != lead)
    return [Unit(lead, companions), *(Unit(n) for _, n in members if n != lead and n not in companions)]


def _rank(model: str) -> tuple[int, str]:
    return MODEL_SUFFIXES.index(PurePath(model).suffix.lower()), model


def is_archive(name: str) -> bool:
    """True for a name that ends like an archive's."""
    return part(name)[1] is Part.ARCHIVE


def is_model_folder(names: Collection[str]) -> bool:
    """Whether a folder with these file names is one model: a diffusers pipeline, a transformers or PEFT folder, or a shard set.

    A `config.json` or a shard index among loose models does not make their folder one model.
    """
    telling = {
        low for name in names if (low := name.lower()).endswith(".json")
    }  # only these can say so, and few folders have any
    if "model_index.json" in telling or "adapter_config.json" in telling:
        return True
    if not telling:
        return False
    weights = [name for name in names if part(name)[1] is Part.MODEL]
    sharded = all(_SHARD.fullmatch(name) for name in weights)
    if any(_SHARD_INDEX.fullmatch(name) for name in names) and sharded:
        return True
    known = all(_LIBRARY_WEIGHTS.fullmatch(name) or _SHARD.fullmatch(name) for name in weights)
    return "config.json" in telling and bool(weights) and known
