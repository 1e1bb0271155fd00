"""The feed: every line of history on its way to whoever listens, as soon as it is durable.

What must hold: an event is read back from the store after its commit, so nobody hears of what did not happen; ids are history ids and
come in order without gaps; passing events (progress) have no id; a listener that falls LAG events behind is let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from ..api.ports import Event
from ..api.views import happening
from ..store import history
from ..store.store import Store

LAG = 1000
BATCH = 500


class Feed:
    """Implements api.ports.Feed. Call `poke` after each commit; run `pump` as a task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._poked = asyncio.Event()
        self._last = 0

    def poke(self) -> None:
        """Something was committed."""
        self._poked.set()

    def pass_on(self, type: str, data: Mapping[str, object]) -> None:
        """Tell listeners something that is not history: progress."""
        if self._listeners:
            self._tell(Event(None, type, data))

    async def start(self) -> None:
        """From now on: what was before is history."""
        self._last = await self._store.read(history.last_id)

    async def pump(self) -> None:
        """Read what was committed and tell it, for ever."""
        while True:
            await self._poked.wait()
            self._poked.clear()
            while rows := await self._store.read(history.since, self._last, BATCH):
                self._last = rows[-1].id
                for row in rows:
                    self._tell(happening(row))

    def _tell(self, event: Event) -> None:
        for queue in list(self._listeners):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:  # too slow: end it, it can resume from its last id
                self._listeners.discard(queue)
                while not queue.empty():  # what it has not read it will ask for: an event behind a gap would hide the gap
                    queue.get_nowait()
                queue.put_nowait(None)

    @asynccontextmanager
    async def subscribe(self, after: int | None) -> AsyncIterator[AsyncIterator[Event]]:
        """Everything behind history line `after` (None: from now on), then what happens."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(LAG)
        self._listeners.add(queue)
        try:
            yield self._events(queue, after)
        finally:
            self._listeners.discard(queue)

    async def _events(self, queue: asyncio.Queue[Event | None], after: int | None) -> AsyncIterator[Event]:
        last = after
        while last is not None and (rows := await self._store.read(history.since, last, BATCH)):
            for row in rows:
                yield happening(row)
            last = rows[-1].id
        while (event := await queue.get()) is not None:
            if event.id is None or last is None or event.id > last:
                yield event
