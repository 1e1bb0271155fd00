"""store: a model into the hub, once, by its SHA-256, its companions beside it.

What must hold: `<hub>/<aa>/<sha256>/<name>` appears by one rename of complete bytes; a second copy of the same bytes adds a name to
the record and goes to the trash, never over the first, and brings the companions that the hub lacks; across volumes the copy is
digest-checked before the original moves to the trash of its own volume. What an earlier life left in the hub is found by its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..rules.terms import Digests, End, Ended, Lane, Mode, Model, Move, Outcome, Prepared, Stamp, Status
from . import aside, disk, hashing
from .room import full_is_no_room
from .task import Simple, Task, Tools, failed, skipped, staging


@dataclass(frozen=True, slots=True)
class _Brought:
    """How paths come into the hub: the moves, and after a copy the originals for the trash and the staging to clear."""

    moves: tuple[Move, ...] = ()
    copied: Mapping[Path, Stamp] | None = None
    staging: tuple[Path, ...] = ()


def blob_folder(hub: Path, sha256: str) -> Path:
    """Where the hub keeps a content."""
    return hub / sha256[:2] / sha256


class Store(Simple):
    """store."""

    lane = Lane.HASH
    needs_digest = True

    @full_is_no_room()
    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if task.digests is None:
            return failed("the file could not be hashed")
        if task.watch is not None and task.watch.mode is Mode.LIBRARY:
            return skipped("a library's file stays where it lies")
        if task.lead not in task.unit:
            return skipped("it was taken in already")
        kept = task.kept or lying(blob_folder(tools.places.hub, task.digests.sha256), task.digests, task.facts.folder, tools.tick)
        return self._again(task, tools, task.digests, kept) if kept else self._first(task, tools, task.digests)

    def _first(self, task: Task, tools: Tools, digests: Digests) -> Prepared:
        folder = blob_folder(tools.places.hub, digests.sha256)
        targets = {path: disk.free_name(folder, path.name) for path in task.unit}
        brought = _bring(task, tools, targets, digests)
        old = aside.moves_aside(tools, task, End.TRASH, dict(brought.copied or {}))
        ended = tuple(Ended(path, End.HUB, at) for path, at in targets.items())
        return _answer(task, tools, targets[task.lead], brought, old, ended, "kept in the hub", "copied into the hub")

    def _again(self, task: Task, tools: Tools, digests: Digests, kept: Path) -> Prepared:
        """The same bytes are in the hub: the name is added, companions that the hub lacks join them, the rest goes to the trash."""
        home = kept.parent
        new = {p: home / p.name for p in task.companions if not disk.is_there(home / p.name)}
        brought = _bring(task, tools, new, digests)
        rest = {path: stamp for path, stamp in task.unit.items() if path not in new}
        old = aside.moves_aside(tools, task, End.TRASH, {**rest, **(brought.copied or {})})
        note = f"the hub keeps the same bytes as {kept.name}"
        trashed = {move.src: Ended(move.src, End.TRASH, move.dst, f"the hub has a {move.src.name} already") for move in old}
        ended = [Ended(task.lead, End.HUB, kept, note), *(Ended(path, End.HUB, at, note) for path, at in new.items())]
        ended += [trashed[path] for path in rest if path != task.lead]
        return _answer(task, tools, kept, brought, old, tuple(ended), note, note)


def lying(
    folder: Path, digests: Digests, is_folder: bool, report: Callable[[float], None] = lambda fraction: None
) -> Path | None:
    """What lies in a content's folder with these very bytes, though nobody remembers it (a database that was lost).

    `report` hears which fraction 0..1 was read, and may raise Cancelled.
    """
    if not folder.is_dir():
        return None

    def tick(n: int) -> None:
        report(min(1.0, n / max(1, digests.size)))

    for path in sorted(folder.iterdir()):
        if path.is_dir() is not is_folder:
            continue
        if is_folder:
            found = hashing.digest_folder(path, files_below(path), tick)
        elif path.stat().st_size == digests.size:
            found = hashing.digest(path, tick)
        else:
            continue
        if found.sha256 == digests.sha256:
            return path
    return None


def files_below(folder: Path) -> list[str]:
    """Every file of a folder that is one model, relative, with forward slashes."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _bring(task: Task, tools: Tools, targets: Mapping[Path, Path], digests: Digests) -> _Brought:
    """How these paths of the unit come to their targets. Raises NoRoom, or Changed when a copy is not what was hashed."""
    if not targets:
        return _Brought()
    if disk.one_volume(tools.places.root_of(task.lead), tools.places.hub):
        return _Brought(tuple(Move(path, at, task.unit[path]) for path, at in targets.items()))
    size = sum(digests.size if path == task.lead else task.unit[path].size for path in targets)
    disk.need_room(tools.places.hub, size + disk.COPY_MARGIN, tools.floor)
    staged = staging(tools, tools.places.hub, task)
    try:
        copy_unit(task, tools, {path: staged / path.name for path in targets}, size)
    except BaseException:  # also when it was cancelled: nothing is left behind
        disk.clear(staged)
        raise
    moves = tuple(Move(staged / path.name, at) for path, at in targets.items())
    return _Brought(moves, {path: task.unit[path] for path in targets}, (staged,))


def copy_unit(task: Task, tools: Tools, copies: Mapping[Path, Path], size: int) -> None:
    """Copy paths of a unit (files, or a folder that is one model), each checked; `size` is the bytes of all, for the progress."""
    done = 0

    def tick(n: int) -> None:
        nonlocal done
        done += n
        tools.tick(min(1.0, done / max(1, size)))

    for path, copy in copies.items():
        expected = task.digests if path == task.lead else None
        if not path.is_dir():
            disk.copy_checked(path, copy, expected, tick)
            continue
        parts: dict[str, Digests] = {}
        for rel in files_below(path):
            (copy / rel).parent.mkdir(parents=True, exist_ok=True)
            parts[rel] = disk.copy_checked(path / rel, copy / rel, tick=tick)
        if expected and hashing.of_parts(parts) != expected:
            raise disk.Changed(f"{path} changed while it was copied")


def _answer(
    task: Task, tools: Tools, blob: Path, brought: _Brought, old: tuple[Move, ...], ended: tuple[Ended, ...], note: str, why: str
) -> Prepared:
    digests = task.digests
    assert digests is not None
    model = Model(digests.sha256, digests.xxh3, digests.size, task.lead.name, blob, task.facts, folder=task.facts.folder)
    if brought.staging:  # of a copy the original comes back, and the copy goes
        slot = aside.slot(tools, blob, End.TRASH, task)
        gone = (Move(m.dst, slot / m.dst.name, disk.stamp(m.src)) for m in brought.moves)
        back = (*aside.way_back(old), *gone)
    else:
        back = aside.way_back((*brought.moves, *old))
    outcome = Outcome(
        Status.DONE, note, ended=ended, models=(model,), aside=aside.asides(old, End.TRASH, why, task.now + tools.retention),
        undo=back,
    )  # fmt: skip
    return Prepared(outcome, (*brought.moves, *old), brought.staging)
