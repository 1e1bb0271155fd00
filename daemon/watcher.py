"""Watcher: hears that something changed below the watched folders, and keeps the set of dirty paths until somebody drains it.

Runs watchdog's observers: on Linux with our own inotify emitter, elsewhere with watchdog's (FSEvents, ReadDirectoryChangesW), and a poller
for watches that ask for it. What must hold: events are hints; a burst is a dict of paths and one wake-up, never a flood; callbacks are
called in the observers' threads and cannot end them; whatever was not surely heard becomes a doubt, which asks for a rescan of that watch.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from ..rules.ignores import Ignores
from ..rules.terms import FileEvent, Watch
from .cookies import is_cookie
from .hints import Dirt, Doubt, Heard, WatchState, list_folder
from .inotify import InotifyEmitter
from .polling import PatientPoller

_HEARD: list[type[FileSystemEvent]] = [
    *(FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileClosedEvent, FileDeletedEvent),
    *(DirCreatedEvent, DirMovedEvent, DirDeletedEvent),
]
_LINUX = sys.platform.startswith("linux")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WatchHealth:
    """How one watch is doing. `folders` and `unwatched` are counted by inotify only, at the last attachment."""

    state: WatchState
    reason: str = ""
    folders: int = 0
    unwatched: int = 0


class Watcher:
    """All watches of the daemon. Every method may be called from any thread; start() and stop() once each.

    `on_wake()` is called at most once until the next drain(). `on_doubt(watch_name, reason)` is called whenever only a rescan can know,
    the start included: watches first, then the scan. Both run in an observer's thread: hand in `loop.call_soon_threadsafe` wrappers.
    """

    def __init__(self, watches: Iterable[Watch], on_wake: Callable[[], None], on_doubt: Callable[[str, str], None]) -> None:
        self._on_wake, self._on_doubt = on_wake, on_doubt
        self._cookies: dict[str, int] = {}  # watch -> cookies heard of
        self._lock = threading.Lock()
        self._dirty: dict[tuple[str, str], bool] = {}
        self._woken = False
        self._watches = {w.name: w for w in watches if w.enabled}
        self._health: dict[str, WatchHealth] = {}
        self._observers: dict[str, BaseObserver] = {}  # by watch: each has its own, so that removing one never waits for another
        self._running = False

    def start(self) -> None:
        """Begin to watch. Returns at once: each watch tells its readiness by a doubt ("started")."""
        self._running = True
        for watch in self._watches.values():
            self._open(watch)

    def stop(self) -> None:
        """End all threads; nothing is heard after it returns."""
        self._running = False
        for name in list(self._observers):
            self._close(name)

    def add(self, watch: Watch) -> None:
        """Watch one more folder, or take over changed settings of a watch of that name."""
        self.remove(watch.name)
        if watch.enabled:
            self._watches[watch.name] = watch
            if self._running:
                self._open(watch)

    def remove(self, name: str) -> None:
        """Stop watching a folder; what was heard of it and not drained is forgotten. Unknown names are fine."""
        self._close(name)
        self._watches.pop(name, None)
        with self._lock:
            self._health.pop(name, None)
            self._dirty = {at: closed for at, closed in self._dirty.items() if at[0] != name}

    def state(self, name: str) -> WatchHealth:
        """How a watch is doing; unknown, disabled and not yet started ones are stopped."""
        with self._lock:
            return self._health.get(name) or WatchHealth(WatchState.STOPPED)

    def silent(self) -> tuple[str, ...]:
        """The watches whose threads have ended though they should hear. One that starts, or waits for its root, is not silent."""
        if not self._running:
            return ()
        should = (WatchState.WATCHING, WatchState.LIMITED)
        return tuple(n for n, o in list(self._observers.items()) if self.state(n).state in should and not _alive(o))

    def cookies(self, name: str) -> int:
        """How many cookies a watch has heard of (cookies.py)."""
        with self._lock:
            return self._cookies.get(name, 0)

    def reopen(self, name: str) -> None:
        """Make the watch anew, for it is deaf; its start asks for a rescan."""
        watch = self._watches.get(name)
        if watch is not None:
            self.add(watch)

    def check(self, name: str) -> None:
        """Ask a watch to see whether its root is still the same folder, for what no event tells (a renamed parent, a mount over it).

        Meant for the periodic rescan. The answer, if it is no, comes as a doubt.
        """
        observer = self._observers.get(name)
        for emitter in observer.emitters.copy() if observer else ():
            if isinstance(emitter, InotifyEmitter):
                emitter.nudge()

    def drain(self) -> list[FileEvent]:
        """Take all dirty paths, in the order of first hearing."""
        with self._lock:
            taken, self._dirty, self._woken = self._dirty, {}, False
        return [FileEvent(name, Path(path), closed) for (name, path), closed in taken.items()]

    # ------------------------------------------------------------ for the back ends

    def hear(self, name: str, paths: Iterable[tuple[str, bool]]) -> None:
        """Note dirty paths (path, closed) of one watch, and wake the drainer if it was not woken yet."""
        with self._lock:
            for path, closed in paths:
                self._dirty[name, path] = closed
            wake = bool(self._dirty) and not self._woken
            self._woken = self._woken or wake
        if wake:
            self._call(self._on_wake)

    def live(self, name: str) -> None:
        """Note that a watch heard of its cookie."""
        with self._lock:
            self._cookies[name] = self._cookies.get(name, 0) + 1

    def doubt(self, name: str, health: WatchHealth) -> None:
        """Note a watch's new state and ask for a rescan of it."""
        with self._lock:
            if name not in self._watches:
                return
            self._health[name] = health
        _log.info("watch", watch=name, state=str(health.state), reason=health.reason)
        self._call(lambda: self._on_doubt(name, health.reason))

    def _call(self, callback: Callable[[], None]) -> None:
        """An exception here would end the observer's thread for good. A loop that was closed meanwhile is the one that can come."""
        try:
            callback()
        except RuntimeError as error:
            _log.warning("nobody hears the watcher", error=str(error))

    def _open(self, watch: Watch) -> None:
        root = str(watch.path.absolute())
        ignores = Ignores(watch.ignore, watch.max_depth)
        observer = _observer(watch, root, ignores)
        with self._lock:
            self._health[watch.name] = WatchHealth(WatchState.STARTING)
        self._observers[watch.name] = observer
        ours = watch.poll is not None or _LINUX
        ear = _Ear(self, watch.name, root, ignores)
        try:
            observer.schedule(ear, root, recursive=True, event_filter=None if ours else _HEARD)
            observer.start()
        except OSError as error:  # watchdog's own back ends refuse a missing root; the rescan's check() comes again
            self.doubt(watch.name, WatchHealth(WatchState.MISSING, str(error)))
            return
        if not ours:
            self.doubt(watch.name, WatchHealth(WatchState.WATCHING, "started"))

    def _close(self, name: str) -> None:
        observer = self._observers.pop(name, None)
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join()
        with self._lock:
            if name in self._health:
                self._health[name] = WatchHealth(WatchState.STOPPED)


