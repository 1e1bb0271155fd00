"""Reading datasets back: pictures and texts that somebody put, changed or edited in a dataset's folder by hand.

What must hold: the disk is the truth; a text edited outside becomes the caption of the active set, marked as manual; a picture is only
recorded when it decodes; nothing is moved or written in the folder; one unit that cannot be read keeps no other back.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from ..handlers import pictures, texts
from ..rules.header import Damaged
from ..rules.readers.archives import CAPTION_SUFFIXES, IMAGE_SUFFIXES
from ..rules.terms import Caption, Facts, Holdings, Item, Outcome, Stamp, Status, Watch
from ..store import datasets, files
from ..store.store import Entry, record
from .house import House

_log = structlog.get_logger()

Edit = tuple[Path, Mapping[Path, Stamp], Facts]


@dataclass(frozen=True, slots=True)
class _Found:
    """What one edited unit holds now."""

    item: Item | None
    text: tuple[str, str, Stamp] | None  # rel of the picture, text, stamp of the .txt
    note: str


async def read_back(house: House, edits: Sequence[Edit]) -> None:
    """Record what is new or changed in the datasets' folders: all that can be read, in one transaction."""
    root = house.config.datasets
    watch = house.dataset_watch
    pictures_of: dict[str, dict[str, str]] = {}
    entries: list[Entry] = []
    noted: dict[Path, Stamp] = {}
    for lead, stamps, _ in edits:
        inside = lead.relative_to(root).parts if root in lead.parents else ()
        if len(inside) > 1:
            slug = inside[0]
            if slug not in pictures_of:
                pictures_of[slug] = _by_stem(await house.store.read(datasets.holdings, slug))
            try:  # a unit at a time, so that a stop never waits for more than one picture
                found = await asyncio.to_thread(_read, root / slug, slug, stamps, pictures_of[slug])
            except OSError as error:  # gone again, or closed to us: it is not noted, so the next rescan finds it
                _log.warning("cannot read back", path=str(lead), reason=str(error))
                continue
            if found.item or found.text:
                entries.append(Entry("read back", _outcome(slug, found), lead, dataset_watch=_name(watch), datasets_root=root))
        noted.update(stamps)
    await house.store.write(_record, entries, _name(watch), noted, house.store.now())


def _record(c: sqlite3.Connection, entries: Sequence[Entry], watch: str, noted: Mapping[Path, Stamp], now: float) -> None:
    for entry in entries:
        record(c, entry, now)
    if watch:  # noted, so that the next rescan finds it unchanged
        files.track_all(c, watch, noted, now)


def _name(watch: Watch | None) -> str:
    return watch.name if watch else ""


def _outcome(slug: str, found: _Found) -> Outcome:
    captions: tuple[Caption, ...] = ()
    if found.text is not None:
        rel, text, stamp = found.text
        captions = (Caption(slug, rel, "", text, "manual", stamp=stamp),)
    return Outcome(Status.DONE, found.note, items=(found.item,) if found.item else (), captions=captions)


def _by_stem(holdings: Holdings | None) -> dict[str, str]:
    """Relative path without suffix -> picture, the first by name where several share it."""
    found: dict[str, str] = {}
    for rel in sorted(holdings.names) if holdings else ():
        found.setdefault(_stem(rel), rel)
    return found


def _stem(rel: str) -> str:
    return str(Path(rel).with_suffix(""))


def _read(home: Path, slug: str, stamps: Mapping[Path, Stamp], known: dict[str, str]) -> _Found:
    """What a unit holds. `known` is the dataset's `_by_stem`, to which the pictures found here are added."""
    item: Item | None = None
    text: tuple[str, str, Stamp] | None = None
    notes: list[str] = []
    for path, stamp in stamps.items():
        rel = path.relative_to(home).as_posix()
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            with path.open("rb") as file:
                found = pictures.examine(file)
            if isinstance(found, Damaged):
                notes.append(f"{rel} is no whole picture: {found.text}")
                continue
            item = Item(slug, rel, found.digests.sha256, found.digests.xxh3, stamp, found.image, found.dhash, origin="by hand")
            known[_stem(rel)] = min(rel, known.get(_stem(rel), rel))
            notes.append("a picture was put here by hand")
        elif suffix in CAPTION_SUFFIXES:
            picture = known.get(_stem(rel)) or next((p.relative_to(home).as_posix() for p in _beside(path)), None)
            if picture is not None:
                words, _ = texts.decode(path.read_bytes()[: texts.MAX_CAPTION])
                text = (picture, words.strip(), stamp)
                notes.append("the caption was edited by hand")
    return _Found(item, text, ", ".join(notes))


def _beside(text: Path) -> list[Path]:
    return sorted(p for p in text.parent.glob(f"{_escaped(text.stem)}.*") if p.suffix.lower() in IMAGE_SUFFIXES)


def _escaped(stem: str) -> str:
    return "".join(f"[{ch}]" if ch in "*?[" else ch for ch in stem)
