"""Worker processes as the daemon sees them: started on need, fed picture by picture, their answers heard as they come.

    await worker.start()                      # the model is loaded; NotReady says why it cannot be
    await worker.send([picture, ...])         # as many as there is room for: worker.room
    answers = await worker.answers()          # the next few, in any order
What must hold: a crash, a hang or a broken answer is WorkerDied for what was in flight (`flight`), never a dead daemon; a hang is no
answer and no news for `timeout` seconds while something is in flight; nothing of the daemon (lock, sockets, database) is inherited.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import structlog

from ..handlers.captioners.protocol import Answer, Picture
from ..rules.terms import Param
from .frames import HEAD, Answers, BadFrame, Broken, Drop, Frame, Hello, News, Order, Ready, length, pack, unpack

START = 120.0  # seconds a captioner may take to be ready without any news of it
TIMEOUT = 120.0  # seconds without an answer after which a worker hangs
CLOSING = 5.0  # seconds that a worker may take to give back what it holds
_log = structlog.get_logger()

Heard = Callable[[News], None]


class WorkerDied(Exception):
    """The worker crashed or hung; the message says which."""


class NotReady(WorkerDied):
    """The captioner cannot be made: something is missing (a package, a model, a card), and the message is its own sentence."""


class Worker:
    """One captioner in one process. One task sends, one hears answers. `on_news` is called on the loop."""

    def __init__(
        self, name: str, engine: str, options: Mapping[str, Param], timeout: float = TIMEOUT, on_news: Heard = lambda news: None
    ) -> None:
        self.name, self._engine, self._options = name, engine, dict(options)
        self._timeout, self._on_news = timeout, on_news
        self._process: asyncio.subprocess.Process | None = None
        self._flown = asyncio.Event()  # something is in flight
        self.flight: set[int] = set()  # ids of pictures that were sent and are not answered
        self.ahead = 1  # pictures it likes to hold at once; known once it is ready
        self.device = ""  # where it runs, for people

    @property
    def alive(self) -> bool:
        """Whether its process runs now."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process, 0 when there is none."""
        return self._process.pid if self._process is not None and self.alive else 0

    @property
    def room(self) -> int:
        """How many more pictures it would like now."""
        return max(0, self.ahead - len(self.flight))

    async def start(self) -> None:
        """Start the process and load the model. Raises NotReady, or WorkerDied for a crash or hang meanwhile."""
        self._open = False
        try:
            await self._start()
        except (OSError, EOFError, BadFrame) as error:
            await self._died(error)
        except BaseException:
            await self._end()
            raise

    async def send(self, pictures: Sequence[Picture]) -> None:
        """Have these captioned. What cannot be sent because the worker is dead shows in `answers`."""
        self.flight.update(p.id for p in pictures)
        self._flown.set()
        with contextlib.suppress(OSError):
            self._writer.write(pack(Order(tuple(pictures))))
            await self._writer.drain()

    async def drop(self, ids: Sequence[int]) -> None:
        """Nobody wants the answers of these any more; they come all the same, maybe sooner."""
        with contextlib.suppress(OSError):
            self._writer.write(pack(Drop(tuple(ids))))
            await self._writer.drain()

    async def answers(self) -> tuple[tuple[int, Answer], ...]:
        """The next few answers: waits until something is in flight, and then for one. Raises WorkerDied; `flight` is what it had."""
        try:
            found = (await self._next_answers()).answers
            ids = [id for id, _ in found]
            if len(set(ids)) != len(ids) or not self.flight.issuperset(ids):
                raise BadFrame("the answer to another question")
        except (OSError, EOFError, BadFrame) as error:
            await self._died(error)
        except WorkerDied:
            await self._end()
            raise
        self.flight.difference_update(ids)
        if not self.flight:
            self._flown.clear()
        return found

    async def close(self) -> None:
        """Let it give back what it holds, and end it: gently first."""
        if self.alive and not self.flight:
            self._writer.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSING):
                    await self._process.wait()  # type: ignore[union-attr]  # alive
        await self._end()

    async def stop(self) -> None:
        """End the process now, if there is one."""
        await self._end()

    async def stream(self, pictures: Iterable[Picture]) -> AsyncIterator[tuple[int, Answer]]:
        """Answers to pictures, which are drawn from the iterable as there is room, in any order. Raises WorkerDied.

        After WorkerDied `flight` holds the ids that were sent and have no answer; what was not drawn is still in the iterator.
        """
        if not self.alive or self.flight:  # a stream that was broken off has left it in an unknown state
            await self._end()
            await self.start()
        source, ended = iter(pictures), False
        while True:
            more: list[Picture] = []
            while not ended and len(more) < self.room:
                picture = next(source, None)
                ended = picture is None
                more += [] if picture is None else [picture]
            if more:
                await self.send(more)
            if not self.flight:
                return
            for answered in await self.answers():
                yield answered

    async def caption(self, paths: Sequence[Path]) -> list[Answer]:
        """One Answer for each picture, in their order. Raises WorkerDied."""
        found = {id: answer async for id, answer in self.stream([Picture(n, path) for n, path in enumerate(paths)])}
        return [found[n] for n in range(len(paths))]

    # ------------------------------------------------------------ the process

    async def _start(self) -> None:
        self.flight.clear()
        self._flown.clear()
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
        self._writer.write(pack(Hello(self._engine, self._options)))
        await self._writer.drain()
        while not isinstance(frame := await self._receive(START), Ready):
            self._aside(frame)
        self.ahead, self.device = max(1, frame.ahead), frame.device
        _log.info("captioner started", captioner=self.name, engine=self._engine, device=self.device, pid=self._process.pid)

    async def _next_answers(self) -> Answers:
        while True:
            await self._flown.wait()
            frame = await self._receive(self._timeout)
            if isinstance(frame, Answers):
                return frame
            self._aside(frame)

    def _aside(self, frame: Frame) -> None:
        """News is passed on. Raises NotReady or WorkerDied for Broken, BadFrame for what does not belong here."""
        if isinstance(frame, News):
            self.device = frame.device or self.device
            self._on_news(frame)
        elif isinstance(frame, Broken):
            raise (NotReady if frame.lasting else WorkerDied)(f"captioner {self.name} {_stopped(frame)}")
        else:
            raise BadFrame("another frame than was expected")

    async def _receive(self, seconds: float) -> Frame:
        """The next frame, which begins to come within `seconds`. Raises TimeoutError, EOFError, OSError, BadFrame."""
        async with asyncio.timeout(seconds):
            head = await self._reader.readexactly(HEAD)
            return unpack(await self._reader.readexactly(length(head)))

    async def _died(self, error: Exception) -> NoReturn:
        raise WorkerDied(f"captioner {self.name} {_why(error, await self._end())}") from error

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


def _stopped(frame: Broken) -> str:
    return f"cannot start: {frame.reason}" if frame.lasting else f"stopped: {frame.reason}"


def _why(error: Exception, code: int | None) -> str:
    """What became of a worker, for a person. `code` is its exit code, None when there never was a process."""
    if isinstance(error, TimeoutError):
        return "took too long"
    if isinstance(error, BadFrame):
        return f"sent {error}"
    return f"cannot be started: {error}" if code is None else f"ended with code {code}"
