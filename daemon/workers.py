"""Worker processes as the daemon sees them: started on first need, asked in batches, replaced when they crash or hang.

What must hold: a crash, a hang or a broken answer is WorkerDied for one batch, never a dead daemon; an idle worker is ended after
`idle` seconds, which gives its memory back; nothing of the daemon (lock, sockets, database) is inherited.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from ..handlers.captioners.protocol import Answer
from ..rules.terms import Param
from .frames import HEAD, Answers, BadFrame, Broken, Frame, Hello, Order, Ready, length, pack, unpack

START = 60.0  # seconds a captioner may take to be ready
PER_PICTURE = 60.0  # seconds one picture of a batch may take
_log = structlog.get_logger()


class WorkerDied(Exception):
    """The worker crashed, hung or could not start; the message says which."""


class Worker:
    """One captioner in one process. Used by one task at a time."""

    def __init__(self, name: str, engine: str, options: Mapping[str, Param], idle: float = 300.0) -> None:
        self.name, self._engine, self._options, self._idle = name, engine, dict(options), idle
        self._process: asyncio.subprocess.Process | None = None
        self._bored: asyncio.TimerHandle | None = None
        self._order = 0
        self._busy = asyncio.Lock()
        self.batch = 8

    @property
    def alive(self) -> bool:
        """Whether its process runs now."""
        return self._process is not None and self._process.returncode is None

    async def caption(self, pictures: Sequence[Path]) -> list[Answer]:
        """One Answer for each picture. Raises WorkerDied; the next call starts a new process."""
        async with self._busy:
            if self._bored:
                self._bored.cancel()
            try:
                if not self.alive or self._writer.is_closing():  # closing: it was let go just now
                    await self._end()
                    await self._start()
                return await self._ask(pictures)
            except (OSError, EOFError, BadFrame) as error:
                reason = _why(error, await self._end())
                raise WorkerDied(f"captioner {self.name} {reason}") from error
            except BaseException:
                await self._end()
                raise
            finally:
                self._bored = asyncio.get_running_loop().call_later(self._idle, self._let_go)

    async def stop(self) -> None:
        """End the process, if there is one."""
        if self._bored:
            self._bored.cancel()
        await self._end()

    # ------------------------------------------------------------ the process

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"{__package__}.worker", str(theirs.fileno()), str(os.getpid()),
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        await self._send(Hello(self._engine, self._options))
        found = await asyncio.wait_for(self._receive(), START)
        if isinstance(found, Broken):
            await self._end()
            raise WorkerDied(f"captioner {self.name} cannot start: {found.reason}")
        if not isinstance(found, Ready):
            raise BadFrame("another frame than Ready")
        self.batch = found.batch
        _log.info("captioner started", captioner=self.name, engine=self._engine, pid=self._process.pid)

    async def _ask(self, pictures: Sequence[Path]) -> list[Answer]:
        self._order += 1
        await self._send(Order(self._order, tuple(pictures)))
        found = await asyncio.wait_for(self._receive(), PER_PICTURE * max(1, len(pictures)))
        if not isinstance(found, Answers) or found.id != self._order or len(found.answers) != len(pictures):
            raise BadFrame("the answer to another question")
        return list(found.answers)

    async def _send(self, frame: Frame) -> None:
        self._writer.write(pack(frame))
        await self._writer.drain()

    async def _receive(self) -> Frame:
        head = await self._reader.readexactly(HEAD)
        return unpack(await self._reader.readexactly(length(head)))

    def _let_go(self) -> None:
        if self.alive and not self._busy.locked():
            self._writer.close()  # the worker sees its socket end and goes

    async def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(AttributeError):
            self._writer.close()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return await process.wait()


def _why(error: Exception, code: int | None) -> str:
    """What became of a worker, for a person. `code` is its exit code, None when there never was a process."""
    if isinstance(error, TimeoutError):
        return "took too long"
    if isinstance(error, BadFrame):
        return f"sent {error}"
    return f"cannot be started: {error}" if code is None else f"ended with code {code}"
