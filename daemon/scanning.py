"""Scanning: what models lie in folders that nobody watches yet, which of them twice, and what that costs. Nothing is written or moved.

What must hold: headers only, but for files of one size, which are compared by their ends and then by their whole content; a link costs no
space and is not counted, and neither are further hard links of one file; one unreadable path hinders no other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import xxhash

from ..handlers import hashing
from ..rules.confidence import Bands
from ..rules.identify import model_folder
from ..rules.ignores import Ignores
from ..rules.terms import Condition, Facts, Kind
from ..rules.units import units
from .header_worker import identify

THREADS = 8  # headers are read from many files at once: it is the disk that is waited for
END = 1 << 16  # bytes of each end that are compared before the whole
MODEL_SUFFIXES = frozenset(
    (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".onnx", ".patch", ".vae", ".lora")
)  # what a scan looks into: opening every picture and script of an app's checkout would tell nothing of its models


@dataclass(frozen=True, slots=True)
class Found:
    """One model: what it is, and its size with all its files in bytes."""

    path: Path
    root: Path  # the scanned folder it lies in
    facts: Facts
    size: int

    def band(self, bands: Bands) -> str | None:
        """The word for how sure the answer is; None for what is damaged, unsafe or of no known family."""
        model = self.facts.model
        return bands.word(model.confidence) if model is not None and self.facts.condition is Condition.OK else None


@dataclass(frozen=True, slots=True)
class Twins:
    """Files with the same content. `wasted` are the bytes that all but one of them take."""

    sha256: str
    size: int
    paths: tuple[Path, ...]

    @property
    def wasted(self) -> int:
        return self.size * (len(self.paths) - 1)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scan found; `unreadable` is path and reason, `others` counts files that look like models and are none."""

    models: tuple[Found, ...]
    twins: tuple[Twins, ...]
    unreadable: tuple[tuple[Path, str], ...] = ()
    others: int = 0


@dataclass(slots=True)
class Bar:
    """Where progress is told: `begin(what, total)` for each part, `more(n)` in between, from any thread."""

    begin: Callable[[str, int], None] = lambda what, total: None
    more: Callable[[int], None] = lambda n: None


@dataclass(slots=True)
class _Unread:
    lock: threading.Lock = field(default_factory=threading.Lock)
    found: list[tuple[Path, str]] = field(default_factory=list)

    def note(self, path: Path, error: OSError) -> None:
        with self.lock:
            self.found.append((path, error.strerror or str(error)))


def survey(folders: Sequence[Path], bar: Bar | None = None) -> Survey:
    """Look through whole folders. The same file named by two of the folders is found once."""
    bar, unread = bar or Bar(), _Unread()
    waiting: dict[Path, tuple[Path, tuple[Path, ...]]] = {}
    for folder in folders:
        root = Path(os.path.abspath(folder))  # noqa: PTH100  # links in it are the user's own way of naming it
        for path, companions in _candidates(root, unread):
            waiting.setdefault(path, (root, companions))
    bar.begin("reading headers", len(waiting))
    with ThreadPoolExecutor(THREADS) as pool:
        looked = list(pool.map(lambda at: _look(at, *waiting[at], bar, unread), sorted(waiting)))
    models = tuple(f for f in looked if f is not None and f.facts.kind is Kind.MODEL)
    return Survey(
        models, twins(models, bar, unread), tuple(sorted(unread.found)), sum(f is not None for f in looked) - len(models)
    )


def twins(models: Iterable[Found], bar: Bar | None = None, unread: _Unread | None = None) -> tuple[Twins, ...]:
    """The files among models that have the same content, the costliest first. Folders that are one model are not compared."""
    bar, unread = bar or Bar(), unread or _Unread()
    sized: dict[int, dict[tuple[int, int], Path]] = {}
    for found in models:
        if not found.facts.folder and found.size:
            stat = found.path.stat()
            sized.setdefault(stat.st_size, {}).setdefault((stat.st_dev, stat.st_ino), found.path)
    alike: dict[tuple[int, str], list[Path]] = {}
    for size, paths in sized.items():
        for path in paths.values() if len(paths) > 1 else ():
            ends = _ends(path, size, unread)
            if ends:
                alike.setdefault((size, ends), []).append(path)
    wholes = [(size, path) for (size, _), paths in alike.items() if len(paths) > 1 for path in paths]
    bar.begin("comparing files of one size", sum(size for size, _ in wholes))
    same: dict[tuple[int, str], list[Path]] = {}
    with ThreadPoolExecutor(2) as pool:
        for (size, path), sha in zip(wholes, pool.map(lambda one: _whole(one[1], bar, unread), wholes), strict=True):
            if sha:
                same.setdefault((size, sha), []).append(path)
    found_twins = [Twins(sha, size, tuple(sorted(paths))) for (size, sha), paths in same.items() if len(paths) > 1]
    return tuple(sorted(found_twins, key=lambda t: (-t.wasted, t.paths)))


def _candidates(folder: Path, unread: _Unread) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Every unit that may be a model, with its companions: by suffix, or a folder that is one model."""
    if folder.is_file():
        yield folder, ()
        return
    ignores, stack = Ignores(), [folder]
    while stack:
        at = stack.pop()
        try:
            with os.scandir(at) as entries:
                found = list(entries)
        except OSError as error:
            unread.note(at, error)
            continue
        files = {e.name for e in found if e.is_file(follow_symlinks=False) and not ignores.skip(e.name, False)}
        for unit in units(files):
            if Path(unit.lead).suffix.lower() in MODEL_SUFFIXES:
                yield at / unit.lead, tuple(at / name for name in unit.companions)
        for entry in found:
            if entry.is_dir(follow_symlinks=False) and not ignores.skip(entry.name, True):
                below = at / entry.name
                if model_folder(below):
                    yield below, ()
                else:
                    stack.append(below)


def _look(path: Path, root: Path, companions: tuple[Path, ...], bar: Bar, unread: _Unread) -> Found | None:
    try:
        facts = identify(path, companions)
        return Found(path, root, facts, facts.size)
    except OSError as error:
        unread.note(path, error)
        return None
    finally:
        bar.more(1)


def _ends(path: Path, size: int, unread: _Unread) -> str:
    """A digest of the first and the last bytes; "" when they cannot be read."""
    try:
        with path.open("rb") as file:
            first = file.read(END)
            file.seek(max(0, size - END))
            return xxhash.xxh3_128_hexdigest(first + file.read(END))
    except OSError as error:
        unread.note(path, error)
        return ""


def _whole(path: Path, bar: Bar, unread: _Unread) -> str:
    told = 0

    def tick(done: int) -> None:
        nonlocal told
        bar.more(done - told)
        told = done

    try:
        found = hashing.digest(path, tick)
    except OSError as error:
        unread.note(path, error)
        return ""
    tick(found.size)
    return found.sha256
