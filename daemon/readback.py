"""Reading datasets back: pictures and texts that somebody put, changed or edited in a dataset's folder by hand.

What must hold: the disk is the truth; a text edited outside becomes the caption of the active set, marked as manual; a picture is only
recorded when it decodes; nothing is moved or written in the folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from ..handlers import pictures, texts
from ..rules.header import Damaged
from ..rules.readers.archives import CAPTION_SUFFIXES, IMAGE_SUFFIXES
from ..rules.terms import Caption, Facts, Holdings, Item, Outcome, Stamp, Status
from ..store import datasets, files
from ..store.store import Entry
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
    """Record what is new or changed in the datasets' folders."""
    root = house.config.datasets
    watch = house.dataset_watch
    for lead, stamps, _ in edits:
        inside = lead.relative_to(root).parts if root in lead.parents else ()
        entry = None
        if len(inside) > 1:
            slug = inside[0]
            holdings = await house.store.read(datasets.holdings, slug)
            try:
                found = await asyncio.to_thread(_read, root / slug, slug, stamps, holdings)
            except OSError as error:  # gone again, or closed to us: the next rescan finds it
                _log.warning("cannot read back", path=str(lead), reason=str(error))
                continue
            if found.item or found.text:
                items = (found.item,) if found.item else ()
                captions: tuple[Caption, ...] = ()
                if found.text is not None:
                    rel, text, stamp = found.text
                    captions = (Caption(slug, rel, "", text, "manual", stamp=stamp),)
                outcome = Outcome(Status.DONE, found.note, items=items, captions=captions)
                name = watch.name if watch else ""
                entry = Entry("read back", outcome, lead, dataset_watch=name, datasets_root=root)
        if entry is not None:
            await house.store.record(entry)
        if watch is not None:  # noted, so that the next rescan finds it unchanged
            await house.store.write(files.track_all, watch.name, stamps, house.store.now())


def _read(home: Path, slug: str, stamps: Mapping[Path, Stamp], holdings: Holdings | None) -> _Found:
    item: Item | None = None
    text: tuple[str, str, Stamp] | None = None
    notes: list[str] = []
    names = set(holdings.names) if holdings else set()
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
            names.add(rel)
            notes.append("a picture was put here by hand")
        elif suffix in CAPTION_SUFFIXES:
            stem = str(Path(rel).with_suffix(""))
            picture = next((n for n in sorted(names) if str(Path(n).with_suffix("")) == stem), None)
            picture = picture or next((p.relative_to(home).as_posix() for p in _beside(path)), None)
            if picture is not None:
                words, _ = texts.decode(path.read_bytes()[: texts.MAX_CAPTION])
                text = (picture, words.strip(), stamp)
                notes.append("the caption was edited by hand")
    return _Found(item, text, ", ".join(notes))


def _beside(text: Path) -> list[Path]:
    return sorted(p for p in text.parent.glob(f"{_escaped(text.stem)}.*") if p.suffix.lower() in IMAGE_SUFFIXES)


def _escaped(stem: str) -> str:
    return "".join(f"[{ch}]" if ch in "*?[" else ch for ch in stem)
