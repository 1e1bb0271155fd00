"""Placing: which relative path each new picture of a dataset gets, and which ones are there already.

Pure. What must hold: two pictures of one folder never share a stem (they would share a .txt), nor a name that a case-insensitive or
Unicode-normalising disk takes for the same, and nothing is both a file and a folder; a picture has a picture's suffix; names stay as
they came wherever they can; the same content is placed once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..rules.readers import archives
from ..rules.terms import Holdings, Kind
from .pictures import Examined, NearIndex

MAX_NAME = 240  # bytes of a name, leaving room for `-123` and a temporary suffix
SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "gif": ".gif", "bmp": ".bmp", "tiff": ".tif", "avif": ".avif"}


def key(rel: str) -> str:
    """What two paths must differ in to be two files on every disk."""
    return unicodedata.normalize("NFC", rel).casefold()


def stem_key(rel: str) -> str:
    """The key of a picture's caption file: its path without the suffix."""
    return key(str(PurePosixPath(rel).with_suffix("")))


def safe_rel(rel: str) -> str:
    """A relative path of plain names: no control characters, nothing invisible that turns or joins the text around it (category Cf),
    no leading dots (a hidden picture would be overlooked), not too long."""
    parts = []
    for part in PurePosixPath(rel).parts:
        name = "".join(map(_plain, part)) or "_"
        name = "_" + name.lstrip(".") if name.startswith(".") else name
        parts.append(_shorten(name))
    return "/".join(parts) or "_"


def _plain(ch: str) -> str:
    category = unicodedata.category(ch)
    return "" if category == "Cf" else "_" if ch in "/\\" or category in ("Cc", "Zl", "Zp") else ch


def fitting(rel: str, form: str) -> str:
    """The path of a file with a suffix that pictures have, by its format (`ImageFacts.format`) where it has none.

    A picture must never bear the name of its own caption: a .txt or .caption gives way, behind any other suffix the right one is put.
    """
    path = PurePosixPath(rel)
    kind = archives.kind_by_name(path.name)
    if kind is Kind.IMAGE:
        return rel
    right = SUFFIXES.get(form, f".{form}")
    return str(path.with_suffix(right) if kind is Kind.CAPTION else path.with_name(path.name + right))


def _shorten(name: str) -> str:
    if len(name.encode("utf-8", "surrogateescape")) <= MAX_NAME:
        return name
    suffix = PurePosixPath(name).suffix[:20]
    stem = name.encode("utf-8", "surrogateescape")[: MAX_NAME - len(suffix.encode())]
    return stem.decode("utf-8", "ignore") + suffix


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one new picture goes; `same_as` is set instead when the dataset holds its content already."""

    rel: str
    same_as: str | None = None
    flags: tuple[str, ...] = ()


class Placer:
    """Places pictures one after another into a dataset that holds some already. `on_disk` are the files found in its folder."""

    def __init__(self, holdings: Holdings | None, on_disk: Iterable[str] = ()) -> None:
        self._contents = dict(holdings.contents) if holdings else {}
        self._stems: set[str] = set()
        self._files: set[str] = set()  # keys of what is no folder, the captions that pictures have or will have included
        self._folders: set[str] = set()
        self._near = NearIndex()
        for rel in (*(holdings.names if holdings else ()), *on_disk):
            self._occupy(PurePosixPath(rel))
        for rel, dhash in (holdings.dhashes if holdings else {}).items():
            self._near.add(dhash, rel)

    def place(self, rel: str, found: Examined) -> Placed:
        """Find the place of a picture that would like to be at `rel`."""
        same = self._contents.get(found.digests.sha256)
        if same is not None:
            return Placed(rel, same_as=same)
        final = self._free(PurePosixPath(safe_rel(fitting(safe_rel(rel), found.image.format))))
        self._occupy(final)
        self._contents[found.digests.sha256] = str(final)
        flags = ["small"] if found.small else []
        near = self._near.near(found.dhash)
        if near is not None:
            flags.append(f"near-duplicate:{near}")
        self._near.add(found.dhash, str(final))
        return Placed(str(final), flags=tuple(flags))

    def _occupy(self, path: PurePosixPath) -> None:
        stem = stem_key(str(path))
        self._stems.add(stem)
        self._files.update((key(str(path)), f"{stem}.txt"))
        self._folders.update(key(str(folder)) for folder in path.parents)

    def _free(self, wish: PurePosixPath) -> PurePosixPath:
        """The wish, with a number where a name is taken: a folder's by a file, a file's (or its caption's) by another or a folder."""
        folder = PurePosixPath()
        for part in wish.parts[:-1]:
            candidate, n = folder / part, 2
            while key(str(candidate)) in self._files:
                candidate = folder / f"{part}-{n}"
                n += 1
            folder = candidate
        final, n = folder / wish.name, 2
        while self._is_taken(final):
            final = folder / f"{wish.stem}-{n}{wish.suffix}"
            n += 1
        return final

    def _is_taken(self, path: PurePosixPath) -> bool:
        stem = stem_key(str(path))
        return stem in self._stems or not self._folders.isdisjoint((key(str(path)), f"{stem}.txt"))
