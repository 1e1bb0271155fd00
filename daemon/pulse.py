"""Pulse: is everything alive that must be? Asked by the service manager's watchdog and by the liveness route.

What must hold: an answer comes within `patience` seconds, whatever hangs; only what cannot mend itself is named: a missing folder, a full
disk or a job that takes long are no reason to be restarted.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable

from ..store.store import Store

PATIENCE = 10.0  # seconds that the database's writer may take to answer


class Pulse:
    """`tasks` are those that must run as long as we do; `silent` names the watches whose threads have ended."""

    def __init__(
        self,
        store: Store,
        tasks: Callable[[], Iterable[asyncio.Task[None]]],
        silent: Callable[[], Iterable[str]],
        patience: float = PATIENCE,
    ) -> None:
        self._store, self._tasks, self._silent, self._patience = store, tasks, silent, patience

    async def failing(self) -> tuple[str, ...]:
        """What does not live any more; empty when all is well. That it answers at all proves the loop."""
        found = [f"task {task.get_name()}" for task in self._tasks() if task.done()]
        found += [f"watcher of {name}" for name in self._silent()]
        try:
            async with asyncio.timeout(self._patience):
                await self._store.db.write(_nothing)
        except (TimeoutError, RuntimeError, sqlite3.Error) as error:
            found.append(f"database writer ({type(error).__name__})")
        return tuple(found)


def _nothing(c: sqlite3.Connection) -> None:
    """A transaction that changes nothing still takes the writer's thread and its lock."""
