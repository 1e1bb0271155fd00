"""A captioner whose model is served over HTTP: n questions in flight, the loop on a thread of its own, pictures decoded beside it.

What must hold: never more than `concurrency` pictures are asked about at once, and always so many while there are any; a picture is
answered once, with a text, its own error, or `later` where the service is to blame; one that nobody wants any more is broken off, which
frees the server too; whatever a picture takes stays within the captioner's `timeout`, retries and second questions included.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import aiohttp

from ..webhook import shown
from .client import BUSY, Client, Trouble
from .options import Options, number, text
from .picture_bytes import SIDE, Shot, shoot
from .prompts import Question
from .protocol import Answer, Picture, Source
from .talk import Patience, Reply, manner_of, talk, with_quality

LOOK = 0.02  # seconds between two looks for new pictures while others are in flight
SHARE = 0.9  # of `timeout` that one picture may take: whoever waits for the answer allows it all


class Dialect(Protocol):
    """How one kind of server is spoken to. `lasts`: seconds without a question after which it must be made ready again."""

    lasts: float

    async def ask(self, client: Client, question: Question, shot: Shot, deadline: float) -> Reply:
        """Ask one question about a picture, until `deadline` by the loop's clock. Raises Trouble."""
        ...

    async def ready(self, client: Client) -> None:
        """Have the server load what it needs, once, before the first question. Raises Trouble."""
        ...

    async def models(self, client: Client, seconds: float) -> list[str]:
        """The models it offers, by the names it is asked for them. Raises Trouble."""
        ...


class Served:
    """Draws pictures and answers them in a Dialect. `url`, `api_key`, `concurrency`, `timeout`, `side` are its options."""

    def __init__(self, options: Options, dialect: Dialect) -> None:
        self._url, self._key = text(options, "url"), text(options, "api_key")
        self.ahead = max(1, int(number(options, "concurrency", 1)))
        self.device = shown(self._url)
        self._dialect, self._manner = dialect, manner_of(options)
        self._seconds = number(options, "timeout", 120.0) * SHARE
        self._side = int(number(options, "side", SIDE))
        self._patience, self._blame = Patience(), Blame()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._hands = ThreadPoolExecutor(min(self.ahead, os.cpu_count() or 1), "decode")
        self._session: aiohttp.ClientSession | None = None
        self._loading: asyncio.Task[None] | None = None
        self._used_at = -math.inf

    def captions(self, source: Source) -> Iterator[tuple[int, Answer]]:
        """Each picture's answer as it comes."""
        loop = self._started()
        flying: dict[Future[Answer], int] = {}
        try:
            while True:
                room = self.ahead - len(flying)
                taken = source.take(room, wait=not flying) if room else ()
                if not taken and not flying:
                    return
                for picture in taken:
                    flying[asyncio.run_coroutine_threadsafe(self._caption(picture), loop)] = picture.id
                for future, id in flying.items():
                    if source.dropped(id):
                        future.cancel()
                for future in wait(flying, timeout=LOOK, return_when=FIRST_COMPLETED).done:
                    yield flying.pop(future), _answer(future)
        finally:
            for future in flying:
                future.cancel()

    def close(self) -> None:
        """Hang up."""
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._hang_up(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(10)
            loop.close()
        self._hands.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------ on the loop

    async def _caption(self, picture: Picture) -> Answer:
        loop = asyncio.get_running_loop()
        shot = await loop.run_in_executor(self._hands, shoot, picture.path, self._side, picture.quality)
        if isinstance(shot, str):
            return Answer(error=shot)
        client = self._client()
        async with self._blame.alone(picture.path):
            deadline = loop.time() + self._seconds
            try:
                await self._ready(client, deadline)
            except Trouble as trouble:
                return Answer(error=trouble.why, later=trouble.later)
            answer, why = await self._talk(client, picture, shot, deadline)
            if why is not None and answer.error:
                answer = self._blame.judge(picture.path, why)
            elif not answer.error:
                self._blame.answered(picture.path)
        return self._patience.judge(with_quality(answer, shot.quality))

    async def _talk(self, client: Client, picture: Picture, shot: Shot, deadline: float) -> tuple[Answer, Trouble | None]:
        """The answer, and the trouble that ended the talk before its time."""
        conversation, why = talk(picture, self._manner), None
        question = next(conversation)
        while True:
            reply = None
            try:
                reply = await self._dialect.ask(client, question, shot, deadline)
            except Trouble as trouble:
                why = trouble
            try:
                question = conversation.send(reply)
            except StopIteration as end:
                answer = end.value
                assert isinstance(answer, Answer)
                return answer, why

    async def _ready(self, client: Client, deadline: float) -> None:
        """Wait until the server has loaded what it needs; one request for all pictures. Raises Trouble."""
        now = asyncio.get_running_loop().time()
        if self._loading is None or (self._loading.done() and now - self._used_at > self._dialect.lasts):
            self._loading = asyncio.create_task(self._dialect.ready(client))
            self._loading.add_done_callback(lambda task: None if task.cancelled() else task.exception() and None)
        self._used_at = now
        loading = self._loading
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(loading)
        except TimeoutError:
            raise Trouble(f"{self.device} is still loading the model", BUSY) from None
        except Trouble:
            if self._loading is loading:
                self._loading = None
            raise

    def _client(self) -> Client:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=self.ahead + 2))
        return Client(self._session, self._url, self._key)

    async def _hang_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="captioner loop", daemon=True)
            self._thread.start()
        return self._loop


class Blame:
    """Whose fault a failure is that a server tells with a 500, with silence or by breaking off: its own, or this picture's.

    It is the picture's when it fails again after another one was answered in between; until then it stays queued. Pictures that
    failed so are asked about one at a time, or one of them that kills the server would take all that fly beside it along.
    """

    def __init__(self) -> None:
        self._answered = 0
        self._failed: dict[Path, int] = {}
        self._one = asyncio.Lock()

    def alone(self, path: Path) -> AbstractAsyncContextManager[object]:
        """While a picture is asked about."""
        return self._one if path in self._failed else nullcontext()

    def answered(self, path: Path) -> None:
        """This picture was."""
        self._answered += 1
        self._failed.pop(path, None)

    def judge(self, path: Path, trouble: Trouble) -> Answer:
        """The answer for a picture that came into trouble."""
        if not (trouble.late or trouble.broke or trouble.status in (500, 502, 504)):
            return Answer(error=trouble.why, later=trouble.later)
        before = self._failed.pop(path, None)
        if before is not None and self._answered > before:
            return Answer(error=f"{trouble.why}, twice for this picture alone")
        if len(self._failed) > 10_000:
            self._failed.clear()
        self._failed[path] = self._answered
        return Answer(error=trouble.why, later=trouble.later)


def _answer(future: Future[Answer]) -> Answer:
    try:
        return future.result()
    except CancelledError:
        return Answer(error="cancelled")
