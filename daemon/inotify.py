"""The Linux back end of watchdog's observer: a small inotify emitter that says "this path is dirty" and loses nothing silently.

watchdog's own Linux emitter was measured to lose files (queue overflow, watch limit, a root that is deleted and made again), and it wakes
up while idle. Here a folder's watch is added first and the folder listed after, so nothing slips in between; ignored folders are never
watched; one read of the kernel's queue becomes one `Dirt` event; and whatever cannot be known exactly becomes a `Doubt`, which asks for
a rescan: the start, an overflow, a lost or returned root, the watch limit. What must hold: the thread sleeps in poll() without a
timeout while the root is there; names that are no text survive (surrogateescape); no symlink below the root is followed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from watchdog.events import FileSystemEvent
from watchdog.observers.api import EventEmitter, EventQueue, ObservedWatch

from ..handlers.disk import OWN
from ..rules.ignores import Ignores
from . import mounts
from .cookies import NAME
from .hints import Dirt, Doubt, Heard, WatchState, list_folder

_HEAD = struct.Struct("iIII")  # wd, mask, cookie, length of the name (inotify(7))
CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x8, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
UNMOUNT, Q_OVERFLOW, IGNORED, ONLYDIR, DONT_FOLLOW, ISDIR = 0x2000, 0x4000, 0x8000, 0x1000000, 0x2000000, 0x40000000
# No IN_MODIFY: a growing file would fill the queue, and settling looks at what is open for writing anyway.
_MASK = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF | ONLYDIR
_READ = 1 << 20  # bytes per read: the whole default queue of 16,384 short names
_GATHER = (
    0.005  # seconds to let a burst gather between two reads: a fifth of the work, and the default queue holds 3,000,000 events/s
)
RETRY = 2000  # milliseconds between looks for a root that is missing


class InotifyEmitter(EventEmitter):
    """One thread and one inotify instance for one root. `ignores` maps each root to what is skipped below it."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        timeout: float = 1.0,
        event_filter: list[type[FileSystemEvent]] | None = None,
        ignores: Mapping[str, Ignores],
    ) -> None:
        super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter)
        self._root, self._ignores = watch.raw_path, ignores[watch.raw_path]
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd, self._folders, self._unwatched = -1, dict[int, str](), 0
        self._wake, self._wake_lock = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), threading.Lock()
        self._id: tuple[int, int] | None = None
        self._own = f"{self._root}/{OWN}"  # ignored, but for the cookie in it
        self._table = mounts.open_table()
        self._mounts, self._limit = mounts.below(self._root), 0

    def on_thread_stop(self) -> None:
        """Called by stop(), from any thread: ends the sleep of run()."""
        self.nudge()

    def nudge(self) -> None:
        """Make the thread look whether the root is still the folder that it watches. Callable from any thread."""
        with self._wake_lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        """Attach, follow until something breaks, attach again; every attachment and every loss is told as a Doubt."""
        reason, told = "started", ""
        while self.should_keep_running():
            problem = self._attach()
            if problem is None:
                self._tell(reason)
                reason, told = self._follow(), ""
                self._detach()
                continue
            if problem != told:
                self.queue_event(Doubt(self._root, WatchState.MISSING, problem))
            reason, told = "the folder is back", problem
            self._sleep([self._wake], RETRY)
        with self._wake_lock:
            os.close(self._wake)
            self._wake = -1
        if self._table >= 0:
            os.close(self._table)

    def _tell(self, reason: str) -> None:
        count, missed = len(self._folders), self._unwatched
        if missed:
            reason = (
                f"{missed} of {count + missed} folders cannot be watched and are only looked at every minute: "
                f"sudo sysctl fs.inotify.max_user_watches={self._limit + missed}"
            )
        state = WatchState.LIMITED if missed else WatchState.WATCHING
        self.queue_event(Doubt(self._root, state, reason, count, missed))

    def _attach(self) -> str | None:
        """A fresh inotify instance over the whole tree; the problem in words when that cannot be. Files are left to the rescan."""
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            return f"no inotify instance ({os.strerror(ctypes.get_errno())}): raise fs.inotify.max_user_instances"
        self._id, self._limit, self._mounts = self._identity(), _limit(), mounts.below(self._root)
        if self._id is not None and self._add(self._root, follow=True):
            self._enter(self._root, None)
            self._add(self._own)
            return None
        full = self._unwatched > 0
        self._detach()
        return (
            "no watch left for the folder: raise fs.inotify.max_user_watches" if full else "the folder is missing or closed to us"
        )

    def _detach(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._folders, self._unwatched = -1, {}, 0

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = Path(self._root).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _add(self, folder: str, follow: bool = False) -> bool:
        """Watch one folder; False when it had exactly this watch already or cannot be watched (gone, forbidden, limit)."""
        flags = _MASK | (0 if follow else DONT_FOLLOW)
        wd = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), flags)
        if wd < 0:
            self._unwatched += ctypes.get_errno() in (errno.ENOSPC, errno.ENOMEM)
            return False
        known = self._folders.get(wd)
        self._folders[wd] = folder
        return known != folder

    def _enter(self, folder: str, found: dict[str, bool] | None) -> None:
        """Watch and list the folders below `folder` (whose watch is there); `found` collects files, None: nobody asks for them."""
        stack = [folder]
        while stack:
            at = stack.pop()
            for name, is_dir in list_folder(at):
                path = f"{at}/{name}"
                if self._ignores.skip(self._rel(path), is_dir):
                    continue
                if not is_dir:
                    if found is not None:
                        found.setdefault(path, False)
                    continue
                before = self._unwatched
                if self._add(path) or self._unwatched > before:  # past the limit a folder is at least listed once
                    stack.append(path)

    def _rel(self, path: str) -> str:
        return path[len(self._root) + 1 :]

    def _follow(self) -> str:
        """Turn events into Dirt until the thread is stopped or the watch must be made anew; returns why."""
        last = -_GATHER
        while self.should_keep_running():
            ready = self._sleep([self._fd, self._wake], None)
            if reason := self._changed(ready):
                return reason
            if self._fd not in ready:
                continue
            found: dict[str, bool] = {}
            before = self._unwatched
            broken = self._digest(os.read(self._fd, _READ), found)
            if found:
                self.queue_event(Dirt(self._root, found))
            if broken:
                return broken
            if self._unwatched > before == 0:
                self._tell("")
            last, before_that = time.monotonic(), last
            if last - before_that < _GATHER:  # a lone file's close comes a moment after its creation, and is not kept waiting
                self.stopped_event.wait(_GATHER)
        return "stopped"

    def _changed(self, ready: list[int]) -> str | None:
        """Why the watches must be made anew, of what no event of theirs tells."""
        if (self._wake in ready or self._table in ready) and self._identity() != self._id:
            return "the folder was replaced"  # or mounted over, which no event of its own tells
        if self._wake in ready and self._unwatched and _limit() > self._limit:
            return "the watch limit was raised"
        if self._table in ready and mounts.below(self._root) != self._mounts:
            return "a volume was mounted or unmounted below it"
        return None

    def _sleep(self, fds: list[int], timeout: int | None) -> list[int]:
        """The readable ones of `fds`, the wake-up among them already taken back. timeout in milliseconds, None is for ever."""
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        if self._table >= 0:
            poll.register(self._table, select.POLLPRI)
        ready = [fd for fd, _ in poll.poll(timeout)]
        if self._wake in ready:
            os.eventfd_read(self._wake)
        return ready

    def _digest(self, data: bytes, found: dict[str, bool]) -> str | None:
        """Put the paths of raw events into `found`; a reason when the watches must be made anew."""
        for wd, mask, name in _events(data):
            if mask & Q_OVERFLOW:
                return "the kernel's event queue overflowed"
            folder = self._folders.get(wd)
            if folder is None:  # a watch given up a moment ago: whoever took the folder's place was listed
                continue
            if not name:
                if folder == self._root and mask & (DELETE_SELF | MOVE_SELF | UNMOUNT | IGNORED):
                    return "the folder was removed"
                if mask & IGNORED:
                    del self._folders[wd]
                continue
            path = f"{folder}/{name}"
            is_dir = bool(mask & ISDIR)
            if folder == self._own or path == self._own:
                self._own_event(path, name, mask)
                continue
            if path not in found and self._ignores.skip(self._rel(path), is_dir):
                continue
            if not is_dir:
                found[path] = found.get(path, False) or bool(mask & (CLOSE_WRITE | MOVED_TO))
            else:
                self._folder_event(path, mask, found)
        return None

    def _own_event(self, path: str, name: str, mask: int) -> None:
        """Of our own folder only its coming, and the cookie in it, are of interest."""
        if path == self._own:
            if mask & (CREATE | MOVED_TO):
                self._add(path)
        elif name == NAME and mask & CREATE:
            self.queue_event(Heard(self._root))

    def _folder_event(self, path: str, mask: int, found: dict[str, bool]) -> None:
        if mask & (CREATE | MOVED_TO):
            before = self._unwatched
            if self._add(path) or self._unwatched > before:
                self._enter(path, found)
        elif mask & (DELETE | MOVED_FROM):
            found[path] = False
            if mask & MOVED_FROM:  # the watches would follow the folder to a place that is not ours
                for wd, at in list(self._folders.items()):
                    if at == path or at.startswith(f"{path}/"):
                        self._libc.inotify_rm_watch(self._fd, wd)
                        del self._folders[wd]


def _limit() -> int:
    """inotify's watches per user; 0 when it cannot be told."""
    try:
        return int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    except (OSError, ValueError):
        return 0


def _events(data: bytes) -> Iterator[tuple[int, int, str]]:
    at = 0
    while at < len(data):
        wd, mask, _, length = _HEAD.unpack_from(data, at)
        at += 16 + length
        yield wd, mask, os.fsdecode(data[at - length : at].rstrip(b"\0"))
