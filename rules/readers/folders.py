"""Folders that are one model: a diffusers pipeline, a model with its config, a PEFT adapter, a set of shards.

What must hold: JSON files are read up to a cap, names in them that would leave the folder are refused, at most MAX_FILES
entries are looked at, and whether shards are missing is said. Layouts: Hugging Face diffusers, transformers and PEFT.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from ..header import Damaged

MAX_CONFIG = 4 << 20
MAX_INDEX = 32 << 20
MAX_FILES = 20_000
MAX_SHARDS = 512
LFS = b"version https://git-lfs"  # how the text begins that stands for a file which git has not fetched
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".sft")
HEAVY = (
    *WEIGHTS,
    ".onnx",
    ".msgpack",
    ".h5",
    ".xml",
    ".pb",
    ".tflite",
    ".pkl",
    ".npz",
    ".pte",
    ".engine",
    ".plan",
)  # not all are read
MAIN_PARTS = ("transformer", "unet", "prior", "decoder", "transformer_2", "model")  # what names a pipeline's family
_NO_WEIGHTS = re.compile(r"Tokenizer|Scheduler|Extractor|Processor|Checker|Template")  # parts that are settings, not tensors
_SHARD = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.(safetensors|bin|gguf)$")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that is one model. kind is pipeline, adapter or model; weights are the files whose headers tell what it is."""

    kind: str
    class_name: str
    weights: tuple[Path, ...]
    missing: tuple[str, ...]
    size: int
    empty: tuple[str, ...] = ()  # a pipeline's parts that are there without weights; "." where nothing in the folder has any


def read_json(path: Path, limit: int = MAX_CONFIG) -> dict[str, object] | None:
    """A JSON object from a file of at most `limit` bytes; None when it is not there, too large, or none."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError:
        return None
    if len(data) > limit:
        return None
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def is_model_folder(path: Path) -> bool:
    """Is this folder one model? Raises OSError only when it cannot be listed."""
    names = _names(path)
    if "model_index.json" in names:
        return True
    weights = any(n.endswith(WEIGHTS) for n in names)
    if "adapter_config.json" in names and weights:
        return True
    if any(n.endswith((".safetensors.index.json", ".bin.index.json")) for n in names):
        return True
    if "config.json" not in names or not weights:
        return False
    config = read_json(path / "config.json") or {}
    return any(key in config for key in ("_class_name", "architectures", "model_type"))


def _names(path: Path) -> set[str]:
    names: set[str] = set()
    with os.scandir(path) as entries:
        for entry in entries:
            names.add(entry.name)
            if len(names) >= MAX_FILES:
                break
    return names


def read_folder(path: Path) -> ModelFolder | Damaged:
    """Read what says what the folder is. Raises OSError only when it cannot be listed."""
    names = _names(path)
    size = folder_size(path)
    if "model_index.json" in names:
        return _pipeline(path, size)
    weights = _weights(path, names)
    if isinstance(weights, Damaged):
        return weights
    files, missing = weights
    empty = () if any(_heavy(path)) else (".",)
    if "adapter_config.json" in names:
        return ModelFolder("adapter", "", files, missing, size, empty)
    config = read_json(path / "config.json") or {}
    return ModelFolder("model", _class_of(config), files, missing, size, empty)


def _class_of(config: Mapping[str, object]) -> str:
    name = config.get("_class_name")
    if isinstance(name, str):
        return name
    listed = config.get("architectures")
    return listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], str) else ""


def _pipeline(path: Path, size: int) -> ModelFolder | Damaged:
    index = read_json(path / "model_index.json")
    if index is None:
        return Damaged("bad-index", "model_index.json is no JSON object")
    parts = [k for k, v in index.items() if isinstance(v, list) and len(v) == 2 and all(isinstance(x, str) for x in v)]
    parts = [p for p in parts if not _NO_WEIGHTS.search(str(index[p]))]
    missing, empty = list[str](), list[str]()
    weights: tuple[Path, ...] = ()
    for part in parts:
        if not _plain(part):
            return Damaged("bad-index", f"model_index.json names {part!r}, which lies outside the folder")
        if not (path / part).is_dir():
            missing.append(part + "/")
            continue
        found = _weights(path / part, _names(path / part))
        if isinstance(found, Damaged):
            return found
        missing += [f"{part}/{name}" for name in found[1]]
        if not any(found) and _without_weights(path / part):
            empty.append(part)
        if part in MAIN_PARTS and (not weights or MAIN_PARTS.index(part) < MAIN_PARTS.index(weights[0].parent.name)):
            weights = found[0] or weights
    if not any(_heavy(path)):
        empty = ["."]
    return ModelFolder("pipeline", _class_of(index), weights, tuple(missing), size, tuple(empty))


def _heavy(path: Path) -> Iterator[str]:
    """The files below a folder that hold weights, of any program's format; a bounded number is looked at."""
    names = (name for _, _, files in os.walk(path) for name in files)
    return (name for name in islice(names, MAX_FILES) if name.endswith(HEAVY) and not name.startswith("."))


