"""unpack: an archive of pictures becomes (a part of) a dataset, whole or not at all.

What must hold: everything is unpacked, decoded and named in a staging folder on the dataset's volume; a new dataset appears by one
rename, an addition by one journalled list of renames; pictures lie byte for byte as they came; one that does not decode is
quarantined alone; an archive that must not be unpacked is quarantined whole and leaves nothing behind; the archive itself ends in
the trash, so that what was not taken (junk, duplicates, texts without a picture) can still be had from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import BoundedSemaphore
from typing import BinaryIO

from ..rules.header import Damaged
from ..rules.readers import archives
from ..rules.terms import Aside, Caption, End, Ended, Item, Kind, Lane, Mode, Move, Outcome, Param, Prepared, Stamp, Status
from . import aside, disk, members, pictures, texts
from .dataset import names_on_disk
from .members import Member, Refused
from .placing import Placer, key
from .task import Simple, Task, Tools, UnpackLimits, failed, skipped, staging

IN_MEMORY = 64 << 20  # bytes; larger members are written before they are examined
SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "gif": ".gif", "bmp": ".bmp", "tiff": ".tif", "avif": ".avif"}


@dataclass(slots=True)
class _Picture:
    """One picture in staging: `raw` is where its bytes lie, `name` what the archive calls it."""

    name: str
    raw: Path
    found: Future[pictures.Examined | Damaged]


@dataclass(slots=True)
class _Pile:
    """What came out of the archive."""

    pictures: list[_Picture] = field(default_factory=list)
    captions: dict[str, str] = field(default_factory=dict)  # key of the path without suffix -> text
    caption_bytes: dict[str, bytes] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)  # members that are neither


class Unpack(Simple):
    """unpack: {dataset: "{stem}", limits…}."""

    lane = Lane.CPU

    def dataset_of(self, task: Task) -> str | None:
        return task.action.text("dataset")

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if task.watch is not None and task.watch.mode is Mode.LIBRARY:
            return skipped("a library's file stays where it lies")
        if task.lead not in task.unit:
            return skipped("it was taken in already")
        limits = _limits(tools.limits, task.action.params)
        staged = staging(tools, tools.places.datasets, task)
        try:
            pile = _take_out(task.lead, staged, limits, tools)
        except Refused as error:
            disk.clear(staged)
            return aside.put_aside(task, tools, End.QUARANTINE, str(error), status=Status.FAILED)
        except members.DAMAGE as error:
            disk.clear(staged)
            if isinstance(error, OSError) and error.errno is not None and not _about(error, task.lead):
                raise  # the disk, not the archive
            return aside.put_aside(task, tools, End.QUARANTINE, f"damaged archive: {str(error)[:200]}", status=Status.FAILED)
        except BaseException:
            disk.clear(staged)
            raise
        if not pile.pictures:
            disk.clear(staged)
            return failed("there is no picture in it")
        return _Assembly(task, tools, staged, pile).prepared()


def _about(error: OSError, archive: Path) -> bool:
    return error.filename is not None and os.fspath(error.filename) == os.fspath(archive)


def _limits(usual: UnpackLimits, params: object) -> UnpackLimits:
    given: dict[str, Param] = {k.removeprefix("limits."): v for k, v in dict(params).items() if k.startswith("limits.")}  # type: ignore[call-overload]
    return replace(usual, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]


# ---------------------------------------------------------------- out of the archive


def _take_out(archive: Path, staged: Path, limits: UnpackLimits, tools: Tools) -> _Pile:
    reader = members.ZipReader(archive, limits) if members.is_zip(archive) else members.TarReader(archive, limits)
    try:
        declared = sum(m.size for m in reader.members) if isinstance(reader, members.ZipReader) else archive.stat().st_size * 2
        disk.need_room(staged, declared + disk.COPY_MARGIN, tools.floor)
        raw = staged / "raw"
        raw.mkdir()
        pile = _Pile()
        with ThreadPoolExecutor(tools.threads, thread_name_prefix="unpack") as pool:
            gate = BoundedSemaphore(tools.threads * 3)  # members in memory at once
            done = 0
            for n, (member, stream) in enumerate(_wanted(reader, pile)):
                with stream:
                    _keep(member, stream, raw / f"{n:06d}", pile, pool, gate)
                done += member.size
                tools.tick(0.9 * done / max(1, declared))
            for picture in pile.pictures:
                picture.found.result()
        return pile
    finally:
        reader.close()


def _wanted(reader: members.ZipReader | members.TarReader, pile: _Pile) -> Iterator[tuple[Member, BinaryIO]]:
    for member, stream in reader:
        if archives.is_junk(member.name):
            continue
        if archives.kind_by_name(member.name) in (Kind.IMAGE, Kind.CAPTION):
            yield member, stream
        else:
            pile.left.append(member.name)


def _keep(member: Member, stream: BinaryIO, raw: Path, pile: _Pile, pool: ThreadPoolExecutor, gate: BoundedSemaphore) -> None:
    if archives.kind_by_name(member.name) is Kind.CAPTION:
        data = _exactly(stream, member) if member.size <= texts.MAX_CAPTION else b""
        text, plain = texts.decode(data)
        stem = key(str(PurePosixPath(member.name).with_suffix("")))
        if text.strip() and stem not in pile.captions:
            pile.captions[stem] = text.strip()
            pile.caption_bytes[stem] = data if plain else text.encode()
        else:
            pile.left.append(member.name)
        return
    gate.acquire()
    try:
        if member.size <= IN_MEMORY:
            job = pool.submit(_write_and_examine, raw, _exactly(stream, member))
        else:
            _spool(stream, member, raw)
            job = pool.submit(_examine_file, raw)
    except BaseException:
        gate.release()
        raise
    job.add_done_callback(lambda _: gate.release())
    pile.pictures.append(_Picture(member.name, raw, job))


def _exactly(stream: BinaryIO, member: Member) -> bytes:
    data = stream.read(member.size + 1)
    if len(data) != member.size:
        raise Refused(f"{member.name!r} holds another number of bytes than the archive says")
    return data


def _spool(stream: BinaryIO, member: Member, raw: Path) -> None:
    left = member.size
    with raw.open("xb") as out:
        while chunk := stream.read(1 << 20):
            left -= len(chunk)
            if left < 0:
                break
            out.write(chunk)
    if left != 0:
        raise Refused(f"{member.name!r} holds another number of bytes than the archive says")


def _write_and_examine(raw: Path, data: bytes) -> pictures.Examined | Damaged:
    raw.write_bytes(data)
    return pictures.examine(data)


def _examine_file(raw: Path) -> pictures.Examined | Damaged:
    with raw.open("rb") as file:
        return pictures.examine(file)


# ---------------------------------------------------------------- into the dataset


class _Assembly:
    """Arranges the pile as the dataset's folder in staging and says which moves make it real."""

    def __init__(self, task: Task, tools: Tools, staged: Path, pile: _Pile) -> None:
        self.task, self.tools, self.staged, self.pile = task, tools, staged, pile
        self.slug = task.holdings.slug if task.holdings else task.action.text("dataset")
        self.home = tools.places.datasets / self.slug
        self.tree = staged / "tree"
        self.tree.mkdir()
        self.new = not os.path.lexists(self.home)
        self.placer = Placer(task.holdings, () if self.new else names_on_disk(self.home))
        self.items: list[Item] = []
        self.captions: list[Caption] = []
        self.broken: list[tuple[Path, str, str]] = []
        self.duplicates = 0
        self.used: set[str] = set()

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

    def _place(self, picture: _Picture, rel: str, found: pictures.Examined) -> None:
        right = SUFFIXES.get(found.image.format, "")
        placed = self.placer.place(rel if PurePosixPath(rel).suffix else rel + right, found)
        stem = key(str(PurePosixPath(picture.name).with_suffix("")))
        self.used.add(stem)
        if placed.same_as is not None:
            self.duplicates += 1
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
        text = self.pile.captions.get(stem)
        if text is not None:
            beside = target.with_suffix(".txt")
            beside.write_bytes(self.pile.caption_bytes[stem])
            self.captions.append(Caption(self.slug, placed.rel, "", text, "imported", stamp=disk.stamp(beside)))

    def _answer(self) -> Prepared:
        task, tools = self.task, self.tools
        into: list[Move] = []
        if self.items and self.new:
            into.append(Move(self.tree, self.home))
        else:
            for path in sorted(p for p in self.tree.rglob("*") if p.is_file()):
                into.append(Move(path, self.home / path.relative_to(self.tree)))
        until = task.now + tools.retention
        folder = aside.slot(tools, self.home, End.QUARANTINE, task)
        bad: list[Move] = []
        asides: list[Aside] = []
        for raw, name, reason in self.broken:
            target = disk.free_name(folder, name, lambda p: any(m.dst == p for m in bad))
            bad.append(Move(raw, target))
            asides.append(Aside(End.QUARANTINE, target, task.lead / name, reason, until))
        stamps: dict[Path, Stamp | None] = dict(task.unit)
        old = aside.moves_aside(tools, task, End.TRASH, stamps)
        note = self._note()
        asides += aside.asides(old, End.TRASH, note, until)
        end = End.DATASET if self.items else End.TRASH
        outcome = Outcome(
            Status.DONE, note,
            ended=tuple(Ended(m.src, end, self.home if self.items else m.dst, note) for m in old),
            items=tuple(self.items), captions=tuple(self.captions), aside=tuple(asides),
            undo=aside.way_back(old),  # what the pictures came to be is known by the items
        )  # fmt: skip
        return Prepared(outcome, (*into, *bad, *old), (self.staged,))

    def _note(self) -> str:
        orphans = len(self.pile.captions.keys() - self.used)
        said = [
            f"{len(self.items)} pictures into the dataset {self.slug}"
            if self.items
            else f"nothing new for the dataset {self.slug}"
        ]
        for count, text in (
            (len(self.captions), "with their caption"),
            (self.duplicates, "exact duplicates left out"),
            (sum(1 for i in self.items if any(f.startswith("near") for f in i.flags)), "near duplicates flagged"),
            (len(self.broken), "broken, in quarantine"),
            (len(self.pile.left) + orphans, "other files stay in the archive"),
        ):
            if count:
                said.append(f"{count} {text}")
        return ", ".join(said)
