"""Undertakings: undos as work of the daemon, so that a large one goes on whether or not whoever asked for it still waits.

Implements api.undo.Undo over the Undoer. What must hold: one line is taken back once at a time, however often that is asked; who asks is
answered within PATIENCE seconds; what became of an undo can be asked for afterwards, of a done one after a restart too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

import structlog

from ..api.undo import Answer, Going
from ..store import deeds
from ..store.store import Store

PATIENCE = 2.0  # seconds that one question waits for the end
KEPT = 200  # answers that are remembered
STOPS = 4.0  # seconds that undos may still take when we stop; the journal finishes what is cut off
_log = structlog.get_logger()


class Worker(Protocol):
    """Who takes things back (the Undoer)."""

    async def undo(self, line: int) -> Answer | None:
        """Take back one line of history; None when there is none of that id."""
        ...

    async def restore(self, aside_id: int, release: bool) -> Answer | None:
        """Put something kept aside back; None when there is none of that id."""
        ...

    def progress(self, line: int) -> tuple[int, int]:
        """(moves made, moves in all) of an undo that goes on."""
        ...


class Undertakings:
    """Undos that go on, and the answers of those that ended. `patience` is seconds."""

    def __init__(self, store: Store, worker: Worker, patience: float = PATIENCE) -> None:
        self._store, self._worker, self._patience = store, worker, patience
        self._open: dict[int, asyncio.Task[Answer | None]] = {}
        self._answers: OrderedDict[int, Answer] = OrderedDict()

    async def undo(self, line: int) -> Answer | Going | None:
        """Take back one line of history; Going when that takes longer. None: there is no such line."""
        if line not in self._open:
            task = self._open[line] = asyncio.create_task(self._worker.undo(line), name=f"undo {line}")
            task.add_done_callback(lambda done: self._ended(line, done))
        return await self._wait(line, self._open[line])

    async def undoing(self, line: int) -> Answer | Going | None:
        """How an undo goes or went. None: nobody asked for it, or that was forgotten."""
        if line in self._open:
            return await self._wait(line, self._open[line])
        row = await self._store.read(deeds.get, line)
        if row is not None and row.undone is not None and line not in self._answers:
            by = await self._store.read(deeds.get, row.undone)
            return Answer(True, by.note if by is not None else f"undone by line {row.undone}")
        return self._answers.get(line)

    async def restore(self, aside_id: int, release: bool) -> Answer | None:
        """Put something kept aside back: a move or a few, so that is waited for."""
        return await self._worker.restore(aside_id, release)

    async def stop(self) -> None:
        """Let what goes on end, for a moment; what is cut off is finished by the next start."""
        if self._open:
            await asyncio.wait(self._open.values(), timeout=STOPS)
        for task in list(self._open.values()):
            task.cancel()

    async def _wait(self, line: int, task: asyncio.Task[Answer | None]) -> Answer | Going | None:
        await asyncio.wait({task}, timeout=self._patience)
        return task.result() if task.done() else Going(*self._worker.progress(line))

    def _ended(self, line: int, task: asyncio.Task[Answer | None]) -> None:
        del self._open[line]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:  # whoever waits gets it too; nobody may be waiting
            _log.error("an undo surprised us", line=line, exc_info=error)
            return
        if (answer := task.result()) is not None:
            self._answers[line] = answer
            self._answers.move_to_end(line)
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)
