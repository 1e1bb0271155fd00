"""The back end for network shares, which raise no file events: watchdog's poller, made to outlive its root.

watchdog's own emitter ends for good when the root is missing at a poll, reports every file below an ignored folder, follows symlinks,
and takes its first snapshot in the caller's thread. What must hold: a share that is away for a while is never read as a mass of
deletions; it is told as a Doubt when it goes and when it is back.
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

    def on_thread_start(self) -> None:
        """The first snapshot is taken in run(): a slow share must not hold up the start of the daemon."""

    def run(self) -> None:
        """Wait for the root, take the first snapshot, then poll. The start is told after the snapshot: what comes later is heard."""
        while self.should_keep_running():
            try:
                super().on_thread_start()
            except OSError:
                self.stopped_event.wait(self.timeout)
                continue
            self._become(WatchState.WATCHING, "started" if self._state is WatchState.STARTING else "the folder is back")
            super().run()

    def queue_events(self, timeout: float) -> None:
        """One poll, after `timeout` seconds."""
        super().queue_events(timeout)
        if not self._away:
            self._become(WatchState.WATCHING, "the folder is back")

    def _stat(self, path: str) -> os.stat_result:
        """lstat, so that symlinks are not followed; a missing root looks like a share that is away, for which the poller waits."""
        if path != self._root:
            return os.lstat(path)
        try:
            found = Path(path).stat()
        except OSError as error:
            self._away = True
            self._become(WatchState.MISSING, "the folder is missing or closed to us")
            raise OSError(errno.ENOTCONN, "the watched folder is away", path) from error
        self._away = False
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
