"""Decided: from the close of a dropped file to its verdict on disk, beyond the settle time. Goals: p50 < 5 ms, p99 < 25 ms.

Ours is the daemon's watcher, settling, identifying and deciding (while it settles) and the commit (fsync and all) on one loop, with the
default settle time of 2 s taken off; beside it the least that anything could take: the callback of a bare watchdog observer that does
nothing. Another process drops small pictures one by one and notes when each was closed.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path

from _bench import Figure, check, report, scratch
from _parts import SETTLE, Parts, parts
from PIL import Image
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

ROUNDS, FILES = 3, 60
APART = 0.061  # seconds between two drops: long enough that each is alone, and no multiple of any beat
GOALS = (0.005, 0.025)


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 120, 40)).save(out, "PNG")
    return out.getvalue()


def drop(folder: Path, prefix: str, data: bytes, notes: Path) -> int:
    """Have another process drop the files and note the clock at each close; returns its pid. The clock is the same in both."""
    child = os.fork()
    if child == 0:
        closed = []
        for n in range(FILES):
            name = f"{prefix}-{n}.png"
            (folder / name).write_bytes(data)
            closed.append(f"{name} {time.perf_counter()}")
            time.sleep(APART)
        notes.write_text("\n".join(closed))
        os._exit(0)
    return child


def delays(notes: Path, heard: dict[str, float], off: float) -> list[float]:
    """Seconds from each close to when it was heard of, less `off`."""
    pairs = [line.split() for line in notes.read_text().splitlines()]
    check(all(name in heard for name, _ in pairs), f"{sum(n not in heard for n, _ in pairs)} of {len(pairs)} were not heard of")
    return [heard[name] - float(at) - off for name, at in pairs]


async def ours(house: Parts, prefix: str, data: bytes, notes: Path) -> list[float]:
    heard: dict[str, float] = {}
    done = asyncio.Event()

    def told(at: float, names: list[str]) -> None:
        heard.update((name, at) for name in names)
        if len(heard) == FILES:
            done.set()

    house.told = told
    child = await asyncio.to_thread(drop, house.inbox, prefix, data, notes)
    async with asyncio.timeout(FILES * APART + SETTLE + 20):
        await done.wait()
    await asyncio.to_thread(os.waitpid, child, 0)
    return delays(notes, heard, SETTLE)


class Bare(FileSystemEventHandler):
    """A callback that only says when it was called: at a file's close."""

    def __init__(self) -> None:
        self.heard: dict[str, float] = {}

    def on_closed(self, event: FileSystemEvent) -> None:
        self.heard.setdefault(Path(os.fsdecode(event.src_path)).name, time.perf_counter())


def bare(folder: Path, prefix: str, data: bytes, notes: Path) -> list[float]:
    folder.mkdir(exist_ok=True)
    handler, observer = Bare(), Observer()
    observer.schedule(handler, str(folder), recursive=True)
    observer.start()
    os.waitpid(drop(folder, prefix, data, notes), 0)
    deadline = time.perf_counter() + 10
    while len(handler.heard) < FILES and time.perf_counter() < deadline:
        time.sleep(0.01)
    observer.stop()
    observer.join()
    return delays(notes, handler.heard, 0.0)


def percentile(times: Sequence[float], of: float) -> float:
    """The nearest-rank percentile."""
    return sorted(times)[min(len(times) - 1, int(of * len(times)))]


async def measure(home: Path) -> tuple[list[float], list[float]]:
    found: tuple[list[float], list[float]] = ([], [])
    data = picture()
    async with parts(home) as house:
        await ours(house, "warm", data, home / "notes")  # imports Pillow, fills SQLite's cache
        for n in range(ROUNDS):
            found[0].extend(await ours(house, f"round{n}", data, home / "notes"))
            found[1].extend(await asyncio.to_thread(bare, home / "bare", f"round{n}", data, home / "notes"))
    return found


def main() -> None:
    with scratch() as home:
        ours_took, bare_took = asyncio.run(measure(home))
    rows, ends = [], []
    for name, took in (("dropdock: recorded, less the settle time", ours_took), ("bare watchdog: callback", bare_took)):
        p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
        ends.append((p50, p99))
        rows.append([name, p50 * 1e3, p99 * 1e3, max(took) * 1e3, p50 / percentile(bare_took, 0.5)])
    notes = (
        f"{ROUNDS} rounds of {FILES} pictures each in turns, one every {APART * 1e3:.0f} ms, written by another process; settle time "
        f"{SETTLE:.0f} s. Ours ends when the row, the verdict and the job are durable."
    )
    figures = [
        Figure(f"close to decided beyond the settle time, {name}", f"< {goal * 1e3:.0f} ms", f"{end * 1e3:.1f} ms", end < goal)
        for name, goal, end in zip(("p50", "p99"), GOALS, ends[0], strict=True)
    ]
    report("Decided", ["what", "p50 ms", "p99 ms", "max ms", "ratio of p50"], rows, notes, figures)


if __name__ == "__main__":
    main()