def _without_weights(part: Path) -> bool:
    """Does a part lack its weights? Only one that is bare, or has a model's config, surely should have some."""
    names = {name for name in _names(part) if not name.startswith(".")}
    return (not names or "config.json" in names) and not any(_heavy(part))


def _weights(path: Path, names: set[str]) -> tuple[tuple[Path, ...], tuple[str, ...]] | Damaged:
    """The weight files of one folder, one precision of them, and the shards that are missing."""
    found = _listed(path, names)
    if isinstance(found, Damaged):
        return found
    pointer = next(filter(_is_pointer, found[0]), None)
    return found if pointer is None else Damaged("lfs-pointer", f"{path.name}/{pointer.name} is a Git LFS pointer, not the file")


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(LFS)) == LFS
    except OSError:
        return False


def _listed(path: Path, names: set[str]) -> tuple[tuple[Path, ...], tuple[str, ...]] | Damaged:
    for index in sorted(n for n in names if n.endswith(".index.json")):
        mapping = (read_json(path / index, MAX_INDEX) or {}).get("weight_map")
        if not isinstance(mapping, dict):
            return Damaged("bad-index", f"{index} has no weight_map")
        shards = sorted({str(v) for v in mapping.values()})
        if len(shards) > MAX_SHARDS or not all(map(_plain, shards)):
            return Damaged("bad-index", f"{index} names files outside the folder, or too many")
        return tuple(path / s for s in shards if s in names), tuple(s for s in shards if s not in names)
    files = sorted(n for n in names if n.endswith(WEIGHTS) and not n.startswith("."))
    files = [n for n in files if not (n.endswith(".bin") and n[:-4] + ".xml" in names)]  # OpenVINO's, which is no pickle
    sharded = [n for n in files if _SHARD.match(n)]
    if sharded:
        return tuple(path / n for n in sharded), tuple(_missing(sharded[0], names))
    # the plain name first: variants such as .fp16. beside it hold the same model
    files.sort(key=lambda n: (not n.endswith(".safetensors"), n.count("."), n))
    return tuple(path / n for n in files[:1]), ()


def _missing(shard: str, names: set[str]) -> Iterator[str]:
    found = _SHARD.match(shard)
    if found:
        stem, _, total, suffix = found.groups()
        wanted = (f"{stem}-{i:05d}-of-{total}.{suffix}" for i in range(1, min(int(total), MAX_SHARDS) + 1))
        yield from (name for name in wanted if name not in names)


def siblings(path: Path) -> tuple[str, ...]:
    """The names of all shards of the set that a shard is of, its own among them; empty for a file that is no shard."""
    found = _SHARD.match(path.name)
    if not found:
        return ()
    stem, _, total, suffix = found.groups()
    count = min(int(total), MAX_SHARDS)
    return tuple(f"{stem}-{i:05d}-of-{total}.{suffix}" for i in range(1, count + 1))


def missing_siblings(path: Path) -> tuple[str, ...]:
    """The other shards of a set that are not beside this one; empty for a file that is no shard."""
    return tuple(sorted(n for n in siblings(path) if not (path.parent / n).exists()))


def _plain(name: str) -> bool:
    """A name that stays in the folder it is used in."""
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\\0:")


def folder_size(path: Path) -> int:
    """Bytes of all regular files below; links are not followed and the count is bounded."""
    total = seen = 0
    for root, folders, files in os.walk(path):
        folders.sort()
        for name in files:
            seen += 1
            try:
                found = os.lstat(os.path.join(root, name))  # noqa: PTH118 (thousands of files)
            except OSError:
                continue
            total += found.st_size
            if seen >= MAX_FILES:
                return total
    return total
