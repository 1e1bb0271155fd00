"""Start: from exec of `dropdock run` to the first 200 of /api/v1/health, with 100,000 known files below a library watch. Goal: under 1.5 s.

The same is taken of the least that could do: an empty aiohttp application with a plain watchdog observer on the same folder.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median

from _bench import Figure, check, report, scratch
from _library import FILES, FOLDERS, Home, bare, bare_healthy, compared, daemon, environment, healthy

GOAL = 1.5
ROUNDS = 5


def run(code: str) -> float:
    """Seconds that a fresh interpreter takes for a line of code, without tidying up afterwards."""
    start = time.perf_counter()
    check(subprocess.call([sys.executable, "-c", f"{code}\nimport os; os._exit(0)"], env=environment()) == 0, code)
    return time.perf_counter() - start


def bare_start(home: Home) -> float:
    process = bare(home)
    try:
        return process.wait_for(bare_healthy(process))
    finally:
        process.stop()


def start(home: Home) -> tuple[float, float]:
    """Seconds from exec to the first 200, and to the end of the first comparison with the disk."""
    process = daemon(home)
    try:
        return process.wait_for(healthy(home)), process.wait_for(compared(home))
    finally:
        process.stop()


def main() -> None:
    with scratch() as place:
        full, empty = Home(place / "full"), Home(place / "empty", folders=0)
        full.learn()
        start(full)  # the first one warms the page cache and writes byte code
        bare_start(full)
        start(empty)
        ways: Mapping[str, Callable[[], float]] = {
            "the interpreter alone": lambda: run(""),
            "bare aiohttp + watchdog": lambda: bare_start(full),
            "imports of `dropdock run`": lambda: run("import dropdock.daemon.cli, dropdock.daemon.app"),
            "ready, no files": lambda: start(empty)[0],
        }
        rounds = [([way() for way in ways.values()], start(full)) for _ in range(ROUNDS)]
    parts = [median(column) for column in zip(*(found for found, _ in rounds), strict=True)]
    ready, seen = (median(column) for column in zip(*(found for _, found in rounds), strict=True))
    number = f"{FOLDERS * FILES:,}"
    rows = [[name, seconds, seconds / parts[1]] for name, seconds in zip(ways, parts, strict=True)]
    rows += [[f"ready, {number} known files", ready, ready / parts[1]], ["  and all of them compared", seen, seen / parts[1]]]
    notes = (
        f"Each row is measured from exec and holds the ones above it but the bare one. Median of {ROUNDS} rounds in turns, page cache and "
        "byte code warm. What the store's size costs is SQLite's quick_check at the start; the comparison runs beside the answering."
    )
    goal = Figure(f"start to ready with {number} known files", f"< {GOAL} s", f"{ready:.2f} s", ready < GOAL)
    report("Start", ["what", "s", "ratio to bare"], rows, notes, [goal])


if __name__ == "__main__":
    main()
