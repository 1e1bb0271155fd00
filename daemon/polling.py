"""The back end for network shares, which raise no file events: watchdog's poller, made to outlive its root.

watchdog's own emitter ends for good when the root is missing at a poll, reports every file below an ignored folder, follows symlinks,
and takes its first snapshot in the caller's thread. What must hold: a share that is away for a while, be it that an empty folder stands
where it was mounted, is never read as a mass of deletions; it is told as a Doubt when it goes and when it is back.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from watchdog.events import FileSystemEvent
from watchdog.observers.api import EventQueue, ObservedWatch
from watchdog.observers.polling import PollingEmitter

from ..rules.ignores import Ignores
from .hints import Doubt, WatchState

NO_ROOT = (-1, -1)  # (st_dev, st_ino) that no folder has


class PatientPoller(PollingEmitter):
    """One thread for one root; `timeout` is the seconds between polls, `ignores` maps each root to what is skipped below it."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        timeout: float = 1.0,
        event_filter: list[type[FileSystemEvent]] | None = None,
        ignores: Mapping[str, Ignores],
    ) -> None:
        super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter, stat=self._stat, listdir=self._list)
        self._root, self._ignores = watch.raw_path, ignores[watch.raw_path]
        self._state, self._away = WatchState.STARTING, False
        self._which: tuple[int, int] | None = None  # (st_dev, st_ino) of the root that the last snapshot is of
        self._another = False  # another root stands there than that

    def on_thread_start(self) -> None:
        """The first snapshot is taken in run(): a slow share must not hold up the start of the daemon."""

    def run(self) -> None:
        """Wait for the root, take the first snapshot, then poll. The start is told after the snapshot: what comes later is heard."""
        while self.should_keep_running():
            try:
                super().on_thread_start()
            except OSError:
                self._which = None
                self.stopped_event.wait(self.timeout)
                continue
            self._become(WatchState.WATCHING, "started" if self._state is WatchState.STARTING else "the folder is back")
            super().run()

    def queue_events(self, timeout: float) -> None:
        """One poll, after `timeout` seconds."""
        super().queue_events(timeout)
        if self._another:
            self._begin_anew()
        elif not self._away:
            self._become(WatchState.WATCHING, "the folder is back")

    def _begin_anew(self) -> None:
        """Two folders of one name are not compared (unmounted, mounted, replaced): what the new one lacks was not deleted from the old."""
        self._which = None
        try:
            super().on_thread_start()
        except OSError:
            self._which = NO_ROOT  # it is away by now: whatever stands there at the next poll is another one too
            return
        back = self._state is WatchState.MISSING
        self._state = WatchState.STARTING  # so that it is told in any case
        self._become(WatchState.WATCHING, "the folder is back" if back else "another folder stands there than before")

    def _stat(self, path: str) -> os.stat_result:
        """lstat, so that symlinks are not followed; a missing root looks like a share that is away, for which the poller waits, and so
        does another root than before."""
        if path != self._root:
            return os.lstat(path)
        try:
            found = Path(path).stat()
        except OSError as error:
            self._away = True
            self._become(WatchState.MISSING, "the folder is missing or closed to us")
            raise OSError(errno.ENOTCONN, "the watched folder is away", path) from error
        self._away, which = False, (found.st_dev, found.st_ino)
        self._another = self._which not in (None, which)
        if self._another:
            raise OSError(errno.ESTALE, "another folder stands there than before", path)
        self._which = which
        return found

    def _become(self, state: WatchState, reason: str) -> None:
        if state is not self._state:
            self._state = state
            self._event_queue.put((Doubt(self._root, state, reason), self.watch))

    def _list(self, folder: str | None) -> Iterator[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            kept = [e for e in entries if not self._ignores.skip(self._rel(e.path), e.is_dir(follow_symlinks=False))]
        return iter(kept)

    def _rel(self, path: str) -> str:
        return path[len(self._root) + 1 :]
