"""Meters: what the process counts and measures as it goes, in memory alone. The face shows them as Prometheus text.

What must hold: a label is one of few words (a lane, a watch), never a path or a name that a stranger chose; counting never fails and
never waits; counters begin at 0 with the process, as Prometheus expects. Safe from any thread.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..api.ports import Family, Sample

BUCKETS = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0)  # seconds: from a small hash to a long caption batch
HELP = {
    "job_seconds": "How long attempts at jobs took, by lane; of a batch of captions, each picture's share.",
    "compare_seconds": "How long full comparisons of a watch with the store took.",
    "doubts_total": "How often a watch could not know by events alone: its start, overflows, lost folders, periodic passes.",
    "reloads_total": "How often the configuration was read anew, by what came of it.",
}
Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Spread:
    """A histogram: how many values fell into each bucket, and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    sum: float = 0.0


class Meters:
    """Counters and histograms by name; the names are those of HELP."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, int]] = {}
        self._spreads: dict[str, dict[Labels, _Spread]] = {}

    def count(self, name: str, **labels: str) -> None:
        """Once more."""
        with self._lock:
            row = self._counts.setdefault(name, {})
            key = tuple(sorted(labels.items()))
            row[key] = row.get(key, 0) + 1

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """One measured duration."""
        with self._lock:
            spread = self._spreads.setdefault(name, {}).setdefault(tuple(sorted(labels.items())), _Spread())
            spread.counts[bisect.bisect_left(BUCKETS, seconds)] += 1
            spread.sum += seconds

    def families(self) -> tuple[Family, ...]:
        """Everything so far."""
        with self._lock:
            counted = [
                Family(name, "counter", HELP[name], tuple(Sample(float(n), dict(labels)) for labels, n in rows.items()))
                for name, rows in self._counts.items()
            ]
            spread = [
                Family(name, "histogram", HELP[name], tuple(s for labels, one in rows.items() for s in _samples(labels, one)))
                for name, rows in self._spreads.items()
            ]
        return (*counted, *spread)


def _samples(labels: Labels, spread: _Spread) -> Iterator[Sample]:
    """The cumulative buckets, the sum and the count, as the exposition format wants them."""
    total = 0
    for bound, n in zip((*(f"{b:g}" for b in BUCKETS), "+Inf"), spread.counts, strict=True):
        total += n
        yield Sample(float(total), {**dict(labels), "le": bound}, "_bucket")
    yield Sample(spread.sum, dict(labels), "_sum")
    yield Sample(float(total), dict(labels), "_count")
