"""What every benchmark shares: taking times, the machine's line, and a Markdown table that goes into RESULTS.md.

A benchmark compares two ways in one run and prints a ratio, because times alone say more of the machine than of the code.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

FIGURES = "DROPDOCK_BENCH_FIGURES"  # names the file that `_results.py` gathers the figures of all benchmarks from


@dataclass(frozen=True)
class Time:
    """Seconds on the clock, and of the CPU in this process."""

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Time:
    """How long one call of `work` takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Time(time.perf_counter() - wall, time.process_time() - cpu)


def alternate(works: Sequence[Callable[[], object]], rounds: int = 7) -> list[Time]:
    """The median round of each, taken in turns so that a busy minute meets all of them."""
    times = [[timed(work) for work in works] for _ in range(rounds)]
    return [median(column) for column in zip(*times, strict=True)]


def median(times: Sequence[Time]) -> Time:
    """The round in the middle, by the clock."""
    return sorted(times, key=lambda t: t.wall)[len(times) // 2]


@contextmanager
def scratch(fast: bool = False) -> Iterator[Path]:
    """An empty folder, removed afterwards; `fast`: in memory where the system has such a place, so that the disk is not measured."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="dropdock-bench-", dir=shm if fast and os.access(shm, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def machine() -> str:
    """One line: processor, cores, memory, system, Python."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu
        )
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB" if "SC_PHYS_PAGES" in names else ""
    kernel = platform.release().split("-")[0]
    return f"{cpu}, {os.cpu_count()} cores{memory}, {platform.system()} {kernel}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Figure:
    """One line of the summary: what was promised and what came out. `met` None: there is no goal, it is told all the same."""

    name: str
    goal: str
    measured: str
    met: bool | None
    why: str = ""  # where it is missed


def report(title: str, head: Sequence[str], rows: Sequence[Sequence[object]], notes: str, figures: Sequence[Figure] = ()) -> None:
    """Print one section of RESULTS.md: heading, table, notes, figures, machine. Floats are shown with three digits that count."""
    cells = [list(head), *[[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    goals = [f"- {f.name}: {f.measured}{f' (goal {f.goal}: {said(f.met)})' if f.goal else ''}" for f in figures]
    text = [f"\n## {title}\n", *lines, "", notes, *(["", *goals] if goals else []), f"\n_{machine()}_"]
    print("\n".join(text), flush=True)
    if FIGURES in os.environ:
        with open(os.environ[FIGURES], "a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(figure)) + "\n" for figure in figures)


def said(met: bool | None) -> str:
    """A verdict in a word."""
    return {True: "met", False: "missed", None: "-"}[met]


def check(ok: bool, text: str) -> None:
    """Say on stderr that a promise (no goal of speed: a promise) does not hold, and make the benchmark fail."""
    if not ok:
        print(f"FAILED: {text}", file=sys.stderr, flush=True)
        raise SystemExit(1)
