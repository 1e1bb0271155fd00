"""openai: any server that speaks OpenAI's chat completions: vLLM, LM Studio, llama-server, OpenAI itself, and many more.

POST {url}/chat/completions with the picture as a data: URL, the answer streamed as server-sent events (or whole, where a server does not
stream). What must hold: what a server does not take is found out once and left out from then on: JSON is asked for as json_schema, else
json_object, else in words alone; the switch that turns thinking off, seeds and penalties go where they are refused.
Source: platform.openai.com/docs/api-reference/chat, docs.vllm.ai (structured outputs, chat_template_kwargs), lmstudio.ai/docs.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from .client import SETUP, Body, Client, Trouble, dig, lines, parsed, whole
from .loops import loop_start
from .options import Options, text
from .picture_bytes import Shot
from .prompts import SCHEMA, Question
from .served import Served
from .talk import Reply

FORMS = ("json_schema", "json_object", "text")  # of an answer, the best first
EXTRAS = ("chat_template_kwargs", "frequency_penalty", "seed", "stream")  # that some servers refuse, the likeliest first
LOOK = 48  # pieces of a stream between two looks for a circle
STALLS = 2  # time-outs with a form of JSON after which it is no longer asked for


@dataclass(slots=True)
class Accepts:
    """What a server was found to take."""

    form: str = FORMS[0]
    without: set[str] = field(default_factory=set)  # of EXTRAS
    limit: str = "max_tokens"
    stalls: int = 0


class OpenAI(Served):
    """engine: openai."""

    def __init__(self, options: Options) -> None:
        super().__init__({**options, "url": base_url(text(options, "url"))}, OpenAIDialect(options))


def base_url(url: str) -> str:
    """The address requests go below: /v1 is added where only a host is named."""
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1"


class OpenAIDialect:
    """Chat completions."""

    lasts = math.inf

    def __init__(self, options: Options) -> None:
        self.model, self._system = text(options, "model"), text(options, "system")
        self.accepts = Accepts()

    async def ready(self, client: Client) -> None:
        """Without a configured model, the first one that the server offers."""
        if not self.model:
            offered = await self.models(client, 30.0)
            if not offered:
                raise Trouble("the server offers no model: load one there, or set `model`", SETUP)
            self.model = offered[0]

    async def models(self, client: Client, seconds: float) -> list[str]:
        """GET /models."""
        found = dig(await client.get("/models", seconds), "data")
        names = [dig(entry, "id") for entry in found] if isinstance(found, list) else []
        return [name for name in names if isinstance(name, str)]

    async def ask(self, client: Client, question: Question, shot: Shot, deadline: float) -> Reply:
        """Ask; what the server refuses is left out, and remembered once it then answers."""
        form = self.accepts.form if question.json else "text"
        without, limit, first = set(self.accepts.without), self.accepts.limit, None
        while True:
            until = _half(deadline) if form != "text" else deadline
            request = self._request(question, shot, form, without, limit)
            try:
                reply = await client.post("/chat/completions", Body(request), until, lambda answer: read(client, answer))
            except Trouble as trouble:
                first = first or trouble
                if trouble.late and form != "text":  # a grammar can stall a model for good (ollama issue 8296)
                    self.accepts.stalls += 1
                    form = "text"
                elif trouble.status not in (400, 422, 500, 501):
                    raise
                elif "max_completion_tokens" in trouble.why and limit == "max_tokens":
                    limit = "max_completion_tokens"
                elif (named := _named(trouble.why, request)) is not None:
                    without.add(named)
                elif form != "text":
                    form = FORMS[FORMS.index(form) + 1]
                elif trouble.status != 500 and (left := _left(request, without)) is not None:
                    without.add(left)
                else:
                    raise first from None
                continue
            self._remember(form if question.json else None, without, limit, first)
            return reply

    def _remember(self, form: str | None, without: set[str], limit: str, first: Trouble | None) -> None:
        if first is None:
            return
        self.accepts.without, self.accepts.limit = without, limit
        if form is not None and (not first.late or self.accepts.stalls >= STALLS):
            self.accepts.form = form

    def _request(self, question: Question, shot: Shot, form: str, without: set[str], limit: str) -> dict[str, object]:
        content = [{"type": "image_url", "image_url": {"url": shot.data_url}}, {"type": "text", "text": question.text}]
        system = [{"role": "system", "content": self._system}] if self._system else []
        request: dict[str, object] = {
            "model": self.model,
            "messages": [*system, {"role": "user", "content": content}],
            limit: question.tokens,
            "temperature": question.temperature,
            "stream": True,
            "chat_template_kwargs": {"enable_thinking": False},
        }
        if question.seed is not None:
            request["seed"] = question.seed
        if question.penalty > 1:
            request["frequency_penalty"] = round(min(2.0, (question.penalty - 1) * 2.5), 2)
        if form == "json_schema":
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "caption", "strict": True, "schema": SCHEMA},
            }
        elif form == "json_object":
            request["response_format"] = {"type": "json_object"}
        return {name: value for name, value in request.items() if name not in without}


def _half(deadline: float) -> float:
    now = asyncio.get_running_loop().time()
    return now + (deadline - now) * 0.55


def _named(why: str, request: dict[str, object]) -> str | None:
    """The extra that an error complains of by its name."""
    return next((name for name in EXTRAS if name in request and name in why), None)


def _left(request: dict[str, object], without: set[str]) -> str | None:
    """The next extra to try without; streams are what is given up last."""
    return next((name for name in EXTRAS if name in request and name not in without), None)


async def read(client: Client, answer: aiohttp.ClientResponse) -> Reply:
    """The reply of an answer, streamed or whole. Raises Trouble for an error in it, ValueError for what is no such answer."""
    if answer.content_type != "text/event-stream":
        return _whole(client, parsed(await whole(answer)))
    said, thought, ended, pieces = list[str](), list[str](), "", 0
    async for line in lines(answer):
        if not line.startswith(b"data:"):
            if line.startswith(b"{"):  # an error that was not wrapped
                raise client.trouble(line.decode("utf-8", "replace"))
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return _reply(said, thought, ended == "length")
        event = parsed(data)
        if isinstance(event, dict) and event.get("error"):
            raise client.trouble(data.decode("utf-8", "replace"))
        choice = dig(event, "choices", 0)
        said.append(_text(dig(choice, "delta", "content")))
        thought.append(_text(dig(choice, "delta", "reasoning_content")) or _text(dig(choice, "delta", "reasoning")))
        ended = _text(dig(choice, "finish_reason")) or ended
        pieces += 1
        if pieces % LOOK == 0 and loop_start("".join(said)) is not None:
            return Reply("".join(said), cut=True)  # leaving closes the connection, which stops the server
    if not ended:
        raise ValueError("its stream ended in the middle")
    return _reply(said, thought, ended == "length")


def _whole(client: Client, found: object) -> Reply:
    if isinstance(found, dict) and found.get("error"):
        raise client.trouble(str(dig(found, "error", "message") or found["error"]))
    choice = dig(found, "choices", 0)
    if not isinstance(dig(choice, "message"), dict):
        raise ValueError("its answer has no message")
    thought = _text(dig(choice, "message", "reasoning_content")) or _text(dig(choice, "message", "reasoning"))
    return _reply([_text(dig(choice, "message", "content"))], [thought], dig(choice, "finish_reason") == "length")


def _reply(said: list[str], thought: list[str], cut: bool) -> Reply:
    """A reply that is all thought is told as a thought that was never closed: the object may be in it."""
    text = "".join(said)
    if not text.strip() and any(thought):
        text = "<think>" + "".join(thought)
    return Reply(text, cut)


def _text(value: object) -> str:
    """A content: a text, or parts with a text each."""
    parts = [dig(part, "text") for part in value] if isinstance(value, list) else [value]
    return "".join(part for part in parts if isinstance(part, str))
