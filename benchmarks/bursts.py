"""Bursts: how many files are lost when they come faster than anybody reads, with our watcher and with plain watchdog, side by side.

Lost means: not heard of, and after a doubt not found by the rescan that the doubt asks for. Another process writes, in memory, as
fast as it can. The promise: ours loses none, in no case.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import structlog
from _bench import Figure, check, report, scratch
from dropdock.daemon.rescan import rescan
from dropdock.daemon.watcher import Watcher
from dropdock.rules.ignores import Ignores
from dropdock.rules.terms import Mode, Watch
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

ROUNDS = 3
QUIET = 1.0  # seconds without news after which nothing more is expected


class Nothing:
    """A store that knows no file, so that a rescan names all it finds."""

    def folder(self, watch: str, folder: str) -> dict[str, tuple[int, int, int]]:
        return {}

    def folders(self, watch: str) -> list[str]:
        return []


class Ours:
    """Our watcher and, for every doubt after the start, a rescan."""

    def __init__(self, root: Path) -> None:
        self.heard: set[str] = set()
        self.last = time.monotonic()
        self.doubts = 0
        self._watch = Watch("bench", root, Mode.INBOX)
        self._ready = threading.Event()
        self._watcher = Watcher([self._watch], self._wake, self._doubt)
        self._watcher.start()
        self._ready.wait()

    def _wake(self) -> None:
        self.heard.update(str(event.path) for event in self._watcher.drain())
        self.last = time.monotonic()

    def _doubt(self, name: str, reason: str) -> None:
        if self._ready.is_set():
            self.doubts += 1
            self.heard.update(map(str, rescan(self._watch, Nothing(), Ignores()).dirty))
            self.last = time.monotonic()
        self._ready.set()

    def stop(self) -> None:
        self._watcher.stop()


class Plain(FileSystemEventHandler):
    """watchdog as its manual shows it."""

    def __init__(self, root: Path) -> None:
        self.heard: set[str] = set()
        self.last = time.monotonic()
        self.doubts = 0
        self._observer = Observer()
        self._observer.schedule(self, str(root), recursive=True)
        self._observer.start()

    def on_any_event(self, event: FileSystemEvent) -> None:
        self.heard |= {os.fsdecode(event.src_path), os.fsdecode(event.dest_path)}
        self.last = time.monotonic()

    def stop(self) -> None:
        self._observer.stop()
        self._observer.join()


def small_files(root: Path, number: int) -> None:
    for n in range(number):
        (root / f"{n}.png").write_bytes(b"x")


def deep_folders(root: Path, number: int) -> None:
    for n in range(number):
        os.makedirs(root / f"{n}/b/c")
        (root / f"{n}/b/c/x.png").write_bytes(b"x")


def moved_tree(root: Path, number: int) -> None:
    tree = root.with_name("tree")
    for n in range(number):
        (tree / f"{n % 50}").mkdir(parents=True, exist_ok=True)
        (tree / f"{n % 50}/{n}.png").write_bytes(b"x")
    tree.rename(root / "tree")


def stopped_reader(root: Path, number: int) -> None:
    """The process that watches stands still while the files are written."""
    os.kill(os.getppid(), signal.SIGSTOP)
    try:
        small_files(root, number)
    finally:
        os.kill(os.getppid(), signal.SIGCONT)


def _queue() -> int:
    """How many events the kernel keeps for us before it drops them."""
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    return int(limit.read_text()) if limit.exists() else 16_384


OVERFLOW = "reader stopped, overflow"
CASES: list[tuple[str, Callable[[Path, int], None], int]] = [
    ("small files", small_files, 10_000),
    ("small files", small_files, 40_000),
    ("mkdir -p a/b/c + file", deep_folders, 300),
    ("a tree moved in", moved_tree, 450),
    (OVERFLOW, stopped_reader, _queue() // 2 + 1000),  # each file is two events or more
]


def once(kind: type[Ours] | type[Plain], write: Callable[[Path, int], None], number: int) -> tuple[int, float, float, int]:
    """(files lost, seconds to the last news, CPU seconds, doubts) of one burst."""
    with scratch(fast=True) as home:
        root = home / "in"
        root.mkdir()
        watcher = kind(root)
        start, cpu = time.monotonic(), time.process_time()
        child = os.fork()
        if child == 0:
            write(root, number)
            os._exit(0)
        os.waitpid(child, 0)
        while time.monotonic() - max(watcher.last, start) < QUIET:
            time.sleep(0.05)
        spent = time.process_time() - cpu
        watcher.stop()
        there = {os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names}
        check(len(there) == number, f"the writer wrote {len(there)} of {number}")
        return len(there - watcher.heard), watcher.last - start, spent, watcher.doubts


def main() -> None:
    logging.disable()
    warnings.simplefilter("ignore")  # watchdog prints its whole table of watches when a folder vanishes
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    rows, figures = [], []
    for title, write, number in CASES:
        runs = [(once(Ours, write, number), once(Plain, write, number)) for _ in range(ROUNDS)]
        ours, plain = zip(*runs, strict=True)
        lost = [", ".join(str(run[0]) for run in side) for side in (ours, plain)]
        news, cpu, floor = (median(run[n] for run in side) for side, n in ((ours, 1), (ours, 2), (plain, 2)))
        rows.append([title, f"{number:,}", *lost, news, cpu, floor, f"{cpu / max(floor, 0.01):.2f}"])
        worst = max(run[0] for run in ours)
        check(title != OVERFLOW or all(run[3] for run in ours), "the queue was to overflow, and did not")
        figures.append(Figure(f"burst: {title}, {number:,}", "0 lost", f"{worst} lost (plain watchdog: {lost[1]})", worst == 0))
    head = ["burst", "files", "lost, ours", "lost, watchdog", "last news s", "CPU s, ours", "CPU s, watchdog", "ratio"]
    notes = (
        f"{ROUNDS} runs each in turns: every run's losses, medians of the rest. Through the daemon's own Watcher; CPU of the watching "
        "process, the rescan after an overflow included."
    )
    report("Bursts", head, rows, notes, figures)
    check(all(figure.met for figure in figures), "files were lost")


if __name__ == "__main__":
    main()
