"""Decoding, inference and answering at once: threads that decode into a ring of batches, one thread that runs the models on them.

What must hold: memory is bounded by the ring; the models never wait while a decoded picture is there, and a picture that comes alone is
run at once; a batch that fails is halved until the one that is to blame fails alone, and out of memory makes all further batches
smaller. No order is kept.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...rules.captions import Quality
from .news import tell
from .pixels import Shape
from .protocol import Answer, Picture

if TYPE_CHECKING:
    from .pixels import Floats

BATCHES = 3  # in the ring: one is run, one is full, one is being filled
_MEMORY = ("out of memory", "out_of_memory", "failed to alloc", "bad_alloc", "bad alloc", "alloc_failed", "not enough memory")
_LOST = ("cuda failure", "cuda error", "device-side", "unspecified launch")


class Lost(RuntimeError):
    """The card or its driver gave up: nothing will run any more in this process."""


@dataclass(frozen=True, slots=True)
class Item:
    """A decoded picture that waits for its scores."""

    picture: Picture
    quality: Quality | None


@dataclass(frozen=True, slots=True)
class Scored:
    """An item with one array of probabilities for each model, or why there is none."""

    item: Item
    scores: tuple[Floats, ...] = ()
    error: str = ""


Said = Scored | tuple[int, Answer] | BaseException  # what comes out of the threads; an exception ends the work


@dataclass(slots=True, eq=False)
class Batch:
    """Rows of pixels for every shape that a model wants. Claimed in order, filled in any; run when all that is claimed is filled."""

    rows: Mapping[Shape, Floats]
    items: list[Item | None]
    claimed: int = 0
    filled: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One place in a batch."""

    batch: Batch
    at: int


class Ring:
    """A few batches that go round between those who decode and the one who runs."""

    def __init__(self, shapes: Sequence[Shape], size: int) -> None:
        import numpy as np

        def made() -> Batch:
            rows = {shape: np.zeros((size, *shape.dimensions()), np.float32) for shape in dict.fromkeys(shapes)}
            return Batch(rows, [None] * size)

        self._size, self._current = size, made()
        self._free = [made() for _ in range(BATCHES - 1)]
        self._changed, self._stopped = threading.Condition(), False

    def claim(self) -> Row | None:
        """A row to fill; waits until there is one. None once the ring has stopped."""
        with self._changed:
            while self._current.claimed == self._size and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return None
            self._current.claimed += 1
            return Row(self._current, self._current.claimed - 1)

    def filled(self, row: Row, item: Item) -> None:
        """The row holds this item's pixels."""
        with self._changed:
            row.batch.items[row.at] = item
            row.batch.filled += 1
            self._changed.notify_all()

    def next(self) -> Batch | None:
        """What is there to run, at least one row; waits for it. None once the ring has stopped."""
        with self._changed:
            while not self._stopped and (
                self._current.filled == 0 or self._current.filled < self._current.claimed or not self._free
            ):
                self._changed.wait()
            if self._stopped:
                return None
            batch, self._current = self._current, self._free.pop()
            self._changed.notify_all()
            return batch

    def back(self, batch: Batch) -> None:
        """A batch that was run."""
        with self._changed:
            batch.items = [None] * self._size
            batch.claimed = batch.filled = 0
            self._free.append(batch)
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


@dataclass(slots=True)
class Runner:
    """Runs batches through every model. `scores` raises one of `errors`; `most` rows are run at once, fewer after out of memory."""

    models: Sequence[tuple[Shape, Callable[[Floats], Floats]]]
    errors: tuple[type[BaseException], ...]
    most: int
    out: queue.SimpleQueue[Said]
    rounded: bool = False  # to powers of two: a card plans anew for every size it has not seen

    def serve(self, ring: Ring) -> None:
        """Until the ring stops. Raises Lost where nothing will run any more."""
        while (batch := ring.next()) is not None:
            items = [item for item in batch.items[: batch.filled] if item is not None]
            first = 0
            while first < len(items):
                count = min(self.most, len(items) - first)
                self._run(batch.rows, items, first, count)
                first += count
            ring.back(batch)

    def _run(self, rows: Mapping[Shape, Floats], items: Sequence[Item], first: int, count: int) -> None:
        size = min(1 << (count - 1).bit_length(), len(next(iter(rows.values()))) - first) if self.rounded else count
        try:
            found = [run(rows[shape][first : first + size]) for shape, run in self.models]
        except self.errors as error:
            self._failed(rows, items, first, count, error)
            return
        for n in range(count):
            self.out.put(Scored(items[first + n], tuple(scores[n] for scores in found)))

    def _failed(self, rows: Mapping[Shape, Floats], items: Sequence[Item], first: int, count: int, error: BaseException) -> None:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
        full = isinstance(error, MemoryError) or any(word in said.casefold() for word in _MEMORY)
        if not full and any(word in said.casefold() for word in _LOST):
            raise Lost(f"the card does not go on: {said}") from error
        if count == 1:
            reason = "there is not enough memory to run the model on one picture" if full else "the model fails on it"
            self.out.put(Scored(items[first], error=f"{reason}: {said}"))
            return
        if full and self.most > max(1, count // 2):
            self.most = max(1, count // 2)
            tell(f"out of memory: {self.most} pictures at once from now on")
        half = count // 2
        self._run(rows, items, first, half)
        self._run(rows, items, first + half, count - half)
