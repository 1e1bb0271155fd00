"""ollama: a model that Ollama serves. Its own API, because only there are pictures, schemas, context and unloading all said plainly.

POST /api/chat (streamed JSON lines), /api/show, /api/generate without a prompt (loads a model), /api/tags, /api/pull.
What must hold: the context is asked for (Ollama's own 4096 cuts a picture and its question short); thinking is off; an `error` line counts
although the status was 200; what a model is loaded for `keep_alive` is this captioner's `idle_unload`, so that its memory comes back.
Source: github.com/ollama/ollama docs/api.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import aiohttp

from . import news
from .client import BUSY, SETUP, Body, Client, Trouble, dig, lines, parsed
from .loops import loop_start
from .openai import STALLS
from .options import Options, flag, number, text
from .picture_bytes import Shot
from .prompts import SCHEMA, Question
from .served import Served
from .talk import Reply

URL = "http://127.0.0.1:11434"
CONTEXT = 8192  # tokens: a picture of 1024 pixels, the question and the answer, with room
LOADING = 900.0  # seconds a model may take to load from a slow disk
PULLING = 24 * 3600.0
LOOK = 48  # lines of a stream between two looks for a circle
FORMS = ("schema", "json", "text")


class Ollama(Served):
    """engine: ollama."""

    def __init__(self, options: Options) -> None:
        super().__init__({**options, "url": text(options, "url", URL)}, OllamaDialect(options))


@dataclass(frozen=True, slots=True)
class Pulled:
    """How far a download is: what Ollama says of it, and bytes over all its parts. `total` 0: not known yet."""

    status: str
    done: int
    total: int


class OllamaDialect:
    """Ollama's API."""

    def __init__(self, options: Options) -> None:
        self.model, self._system = text(options, "model"), text(options, "system")
        self._context = int(number(options, "context", CONTEXT))
        keep = options.get("keep_alive")
        self.lasts = float(keep) if isinstance(keep, (int, float)) else number(options, "idle_unload", 300.0)
        self._pull = flag(options, "pull") is True
        self._form, self._stalls, self._think = FORMS[0], 0, True

    async def models(self, client: Client, seconds: float) -> list[str]:
        """GET /api/tags."""
        found = dig(await client.get("/api/tags", seconds), "models")
        names = [dig(entry, "name") for entry in found] if isinstance(found, list) else []
        return [name for name in names if isinstance(name, str)]

    async def ready(self, client: Client) -> None:
        """The model is there (pulled, if that is allowed), sees pictures, and is loaded."""
        loop = asyncio.get_running_loop()
        try:
            found = await client.post("/api/show", Body({"model": self.model}), loop.time() + 30, _first)
        except Trouble as trouble:
            if trouble.status != 404:
                raise
            if not self._pull:
                why = f"the model {self.model} is not there: `dropdock captioners pull NAME` fetches it, or set `pull: true`"
                raise Trouble(why, SETUP, 404) from None
            async for pulled in self.pull(client):
                news.tell(f"pulling {self.model}: {_share(pulled)}")
            found = await client.post("/api/show", Body({"model": self.model}), loop.time() + 30, _first)
        able = dig(found, "capabilities")
        if isinstance(able, list) and able and "vision" not in able:
            raise Trouble(f"the model {self.model} cannot see pictures: choose one with vision", SETUP)
        await self._load(client)

    async def _load(self, client: Client) -> None:
        news.tell(f"loading {self.model}")
        body = Body({"model": self.model, "keep_alive": self._keep, "stream": False, "options": {"num_ctx": self._context}})
        asked = asyncio.create_task(client.post("/api/generate", body, asyncio.get_running_loop().time() + LOADING, _first))
        try:
            while not (await asyncio.wait((asked,), timeout=20.0))[0]:
                news.tell(f"loading {self.model}")
            await asked
        finally:
            asked.cancel()

    @property
    def _keep(self) -> str:
        return f"{max(0, int(self.lasts))}s"

    async def ask(self, client: Client, question: Question, shot: Shot, deadline: float) -> Reply:
        """Ask; JSON by the schema, else by the word json, else in words alone; what worked is remembered."""
        form, first = (self._form if question.json else "text"), None
        loop = asyncio.get_running_loop()
        while True:
            until = deadline if form == "text" else loop.time() + (deadline - loop.time()) * 0.55
            try:
                body = Body(self._request(question, shot, form))
                reply = await client.post("/api/chat", body, until, lambda answer: _read(client, answer))
            except Trouble as trouble:
                first = first or trouble
                if self._think and trouble.status == 400 and "think" in trouble.why:
                    self._think = False
                elif trouble.late and form != "text":  # a schema can stall a model for good (ollama issue 8296)
                    self._stalls += 1
                    form = "text"
                elif trouble.status in (400, 500) and form != "text":
                    form = FORMS[FORMS.index(form) + 1]
                else:
                    raise first if trouble.status == first.status else trouble from None
                continue
            if question.json and first is not None and (not first.late or self._stalls >= STALLS):
                self._form = form
            return reply

    def _request(self, question: Question, shot: Shot, form: str) -> dict[str, object]:
        options: dict[str, object] = {
            "num_predict": question.tokens,
            "num_ctx": self._context,
            "temperature": question.temperature,
        }
        if question.penalty > 1:
            options["repeat_penalty"] = round(question.penalty, 2)
        if question.seed is not None:
            options["seed"] = question.seed
        system = [{"role": "system", "content": self._system}] if self._system else []
        request: dict[str, object] = {
            "model": self.model,
            "messages": [*system, {"role": "user", "content": question.text, "images": [shot.base64]}],
            "stream": True,
            "keep_alive": self._keep,
            "options": options,
        }
        if self._think:
            request["think"] = False
        if form != "text":
            request["format"] = SCHEMA if form == "schema" else "json"
        return request

    async def pull(self, client: Client) -> AsyncGenerator[Pulled, None]:
        """Have Ollama fetch the model; how far it is, as it goes. Leaving stops it, and the next pull goes on there. Raises Trouble."""
        queue: asyncio.Queue[Pulled | None] = asyncio.Queue()

        async def read(answer: aiohttp.ClientResponse) -> None:
            parts: dict[str, tuple[int, int]] = {}
            status = ""
            async for line in lines(answer):
                status = _pulled(client, parsed(line), parts)
                queue.put_nowait(Pulled(status, sum(d for d, _ in parts.values()), sum(t for _, t in parts.values())))
            if status != "success":
                raise ValueError("the download ended before its end")

        deadline = asyncio.get_running_loop().time() + PULLING
        asked = asyncio.create_task(client.post("/api/pull", Body({"model": self.model, "stream": True}), deadline, read))
        asked.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (pulled := await queue.get()) is not None:
                yield pulled
            await asked
        finally:
            asked.cancel()


