"""The database: one writer with group commit, durable before anybody hears of it, migrated with a backup, never written to when damaged."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from dropdock.store import database as module
from dropdock.store.database import Corrupt, Database


def put(key: str, value: str = "v"):
    return lambda c: c.execute("INSERT INTO meta VALUES (?,?)", (key, value)).rowcount


def rows(path: Path, sql: str) -> list[tuple]:
    with sqlite3.connect(path) as c:
        return c.execute(sql).fetchall()


async def test_a_write_is_durable_when_it_answers(tmp_path):
    """Another connection sees the row the moment `write` returned, in WAL mode with every commit synced."""
    async with Database(tmp_path / "d.db") as database:
        assert await database.write(put("a")) == 1
        assert rows(database.path, "SELECT key FROM meta") == [("a",)]
        assert await database.write(lambda c: c.execute("PRAGMA synchronous").fetchone()) == (2,)
        assert rows(database.path, "PRAGMA journal_mode") == [("wal",)]


async def test_what_waits_is_committed_together(tmp_path):
    """A hundred writes at once cost a few commits, and each hears its own answer, in order."""
    commits = 0

    def committed() -> None:
        nonlocal commits
        commits += 1

    async with Database(tmp_path / "d.db", committed) as database:
        work = [lambda c, n=n: c.execute("INSERT INTO meta VALUES (?,?) RETURNING value", (f"{n:03}", str(n))).fetchone()[0]
                for n in range(100)]  # fmt: skip
        assert await asyncio.gather(*map(database.write, work)) == [str(n) for n in range(100)]
        assert 1 <= commits <= 3
        assert rows(database.path, "SELECT count(*) FROM meta") == [(100,)]


async def test_a_write_whose_waiter_left_is_done_all_the_same(tmp_path):
    """Cancelling the one who asked takes nothing out of the group."""
    async with Database(tmp_path / "d.db") as database:
        asked = asyncio.ensure_future(database.write(put("a")))
        other = asyncio.ensure_future(database.write(put("b")))
        await asyncio.sleep(0)
        asked.cancel()
        assert await other == 1
        assert asked.cancelled() and rows(database.path, "SELECT key FROM meta ORDER BY key") == [("a",), ("b",)]


async def test_a_commit_that_fails_is_everybodys_error_and_the_next_one_works(tmp_path, monkeypatch):
    """The disk refuses one commit: all of that group hear of it, nothing of it stands, later writes go on."""
    async with Database(tmp_path / "d.db") as database:
        real = module._commit

        def refuse(c, group):
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(module, "_commit", refuse)
        answers = await asyncio.gather(database.write(put("a")), database.write(put("b")), return_exceptions=True)
        assert [type(a) for a in answers] == [sqlite3.OperationalError] * 2
        monkeypatch.setattr(module, "_commit", real)
        assert await database.write(put("c")) == 1
        assert await database.read(lambda c: c.execute("SELECT key FROM meta").fetchall()) == [("c",)]


async def test_readers_cannot_write_and_see_what_was_committed(tmp_path):
    """A reading function that writes is refused."""
    async with Database(tmp_path / "d.db") as database:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await database.read(put("a"))
        await database.write(put("b"))
        for _ in range(3):  # whichever reader has its turn
            assert await database.read(lambda c: c.execute("SELECT key FROM meta").fetchall()) == [("b",)]


async def test_closing_ends_what_was_asked_for_and_refuses_more(tmp_path):
    """What waits when the database closes is committed; what comes later is an error, and no log is left over."""
    path = tmp_path / "d.db"
    async with Database(path) as database:
        last = asyncio.ensure_future(database.write(put("last")))
        await asyncio.sleep(0)
    assert await last == 1 and rows(path, "SELECT key FROM meta") == [("last",)]
    with pytest.raises(RuntimeError, match="closed"):
        await database.write(put("late"))
    wal = path.with_name("d.db-wal")
    assert not wal.exists() or wal.stat().st_size == 0


async def test_migrations_run_once_each_with_a_backup_before(tmp_path, monkeypatch):
    """An older database gains what is new, keeps its rows, and lies beside as it was; a second start changes nothing."""
    path = tmp_path / "d.db"
    async with Database(path) as database:
        await database.write(put("kept"))
    assert list(tmp_path.glob("*.before-*")) == [], "a new database has nothing to keep"
    script = "CREATE TABLE newer (x); INSERT INTO newer VALUES (1);"
    first = module.migrations()
    number = first[-1][0] + 1
    monkeypatch.setattr(module, "migrations", lambda: [*first, (number, script)])
    for _ in range(2):
        async with Database(path) as database:
            assert await database.read(lambda c: c.execute("SELECT x FROM newer").fetchall()) == [(1,)]
            assert await database.read(lambda c: c.execute("SELECT key FROM meta").fetchall()) == [("kept",)]
    backup = tmp_path / f"d.db.before-{number:04d}"
    assert rows(backup, "SELECT key FROM meta") == [("kept",)]
    assert rows(backup, "SELECT 1 FROM sqlite_master WHERE name='newer'") == []
    assert [p.name for p in tmp_path.glob("*.before-*")] == [backup.name]


async def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    """Half a script is rolled back: the old program still opens the database."""
    path = tmp_path / "d.db"
    async with Database(path) as database:
        await database.write(put("kept"))
    first = module.migrations()
    with monkeypatch.context() as patch:
        patch.setattr(module, "migrations", lambda: [*first, (99, "CREATE TABLE newer (x); SELECT * FROM nowhere;")])
        with pytest.raises(sqlite3.OperationalError):
            async with Database(path):
                pass
    async with Database(path) as database:
        assert await database.read(lambda c: c.execute("SELECT key FROM meta").fetchall()) == [("kept",)]
        assert rows(path, "SELECT 1 FROM sqlite_master WHERE name='newer'") == []


async def test_a_file_that_is_no_database_is_refused_and_left(tmp_path):
    """The message names the file; not a byte of it changes."""
    path = tmp_path / "d.db"
    path.write_bytes(b"this is a letter" * 400)
    with pytest.raises(Corrupt, match=str(path)):
        async with Database(path):
            pass
    assert path.read_bytes() == b"this is a letter" * 400


async def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
    """No room for a commit: the database says so, nobody is told of what is not safe, and it goes through once there is room."""
    monkeypatch.setattr(module, "FULL_WAIT", 0.01)
    async with Database(tmp_path / "d.db") as database:
        await database.write(lambda c: c.execute("PRAGMA max_page_count=1"))
        (pages,) = await database.read(lambda c: c.execute("PRAGMA page_count").fetchone())
        await database._writer.run(lambda c: c.execute(f"PRAGMA max_page_count={pages}"))
        big = asyncio.ensure_future(
            database.write(lambda c: c.execute("INSERT INTO meta VALUES ('big', ?)", ("x" * 500_000,)).rowcount)
        )
        async with asyncio.timeout(5):
            while not database.full:
                await asyncio.sleep(0.01)
        assert not big.done()
        await database._writer.run(lambda c: c.execute("PRAGMA max_page_count=1000000"))
        assert await big == 1 and not database.full
