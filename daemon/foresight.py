"""Foresight: what was found out of a unit while it still settled, kept until it has.

What must hold: it is used for the very unit that it was found out of, once: the same members, each with the stamp and the change time
that it had before its header was read, the same memory of it, the same rules. Whatever differs is found out anew. The number of units
kept is bounded, and one that never settles is forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..rules.pipeline import Pipeline
from ..rules.terms import Known, Stamp, Watch
from ..store.files import Unit

KEPT = 16_384  # units: a burst beyond it settles as it would without foresight
PATIENCE = 120.0  # seconds: what has not settled by then is looked at anew when it does


@dataclass(frozen=True, slots=True)
class Ground:
    """All that a decision rests on: when it is the same, so is the decision. `changed` are the ctimes (ns) in the order of `stamps`."""

    watch: Watch
    pipeline: Pipeline | None
    stamps: Mapping[Path, Stamp]
    changed: tuple[int, ...]
    known: Known

    def same(self, other: Ground) -> bool:
        """Whether nothing differs. Rules are compared by identity: those of a configuration that was read anew are others."""
        return (
            self.watch is other.watch
            and self.pipeline is other.pipeline
            and self.changed == other.changed
            and self.stamps == other.stamps
            and self.known == other.known
        )


class Foresight:
    """Units by their lead. Belongs to the event loop. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[Path, tuple[float, Ground, Unit]] = {}
        self._swept = clock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def room(self) -> int:
        """How many more units can be kept."""
        return KEPT - len(self._kept)

    def keep(self, ground: Ground, unit: Unit) -> None:
        """Keep a unit as it was decided on this ground, in place of what was kept of it. Without room nothing happens."""
        now = self._clock()
        self._kept.pop(unit.lead, None)
        if now >= self._swept + PATIENCE:
            self._kept = {lead: kept for lead, kept in self._kept.items() if kept[0] > now - PATIENCE}
            self._swept = now
        if self.room > 0:
            self._kept[unit.lead] = (now, ground, unit)

    def take(self, lead: Path, ground: Ground) -> Unit | None:
        """The unit as it was decided, if the ground is still the same; it is forgotten in any case."""
        found = self._kept.pop(lead, None)
        return found[2] if found is not None and found[1].same(ground) else None