def _pulled(client: Client, event: object, parts: dict[str, tuple[int, int]]) -> str:
    """Take one line of a pull into `parts` (digest -> bytes done, bytes in all); its status. Raises Trouble for an error line."""
    if not isinstance(event, dict):
        raise ValueError("its answer is no object")
    if event.get("error"):
        raise client.trouble(str(event["error"]))
    digest, total, done = (event.get(name) for name in ("digest", "total", "completed"))
    if isinstance(digest, str):
        known = parts.get(digest, (0, 0))
        all_of_it = total if isinstance(total, int) and total >= 0 else known[1]
        parts[digest] = (min(done, all_of_it) if isinstance(done, int) and done >= 0 else known[0], all_of_it)
    return str(event.get("status") or "")


def _share(pulled: Pulled) -> str:
    return f"{pulled.done * 100 // pulled.total} %" if pulled.total else pulled.status


async def _first(answer: aiohttp.ClientResponse) -> Mapping[str, object]:
    """The object of an answer."""
    found = parsed(b"".join([line async for line in lines(answer)]))
    return found if isinstance(found, dict) else {}


async def _read(client: Client, answer: aiohttp.ClientResponse) -> Reply:
    """The reply of a stream of lines. Raises Trouble for an error line, ValueError when it ends in the middle."""
    said, thought, count = list[str](), list[str](), 0
    async for line in lines(answer):
        event = parsed(line)
        if isinstance(event, dict) and event.get("error"):
            raise client.trouble(line.decode("utf-8", "replace"))
        for name, into in (("content", said), ("thinking", thought)):
            piece = dig(event, "message", name)
            into.append(piece if isinstance(piece, str) else "")
        if dig(event, "done") is True:
            if dig(event, "done_reason") == "load":  # it was only loaded: there was nothing to say
                raise Trouble("the model was still loading", BUSY)
            whole = "".join(said)
            return Reply(
                whole if whole.strip() or not any(thought) else "<think>" + "".join(thought),
                dig(event, "done_reason") == "length",
            )
        count += 1
        if count % LOOK == 0 and loop_start("".join(said)) is not None:
            return Reply("".join(said), cut=True)  # leaving closes the connection, which stops the model
    raise ValueError("its stream ended in the middle")
