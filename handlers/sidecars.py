"""Sidecars of any folder: which pictures lie in it and want a text, and writing those texts as they come.

What must hold: only what is called like a picture is one; a link to a picture is a picture and its text goes beside the link; linked
folders are not entered, so that there is no loop and nothing is written where nobody pointed; two pictures that would share one text
are told apart by name, the first has it; a text appears whole, by a rename, in UTF-8 with a line end, and never over a file that
appeared or changed since it was looked at.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ..rules.ignores import Ignores
from ..rules.readers.archives import IMAGE_SUFFIXES
from ..rules.terms import Stamp
from . import disk, texts
from .stamps import stamp_of

GROUP = 256  # texts made durable together at most
LEFT = 600.0  # seconds after which a part file of ours is what a dead process left
BLANK = 64  # bytes up to which a text is looked into for whether it says anything
_PART = re.compile(r"\..*\.[0-9a-f]{16}\.dropdock\.part", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture, where its text shall lie, and the stamp of what lies there now (None: nothing)."""

    path: Path
    text: Path
    there: Stamp | None = None

    def existing(self) -> str:
        """The text that lies there; '' when there is none that can be read."""
        if self.there is None:
            return ""
        try:
            with self.text.open("rb") as file:
                return texts.decode(file.read(texts.MAX_CAPTION))[0].strip()
        except OSError:
            return ""


@dataclass(slots=True)
class Survey:
    """What lies below some folders. `shared`: pictures without a text of their own, each with the one that has it."""

    wanted: list[Wanted] = field(default_factory=list)
    captioned: int = 0  # pictures that have a text already and are left alone
    shared: list[tuple[Path, Path]] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def survey(folders: Sequence[Path], every: bool = False, now: float | None = None) -> Survey:
    """The pictures below folders that have no text; with `every` all of them. Sorted by folder and name.

    A text of blanks is none. Names that no watch takes (hidden ones, caches of trainers) are passed over. `now` (epoch seconds) tells
    by their age which part files a dead process left: those are removed.
    """
    found, seen = Survey(), set[tuple[int, int]]()
    for folder in folders:
        stack = [folder]
        while stack:
            at = stack.pop()
            try:
                entries, here = list(os.scandir(at)), at.stat()
            except OSError as error:
                found.unreadable.append((at, error.strerror or str(error)))
                continue
            if (here.st_dev, here.st_ino) in seen:  # named twice, or by two of its names
                continue
            seen.add((here.st_dev, here.st_ino))
            stack += _look(at, entries, every, time.time() if now is None else now, found)
    return found


def _look(at: Path, entries: Sequence[os.DirEntry[str]], every: bool, now: float, found: Survey) -> list[Path]:
    """Add one folder's pictures to what was found; the folders below it, the last by name first."""
    ignores, below, pictures = Ignores(), list[Path](), list[str]()
    text_of: dict[str, os.DirEntry[str]] = {}
    for entry in entries:
        if _PART.fullmatch(entry.name):
            _clear(entry, now)
        if ignores.skip(entry.name, False):
            continue
        suffix = Path(entry.name).suffix.lower()
        if suffix == ".txt":
            text_of[entry.name.casefold()] = entry
        elif entry.is_dir(follow_symlinks=False):
            below.append(at / entry.name)
        elif suffix in IMAGE_SUFFIXES and not _no_file(entry):
            pictures.append(entry.name)
    owner: dict[str, str] = {}
    for name in sorted(pictures):
        text = f"{name[: name.rindex('.')]}.txt"
        first = owner.setdefault(text.casefold(), name)
        if first != name:
            found.shared.append((at / name, at / first))
            continue
        there = text_of.get(text.casefold())
        if there is not None and not every and _says_something(there):
            found.captioned += 1
            continue
        found.wanted.append(Wanted(at / name, at / (text if there is None else there.name), _stamp(there)))
    return sorted(below, reverse=True)


