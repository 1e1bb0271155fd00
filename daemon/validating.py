"""Validating a dataset for training: its pictures as they lie on the disk, and its texts, held against what trainers want.

Implements api.validation.Validator. What must hold: nothing is changed (only when pictures were last seen sound is kept); a picture
that cannot be read is a finding and hinders no other; files are looked at in a thread, a few at a time.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..api.validation import Wish
from ..handlers import disk, pictures
from ..rules.header import Damaged
from ..rules.validation import Finding, Looked, findings
from ..store import captions, datasets
from ..store.rows import ItemRow
from .house import House

PAGE = 500  # pictures read from the store at once
PORTION = 16  # pictures looked at in one go
TELL_EVERY = 1.0  # seconds between two rows of progress
Row = Mapping[str, object]


class Validating:
    """`validate` a dataset."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def validate(self, wish: Wish) -> AsyncIterator[Row]:
        """Progress, then the findings, then the end."""
        rows = await self._house.store.read(_pictures, wish.dataset, wish.set)
        looked: list[Looked] = []
        told = time.monotonic()
        at = self._house.store.now()
        yield {"looked": 0, "pictures": len(rows)}
        for first in range(0, len(rows), PORTION):
            looked += await asyncio.to_thread(_look, rows[first : first + PORTION], self._house.config.datasets, wish.decode)
            if time.monotonic() - told >= TELL_EVERY:
                told = time.monotonic()
                yield {"looked": len(looked), "pictures": len(rows)}
        await self._house.store.write(datasets.verify, [one.item for one in looked if one.bad is None], at)
        counts: dict[str, int] = {"error": 0, "warning": 0}
        for found in findings(looked, wish.limits):
            counts[found.level] += 1
            yield row_of(found)
        yield {"end": True, "set": wish.set, "pictures": len(rows), "errors": counts["error"], "warnings": counts["warning"]}


def row_of(f: Finding) -> Row:
    """A finding as it travels."""
    return {"item": f.item, "rel": f.rel, "finding": f.kind, "level": f.level, "reason": f.reason, "mend": f.mend}


def _pictures(c: sqlite3.Connection, slug: str, name: str) -> list[tuple[ItemRow, str | None]]:
    """All pictures of a dataset, each with its text in a set."""
    found: list[tuple[ItemRow, str | None]] = []
    texts = {}
    after = 0
    while page := captions.listing(c, slug, name, after=after, limit=PAGE):
        texts.update({row.item: row.text for row in page})
        after = page[-1].item
    after = 0
    while items := datasets.items(c, slug, after, PAGE):
        found += [(item, texts.get(item.id)) for item in items]
        after = items[-1].id
    return found


def _look(rows: Sequence[tuple[ItemRow, str | None]], root: Path, decode: bool) -> list[Looked]:
    return [_one(item, text, root / item.dataset / PurePosixPath(item.rel), decode) for item, text in rows]


def _one(item: ItemRow, text: str | None, path: Path, decode: bool) -> Looked:
    turned = item.orientation >= 5
    width, height = (item.height, item.width) if turned else (item.width, item.height)
    return Looked(item.id, item.rel, width, height, text, item.flags, _bad(item, path, decode))


def _bad(item: ItemRow, path: Path, decode: bool) -> tuple[str, str] | None:
    """What is wrong with the file itself."""
    try:
        if disk.stamp(path) != item.stamp:
            return "changed", "the file is another than the one that was recorded"
        with path.open("rb") as file:
            found = pictures.examine(file) if decode else None
    except FileNotFoundError:
        return "gone", "the file is not there"
    except OSError as error:
        return "unreadable", error.strerror or str(error)
    return ("corrupt", found.text) if isinstance(found, Damaged) else None
