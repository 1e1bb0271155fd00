"""Arrivals: 10,000 small files dropped at once are all recorded within 2 s after the settle time past the last write.

Another process writes them as fast as it can; recorded means identified, decided and committed with its job. Beside it, in turns, the
least that could keep them: a plain loop that stats each file and puts (name, size, mtime) into SQLite, in transactions of 256.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from pathlib import Path
from statistics import median

from _bench import Figure, check, report, scratch
from _parts import SETTLE, Parts, parts
from decided import picture

ROUNDS, FILES = 3, 10_000
BATCH = 256
GOAL = 2.0


def write(folder: Path, notes: Path) -> int:
    """Have another process write the files, and note when it closed the last; returns its pid."""
    data = picture()
    folder.mkdir(parents=True)
    child = os.fork()
    if child == 0:
        for n in range(FILES):
            (folder / f"{n:05}.png").write_bytes(data)
        notes.write_text(str(time.perf_counter()))
        os._exit(0)
    return child


async def ours(house: Parts, folder: Path, notes: Path) -> tuple[float, float]:
    """(seconds the writer took, seconds from its last write to the last record, less the settle time)."""
    names: set[str] = set()
    last, done = 0.0, asyncio.Event()

    def told(at: float, found: list[str]) -> None:
        nonlocal last
        names.update(found)
        last = at
        if len(names) == FILES:
            done.set()

    house.told = told
    begun = time.perf_counter()
    child = await asyncio.to_thread(write, folder, notes)
    async with asyncio.timeout(60):
        await done.wait()
    await asyncio.to_thread(os.waitpid, child, 0)
    ended = float(notes.read_text())
    return ended - begun, last - ended - SETTLE


def plain(folder: Path, home: Path) -> float:
    """Seconds for the least that could be done with files that lie there already."""
    begun = time.perf_counter()
    database = sqlite3.connect(home / f"{folder.name}.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE files (name TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER)")
    with os.scandir(folder) as entries:
        rows = [(e.path, e.stat().st_size, e.stat().st_mtime_ns) for e in entries]
    for at in range(0, len(rows), BATCH):
        database.execute("BEGIN")
        database.executemany("INSERT INTO files VALUES (?,?,?)", rows[at : at + BATCH])
        database.execute("COMMIT")
    database.close()
    check(len(rows) == FILES, f"{len(rows)} files lie there")
    return time.perf_counter() - begun


async def measure(home: Path) -> list[tuple[float, float, float]]:
    found = []
    async with parts(home) as house:
        for n in range(ROUNDS):
            folder = house.inbox / f"round{n}"
            wrote, took = await ours(house, folder, home / "notes")
            found.append((wrote, took, await asyncio.to_thread(plain, folder, home)))
    return found


def main() -> None:
    with scratch() as home:
        wrote, took, floor = (list(column) for column in zip(*asyncio.run(measure(home)), strict=True))
    rows = [
        ["dropdock: all recorded, past the settle time", median(took), max(took), median(took) / median(floor)],
        ["stat + SQLite alone", median(floor), max(floor), 1.0],
    ]
    notes = (
        f"{FILES:,} pictures of {len(picture())} bytes in one folder, {ROUNDS} rounds in turns. The writer takes {median(wrote):.2f} s; "
        "the plain loop hears nothing, reads no header, decides nothing and makes no jobs."
    )
    within = median(took) < GOAL
    why = "" if within else "one interpreter: a file costs about 0.35 ms of it, half of that after its settle time"
    name = f"{FILES:,} small files all recorded, past the settle time"
    goal = Figure(name, f"< {GOAL:.0f} s", f"{median(took):.2f} s", within, why)
    report("Arrivals", ["what", "s", "worst s", "ratio"], rows, notes, [goal])


if __name__ == "__main__":
    main()