def _alive(observer: BaseObserver) -> bool:
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters.copy())


def _observer(watch: Watch, root: str, ignores: Ignores) -> BaseObserver:
    if watch.poll is not None:
        return BaseObserver(PatientPoller, timeout=watch.poll, ignores={root: ignores})
    if _LINUX:
        return BaseObserver(InotifyEmitter, ignores={root: ignores})
    return Observer()


class _Ear(FileSystemEventHandler):
    """Turns what a back end says of one watch into dirty paths and doubts."""

    def __init__(self, watcher: Watcher, name: str, root: str, ignores: Ignores) -> None:
        self._watcher, self._name, self._root, self._ignores = watcher, name, root, ignores

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog for each event, in the observer's thread."""
        if isinstance(event, Dirt):
            self._watcher.hear(self._name, event.paths.items())
        elif isinstance(event, Doubt):
            self._watcher.doubt(self._name, WatchHealth(event.state, event.reason, event.folders, event.unwatched))
        elif isinstance(event, Heard) or is_cookie(os.fsdecode(event.src_path)):
            self._watcher.live(self._name)
        elif isinstance(event, DirDeletedEvent) and os.fsdecode(event.src_path) == self._root:
            self._watcher.doubt(self._name, WatchHealth(WatchState.MISSING, "the folder was removed"))
        else:
            self._watcher.hear(self._name, list(self._translate(event)))

    def _translate(self, event: FileSystemEvent) -> Iterable[tuple[str, bool]]:
        """watchdog's own events. Only a deleted folder is dirty itself; of a new or moved one, all files in it are."""
        source, target = os.fsdecode(event.src_path), os.fsdecode(event.dest_path or b"")
        if not event.is_directory:
            yield from self._kept(source, False, isinstance(event, FileClosedEvent))
            yield from self._kept(target, False, True)
        elif isinstance(event, DirCreatedEvent):
            yield from self._below(source)
        elif isinstance(event, (DirMovedEvent, DirDeletedEvent)):
            yield from self._kept(source, True, False)
            yield from self._below(target)

    def _kept(self, path: str, is_dir: bool, closed: bool) -> Iterable[tuple[str, bool]]:
        inside = path.startswith(self._root + os.sep)
        if inside and not self._ignores.skip(path[len(self._root) + 1 :].replace(os.sep, "/"), is_dir):
            yield path, closed

    def _below(self, folder: str) -> Iterable[tuple[str, bool]]:
        stack = [at for at, _ in self._kept(folder, True, False)]
        while stack:
            at = stack.pop()
            for name, is_dir in list_folder(at):
                for path, closed in self._kept(f"{at}{os.sep}{name}", is_dir, False):
                    if is_dir:
                        stack.append(path)
                    else:
                        yield path, closed
