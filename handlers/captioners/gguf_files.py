"""Which files a GGUF captioner is made of: the model and its vision half, named by path, or by part of a name in the hub.

What must hold: a path that exists wins over any name; what is not found is a ValueError whose sentence says where was looked; only names
and the first four bytes are read. A vision half is told by `mmproj` in its name, as every converter writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .stand_ins import stand_in

MAGIC = b"GGUF"
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_PRECISE = ("f32", "bf16", "f16", "q8")  # of a vision half: the first that is there, it is small anyway


def find(model: str, mmproj: str, hub: str) -> tuple[Path, Path]:
    """The model and its vision half. `hub` '' when there is none. Raises ValueError."""
    found = _model(model, hub)
    half = _checked(Path(mmproj)) if mmproj else _half(found, hub)
    return _checked(found), half


def _model(name: str, hub: str) -> Path:
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        inside = [p for p in _ggufs(path.iterdir()) if not _is_half(p)]
        if inside:
            return min(inside)  # the first part of one that was split
        raise ValueError(f"{path} holds no GGUF model")
    if path.parent != Path() or not hub:
        raise ValueError(f"there is no file {path}")
    wanted = _words(path.name.removesuffix(".gguf"))
    known = [p for p in _in_hub(hub) if not _is_half(p) and all(w in "-".join(_words(p.stem)) for w in wanted)]
    if not known:
        raise ValueError(f"{name} is no file, and no GGUF model in the hub is called so")
    first = min(known, key=lambda p: (len(p.name), p.name))
    others = {p.name for p in known if not _PART.search(p.stem)}
    if len(others) > 1 and first.stem.casefold() != name.casefold().removesuffix(".gguf"):
        raise ValueError(f"{name} may be {' or '.join(sorted(others)[:4])}: name one of them")
    return first


def _half(model: Path, hub: str) -> Path:
    """The vision half beside a model; else the one in the hub that has most of its name."""
    beside = [p for p in _ggufs(model.parent.iterdir()) if _is_half(p)]
    near = beside or [p for p in (_in_hub(hub) if hub else ()) if _is_half(p) and len(_shared(p, model)) >= 2]
    if not near:
        raise ValueError(f"there is no vision half (mmproj file) beside {model}: put it there, or name it with `mmproj`")
    return _checked(min(near, key=lambda p: (-len(_shared(p, model)), _precision(p), p.name)))


def _shared(half: Path, model: Path) -> set[str]:
    return (set(_words(half.stem)) & set(_words(model.stem))) - {
        "gguf",
        "mmproj",
        "model",
        "instruct",
        "it",
        "f16",
        "bf16",
        "q8",
        "0",
    }


def _precision(path: Path) -> int:
    words = _words(path.stem)
    return next((n for n, word in enumerate(_PRECISE) if word in words), len(_PRECISE))


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9.]+", name.casefold()) if word]


def _is_half(path: Path) -> bool:
    return "mmproj" in path.name.casefold()


def _in_hub(hub: str) -> Iterator[Path]:
    """Every GGUF file of the hub: <hub>/<aa>/<sha256>/<name>."""
    return _ggufs(Path(hub).glob("[0-9a-f][0-9a-f]/*/*"))


def _ggufs(paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if path.name.casefold().endswith(".gguf"))


def _checked(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        what = "" if magic == MAGIC else stand_in(path) or "no GGUF file"
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if what:
        raise ValueError(f"{path} is {what}")
    return path
