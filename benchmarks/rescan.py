"""Rescan: 100,000 unchanged files in 1,000 folders against a bare recursive os.scandir + stat of the same tree. Goal: at most 1.5x.

What is compared with is the daemon's own: its store with 100,000 file rows, written by its own functions and read by its own Index.
"""

from __future__ import annotations

import os
from pathlib import Path

from _bench import Figure, alternate, check, report, scratch
from _library import FILES, FOLDERS, NAME, Home
from dropdock.daemon.rescan import rescan
from dropdock.rules.ignores import Ignores
from dropdock.rules.terms import Mode, Watch
from dropdock.store.index import Index

GOAL = 1.5
ROUNDS = 15


def bare(root: Path) -> int:
    """What any comparison must do at least: list every folder, stat every file."""
    files, stack = 0, [str(root)]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    files += 1
    return files


def main() -> None:
    number = FOLDERS * FILES
    with scratch() as place:
        home, ignores = Home(place), Ignores()
        home.learn()
        watch = Watch(NAME, home.library, Mode.LIBRARY)
        with Index(home.database, watch.path) as index:
            first = rescan(watch, index, ignores)
            check(bare(watch.path) == first.files == number, f"{first.files} of {number} files were seen")
            check(not first.dirty and not first.departed, f"{len(first.dirty)} files are called changed")
            floor, ours = alternate([lambda: bare(watch.path), lambda: rescan(watch, index, ignores, first.root)], ROUNDS)
    ratio = ours.wall / floor.wall
    rows = [["bare scandir + stat", floor.wall, floor.cpu, 1.0], ["rescan against the store", ours.wall, ours.cpu, ratio]]
    notes = (
        f"{FOLDERS:,} folders. Median of {ROUNDS} rounds in turns, everything in the page cache. The store's part is one query of a "
        "covering index a folder; the walk saves some of it again by asking through the folder's descriptor."
    )
    goal = Figure(f"rescan of {number:,} unchanged files / bare scandir + stat", f"<= {GOAL}x", f"{ratio:.2f}x", ratio <= GOAL)
    report("Rescan", ["way", "wall s", "CPU s", "ratio"], rows, notes, [goal])


if __name__ == "__main__":
    main()
