"""Placing: which relative path each new picture of a dataset gets, and which ones are there already.

Pure. What must hold: two pictures of one folder never share a stem (they would share a .txt), nor a name that a case-insensitive or
Unicode-normalising disk takes for the same; names stay as they came wherever they can; the same content is placed once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..rules.terms import Holdings
from .pictures import Examined, NearIndex

_CONTROL = re.compile(r"[\x00-\x1f\x7f/\\]")
MAX_NAME = 240  # bytes of a name, leaving room for `-123` and a temporary suffix


def key(rel: str) -> str:
    """What two paths must differ in to be two files on every disk."""
    return unicodedata.normalize("NFC", rel).casefold()


def stem_key(rel: str) -> str:
    """The key of a picture's caption file: its path without the suffix."""
    return key(str(PurePosixPath(rel).with_suffix("")))


def safe_rel(rel: str) -> str:
    """A relative path of plain names: no control characters, no leading dots (a hidden picture would be overlooked), not too long."""
    parts = []
    for part in PurePosixPath(rel).parts:
        name = _CONTROL.sub("_", part)
        name = "_" + name.lstrip(".") if name.startswith(".") else name
        parts.append(_shorten(name))
    return "/".join(parts)


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
        self._near = NearIndex()
        for rel in (*(holdings.names if holdings else ()), *on_disk):
            self._stems.add(stem_key(rel))
        for rel, dhash in (holdings.dhashes if holdings else {}).items():
            self._near.add(dhash, rel)

    def place(self, rel: str, found: Examined) -> Placed:
        """Find the place of a picture that would like to be at `rel`."""
        same = self._contents.get(found.digests.sha256)
        if same is not None:
            return Placed(rel, same_as=same)
        path = PurePosixPath(safe_rel(rel))
        final, n = path, 2
        while stem_key(str(final)) in self._stems:
            final = path.with_name(f"{path.stem}-{n}{path.suffix}")
            n += 1
        self._stems.add(stem_key(str(final)))
        self._contents[found.digests.sha256] = str(final)
        flags = ["small"] if found.small else []
        near = self._near.near(found.dhash)
        if near is not None:
            flags.append(f"near-duplicate:{near}")
        self._near.add(found.dhash, str(final))
        return Placed(str(final), flags=tuple(flags))