def _no_file(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder, a pipe or the like. A link that leads nowhere is a picture that cannot be read."""
    try:
        return not entry.is_file() and (not entry.is_symlink() or Path(entry.path).exists())
    except OSError:
        return False


def _stamp(entry: os.DirEntry[str] | None) -> Stamp | None:
    try:
        return None if entry is None else stamp_of(entry.stat(follow_symlinks=False))
    except OSError:
        return None


def _says_something(entry: os.DirEntry[str]) -> bool:
    """Whether a text is more than blanks. One that cannot be looked at is somebody's all the same."""
    try:
        if entry.stat().st_size > BLANK:
            return True
        return bool(Path(entry.path).read_bytes().decode("utf-8-sig", "replace").strip())
    except OSError:
        return True


def _clear(entry: os.DirEntry[str], now: float) -> None:
    with contextlib.suppress(OSError):
        if now - entry.stat(follow_symlinks=False).st_mtime > LEFT:
            os.unlink(entry.path)


# ---------------------------------------------------------------- writing

Told = Callable[[Wanted, str, str], None]  # the picture, its text, and why it could not be written ('' when it was)


class Writer:
    """Writes texts in a thread of its own while others are made. `told` is called from that thread, once for each `put`."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._queue: queue.SimpleQueue[tuple[Wanted, str] | None] = queue.SimpleQueue()
        self._thread = ThreadPoolExecutor(1, "sidecars")
        self._work = self._thread.submit(self._run)

    def put(self, wanted: Wanted, text: str) -> None:
        """Have a text written, soon."""
        self._queue.put((wanted, text))

    def close(self) -> None:
        """Write what is left. Raises what `told` raised."""
        self._queue.put(None)
        try:
            self._work.result()
        finally:
            self._thread.shutdown()

    def _run(self) -> None:
        for group in self._groups():
            for (wanted, text), why in zip(group, write(group), strict=True):
                self._told(wanted, text, why)

    def _groups(self) -> Iterator[list[tuple[Wanted, str]]]:
        """What has gathered, as often as there is something."""
        ended = False
        while not ended:
            group: list[tuple[Wanted, str]] = []
            with contextlib.suppress(queue.Empty):
                while len(group) < GROUP and not ended:
                    more = self._queue.get(block=not group)
                    ended = more is None
                    group += [] if more is None else [more]
            if group:
                yield group


def write(group: Sequence[tuple[Wanted, str]]) -> list[str]:
    """Write texts beside their pictures; for each the reason why it could not be written, '' when it was."""
    parts = [_part(wanted, text) for wanted, text in group]
    for folder in {part.parent.stat().st_dev: part.parent for part in parts if isinstance(part, Path)}.values():
        with contextlib.suppress(OSError):  # a disk that cannot: the rename is still all or nothing for whoever looks
            disk.sync_volume(folder)
    return [part if isinstance(part, str) else _placed(part, wanted) for part, (wanted, _) in zip(parts, group, strict=True)]


def _part(wanted: Wanted, text: str) -> Path | str:
    """The text in a file of a name that nobody takes, or why there is none."""
    stem = wanted.text.name.encode("utf-8", "surrogateescape")[:180].decode("utf-8", "ignore")
    part = wanted.text.with_name(f".{stem}.{secrets.token_hex(8)}.dropdock.part")
    try:
        part.write_text(text.rstrip("\n") + "\n", encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        return f"its text cannot be written: {error.strerror or error}"
    return part


def _placed(part: Path, wanted: Wanted) -> str:
    try:
        if wanted.there is None:
            disk.rename_new(part, wanted.text)
        elif disk.stamp(wanted.text) != wanted.there:
            raise FileExistsError
        else:
            os.replace(part, wanted.text)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, (FileExistsError, FileNotFoundError)):
            return "its text was written or changed by somebody else meanwhile: left as it is"
        return f"its text cannot be written: {error.strerror or error}"
    return ""
