"""Rescan: 100,000 unchanged files in 1,000 folders against a bare recursive os.scandir + stat of the same tree. Goal: at most 1.5x."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection
from pathlib import Path

from _bench import alternate, check, report, scratch
from dropdock.daemon.rescan import Brief, rescan
from dropdock.rules.ignores import Ignores
from dropdock.rules.terms import Mode, Watch

FOLDERS, FILES = 1000, 100
GOAL = 1.5


class Index:
    """The files of a watch in SQLite, one query per folder over a covering index."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path)
        self._db.executescript(
            "CREATE TABLE files(watch TEXT, folder TEXT, name TEXT, size INT, mtime_ns INT, ino INT, PRIMARY KEY(watch, folder, name))"
            " WITHOUT ROWID"
        )

    def learn(self, watch: Watch, paths: list[Path]) -> None:
        rows = []
        for path in paths:
            found = path.stat()
            folder = path.parent.relative_to(watch.path).as_posix()
            rows.append((watch.name, "" if folder == "." else folder, path.name, found.st_size, found.st_mtime_ns, found.st_ino))
        self._db.executemany("INSERT INTO files VALUES(?,?,?,?,?,?)", rows)
        self._db.commit()

    def folder(self, watch: str, folder: str) -> dict[str, Brief]:
        query = "SELECT name, size, mtime_ns, ino FROM files WHERE watch=? AND folder=?"
        rows = self._db.execute(query, (watch, folder))
        return {name: (size, mtime_ns, ino) for name, size, mtime_ns, ino in rows}

    def folders(self, watch: str) -> Collection[str]:
        return [folder for (folder,) in self._db.execute("SELECT DISTINCT folder FROM files WHERE watch=?", (watch,))]


def make(root: Path) -> None:
    for n in range(FOLDERS):
        folder = root / f"{n % 10}/{n}"
        folder.mkdir(parents=True)
        for m in range(FILES):
            (folder / f"picture-{m:04}.png").touch()


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
    with scratch() as home:
        watch = Watch("bench", home / "in", Mode.LIBRARY)
        make(watch.path)
        index, ignores = Index(home / "index.db"), Ignores()
        first = rescan(watch, index, ignores)
        index.learn(watch, first.dirty)
        again = rescan(watch, index, ignores, first.root)
        check(len(first.dirty) == FOLDERS * FILES == bare(watch.path), "the first pass names every file")
        check(not again.dirty and not again.departed and again.files == FOLDERS * FILES, "the second pass names none")
        floor, ours = alternate([lambda: bare(watch.path), lambda: rescan(watch, index, ignores, first.root)], rounds=7)
    ratio = ours.wall / floor.wall
    rows = [["bare scandir + stat", floor.wall, floor.cpu, 1.0], ["rescan against SQLite", ours.wall, ours.cpu, ratio]]
    verdict = "met" if ratio <= GOAL else "missed"
    report(
        f"Rescan of {FOLDERS * FILES:,} unchanged files in {FOLDERS:,} folders",
        ["way", "wall s", "CPU s", "ratio"],
        rows,
        f"Goal: at most {GOAL}x, {verdict}. Best of 7, in turns, warm.",
    )


if __name__ == "__main__":
    main()
