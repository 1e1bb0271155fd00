"""The daemon's own parts on one loop, from the watcher to the recorded row: what decided and arrivals are measured with.

No lane works here: a job that was queued stays queued, so that what is measured ends with "recorded".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import structlog
from dropdock.daemon.config import read
from dropdock.daemon.conveyor import Conveyor
from dropdock.daemon.house import House
from dropdock.daemon.intake import Intake
from dropdock.daemon.interpreter import tune
from dropdock.store import history
from dropdock.store.database import Database
from dropdock.store.store import Store

SETTLE = 2.0  # seconds: the default
CONFIG = """
data_dir: {home}/data
hub: {home}/hub
datasets: {home}/datasets
free_space: 1 MB
watch:
  - {{name: inbox, path: {home}/inbox, mode: inbox, settle: 2 s}}
"""


class Parts:
    """A house whose inbox is watched. `recorded` is told every name that lies in the store, and when it was durable there."""

    def __init__(self, home: Path, database: Database) -> None:
        self.inbox = home / "inbox"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.house = House(read(CONFIG.format(home=home), home / "config.yaml", {"HOME": str(home)}), Store(database))
        self.conveyor = Conveyor(self.house)
        self.intake = Intake(self.house, self.conveyor)
        take = self.house.store.take

        async def taken(units):  # type: ignore[no-untyped-def]
            found = await take(units)
            self.told(time.perf_counter(), [unit.lead.name for unit in units])
            return found

        self.house.store.take = taken  # type: ignore[method-assign]  # the clock is read at the very moment the commit is known
        self.told: Callable[[float, list[str]], None] = lambda at, names: None


@contextlib.asynccontextmanager
async def parts(home: Path) -> AsyncIterator[Parts]:
    """The parts at work; on return the inbox is watched and was compared once."""
    tune()  # as the daemon does
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    async with Database(home / "data" / "dropdock.db") as database:
        made = Parts(home, database)
        store = made.house.store
        for watch in made.house.config.watches:
            await store.write(history.put_watch, watch.name, watch.path, str(watch.mode))
        tasks = [asyncio.create_task(work) for work in (made.conveyor.run(), made.intake.run(), made.intake.compare())]
        await made.intake.start()
        while await store.read(history.watch_root, "inbox") is None:  # the first comparison
            await asyncio.sleep(0.01)
        try:
            yield made
        finally:
            await made.intake.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
