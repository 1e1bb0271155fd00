"""The rescan's view of the store: exactly the files that are present, read from one index and from nothing else."""

import asyncio
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest
from dropdock.rules.terms import Kind, Stamp
from dropdock.store import files
from dropdock.store.database import Database
from dropdock.store.index import LOOK, NEXT, Index
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path("/home/somebody/models")

# whatever a file system can name: bytes without "/" and NUL, as Python shows them
names = (
    st.binary(min_size=1, max_size=12)
    .map(lambda b: os.fsdecode(b.translate(None, b"/\0")))
    .filter(lambda n: n not in ("", ".", ".."))
)
folders = st.lists(names, max_size=3).map("/".join)
numbers = st.integers(0, 2**62)
trees = st.dictionaries(folders, st.dictionaries(names, st.tuples(numbers, numbers, numbers), min_size=1, max_size=4), max_size=5)


async def remember(database: Path, tree: dict[str, dict[str, tuple[int, int, int]]], watch: str = "w", root: Path = ROOT) -> None:
    async with Database(database) as db:
        stamps = {root / folder / name: Stamp(*known, 1) for folder, held in tree.items() for name, known in held.items()}
        await db.write(lambda c: files.track(c, watch, stamps, Kind.OTHER, 1.0))


@settings(max_examples=25, deadline=None)
@given(trees)
def test_what_was_kept_is_what_is_found(tree):
    """Folders and names of any bytes come back as they went in, with their signatures, and nothing else does."""
    with tempfile.TemporaryDirectory() as home:
        database = Path(home) / "dropdock.db"
        asyncio.run(remember(database, tree))
        with Index(database, ROOT) as index:
            assert sorted(index.folders("w")) == sorted(tree)
            assert {folder: index.folder("w", folder) for folder in tree} == tree


async def test_a_name_that_is_not_utf8_stands_beside_one_that_is(tmp_path):
    """Names of both kinds in one folder are found, though they are stored as two types."""
    odd = os.fsdecode(b"\xff.png")
    tree = {"": {"a.png": (1, 2, 3), odd: (4, 5, 6)}, os.fsdecode(b"\xfe"): {"b.png": (7, 8, 9)}}
    await remember(tmp_path / "dropdock.db", tree)
    with Index(tmp_path / "dropdock.db", ROOT) as index:
        assert index.folder("w", "") == tree[""]
        assert sorted(index.folders("w")) == sorted(tree)


async def test_gone_files_and_other_watches_are_not_seen(tmp_path):
    """A departed file, and what lies under another watch, is nobody's known file here."""
    database = tmp_path / "dropdock.db"
    await remember(database, {"loras": {"gone.png": (1, 2, 3), "here.png": (4, 5, 6)}, "empty": {"gone.png": (1, 2, 3)}})
    await remember(database, {"other": {"x.png": (1, 1, 1)}}, "other", Path("/home/somebody/other"))
    async with Database(database) as db:
        for path in (ROOT / "loras/gone.png", ROOT / "empty/gone.png"):
            await db.write(lambda c, path=path: files.depart(c, "w", path))
    with Index(database, ROOT) as index:
        assert list(index.folders("w")) == ["loras"]
        assert index.folder("w", "loras") == {"here.png": (4, 5, 6)}
        assert index.folder("w", "nowhere") == {}


async def test_the_whole_file_system_may_be_watched(tmp_path):
    """The root "/" has no name of its own: what lies right below it is found too."""
    tree = {"": {"a.png": (1, 2, 3)}, "mnt": {"b.png": (4, 5, 6)}}
    await remember(tmp_path / "dropdock.db", tree, root=Path("/"))
    with Index(tmp_path / "dropdock.db", Path("/")) as index:
        assert sorted(index.folders("w")) == ["", "mnt"]
        assert {folder: index.folder("w", folder) for folder in tree} == tree


@pytest.mark.parametrize(("sql", "seek"), [(LOOK, "(watch=? AND folder=?)"), (NEXT, "(watch=? AND folder>?)")])
async def test_the_index_alone_answers(tmp_path, sql, seek):
    """SQLite seeks in the covering index, sorts nothing and reads no row: else a rescan of 100,000 files takes seconds."""
    async with Database(tmp_path / "dropdock.db"):
        pass
    with sqlite3.connect(tmp_path / "dropdock.db") as c:
        plan = [row[3] for row in c.execute(f"EXPLAIN QUERY PLAN {sql}", ("w", "f"))]
    assert plan == [f"SEARCH files USING COVERING INDEX files_look {seek}"]
