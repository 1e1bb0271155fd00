"""Looking: the I/O side of settling. What the disk says of a path right now: its stamp, whether it is whole, whether somebody writes it.

Runs in a thread, on many paths at once, so that each folder is listed once. What must hold: nothing is changed; symlinks and other things
that are no regular files are never opened; a path that vanishes while it is looked at is gone, not an error.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

from ..rules import units
from ..rules.ignores import Ignores, final_name, is_temp
from ..rules.terms import Stamp
from .settling import Look

Whole = Callable[[Path], bool | None]
FRESH = 600.0  # seconds: a temporary file that nobody wrote to for longer is a leftover and holds nothing up
_FOLDER_FILES = 20_000  # of a folder that is one model: more than any has


def look_many(
    paths: Sequence[Path],
    root: Path,
    ignores: Ignores | None = None,
    whole: Whole | None = None,
    before: Iterable[Look | None] = (),
) -> list[Look]:
    """A Look for each path, in order. `root` is the watch root, itself never one model; `whole` stands in for the readers in tests.

    `before` are the last looks at the same paths: a file that was whole and has not been touched since is not opened for that again.
    """
    looker = _Looker(root, ignores or Ignores(), whole or _readers())
    return [looker.look(path, last) for path, last in zip_longest(paths, before)]


def look(path: Path, root: Path | None = None, whole: Whole | None = None) -> Look:
    """A Look at one path; without a root, no folder is asked whether it is one model."""
    return look_many([path], root or path.parent, whole=whole)[0]


def _readers() -> Whole:
    from ..rules.readers.whole import is_whole  # here, because the readers bring Pillow along

    return is_whole


def writer(path: Path) -> bool | None:
    """Whether any process has the file open for writing. None when that cannot be told: no Linux, not our file, a network share.

    Linux grants a read lease only while nobody has the file open for writing (fcntl(2), F_SETLEASE); it is given back at once.
    """
    if not sys.platform.startswith("linux"):
        return None
    import fcntl

    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Somebody may open the file in between; the signal that tells the lease's holder is SIGIO, which would end the process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
    return False


class _Looker:
    """One round of looks: what a folder holds is asked once a round."""

    def __init__(self, root: Path, ignores: Ignores, whole: Whole) -> None:
        self._root, self._ignores, self._whole = root, ignores, whole
        self._names: dict[Path, list[str]] = {}
        self._models: dict[Path, Path | None] = {}
        self._fetched: dict[Path, str | None] = {}

    def look(self, path: Path, before: Look | None = None) -> Look:
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return Look(None, gone=True)
        except OSError:  # closed to us: the rescan will come by again
            return Look(None)
        if stat.S_ISDIR(found.st_mode):
            return self._folder(path, found)
        if not stat.S_ISREG(found.st_mode):
            return Look(None)
        beside, pending = self._beside(path)
        busy = writer(path)
        stamp = Stamp(found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)
        still = before is not None and before.whole is True and (before.stamp, before.changed) == (stamp, found.st_ctime_ns)
        return Look(
            stamp,
            None if busy else still or self._is_whole(path),
            busy,
            self._model_of(path.parent),
            beside,
            pending or self._download_of(path.parent),
            changed=found.st_ctime_ns,
        )

    def _is_whole(self, path: Path) -> bool | None:
        try:
            return self._whole(path)
        except OSError:  # vanished, or closed to us: identify will say so
            return None

    def _list(self, folder: Path) -> list[str]:
        """The names of the regular files in a folder, sorted."""
        if folder not in self._names:
            try:
                with os.scandir(folder) as entries:
                    self._names[folder] = sorted(e.name for e in entries if e.is_file(follow_symlinks=False))
            except OSError:
                self._names[folder] = []
        return self._names[folder]

    def _beside(self, path: Path) -> tuple[tuple[str, ...], str | None]:
        """(names that may be of the path's unit, the temporary file that will become one of them)."""
        own, folder = path.name, path.parent
        key, names = units.key(own), self._list(folder)
        beside, pending = [], None
        for prefix in (f"{key}.", f".{key}."):  # rsync's temporary names begin with a dot
            at = bisect_left(names, prefix)
            while at < len(names) and names[at].startswith(prefix):
                name = names[at]
                at += 1
                if name == own:
                    continue
                if is_temp(name):
                    final = final_name(name)
                    if final and units.key(final) == key and _is_fresh(folder / name):
                        pending = name
                elif units.key(name) == key and not self._ignores.skip(self._rel(folder / name), False):
                    beside.append(name)
        return tuple(beside), pending

    def _rel(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.name

    def _model_of(self, folder: Path) -> Path | None:
        """The topmost folder from the root (not included) down to `folder` that is one model."""
        if folder not in self._models:
            if folder == self._root or not folder.is_relative_to(self._root):
                self._models[folder] = None
            else:
                above = self._model_of(folder.parent)
                self._models[folder] = above or (folder if units.is_model_folder(self._list(folder)) else None)
        return self._models[folder]

    def _download_of(self, folder: Path) -> str | None:
        """A download of the Hugging Face tools going on into this folder or one above: they fill it file by file."""
        if folder not in self._fetched:
            here = _unfinished(folder / ".cache" / "huggingface" / "download")
            up = folder != self._root and folder.is_relative_to(self._root)
            self._fetched[folder] = here or (self._download_of(folder.parent) if up else None)
        return self._fetched[folder]

    def _folder(self, folder: Path, found: os.stat_result) -> Look:
        """A folder that is one model: bytes of all its files, its newest time. Other folders are nothing to take."""
        model = self._model_of(folder)
        if model is None:
            return Look(None)
        size, newest = 0, 0
        for entry in _below(folder):
            one = entry.stat(follow_symlinks=False)
            size, newest = size + one.st_size, max(newest, one.st_mtime_ns)
        stamp = Stamp(size, newest, found.st_ino, found.st_dev)
        return Look(stamp, None, False, model, (), self._download_of(folder))


def _is_fresh(path: Path) -> bool:
    try:
        return abs(time.time() - path.lstat().st_mtime) < FRESH
    except OSError:
        return False


def _unfinished(folder: Path) -> str | None:
    if not folder.is_dir():
        return None
    fresh = (e.name for e in _below(folder) if e.name.endswith(".incomplete") and _is_fresh(Path(e.path)))
    return next(fresh, None)


def _below(folder: Path) -> list[os.DirEntry[str]]:
    """The regular files in and below a folder, up to a bound."""
    found: list[os.DirEntry[str]] = []
    stack = [str(folder)]
    while stack and len(found) < _FOLDER_FILES:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        found.append(entry)
        except OSError:  # vanished meanwhile: its own event comes
            continue
    return found
