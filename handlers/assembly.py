"""Assembly: what came out of an archive, arranged as a dataset's folder, and the moves that make it real.

What must hold: a new dataset appears by one rename, an addition by one journalled list of renames; pictures lie byte for byte as they
came; the archive ends in the trash only when all that was not taken from it is junk, small texts and what the dataset has already.
Where it holds anything else (a model, a video, another archive) it stays at its path, held, and its note names what is in it.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..rules.header import Damaged
from ..rules.terms import Aside, Caption, End, Ended, Item, Move, Outcome, Prepared, Status
from . import aside, disk, members, pictures, texts
from .dataset import names_on_disk
from .placing import Placer, key
from .task import Task, Tools

TEXT_SUFFIXES = frozenset({".txt", ".md", ".json", ".html", ".url", ".nfo", ".csv", ".caption"})
NAMED = 3  # members that a note names


@dataclass(slots=True)
class Picture:
    """One picture in staging: `raw` is where its bytes lie, `name` what the archive calls it."""

    name: str
    raw: Path
    found: Future[pictures.Examined | Damaged]


@dataclass(frozen=True, slots=True)
class Left:
    """A member that was not taken; size in bytes."""

    name: str
    size: int

    @property
    def matters(self) -> bool:
        """Whether a person would miss it: anything but a small text."""
        return PurePosixPath(self.name).suffix.lower() not in TEXT_SUFFIXES or self.size > texts.MAX_CAPTION


@dataclass(slots=True)
class Pile:
    """What came out of the archive. Captions are by the `key` of their path without its suffix."""

    pictures: list[Picture] = field(default_factory=list)
    captions: dict[str, str] = field(default_factory=dict)
    caption_bytes: dict[str, bytes] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)  # neither picture nor caption nor junk


class Assembly:
    """Arranges a pile in staging. The dataset's lock is held by the caller from the asking for holdings until the moves are made."""

    def __init__(self, task: Task, tools: Tools, staged: Path, pile: Pile) -> None:
        self.task, self.tools, self.staged, self.pile = task, tools, staged, pile
        self.slug = task.holdings.slug if task.holdings else task.action.text("dataset")
        self.home = tools.places.datasets / self.slug
        self.tree = staged / "tree"
        self.tree.mkdir()
        self.new = not os.path.lexists(self.home)
        self.placer = Placer(task.holdings, () if self.new else names_on_disk(self.home))
        self.items: list[Item] = []
        self.captions: list[Caption] = []
        self.captioned = set(task.holdings.captioned if task.holdings else ())
        self.broken: list[tuple[Path, str, str]] = []
        self.duplicates = 0
        self.used: set[str] = set()  # stems whose caption lies beside a picture

    def prepared(self) -> Prepared:
        """The whole answer."""
        top = members.strip_top([*(p.name for p in self.pile.pictures), *self.pile.captions])
        for picture in sorted(self.pile.pictures, key=lambda p: p.name):
            rel = "/".join(PurePosixPath(picture.name).parts[top:])
            found = picture.found.result()
            if isinstance(found, Damaged):
                self.broken.append((picture.raw, PurePosixPath(picture.name).name, f"{found.reason}: {found.text}"))
            else:
                self._place(picture, rel, found)
        disk.sync_volume(self.staged)
        return self._answer()

    def _place(self, picture: Picture, rel: str, found: pictures.Examined) -> None:
        placed = self.placer.place(rel, found)
        stem = key(str(PurePosixPath(picture.name).with_suffix("")))
        if placed.same_as is not None:
            self.duplicates += 1
            self._caption(stem, placed.same_as)
            return
        target = self.tree / PurePosixPath(placed.rel)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(picture.raw, target)
        self.items.append(
            Item(
                self.slug,
                placed.rel,
                found.digests.sha256,
                found.digests.xxh3,
                disk.stamp(target),
                found.image,
                found.dhash,
                placed.flags,
                str(self.task.lead),
            )
        )
        self._caption(stem, placed.rel)

    def _caption(self, stem: str, rel: str) -> None:
        """The text of that stem beside the picture at `rel`, of this pile or of the dataset, unless that has one."""
        text = self.pile.captions.get(stem)
        if text is None or rel in self.captioned:
            return
        ours = self.tree / PurePosixPath(rel)
        there = self.home / PurePosixPath(rel)
        if not ours.exists() and (not there.exists() or os.path.lexists(there.with_suffix(".txt"))):
            return  # the dataset's picture was taken away, or somebody wrote a text beside it
        beside = ours.with_suffix(".txt")
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(self.pile.caption_bytes[stem])
        self.captions.append(Caption(self.slug, rel, "", text, "imported", stamp=disk.stamp(beside)))
        self.captioned.add(rel)
        self.used.add(stem)

    def _answer(self) -> Prepared:
        task = self.task
        into, note = self._into(), self._note()
        until = task.now + self.tools.retention
        bad, asides = self._broken_aside(until)
        old: tuple[Move, ...] = ()
        if any(left.matters for left in self.pile.left):
            ended = tuple(Ended(path, End.HELD, path, note) for path in task.unit)
        else:
            old = aside.moves_aside(self.tools, task, End.TRASH, dict(task.unit))
            asides += aside.asides(old, End.TRASH, note, until)
            end = End.DATASET if self.items else End.TRASH
            ended = tuple(Ended(m.src, end, self.home if self.items else m.dst, note) for m in old)
        outcome = Outcome(
            Status.DONE, note, ended=ended, items=tuple(self.items), captions=tuple(self.captions), aside=tuple(asides),
            undo=aside.way_back(old),  # what the pictures came to be is known by the items
        )  # fmt: skip
        return Prepared(outcome, (*into, *bad, *old), (self.staged,))

    def _into(self) -> list[Move]:
        """The moves into the dataset."""
        if self.items and self.new:
            return [Move(self.tree, self.home)]
        return [Move(path, self.home / path.relative_to(self.tree)) for path in sorted(self.tree.rglob("*")) if path.is_file()]

    def _broken_aside(self, until: float) -> tuple[list[Move], list[Aside]]:
        """The moves of broken pictures into the quarantine, and what to remember of them."""
        folder = aside.slot(self.tools, self.home, End.QUARANTINE, self.task)
        moves: list[Move] = []
        asides: list[Aside] = []
        for raw, name, reason in self.broken:
            target = disk.free_name(folder, name, lambda p: any(m.dst == p for m in moves))
            moves.append(Move(raw, target))
            asides.append(Aside(End.QUARANTINE, target, self.task.lead / name, reason, until))
        return moves, asides

    def _note(self) -> str:
        fresh = {item.rel for item in self.items}
        own = sum(1 for c in self.captions if c.rel in fresh)
        near = sum(1 for i in self.items if any(f.startswith("near") for f in i.flags))
        small = sum(1 for left in self.pile.left if not left.matters) + len(self.pile.captions.keys() - self.used)
        said = [
            f"{_counted(len(self.items), 'picture', 'pictures')} into the dataset {self.slug}"
            if self.items
            else f"no new picture for the dataset {self.slug}"
        ]
        for count, one, more in (
            (own, "with its caption", "with their captions"),
            (len(self.captions) - own, "caption for a picture it had", "captions for pictures it had"),
            (self.duplicates, "exact duplicate left out", "exact duplicates left out"),
            (near, "near duplicate flagged", "near duplicates flagged"),
            (len(self.broken), "broken, in quarantine", "broken, in quarantine"),
            (small, "text left in the archive", "texts left in the archive"),
        ):
            if count:
                said.append(_counted(count, one, more))
        return ", ".join(said) + self._why_held()

    def _why_held(self) -> str:
        names = [left.name[-80:] for left in self.pile.left if left.matters]
        if not names:
            return ""
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        files = _counted(len(names), "file that was", "files that were")
        return f"; the archive stays where it is, with {files} not taken: {', '.join(names[:NAMED])}{more}"


def _counted(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
