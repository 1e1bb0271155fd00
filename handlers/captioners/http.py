"""http: older caption servers, which take a picture and give a text: no JSON, no scores.

`api: bytes`   POST the JPEG's bytes; the answer is [{"generated_text": …}] (BLIP-2 behind an inference API), or a plain text
`api: base64`  POST {"image": base64, "prompt": …}; the answer is an object with a text, or a plain text
`api: llava`   POST {url}/worker_generate_stream, the worker of LLaVA: objects with the whole text so far, a zero byte between them
What must hold: a 503 that tells when the model will be loaded is waited for; an answer without a text is a failure.
Source: huggingface.co/docs/api-inference (image-to-text), github.com/haotian-liu/LLaVA llava/serve/model_worker.py.
"""

from __future__ import annotations

import math

import aiohttp

from .client import SETUP, Body, Client, Trouble, dig, parsed, whole
from .options import Options, text
from .picture_bytes import Shot
from .prompts import Question
from .served import Served
from .talk import Reply

APIS = ("bytes", "base64", "llava")
NAMES = ("generated_text", "caption", "text", "response", "content", "answer", "output", "description")


class Http(Served):
    """engine: http."""

    def __init__(self, options: Options) -> None:
        super().__init__({**options, "structured": False}, HttpDialect(options))


class HttpDialect:
    """A plain POST."""

    lasts = math.inf

    def __init__(self, options: Options) -> None:
        self._api, self.model = text(options, "api", APIS[0]), text(options, "model")

    async def ready(self, client: Client) -> None:
        """Nothing can be asked for."""

    async def models(self, client: Client, seconds: float) -> list[str]:
        """None are told."""
        return [self.model] if self.model else []

    async def ask(self, client: Client, question: Question, shot: Shot, deadline: float) -> Reply:
        """Post it."""
        if self._api == "bytes":
            return await client.post("", Body(data=shot.jpeg), deadline, _read)
        if self._api == "base64":
            return await client.post("", Body({"image": shot.base64, "prompt": question.text}), deadline, _read)
        body = {
            "model": self.model,
            "prompt": f"USER: <image>\n{question.text} ASSISTANT:",
            "temperature": question.temperature,
            "max_new_tokens": question.tokens,
            "stop": "</s>",
            "images": [shot.base64],
        }
        return await client.post("/worker_generate_stream", Body(body), deadline, lambda answer: _llava(client, body, answer))


async def _read(answer: aiohttp.ClientResponse) -> Reply:
    data = await whole(answer)
    if "json" not in answer.content_type and not data.lstrip().startswith((b"{", b"[")):
        if answer.content_type == "text/html":
            raise Trouble("the address answers a web page: is it the one that takes pictures?", SETUP)
        return Reply(data.decode("utf-8", "replace"))
    return Reply(_found(parsed(data)))


def _found(value: object, depth: int = 0) -> str:
    """The text of an answer, wherever it stands."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return next((found for part in value if (found := _found(part, depth + 1))), "") if depth < 3 else ""
    if isinstance(value, dict) and depth < 3:
        named = next((found for name in NAMES if name in value and (found := _found(value[name], depth + 1))), "")
        return named or _found(value.get("choices") or value.get("data") or value.get("result") or [], depth + 1)
    return ""


async def _llava(client: Client, body: dict[str, object], answer: aiohttp.ClientResponse) -> Reply:
    """The last of the objects; each has the prompt and all of the text so far."""
    parts = [part for part in (await whole(answer)).split(b"\0") if part.strip()]
    if not parts:
        raise ValueError("it answered nothing")
    last = parsed(parts[-1])
    code, said = dig(last, "error_code"), dig(last, "text")
    if isinstance(code, int) and code:
        raise client.trouble(said if isinstance(said, str) else "an error")
    told = said if isinstance(said, str) else ""
    return Reply(told.removeprefix(str(body["prompt"]).replace("<image>", " ")).removeprefix(str(body["prompt"])))
