"""caption: the texts that a captioner gave become .txt files beside their pictures.

What must hold: a text that somebody else put beside a picture meanwhile is theirs and stays (it is recorded as manual); ours is
replaced only by a newer one of ours, or where somebody asked for just that (`over`), and is kept in the trash then; a text appears
whole, by a rename, and never in the place of a picture.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..rules.terms import Aside, Caption, End, Move, Outcome, Prepared, Stamp, Status
from . import disk, texts


@dataclass(frozen=True, slots=True)
class Written:
    """One picture's new text. `ours` is the stamp of the .txt that we left there before, if any."""

    dataset: str
    rel: str
    picture: Path
    set: str
    text: str
    captioner: str
    ours: Stamp | None = None
    active: bool = True  # the set lies beside the pictures
    over: bool = False  # whatever text lies beside it is replaced: a person asked for that
    edited: bool = False  # the text that we know of is by hand, or came with the picture


@dataclass(frozen=True, slots=True)
class Trash:
    """Where texts by hand that are replaced are kept, and until when: a folder of this batch alone, on the datasets' volume."""

    folder: Path
    until: float


def prepare(written: Sequence[Written], staged: Path, trash: Trash | None = None) -> list[Prepared]:
    """One Prepared for each text; `staged` is an empty staging folder on the datasets' volume."""
    answers = [_one(w, staged / f"{n:05d}.txt", trash) for n, w in enumerate(written)]
    disk.sync_volume(staged)
    return answers


def _one(w: Written, fresh: Path, trash: Trash | None) -> Prepared:
    caption = Caption(w.dataset, w.rel, w.set, w.text, "generated", w.captioner)
    if not w.active:
        return Prepared(Outcome(Status.DONE, w.text, captions=(caption,)))
    beside = w.picture.with_suffix(".txt")
    if beside.name.casefold() == w.picture.name.casefold():
        return Prepared(Outcome(Status.SKIPPED, "the picture itself bears the name of its text: give it a picture's suffix"))
    if not w.picture.exists():
        return Prepared(Outcome(Status.SKIPPED, "the picture is gone"))
    found = disk.stamp(beside) if os.path.lexists(beside) else None
    if found is not None and found != w.ours and not w.over:
        text, _ = texts.decode(beside.read_bytes()[: texts.MAX_CAPTION])
        if text.strip():
            theirs = Caption(w.dataset, w.rel, "", text.strip(), "manual", stamp=found)
            return Prepared(Outcome(Status.SKIPPED, "a text lies beside it already", captions=(theirs,)))
    fresh.write_text(w.text + "\n", encoding="utf-8")
    caption = Caption(w.dataset, w.rel, w.set, w.text, "generated", w.captioner, disk.stamp(fresh))
    move = Move(fresh, beside, over=found is not None, replaces=found)  # an edit that is saved meanwhile is not written over
    if found is None or trash is None or (found == w.ours and not w.edited):
        return Prepared(Outcome(Status.DONE, w.text, captions=(caption,)), (move,))
    copy = fresh.with_suffix(".old")
    copy.write_bytes(beside.read_bytes())
    target = trash.folder / fresh.stem / beside.name
    aside = Aside(End.TRASH, target, beside, "a captioner's text took its place", trash.until)
    return Prepared(Outcome(Status.DONE, w.text, captions=(caption,), aside=(aside,)), (Move(copy, target), move))
