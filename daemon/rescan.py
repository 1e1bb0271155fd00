"""Rescan: compares one watch's folder with what the store remembers of it, and names only the differences.

The start, the periodic pass, every doubt of the watcher and the user's `rescan` all come through here: events are hints, this is the
truth. Runs in a thread. What must hold: an unchanged file costs one stat and one comparison; symlinks are neither followed nor named; a
root that is missing, empty where it was not, or another disk than before never yields departures, and neither does anything that exists.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..handlers.disk import OWN
from ..rules.ignores import Ignores
from ..rules.terms import Mode, Watch

Brief = tuple[int, int, int]  # (size, mtime_ns, ino): no Stamp objects in a loop over 100,000 files
SHOWN = 5  # skipped names that are told
RootId = tuple[int, int]  # (st_dev, st_ino) of a watch's root


class Seen(Protocol):
    """What the store knows of the files of a watch. Called in the walking thread; folders are relative, "" is the root itself."""

    def folder(self, watch: str, folder: str) -> dict[str, Brief]:
        """Name -> (size, mtime_ns, ino) of the known files in one folder; empty when it is unknown. Made anew: it is used up here."""
        ...

    def folders(self, watch: str) -> Collection[str]:
        """Every folder that has known files."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """What one pass found. `root` is to be handed to the next pass as `last_root`; None, with root_ok False, when it was not there."""

    dirty: list[Path]  # new or changed regular files
    departed: list[Path]  # known files that are surely gone
    files: int  # regular files seen
    root_ok: bool  # False: the root is missing or not what it was; nothing is said to have departed
    root: RootId | None = None
    skipped: tuple[str, ...] = ()  # of an inbox: what lies there and is not taken, each with the reason; the first SHOWN
    skips: int = 0  # how many there are
    closed: tuple[str, ...] = ()  # folders below the root that may not be listed: nothing is known of what lies in them


@dataclass(slots=True)
class _Pass:
    dirty: list[Path] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)  # (folder, name) of known files that a listing lacked
    visited: set[str] = field(default_factory=set)
    files: int = 0
    met: int = 0  # known names that were found, changed or not
    skips: int = 0
    skipped: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def skip(self, path: str, why: str) -> None:
        """Note something of an inbox that is not taken."""
        self.skips += 1
        if len(self.skipped) < SHOWN:
            self.skipped.append(f"{path} ({why})")


def rescan(
    watch: Watch, seen: Seen, ignores: Ignores, last_root: RootId | None = None, stopped: Callable[[], bool] = lambda: False
) -> Difference:
    """One pass over the whole watch. `last_root` is the root of the last good pass, None if there was none.

    `stopped` is asked at every folder; once it is true the pass ends early, with what is dirty so far and no departures.
    """
    try:
        found = watch.path.stat()
        with os.scandir(watch.path) as entries:
            empty = next(entries, None) is None
    except OSError:
        return Difference([], [], 0, root_ok=False)
    root, done = (found.st_dev, found.st_ino), _Pass()
    if not _walk(watch, seen, ignores, done, stopped):
        return Difference(done.dirty, [], done.files, root_ok=True, root=root)
    known = seen.folders(watch.name)
    moved = last_root != root and (empty or (last_root is not None and last_root[0] != root[0] and not done.met))
    if moved and known:
        return Difference(done.dirty, [], done.files, root_ok=False, root=last_root)
    gone = _departed(watch, seen, done, known)
    return Difference(done.dirty, gone, done.files, True, root, tuple(done.skipped), done.skips, tuple(sorted(done.closed)))


def _walk(watch: Watch, seen: Seen, ignores: Ignores, done: _Pass, stopped: Callable[[], bool]) -> bool:
    """List every folder once, comparing as it goes; False when it was stopped."""
    stack, root = [""], str(watch.path)
    while stack:
        if stopped():
            return False
        folder = stack.pop()
        try:
            with _listing(f"{root}/{folder}" if folder else root, follow=not folder) as entries:
                below = _compare(watch, folder, entries, seen.folder(watch.name, folder), ignores, done)
        except PermissionError:
            done.closed.append(folder)
            continue
        except OSError:  # gone meanwhile: what is known of it is asked for one by one, as of a closed one
            continue
        done.visited.add(folder)
        prefix = f"{folder}/" if folder else ""
        for name in below:
            if not (why := ignores.why(f"{prefix}{name}", True)):
                stack.append(f"{prefix}{name}")
            elif watch.mode is Mode.INBOX and name != OWN:
                done.skip(f"{prefix}{name}/", why)
    return True


@contextmanager
def _listing(path: str, follow: bool) -> Iterator[os._ScandirIterator[str]]:
    """os.scandir through a descriptor where that is possible: a stat then need not walk the whole path for every file (a tenth quicker),
    and a folder that was replaced by a link meanwhile is refused."""
    if os.scandir not in os.supports_fd:
        with os.scandir(path) as entries:
            yield entries
        return
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        with os.scandir(folder) as entries:
            yield entries
    finally:
        os.close(folder)


def _compare(
    watch: Watch, folder: str, entries: os._ScandirIterator[str], known: dict[str, Brief], ignores: Ignores, done: _Pass
) -> list[str]:
    """Compare one folder's listing with what is known of it; returns the names of its folders. The hot loop: keep it plain."""
    below: list[str] = []
    take, files, expected, inbox = known.pop, 0, len(known), watch.mode is Mode.INBOX
    for entry in entries:
        name = entry.name
        brief = take(name, None)
        if brief is not None:
            try:
                now = entry.stat(follow_symlinks=False)
            except OSError:  # gone since it was listed
                known[name] = brief
                continue
            if brief == (now.st_size, now.st_mtime_ns, now.st_ino):  # the same inode: what kind it is, is known
                files += 1
                continue
        if entry.is_file(follow_symlinks=False):
            files += 1
            if not (why := ignores.why(f"{folder}/{name}" if folder else name, False)):
                done.dirty.append(watch.path / folder / name)
            elif inbox:
                done.skip(f"{folder}/{name}" if folder else name, why)
            continue
        if brief is not None and brief != (
            0,
            0,
            now.st_ino,
        ):  # a known file gave way to a folder or a link (0, 0: a folder, known as one model)
            known[name] = brief
        if entry.is_dir(follow_symlinks=False):
            below.append(name)
        elif inbox:
            done.skip(f"{folder}/{name}" if folder else name, _sort_of(entry))
    done.files += files
    done.met += expected - len(known)
    done.missing += [(folder, name) for name in known]
    return below


def _sort_of(entry: os.DirEntry[str]) -> str:
    """What something is that is neither a file nor a folder, in words."""
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return "it cannot be looked at"
    sorts = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))
    return next((word for is_one, word in sorts if is_one(mode)), "a device")


def _departed(watch: Watch, seen: Seen, done: _Pass, known: Collection[str]) -> list[Path]:
    """The known files that are gone. Whatever was not met is asked for by its path: a folder may be ignored or closed to us by now."""
    missing = list(done.missing)
    for folder in known:
        if folder not in done.visited:
            missing += [(folder, name) for name in seen.folder(watch.name, folder)]
    return [path for folder, name in sorted(missing) if _is_gone(path := watch.path / folder / name)]


def _is_gone(path: Path) -> bool:
    """True when no regular file is there, and the file system says so rather than refusing to say."""
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
