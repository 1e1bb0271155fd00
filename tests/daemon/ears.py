"""A Watcher whose tidings can be waited for: no sleeping, every wait ends with the event or fails the test."""

import threading
from collections.abc import Callable
from pathlib import Path

from dropdock.daemon.hints import WatchState
from dropdock.daemon.watcher import Watcher
from dropdock.rules.terms import Mode, Watch


class Ears:
    """Starts a Watcher over `watches`, drains it at every wake-up, and collects (relative path, closed) and doubts."""

    def __init__(self, *watches: Watch) -> None:
        self.heard: dict[str, bool] = {}
        self.doubts: list[tuple[str, str]] = []
        self.wakes = 0
        self._news = threading.Condition()
        self._roots = {w.name: w.path for w in watches}
        self.watcher = Watcher(watches, self._woken, self._doubted)

    def __enter__(self) -> "Ears":
        self.watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.watcher.stop()

    def _woken(self) -> None:
        with self._news:
            self.wakes += 1
            for event in self.watcher.drain():
                self.heard[event.path.relative_to(self._roots[event.watch]).as_posix()] = event.closed
            self._news.notify_all()

    def _doubted(self, watch: str, reason: str) -> None:
        with self._news:
            self.doubts.append((watch, reason))
            self._news.notify_all()

    def wait(self, done: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(done, timeout=20), (self.heard, self.doubts)

    def until(self, *rels: str) -> None:
        self.wait(lambda: set(rels) <= self.heard.keys())

    def until_state(self, name: str, state: WatchState, doubts: int = 1) -> None:
        self.wait(lambda: len(self.doubts) >= doubts and self.watcher.state(name).state is state)


def inbox(root: Path, **settings: object) -> Watch:
    root.mkdir(exist_ok=True)
    return Watch("in", root, Mode.INBOX, **settings)  # type: ignore[arg-type]
