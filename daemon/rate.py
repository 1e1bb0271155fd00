"""Rate: how many a second, over the last while."""

from __future__ import annotations

from collections import deque

WINDOW = 30.0  # seconds


class Rate:
    """Counts what is done at monotonic times (seconds) and says how fast it goes. Nothing older than WINDOW counts."""

    def __init__(self) -> None:
        self._done: deque[tuple[float, int]] = deque()
        self._sum = 0
        self.last = 0.0  # the last speed that was more than 0, however long ago

    def count(self, many: int, now: float) -> None:
        """So many were done just now."""
        self._done.append((now, many))
        self._sum += many
        self.last = self.per_second(now) or self.last

    def per_second(self, now: float) -> float:
        """How many a second were done in the last WINDOW, or since the first one in it; 0 when nothing was."""
        self._forget(now)
        if not self._done:
            return 0.0
        first, most = self._done[0]
        span = now - first
        if span < 0.001 or len(self._done) == 1:  # one look says nothing of speed
            return 0.0
        return (self._sum - most) / span

    def _forget(self, now: float) -> None:
        while self._done and self._done[0][0] < now - WINDOW:
            self._sum -= self._done.popleft()[1]
