"""Explaining touches nothing, whatever state the memory is in, and looks through trees of any depth."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from dropdock.daemon.config import load
from dropdock.daemon.explaining import Explainer, open_memory
from dropdock.daemon.instance import Instance
from dropdock.handlers import disk
from dropdock.rules.terms import Facts, Kind, Verdict
from dropdock.store import files
from dropdock.store.database import Database

DIES = """
import os, sqlite3, sys
from pathlib import Path
writer = sqlite3.connect(sys.argv[1], isolation_level=None)
writer.execute("UPDATE files SET first_seen=77")
os._exit(9)
"""


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file of a folder with its size, mtime and content, and the folder's own mtime."""
    found = {p.name: (p.stat().st_size, p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}
    return {**found, ".": (0, folder.stat().st_mtime_ns, b"")}


async def left_by_a_killed_daemon(data: Path, known: Path) -> Path:
    """A database that knows one file, whose last word is only in the log that its killed writer left."""
    path, stamps = data / "dropdock.db", {known: disk.stamp(known)}
    async with Database(path) as database:
        facts = Facts(known, Kind.OTHER, 1)
        await database.write(lambda c: files.arrive(c, "in", known, stamps, facts, Verdict(None), "left", 1.0))
    assert subprocess.run([sys.executable, "-c", DIES, path], check=False).returncode == 9
    assert path.with_name("dropdock.db-wal").stat().st_size > 0
    return path


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A file that a database can know."""
    path = tmp_path / "a.txt"
    path.write_text("a")
    return path


@pytest.mark.parametrize("index", ["with", "without"])
async def test_what_a_killed_daemon_left_is_read_and_not_touched(tmp_path, known, monkeypatch, index):
    """Its last word, which only the log has, is known; no name, size, mtime or byte in the data folder changes; the copy goes."""
    path = await left_by_a_killed_daemon(tmp_path / "data", known)
    if index == "without":  # as after a restart of the machine, or a copied folder
        path.with_name("dropdock.db-shm").unlink()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = snapshot(path.parent)
    memory = open_memory(path)
    assert memory is not None
    assert files.known(memory, known, disk.stamp(known), None).first_seen == 77
    assert list(scratch.iterdir())
    memory.close()
    assert snapshot(path.parent) == before and not list(scratch.iterdir())


async def test_a_living_daemons_memory_is_read_as_it_is(tmp_path, known):
    """While the lock is held it is the live database: what was committed a moment ago is seen, and no copy is made of it."""
    with Instance(tmp_path / "data"):
        path = await left_by_a_killed_daemon(tmp_path / "data", known)
        writer, memory = sqlite3.connect(path, isolation_level=None), open_memory(path)
        assert memory is not None
        writer.execute("UPDATE files SET first_seen=78")
        assert files.known(memory, known, disk.stamp(known), None).first_seen == 78
        memory.close()
        writer.close()


async def test_a_daemon_that_starts_meanwhile_is_noticed(tmp_path, known, monkeypatch):
    """A copy made while a daemon began is not trusted: the live database is read instead."""
    from dropdock.daemon import explaining

    path = await left_by_a_killed_daemon(tmp_path / "data", known)
    instance, real = Instance(tmp_path / "data"), explaining._copied

    def copied(path: Path, log: Path) -> sqlite3.Connection:
        found = real(path, log)
        instance.__enter__()
        return found

    monkeypatch.setattr(explaining, "_copied", copied)
    memory = open_memory(path)
    assert memory is not None
    with sqlite3.connect(path) as writer:
        writer.execute("UPDATE files SET first_seen=79")
    assert files.known(memory, known, disk.stamp(known), None).first_seen == 79
    memory.close()
    writer.close()
    instance.__exit__(None, None, None)


async def test_a_memory_that_cannot_be_copied_is_only_not_asked(tmp_path, known, monkeypatch):
    """A full temporary folder: nothing is remembered, nothing is left, nothing fails."""
    from dropdock.daemon import explaining

    path = await left_by_a_killed_daemon(tmp_path / "data", known)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(explaining.shutil, "copyfile", full)
    assert open_memory(path) is None and not list(scratch.iterdir())


async def test_the_command_leaves_the_data_folder_as_a_killed_daemon_left_it(tmp_path, known):
    """`dropdock explain` from end to end."""
    path = await left_by_a_killed_daemon(tmp_path / "data", known)
    (tmp_path / "c.yaml").write_text("data_dir: data\nhub: hub\ndatasets: sets\nwatch: [{path: in, mode: inbox}]\n")
    before = snapshot(path.parent)
    argv = [sys.executable, "-m", "dropdock.daemon", "explain", "--json", "--config", tmp_path / "c.yaml", known]
    found = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["path"] == str(known) and snapshot(path.parent) == before


def test_a_tree_deeper_than_pythons_calls_is_looked_through(tmp_path):
    """1,500 folders in one another: the file at the bottom and the one beside the top are explained, in the order of their names."""
    (tmp_path / "c.yaml").write_text("data_dir: data\nhub: hub\ndatasets: sets\n")
    top = tmp_path / "top"
    made = [top]
    top.mkdir()
    for _ in range(1500):
        made.append(made[-1] / "d")
        made[-1].mkdir()
    bottom, beside = made[-1] / "deep.txt", top / "e.txt"
    for path in (bottom, beside):
        path.write_text("x")
    try:
        with Explainer(load(tmp_path / "c.yaml", {"HOME": str(tmp_path)}), 0.0, False, lambda path, error: None) as explainer:
            found = [one.explanation.path for one in explainer.explain(top)]
        assert [Path(path) for path in found] == [bottom, beside]
    finally:  # what empties temporary folders recurses too
        for path in (bottom, beside):
            path.unlink()
        for folder in reversed(made):
            folder.rmdir()
