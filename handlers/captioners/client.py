"""How a captioner talks HTTP to the server that has its model: one place for bounds, retries, back-off and errors in words.

What must hold: an answer is bounded in bytes and time; redirects are not followed; a key never appears in an error; whatever goes wrong is
a Trouble that says whether the picture is to blame (`later` 0) or the service (`later` seconds: the picture stays queued).
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import aiohttp

from ..webhook import shown

BACKOFF = 0.5  # seconds before the first retry, doubled for each further one
TRIES = 3
LONGEST_WAIT = 10.0  # seconds of Retry-After that are waited for here; beyond them the picture goes back into the queue
BODY = 4 << 20  # bytes of an answer at most
LINE = 1 << 20  # bytes of one line of a stream
SAID = 4096  # bytes of an error's body that are read
DOWN, BUSY, SETUP = 30.0, 15.0, 300.0  # seconds until a service that is down, busy, or set up wrongly is asked again
T = TypeVar("T")


class Trouble(Exception):
    """No answer. `later` > 0: the service's fault, ask again after so many seconds; 0: this request can never be answered.

    `status` is the HTTP status, 0 when there was none; `late`: nothing came in time; `broke`: it began to answer and did not end, or
    what came is no answer; `pause`: seconds the service asks for.
    """

    def __init__(
        self, why: str, later: float = 0.0, status: int = 0, late: bool = False, broke: bool = False, pause: float = 0.0
    ) -> None:
        super().__init__(why)
        self.why, self.later, self.status, self.late, self.broke, self.pause = why, later, status, late, broke, pause


@dataclass(frozen=True, slots=True)
class Body:
    """What is posted: JSON, or bytes of a type."""

    json: Mapping[str, object] | None = None
    data: bytes | None = None
    type: str = "image/jpeg"


class Client:
    """Requests to one server with one session. Used on the loop of that session only."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str = "") -> None:
        self.session, self.url, self._key = session, url.rstrip("/"), key

    async def get(self, path: str, seconds: float) -> object:
        """The JSON at a path, asked for once. Raises Trouble."""
        return await self._once("GET", path, None, asyncio.get_running_loop().time() + seconds, _json)

    async def post(self, path: str, body: Body, deadline: float, read: Callable[[aiohttp.ClientResponse], Awaitable[T]]) -> T:
        """POST and read the answer, retried with back-off while the service is down or busy. `deadline` by the loop's clock.

        Raises Trouble.
        """
        loop, wait = asyncio.get_running_loop(), BACKOFF
        for attempt in range(TRIES):
            try:
                return await self._once("POST", path, body, deadline, read)
            except Trouble as trouble:
                pause = max(wait, trouble.pause)
                final = attempt + 1 == TRIES or trouble.later <= 0 or trouble.later >= SETUP or trouble.late
                if final or pause > LONGEST_WAIT or loop.time() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)
            wait *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self, verb: str, path: str, body: Body | None, deadline: float, read: Callable[[aiohttp.ClientResponse], Awaitable[T]]
    ) -> T:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        data: bytes | None = None
        if body is not None:
            data = body.data if body.json is None else json.dumps(body.json).encode("ascii")
            headers["Content-Type"] = body.type if body.json is None else "application/json"
        none = aiohttp.ClientTimeout(total=None, sock_connect=10.0)  # the deadline is what bounds it
        try:
            async with (
                asyncio.timeout_at(deadline),
                self.session.request(
                    verb, self.url + path, data=data, headers=headers, timeout=none, allow_redirects=False
                ) as answer,
            ):
                if not 200 <= answer.status < 300:
                    raise self._refused(answer.status, await _said(answer), answer.headers.get("Retry-After", ""))
                return await read(answer)
        except TimeoutError:
            raise Trouble(f"{shown(self.url)} did not answer in time", DOWN, late=True) from None
        except aiohttp.ClientConnectorError as error:
            raise Trouble(f"{shown(self.url)}: {reason(error.os_error)}", DOWN) from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise Trouble(f"{shown(self.url)} is no address that can be asked", SETUP) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = self._clean(str(error)) or type(error).__name__
            raise Trouble(f"{shown(self.url)} broke off: {why}", DOWN, broke=True) from None

    def trouble(self, said: str, status: int = 200) -> Trouble:
        """What an error means that came with a good status, in the middle of a stream."""
        return self._refused(status, said, "")

    def _refused(self, status: int, said: str, retry_after: str) -> Trouble:
        """What a refusal means for the picture and for the queue."""
        words = self._clean(error_text(said)).removeprefix(f"{status}: ")
        why = f"{shown(self.url)} answered {status}" + (f": {words}" if words else "")
        if status in (401, 403):
            return Trouble(f"{why}: set `api_key`" if not self._key else why, SETUP, status)
        if status in (429, 503):
            pause = _seconds(retry_after) or loading(said)
            return Trouble(why, pause or BUSY, status, pause=pause)
        if status == 404 or 300 <= status < 400 or _BLIND.search(words):
            return Trouble(why, SETUP, status)
        if status == 408 or status >= 500 or (status == 200 and _BUSY.search(words)):
            return Trouble(why, BUSY, status)
        return Trouble(why, 0.0, status)

    def _clean(self, text: str) -> str:
        """One short line; the key never in it."""
        bare = text.replace(self._key, "***") if self._key else text
        return " ".join("".join(c for c in bare if c.isprintable() or c.isspace()).split())[:200]


