"""unpack: an archive of pictures becomes (a part of) a dataset, whole or not at all.

What must hold: everything is unpacked and decoded in a staging folder on the dataset's volume, which is gone whatever happens; one
picture that does not decode is quarantined alone; an archive that must not be unpacked is quarantined whole; pictures are told by their
content where the name says nothing of it; no byte is written where there is no room for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from threading import BoundedSemaphore
from typing import BinaryIO

from ..rules.header import Damaged
from ..rules.readers import archives, images
from ..rules.terms import End, Kind, Lane, Mode, Param, Prepared, Status
from . import aside, disk, members, pictures, texts
from .assembly import Assembly, Left, Picture, Pile
from .members import Member, Refused
from .placing import key
from .room import Room, full_is_no_room
from .task import Simple, Task, Tools, UnpackLimits, failed, skipped, staging

IN_MEMORY = 64 << 20  # bytes; larger members are written before they are examined


class Unpack(Simple):
    """unpack: {dataset: "{stem}", limits…}."""

    lane = Lane.CPU

    @full_is_no_room()
    def prepare(self, task: Task, tools: Tools) -> Prepared:
        if task.watch is not None and task.watch.mode is Mode.LIBRARY:
            return skipped("a library's file stays where it lies")
        if task.lead not in task.unit:
            return skipped("it was taken in already")
        staged = staging(tools, tools.places.datasets, task)
        try:
            prepared = _prepared(task, tools, staged)
        except BaseException:
            disk.clear(staged)
            raise
        if staged not in prepared.staging:
            disk.clear(staged)
        return prepared


def _prepared(task: Task, tools: Tools, staged: Path) -> Prepared:
    """The answer; when it does not name the staging folder nothing in there is needed."""
    try:
        pile = _take_out(task.lead, staged, _limits(tools.limits, task.action.params), tools)
    except Refused as error:
        return aside.put_aside(task, tools, End.QUARANTINE, str(error), status=Status.FAILED)
    except members.DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        return aside.put_aside(task, tools, End.QUARANTINE, f"damaged archive: {str(error)[:200]}", status=Status.FAILED)
    if not pile.pictures:
        return failed("there is no picture in it")
    return Assembly(task, tools, staged, pile).prepared()


def _limits(usual: UnpackLimits, params: object) -> UnpackLimits:
    given: dict[str, Param] = {k.removeprefix("limits."): v for k, v in dict(params).items() if k.startswith("limits.")}  # type: ignore[call-overload]
    return replace(usual, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]


@dataclass(slots=True)
class _Desk:
    """Where members are written and examined: the threads, how many members may be in memory, and the room on the disk."""

    pile: Pile
    pool: ThreadPoolExecutor
    gate: BoundedSemaphore
    room: Room
    tools: Tools
    lost: list[BaseException]  # what went wrong in a thread

    def written(self, job: Future[pictures.Examined | Damaged], size: int) -> None:
        """A member is written and examined, or it failed."""
        self.gate.release()
        self.room.done(size)
        if error := job.exception():
            self.lost.append(error)


def _take_out(archive: Path, staged: Path, limits: UnpackLimits, tools: Tools) -> Pile:
    reader = _reader(archive, limits, tools)
    try:
        declared = _declared(reader, archive)
        disk.need_room(staged, declared + disk.COPY_MARGIN, tools.floor)
        raw = staged / "raw"
        raw.mkdir()
        pile = Pile()
        with ThreadPoolExecutor(tools.threads, thread_name_prefix="unpack") as pool:
            room = Room(staged, tools.floor + disk.COPY_MARGIN)
            desk = _Desk(pile, pool, BoundedSemaphore(tools.threads * 3), room, tools, [])
            done = 0
            for n, (member, stream) in enumerate(_wanted(reader, pile)):
                _keep(member, stream, raw / f"{n:06d}", desk)
                done += member.size
                if isinstance(reader, members.ZipReader):  # a tar tells of itself
                    tools.tick(0.9 * min(1.0, done / max(1, declared)))
                if desk.lost:
                    raise desk.lost[0]
            for picture in pile.pictures:
                picture.found.result()
        return pile
    finally:
        reader.close()


def _reader(archive: Path, limits: UnpackLimits, tools: Tools) -> members.ZipReader | members.TarReader:
    if members.is_zip(archive):
        return members.ZipReader(archive, limits)
    return members.TarReader(archive, limits, lambda fraction: tools.tick(0.9 * fraction))


def _declared(reader: members.ZipReader | members.TarReader, archive: Path) -> int:
    """Bytes that will be written for sure: a ZIP's directory says it, a tar is not asked before it is read."""
    if isinstance(reader, members.TarReader):
        return 0
    return sum(m.size for m in reader.members if archives.kind_by_name(m.name) is Kind.IMAGE)


def _wanted(reader: members.ZipReader | members.TarReader, pile: Pile) -> Iterator[tuple[Member, BinaryIO]]:
    """The members that are pictures or texts, each open; a text longer than captions are stays in the archive like anything else."""
    for member, stream in reader:
        with stream:
            if archives.is_junk(member.name):
                continue
            kind = _kind(member, stream)
            if kind is Kind.IMAGE:
                yield member, stream
            elif kind is Kind.CAPTION and member.size <= texts.MAX_CAPTION:
                _read_caption(member, stream, pile)
            else:
                pile.left.append(Left(member.name, member.size))


def _kind(member: Member, stream: BinaryIO) -> Kind:
    """What a member is; by its first bytes where it is called a text, or has no suffix at all."""
    kind = archives.kind_by_name(member.name)
    if kind is not Kind.CAPTION and PurePosixPath(member.name).suffix:
        return kind
    head = stream.read(16)
    stream.seek(0)
    return Kind.IMAGE if images.sniff(head) else kind


def _read_caption(member: Member, stream: BinaryIO, pile: Pile) -> None:
    data = _exactly(stream, member)
    text, plain = texts.decode(data)
    stem = key(str(PurePosixPath(member.name).with_suffix("")))
    if text.strip() and stem not in pile.captions:
        pile.captions[stem] = text.strip()
        pile.caption_bytes[stem] = data if plain else text.encode()
    else:
        pile.left.append(Left(member.name, member.size))


def _keep(member: Member, stream: BinaryIO, raw: Path, desk: _Desk) -> None:
    """Have a picture written and examined; waits while too many are in memory. Raises disk.NoRoom, Refused."""
    desk.gate.acquire()
    try:
        desk.room.ask(member.size)
    except disk.NoRoom:
        desk.gate.release()
        raise
    try:
        if member.size <= IN_MEMORY:
            job = desk.pool.submit(_write_and_examine, raw, _exactly(stream, member))
        else:
            _spool(stream, member, raw, desk.tools)
            job = desk.pool.submit(_examine_file, raw)
    except BaseException:
        desk.gate.release()
        desk.room.done(member.size)
        raise
    job.add_done_callback(lambda done: desk.written(done, member.size))
    desk.pile.pictures.append(Picture(member.name, raw, job))


def _exactly(stream: BinaryIO, member: Member) -> bytes:
    data = stream.read(member.size + 1)
    if len(data) != member.size:
        raise Refused(f"{member.name!r} holds another number of bytes than the archive says")
    return data


def _spool(stream: BinaryIO, member: Member, raw: Path, tools: Tools) -> None:
    left = member.size
    with raw.open("xb") as out:
        while chunk := stream.read(1 << 20):
            tools.tick(0.0)  # raises when the job was cancelled
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
