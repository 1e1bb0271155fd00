"""dataset: one picture (with its caption) into a dataset's folder, byte for byte.

What must hold: the picture is decoded fully before it moves; one that does not decode is quarantined; one whose content the dataset
holds goes to the trash with a note; across volumes the copy is checked before the original goes to the trash.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ..rules.header import Damaged
from ..rules.terms import Caption, End, Ended, Item, Kind, Lane, Mode, Move, Outcome, Prepared, Stamp, Status
from . import aside, disk, pictures, texts
from .placing import Placed, Placer
from .task import Simple, Task, Tools, skipped, staging


class Dataset(Simple):
    """dataset: "{parent}"."""

    lane = Lane.CPU

    def dataset_of(self, task: Task) -> str | None:
        return task.action.text("name")

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if tools.places.datasets in task.lead.parents:
            return skipped("it is in a dataset already")
        if task.facts.kind is not Kind.IMAGE:
            return skipped("only pictures go into a dataset by themselves; a caption goes with its picture")
        if task.watch is not None and task.watch.mode is Mode.LIBRARY:
            return skipped("a library's file stays where it lies")
        with task.lead.open("rb") as file:
            found = pictures.examine(file)
        if isinstance(found, Damaged):
            return aside.put_aside(task, tools, End.QUARANTINE, f"{found.reason}: {found.text}", status=Status.FAILED)
        slug = task.holdings.slug if task.holdings else task.action.text("name")
        placed = Placer(task.holdings, names_on_disk(tools.places.datasets / slug)).place(_wish(task), found)
        if placed.same_as is not None:
            note = f"the dataset {slug} has the same picture as {placed.same_as}"
            return replace_status(aside.put_aside(task, tools, End.TRASH, note), Status.SKIPPED)
        return _take(task, tools, slug, placed, found)


def _wish(task: Task) -> str:
    """Folders below the first one under the watch root are kept: inbox/cats/sub/a.png is sub/a.png of cats."""
    if task.watch is None or task.watch.path not in task.lead.parents:
        return task.lead.name
    parts = task.lead.relative_to(task.watch.path).parts
    return "/".join(parts[1:]) if len(parts) > 1 else parts[0]


@dataclass(frozen=True, slots=True)
class _Batch:
    """The moves of one picture and its caption, and the old paths that go to the trash after a copy."""

    moves: list[Move]
    old: dict[Path, Stamp | None]
    staged: Path | None


def _take(task: Task, tools: Tools, slug: str, placed: Placed, found: pictures.Examined) -> Prepared:
    home = tools.places.datasets / slug
    target = home / PurePosixPath(placed.rel)
    same = disk.one_volume(tools.places.root_of(task.lead), tools.places.datasets)
    batch = _Batch([], {}, None if same else staging(tools, tools.places.datasets, task))
    stamp = _bring(batch, task, tools, task.lead, target)
    item = Item(slug, placed.rel, found.digests.sha256, found.digests.xxh3, stamp, found.image, found.dhash, placed.flags,
                str(task.lead))  # fmt: skip
    captions: list[Caption] = []
    for companion in task.companions:
        text, plain = texts.decode(companion.read_bytes())
        if not text.strip() or captions:
            batch.old[companion] = task.unit[companion]
            continue
        beside = target.with_suffix(".txt")
        if plain:
            stamp = _bring(batch, task, tools, companion, beside)
        else:
            staged = staging_of(batch, tools, task) / "caption.txt"
            texts.write_new(staged, text.encode())
            stamp = disk.stamp(staged)
            batch.moves.append(Move(staged, beside))
            batch.old[companion] = task.unit[companion]
        captions.append(Caption(slug, placed.rel, "", text.strip(), "imported", stamp=stamp))
    old = aside.moves_aside(tools, task, End.TRASH, batch.old)
    ended = tuple(Ended(path, End.DATASET, target if path == task.lead else target.with_suffix(".txt")) for path in task.unit)
    outcome = Outcome(
        Status.DONE, f"into the dataset {slug}", ended=ended, items=(item,), captions=tuple(captions),
        aside=aside.asides(old, End.TRASH, "taken into a dataset", task.now + tools.retention),
        undo=tuple(Move(m.dst, m.src) for m in (*batch.moves, *old)),
    )  # fmt: skip
    return Prepared(outcome, (*batch.moves, *old), (batch.staged,) if batch.staged else ())


def staging_of(batch: _Batch, tools: Tools, task: Task) -> Path:
    """The staging folder of a task, made on demand; cleared with the next start when a crash left it."""
    return batch.staged or disk.own_folder(tools.places.datasets, "staging", task.token)


def _bring(batch: _Batch, task: Task, tools: Tools, source: Path, target: Path) -> Stamp:
    """Add the move of one file; returns the stamp it will have at its target."""
    if batch.staged is None:
        batch.moves.append(Move(source, target, task.unit[source]))
        return task.unit[source]
    disk.need_room(batch.staged, task.unit[source].size + disk.COPY_MARGIN, tools.floor)
    copy = batch.staged / source.name
    disk.copy_checked(source, copy)
    batch.moves.append(Move(copy, target))
    batch.old[source] = task.unit[source]
    return disk.stamp(copy)


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
