"""One daemon a data folder: the lock that says so, and the note beside it that says where the daemon listens.

What must hold: the lock is the operating system's own (flock on a file), so that it is void the moment its process dies, however it
dies; its descriptor does not reach a child process; `daemon.json` alone proves nothing: a daemon runs when the lock is held.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from .. import __version__

LOCK, NOTE = "lock", "daemon.json"
PATIENCE = (
    0.5  # seconds: whoever only asks (`find`) holds the lock for less than a millisecond and must not be taken for a daemon
)


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that lives. `url` is empty while it starts, `pid` 0 when it left no note that can be read."""

    pid: int
    url: str


class AlreadyRunning(Exception):
    """Another daemon works on this data folder."""

    def __init__(self, pid: int, url: str) -> None:
        super().__init__(f"already running: pid {pid} at {url or 'no address yet'}")
        self.pid, self.url = pid, url


class Instance:
    """The right to be the daemon of `data_dir` (which is made, for the user alone). Raises AlreadyRunning, or OSError."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = _lock(data_dir)
        self._started = 0.0

    def __enter__(self) -> Self:
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=PATIENCE)
        except Timeout:
            pid, url = _read_note(self._data_dir)
            raise AlreadyRunning(pid, url) from None
        self._started = time.time()
        self.announce("")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        (self._data_dir / NOTE).unlink(missing_ok=True)
        self._lock.release()

    def announce(self, url: str) -> None:
        """Leave a note of the address that is listened at; whoever reads it sees the old one or the new one, whole."""
        note = {"pid": os.getpid(), "url": url, "version": __version__, "started": self._started}
        fresh = self._data_dir / f".{NOTE}.{os.getpid()}.tmp"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(note, file)
        fresh.replace(self._data_dir / NOTE)


def find(data_dir: Path) -> Running | None:
    """The daemon that works on `data_dir`, or None. A note that a dead one left behind is not a daemon."""
    if not (data_dir / LOCK).exists():
        return None
    lock = _lock(data_dir)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return Running(*_read_note(data_dir))
    except OSError:  # not ours to open: the daemon of somebody else, with whom we cannot talk either
        return None
    lock.release()
    return None


def _lock(data_dir: Path) -> FileLock:
    # A lock that is only a file's existence would outlive a kill -9: rather refuse to start where flock is missing.
    return FileLock(data_dir / LOCK, mode=0o600, fallback_to_soft=False, poll_interval=0.02)


def _read_note(data_dir: Path) -> tuple[int, str]:
    try:
        note = json.loads((data_dir / NOTE).read_bytes())
    except (OSError, ValueError):
        return 0, ""
    if not isinstance(note, dict):
        return 0, ""
    pid, url = note.get("pid"), note.get("url")
    return (pid if isinstance(pid, int) else 0), (url if isinstance(url, str) else "")
