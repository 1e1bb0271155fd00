"""The SQLite database: one writer with group commit, a few readers, numbered migrations with a backup before each.

What must hold: every write of the daemon goes through `write`, as a function of the plain sqlite3 connection that runs in the
writer's thread inside one transaction. Whatever waits is committed together (one fsync for all of it), and nobody's future
resolves before that commit. A function that raises is rolled back alone, by its savepoint. Reads never wait for the writer (WAL).
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import aiosqlite

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
READERS = 2
FULL_WAIT = 2.0  # seconds between two tries to commit to a full disk
GROUP = 512  # functions committed together at most, so that one commit never holds the lock for long


class Corrupt(Exception):
    """The database fails SQLite's own check; the message names the file and the backups to restore from."""


class _Connection(aiosqlite.Connection):
    """aiosqlite with one more verb: run a function of the raw connection in its thread, one hop for the whole batch."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def call() -> T:
            return work(self._conn)

        result: T = await self._execute(call)  # type: ignore[no-untyped-call]  # aiosqlite's own hop to its thread
        return result


class _Ticket(Generic[T]):
    __slots__ = ("error", "future", "ran", "value", "work")

    def __init__(self, work: Work[T], future: asyncio.Future[T]) -> None:
        self.work, self.future = work, future
        self.value: T | None = None
        self.error: Exception | None = None
        self.ran = False


class Database:
    """Open with `async with Database(path)`. `on_commit` is called on the loop after each commit."""

    def __init__(self, path: Path, on_commit: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.on_commit = on_commit
        self._waiting: list[_Ticket[object]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self.full = False  # the disk has no room for the next commit; it is tried again until it has

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.path.parent.mkdir, parents=True, exist_ok=True)
        self._writer = await self._connect(self.path)
        try:
            await self._writer.run(self._prepare)
        except BaseException:
            await self._writer.close()
            raise
        self._readers = [await self._connect(self.path, "PRAGMA query_only=ON") for _ in range(READERS)]
        self._turn = 0
        self._pump = asyncio.create_task(self._commit_groups(), name="database writer")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing = True
        self._wake.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump
        for reader in self._readers:
            await reader.close()
        with contextlib.suppress(sqlite3.OperationalError):  # a reader of another process may hold the log: it is kept then
            await self._writer.run(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
        await self._writer.close()

    @staticmethod
    async def _connect(path: Path, *extra: str) -> _Connection:
        connection = _Connection(lambda: sqlite3.connect(path, isolation_level=None, cached_statements=256), 64)
        await connection
        try:
            for pragma in ("PRAGMA busy_timeout=5000", "PRAGMA foreign_keys=ON", "PRAGMA synchronous=FULL", *extra):
                await connection.execute(pragma)
        except sqlite3.OperationalError:
            await connection.close()
            raise
        except sqlite3.DatabaseError as error:  # the first pragma that reads the header finds that it is no database
            await connection.close()
            raise Corrupt(_damaged(path, str(error))) from None
        return connection

    # ------------------------------------------------------------ start

    def _prepare(self, c: sqlite3.Connection) -> None:
        try:
            c.execute("PRAGMA journal_mode=WAL")
            found = [row[0] for row in c.execute("PRAGMA quick_check(3)")]
        except sqlite3.DatabaseError as error:
            found = [str(error)]
        if found != ["ok"]:
            raise Corrupt(_damaged(self.path, found[0]))
        c.execute("PRAGMA shrink_memory")  # the check went through every page, and the cache keeps the last 2 MB of them
        (found_at,) = c.execute("PRAGMA user_version").fetchone()
        for number, script in migrations():
            if number <= found_at:
                continue
            if found_at:  # a new database has nothing to keep
                backup = self.path.with_name(f"{self.path.name}.before-{number:04d}")
                backup.unlink(missing_ok=True)  # VACUUM INTO refuses an existing file; this one is an unfinished attempt
                c.execute("VACUUM INTO ?", (str(backup),))
            c.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")

    # ------------------------------------------------------------ use

    async def read(self, work: Work[T]) -> T:
        """Run a reading function on one of the reader connections and return what it returns."""
        self._turn = (self._turn + 1) % len(self._readers)
        return await self._readers[self._turn].run(work)

    async def write(self, work: Work[T]) -> T:
        """Run `work` in the next transaction; returns (or raises) once that transaction is durable on disk."""
        if self._closing:
            raise RuntimeError("the store is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Ticket(work, future))  # type: ignore[arg-type]  # the list holds tickets of every T
        self._wake.set()
        return await future

    async def _with_room(self, group: list[_Ticket[object]]) -> None:
        """Commit a group. A full disk is waited for: everything written so far is safe, and nobody is told of what is not."""
        while True:
            try:
                await self._writer.run(lambda c: _commit(c, group))
            except sqlite3.Error as error:
                self.full = _is_full(error) and not self._closing
                if not self.full:
                    raise
                for ticket in group:
                    ticket.error, ticket.ran = None, False
                await asyncio.sleep(FULL_WAIT)
            else:
                self.full = False
                return

    async def _commit_groups(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
                failure: Exception | None = None
                try:
                    await self._with_room(group)
                except sqlite3.Error as error:  # the commit itself failed (disk full, locked): nobody's work happened
                    failure = error
                finally:
                    _answer(group, failure)
                if not failure:
                    self.on_commit()
            if self._closing:
                return


def _damaged(path: Path, why: str) -> str:
    backups = ", ".join(str(p) for p in sorted(path.parent.glob(path.name + ".before-*"))) or "none yet"
    return f"{path} is damaged ({why}). Move it away to start anew, or restore a backup: {backups}"


def _is_full(error: sqlite3.Error) -> bool:
    return (
        error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
        if hasattr(error, "sqlite_errorcode")
        else False
    )


def _answer(group: list[_Ticket[object]], failure: Exception | None) -> None:
    """Resolve the futures of one group; those whose waiter was cancelled stay so (their work is committed all the same)."""
    for ticket in group:
        error = failure or ticket.error
        if ticket.future.done():
            continue
        if error:
            ticket.future.set_exception(error)
        elif ticket.ran:
            ticket.future.set_result(ticket.value)
        else:
            ticket.future.cancel()  # the writer is being torn down


def _commit(c: sqlite3.Connection, group: list[_Ticket[object]]) -> None:
    c.execute("BEGIN IMMEDIATE")
    try:
        for ticket in group:
            c.execute("SAVEPOINT one")
            try:
                ticket.value = ticket.work(c)
                ticket.ran = True
            except Exception as error:  # not swallowed: handed to the one who asked; its group goes on
                if isinstance(error, sqlite3.Error) and _is_full(error):
                    raise  # the whole group waits for room
                ticket.error = error
                c.execute("ROLLBACK TO one")
            c.execute("RELEASE one")
        c.execute("COMMIT")
    except BaseException:
        if c.in_transaction:
            c.execute("ROLLBACK")
        raise


def migrations() -> list[tuple[int, str]]:
    """The numbered SQL files of store/schema, in order."""
    folder = resources.files(__package__).joinpath("schema")
    scripts = [(int(f.name.split(".")[0]), f.read_text()) for f in folder.iterdir() if f.name.endswith(".sql")]
    return sorted(scripts)