_BLIND = re.compile(
    r"(?:do|does)(?: not|n't) support (?:image|vision|multimodal)|not a (?:multimodal|vision)|mmproj|no vision", re.I
)
_BUSY = re.compile(r"busy|overload|out of memory|loading|unload|terminated|no longer running|resource|try again", re.I)


def error_text(body: str) -> str:
    """The sentence of an error's body: {"error": "…"}, {"error": {"message": "…"}}, {"detail": …}, or the text itself."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return body
    for _ in range(3):
        if isinstance(found, dict):
            found = next((found[k] for k in ("error", "message", "detail", "msg") if k in found), "")
        elif isinstance(found, list) and found:
            found = found[0]
    return found if isinstance(found, str) else ""


def loading(body: str) -> float:
    """Seconds until a model is loaded, as inference servers tell in `estimated_time`; 0 when they do not."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return 0.0
    told = found.get("estimated_time") if isinstance(found, dict) else None
    return float(min(600, max(1, told))) if isinstance(told, (int, float)) and told == told else 0.0


def _seconds(retry_after: str) -> float:
    """Retry-After in seconds (RFC 9110, 10.2.3); its date form, which these servers do not use, counts as not said."""
    return min(3600.0, float(retry_after)) if retry_after.isascii() and retry_after.strip().isdigit() else 0.0


def reason(error: OSError) -> str:
    """Why nobody could be reached, in a few words: connection refused, no route to host."""
    said = (error.strerror or str(error) or type(error).__name__).split("[")[0].strip().lower()
    if error.errno in errno.errorcode and "call failed" in said:  # asyncio's own words, with the address once more
        said = os.strerror(error.errno or 0).lower()
    return said or "cannot be reached"


async def _json(answer: aiohttp.ClientResponse) -> object:
    return parsed(await whole(answer))


async def whole(answer: aiohttp.ClientResponse) -> bytes:
    """The body of an answer. Raises ValueError when it is longer than BODY bytes."""
    found = bytearray()
    async for chunk in answer.content.iter_any():
        found += chunk
        if len(found) > BODY:
            raise ValueError("its answer is too long")
    return bytes(found)


async def lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of an answer as they come. Raises ValueError when one, or all, are longer than LINE or BODY bytes."""
    rest, total = b"", 0
    async for chunk in answer.content.iter_any():
        total += len(chunk)
        *done, rest = (rest + chunk).split(b"\n")
        for line in done:
            if line.strip():
                yield line.strip()
        if len(rest) > LINE or total > 4 * BODY:
            raise ValueError("its answer is too long")
    if rest.strip():
        yield rest.strip()


async def _said(answer: aiohttp.ClientResponse) -> str:
    return (await answer.content.read(SAID)).decode("utf-8", "replace")


def parsed(data: bytes) -> object:
    """The JSON of some bytes. Raises ValueError when it is none."""
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("its answer is no JSON") from None
    return found


def dig(value: object, *keys: str | int) -> object:
    """value[k1][k2]… of parsed JSON; None where it is not there."""
    for key in keys:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
            value = value[key]
        else:
            return None
    return value
