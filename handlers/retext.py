"""retext: what lies beside pictures becomes the text of another set, another text, or nothing.

What must hold: a text that lies there and is neither ours nor the same as ours was edited outside: it is kept in the set it was edited
in (or, where it cannot be known, left where it is), and is never lost; a text that goes, goes to the trash; nothing appears half.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..rules.terms import Aside, Caption, End, Move, Outcome, Prepared, Stamp, Status
from . import disk, texts

OUTSIDE = "a text that was written outside lies beside it, and stays"


@dataclass(frozen=True, slots=True)
class Retext:
    """One picture. `wanted` shall lie beside it (None: nothing); `lying` is what we know to lie there, with its stamp.

    `keep_edits`: where the file was edited outside, the edit goes to the set of `lying` and the file becomes the wanted one (another set
    takes the place); else the edit stays and nothing is done (somebody asked for another text of the same set).
    """

    picture: Path
    wanted: Caption | None
    lying: Caption | None
    keep_edits: bool = False


def prepare(changes: Sequence[Retext], staged: Path, trash: Path, until: float) -> list[Prepared]:
    """One Prepared for each. `staged` is an empty staging folder, `trash` a folder of this batch alone, both on the datasets' volume."""
    taken: set[Path] = set()
    found = [_tried(change, staged / f"{n:05d}.txt", trash, taken, until) for n, change in enumerate(changes)]
    disk.sync_volume(staged)
    return found


def _tried(r: Retext, fresh: Path, trash: Path, taken: set[Path], until: float) -> Prepared:
    try:
        return _one(r, fresh, trash, taken, until)
    except OSError as error:  # this picture's own failure
        return Prepared(Outcome(Status.FAILED, f"its text cannot be read or written: {error.strerror or error}"))


def _one(r: Retext, fresh: Path, trash: Path, taken: set[Path], until: float) -> Prepared:
    text = r.picture.with_suffix(".txt")
    if text.name.casefold() == r.picture.name.casefold():
        return Prepared(Outcome(Status.SKIPPED, "the picture itself bears the name of its text"))
    if not r.picture.exists():
        return Prepared(Outcome(Status.SKIPPED, "the picture is gone"))
    found = disk.stamp(text) if os.path.lexists(text) else None
    said: list[Caption] = []
    if found is not None and (r.lying is None or found != r.lying.stamp):
        outside = texts.decode(text.read_bytes()[: texts.MAX_CAPTION])[0].strip()
        if outside and not _known(outside, r):
            if not r.keep_edits or r.lying is None:
                return Prepared(Outcome(Status.SKIPPED, OUTSIDE))
            said.append(replace(r.lying, text=outside, source="manual", captioner="", stamp=None))
    elif r.wanted is not None and found is not None and r.lying is not None and _same(r.wanted, r.lying):
        return Prepared(Outcome(Status.DONE, captions=(replace(r.wanted, stamp=found),)))  # it lies there already
    if r.lying is not None and not said and (r.wanted is None or r.lying.set != r.wanted.set):
        said.append(replace(r.lying, stamp=None))
    return _written(r.wanted, text, fresh, found, said) if r.wanted is not None else _gone(text, found, trash, taken, until, said)


def _known(outside: str, r: Retext) -> bool:
    return any(k is not None and k.text.strip() == outside for k in (r.lying, r.wanted))


def _same(one: Caption, other: Caption) -> bool:
    return (one.set, one.text) == (other.set, other.text)


def _written(wanted: Caption, text: Path, fresh: Path, found: Stamp | None, said: Sequence[Caption]) -> Prepared:
    fresh.write_text(wanted.text + "\n", encoding="utf-8", newline="\n")
    captions = (*said, replace(wanted, stamp=disk.stamp(fresh)))
    return Prepared(
        Outcome(Status.DONE, wanted.text, captions=captions), (Move(fresh, text, over=found is not None, replaces=found),)
    )


def _gone(text: Path, found: Stamp | None, trash: Path, taken: set[Path], until: float, said: Sequence[Caption]) -> Prepared:
    if found is None:
        return Prepared(Outcome(Status.DONE, captions=tuple(said)))
    target = disk.free_name(trash, text.name, lambda p: p in taken)
    taken.add(target)
    aside = Aside(End.TRASH, target, text, "its caption set no longer lies beside the pictures", until)
    return Prepared(
        Outcome(Status.DONE, "its text is in the trash", captions=tuple(said), aside=(aside,)), (Move(text, target, found),)
    )
