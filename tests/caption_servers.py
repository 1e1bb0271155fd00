"""A caption server for tests: a real HTTP server on loopback, on a thread of its own, that says what a test scripts.

Each request is kept with its path, headers and body; how many are open at once is counted. A script is a list of steps, one a request,
whose last goes on for ever; a step is a function of the server and the request that answers.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import web

Step = Callable[[web.Request], Awaitable[web.StreamResponse]]
CAPTION = "A red paper lantern hangs over a wet street at night."
SCORES = {"sharpness": 0.8, "clarity": 0.7, "composition": 0.6, "exposure": 0.5, "overall": 0.7}
GOOD = json.dumps({"caption": CAPTION, "quality": SCORES, "flags": ["low light"]})


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.data)


@dataclass
class CaptionServer:
    """`with CaptionServer({"/v1/chat/completions": [step, …]}) as server`: paths and their scripts."""

    scripts: dict[str, Sequence[Step]]
    asked: list[Asked] = field(default_factory=list)
    now: int = 0  # requests that are open
    most: int = 0  # open at once, ever
    url: str = ""

    def of(self, path: str) -> list[Asked]:
        """The requests to a path."""
        return [asked for asked in self.asked if asked.path == path]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        script = self.scripts.get(request.path)
        before = len(self.of(request.path))
        self.asked.append(Asked(request.method, request.path, dict(request.headers), data))
        if not script:
            return web.json_response({"error": "not found"}, status=404)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await script[min(before, len(script) - 1)](request)
        finally:
            self.now -= 1

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    async def _open(self) -> None:
        app = web.Application(client_max_size=32 << 20)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


# ---------------------------------------------------------------- steps


def says(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Step:
    """Answer JSON."""

    async def step(request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return step


def text(body: str, status: int = 200, kind: str = "text/plain") -> Step:
    """Answer a text."""

    async def step(request: web.Request) -> web.StreamResponse:
        return web.Response(text=body, status=status, content_type=kind)

    return step


def hangs(forever: asyncio.Event | None = None) -> Step:
    """Never answer; ends when the client goes away."""

    async def step(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("never")

    return step


def streams(parts: Sequence[bytes], kind: str, ends: bool = True) -> Step:
    """Answer in pieces; not `ends`: break off behind the last."""

    async def step(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0)
        if not ends:
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write_eof()
        return response

    return step


def pieces(whole: str, size: int = 7) -> list[str]:
    """A text in pieces, as tokens come."""
    return [whole[n : n + size] for n in range(0, len(whole), size)]


def openai(reply: str, finish: str = "stop", reasoning: str = "") -> Step:
    """A streamed chat completion."""
    events = [{"choices": [{"delta": {"role": "assistant", "content": None}}]}]
    events += [{"choices": [{"delta": {"reasoning_content": part}}]} for part in pieces(reasoning)]
    events += [{"choices": [{"delta": {"content": part}}]} for part in pieces(reply)]
    events += [{"choices": [{"delta": {}, "finish_reason": finish}]}, {"choices": [], "usage": {"completion_tokens": 9}}]
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    return streams([b": ping\n\n", *lines, b"data: [DONE]\n\n"], "text/event-stream")


def ollama(reply: str, reason: str = "stop", thinking: str = "") -> Step:
    """A streamed chat of Ollama."""
    events: list[dict] = [
        {"message": {"role": "assistant", "content": "", "thinking": part}, "done": False} for part in pieces(thinking)
    ]
    events += [{"message": {"role": "assistant", "content": part}, "done": False} for part in pieces(reply)]
    events += [{"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": reason}]
    return ndjson(*events)


def ndjson(*events: object) -> Step:
    """Lines of JSON."""
    return streams([json.dumps(event).encode() + b"\n" for event in events], "application/x-ndjson")
