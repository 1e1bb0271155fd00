"""dataset: one picture (with its caption) into a dataset's folder, byte for byte.

What must hold: the picture is decoded fully before it moves; one that does not decode is quarantined; one whose content the dataset
holds goes to the trash with a note, and its text stays where the picture that is kept has none; across volumes the copy is checked
before the original goes to the trash.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ..rules.header import Damaged
from ..rules.readers import images
from ..rules.terms import Caption, Digests, End, Ended, Item, Kind, Lane, Mode, Move, Outcome, Prepared, Stamp, Status, Watch
from . import aside, disk, pictures, texts
from .placing import Placed, Placer
from .room import full_is_no_room
from .task import Simple, Task, Tools, skipped, staging


class Dataset(Simple):
    """dataset: "{parent}"."""

    lane = Lane.CPU

    @full_is_no_room()
    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if tools.places.datasets in task.lead.parents:
            return skipped("it is in a dataset already")
        if task.facts.kind is not Kind.IMAGE:
            return skipped("only pictures go into a dataset by themselves; a caption goes with its picture")
        if task.watch is not None and task.watch.mode is Mode.LIBRARY:
            return skipped("a library's file stays where it lies")
        if task.lead not in task.unit:
            return skipped("it was taken in already")
        with task.lead.open("rb") as file:
            found = pictures.examine(file)
        if isinstance(found, Damaged):
            return aside.put_aside(task, tools, End.QUARANTINE, f"{found.reason}: {found.text}", status=Status.FAILED)
        slug = task.holdings.slug if task.holdings else task.action.text("name")
        placed = Placer(task.holdings, names_on_disk(tools.places.datasets / slug)).place(wish(task.lead, task.watch), found)
        batch = _Batch(task, tools, disk.one_volume(tools.places.root_of(task.lead), tools.places.datasets))
        try:
            if placed.same_as is not None:
                return _duplicate(batch, slug, placed.same_as)
            return _take(batch, slug, placed, found)
        except BaseException:
            if batch.staged is not None:
                disk.clear(batch.staged)
            raise


def wish(lead: Path, watch: Watch | None) -> str:
    """Folders below the first one under the watch root are kept: inbox/cats/sub/a.png is sub/a.png of cats."""
    if watch is None or watch.path not in lead.parents:
        return lead.name
    parts = lead.relative_to(watch.path).parts
    return "/".join(parts[1:]) if len(parts) > 1 else parts[0]


@dataclass(slots=True)
class _Batch:
    """The moves of one picture and its caption, the old paths that go to the trash, and the staging that was needed for it."""

    task: Task
    tools: Tools
    same: bool  # one volume: what can be renamed is not copied
    moves: list[Move] = field(default_factory=list)
    old: dict[Path, Stamp | None] = field(default_factory=dict)
    at: dict[Path, Path] = field(default_factory=dict)  # where each path of the unit goes in the dataset
    left: list[Path] = field(default_factory=list)  # companions that are no companions
    staged: Path | None = None

    def staging(self) -> Path:
        """The staging folder of the task, made on demand."""
        if self.staged is None:
            self.staged = staging(self.tools, self.tools.places.datasets, self.task)
        return self.staged

    def bring(self, source: Path, target: Path, expected: Digests | None = None) -> Stamp:
        """Add the move of one file; returns the stamp it will have at its target."""
        self.at[source] = target
        stamp = self.task.unit[source]
        if self.same:
            self.moves.append(Move(source, target, stamp))
            return stamp
        disk.need_room(self.tools.places.datasets, stamp.size + disk.COPY_MARGIN, self.tools.floor)
        copy = self.staging() / target.name
        disk.copy_checked(source, copy, expected)
        self.moves.append(Move(copy, target))
        self.old[source] = stamp
        return disk.stamp(copy)

    def caption(self, source: Path, beside: Path) -> tuple[str, Stamp] | None:
        """Add the text of one companion; None when it holds none (it goes to the trash) or is a picture (it is left)."""
        stamp = self.task.unit[source]
        with source.open("rb") as file:
            data = file.read(texts.MAX_CAPTION + 1)
        if images.sniff(data[:16]):
            self.left.append(source)
            return None
        data = data if len(data) <= texts.MAX_CAPTION else b""
        text, plain = texts.decode(data)
        if not text.strip():
            self.old[source] = stamp
            return None
        if plain:
            return text.strip(), self.bring(source, beside)
        fresh = self.staging() / beside.name
        texts.write_new(fresh, text.encode())
        self.moves.append(Move(fresh, beside))
        self.old[source], self.at[source] = stamp, beside
        return text.strip(), disk.stamp(fresh)


def _take(batch: _Batch, slug: str, placed: Placed, found: pictures.Examined) -> Prepared:
    task = batch.task
    target = batch.tools.places.datasets / slug / PurePosixPath(placed.rel)
    stamp = batch.bring(task.lead, target, found.digests)
    captions = _captions(batch, slug, placed.rel, target.with_suffix(".txt"))
    item = Item(slug, placed.rel, found.digests.sha256, found.digests.xxh3, stamp, found.image, found.dhash, placed.flags,
                str(task.lead))  # fmt: skip
    return _answer(batch, f"into the dataset {slug}", captions, "no caption for its picture", item)


def _duplicate(batch: _Batch, slug: str, same_as: str) -> Prepared:
    """The dataset has the picture: this one goes to the trash, but its text becomes the caption of the other where that has none."""
    task = batch.task
    note = f"the dataset {slug} has the same picture as {same_as}"
    kept = batch.tools.places.datasets / slug / PurePosixPath(same_as)
    beside = kept.with_suffix(".txt")
    batch.old[task.lead] = task.unit[task.lead]
    captions: tuple[Caption, ...] = ()
    told = task.holdings is not None and same_as in task.holdings.captioned
    if told or not kept.exists() or os.path.lexists(beside):
        batch.old.update(task.unit)
        note += "; the text that came now is in the trash too" if task.companions else ""
    else:
        captions = _captions(batch, slug, same_as, beside)
        note += ", which had no text and has the one that came now" if captions else ""
    prepared = _answer(batch, note, captions, note)
    return prepared if captions else replace_status(prepared, Status.SKIPPED)


def _captions(batch: _Batch, slug: str, rel: str, beside: Path) -> tuple[Caption, ...]:
    """The first text among the companions as the caption of the picture at `rel`; further ones go to the trash."""
    found: list[Caption] = []
    for companion in batch.task.companions:
        if found:
            batch.old[companion] = batch.task.unit[companion]
        elif taken := batch.caption(companion, beside):
            found.append(Caption(slug, rel, "", taken[0], "imported", stamp=taken[1]))
    return tuple(found)


def _answer(batch: _Batch, note: str, captions: tuple[Caption, ...], why: str, item: Item | None = None) -> Prepared:
    """`why` is said of what goes to the trash and is not in the dataset."""
    task, tools = batch.task, batch.tools
    old = aside.moves_aside(tools, task, End.TRASH, batch.old)
    ended = [Ended(path, End.DATASET, at) for path, at in batch.at.items()]
    ended += [Ended(m.src, End.TRASH, m.dst, why) for m in old if m.src not in batch.at]
    ended += [Ended(path, End.LEFT, path, "it is a picture, though it is called a text") for path in batch.left]
    reason = "taken into a dataset" if item else note
    outcome = Outcome(
        Status.DONE, note, ended=tuple(ended), items=(item,) if item else (), captions=captions,
        aside=aside.asides(old, End.TRASH, reason, task.now + tools.retention),
        undo=aside.way_back((*(m for m in batch.moves if m.stamp is not None), *old)),
    )  # fmt: skip
    return Prepared(outcome, (*batch.moves, *old), (batch.staged,) if batch.staged else ())


def names_on_disk(home: Path) -> list[str]:
    """Every file below a dataset's folder, relative, with forward slashes; none when the folder is not there."""
    found = []
    for folder, _, names in os.walk(home):
        rel = os.path.relpath(folder, home).replace(os.sep, "/")
        found += [name if rel == "." else f"{rel}/{name}" for name in names]
    return found


def replace_status(prepared: Prepared, status: Status) -> Prepared:
    """The same with another status."""
    return replace(prepared, outcome=replace(prepared.outcome, status=status))
