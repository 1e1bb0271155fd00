"""civitai: asks CivitAI what it publishes about contents, by their SHA-256.

What must hold: nothing but digests and the token is sent, and to nobody but the configured host (a redirect elsewhere is an answer, not
a way on); the token reaches no log, reason or record; bodies are bounded and read within the time-out; every answer and every failure is
a value with its reason. The site documents no rate limit (https://developer.civitai.com/site/reference/model-versions), so requests
are few, apart from one another, and wait as long as they are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

import aiohttp
import orjson

from ..rules.civitai import Misfit, read_ids, read_version
from ..rules.terms import Published
from .webhook import shown

BODY = 4 << 20  # bytes of an answer at most: 10,000 ids are 1.2 MB, a version with all its pictures some 300 kB
TRIES = 3  # of one question, before it is left to the queue
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds between two tries
LONGEST_TOLD = 86_400.0  # seconds: a Retry-After beyond a day is taken for a day
REDIRECTS = 3
BY_HASH = "api/v1/model-versions/by-hash"
_ON = (301, 302, 303, 307, 308)
_AGAIN = (408, 425, 429, *range(500, 600))


class Trouble(StrEnum):
    """Why there is no answer."""

    REFUSED = "refused"  # 401, 403: a token is missing or wrong, or something in between lets nobody through
    LIMITED = "limited"  # 429
    BUSY = "busy"  # 5xx
    SILENT = "silent"  # nothing within the time-out
    UNREACHABLE = "unreachable"  # no name, no route, no TLS
    NOWHERE = "nowhere"  # 404 without JSON: the address is not CivitAI's
    LARGE = "large"  # an answer beyond the bound
    ODD = "odd"  # an answer that is no JSON, redirected elsewhere, or of a status that says nothing


@dataclass(frozen=True, slots=True)
class Failed:
    """A question without an answer. `passing`: asking later may help. `after` is how many seconds the site asks to wait."""

    trouble: Trouble
    reason: str
    passing: bool = True
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The site has no published file of that content."""


Answer = Published | Unknown | Misfit | Failed


@dataclass(frozen=True, slots=True)
class Site:
    """Where to ask, with which token ("" is none), and how many seconds one request may take."""

    url: str
    token: str = field(default="", repr=False)
    timeout: float = 20.0


@dataclass(slots=True)
class Time:
    """Clocks and chance, handed in by tests: monotonic and wall seconds, a pause, and a number from 0 to 1."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


class Pace:
    """At most so many requests at once, their beginnings so many seconds apart."""

    def __init__(self, parallel: int = 2, apart: float = 0.5, clock: Time | None = None) -> None:
        self._room, self._apart, self._time = asyncio.Semaphore(parallel), apart, clock or Time()
        self._next = 0.0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn, and hold the place."""
        async with self._room:
            now = self._time.monotonic()
            begin = max(now, self._next)
            self._next = begin + self._apart
            if begin > now:
                await self._time.pause(begin - now)
            yield


class Civitai:
    """Asks one site over one session. The session must not send headers or cookies of its own that are secret."""

    def __init__(self, session: aiohttp.ClientSession, site: Site, pace: Pace | None = None, clock: Time | None = None) -> None:
        self._session, self._site, self._time = session, site, clock or Time()
        self._pace = pace or Pace(clock=self._time)

    async def known(self, sha256s: Sequence[str]) -> frozenset[str] | Failed:
        """Which of these contents (1 to 10,000 of them, lower-case hex) the site knows: one request, `POST by-hash/ids`.

        A site that does not say which of them it knows leaves all of them to be asked for.
        """
        asked = frozenset(sha256s)
        found = await self._ask("POST", f"{BY_HASH}/ids", [text.upper() for text in sha256s])
        if isinstance(found, Unknown) or (isinstance(found, Failed) and found.trouble is Trouble.NOWHERE):
            return asked  # a site without this address, of an older version
        if isinstance(found, Failed):
            return found
        named = read_ids(found.value)
        return asked if named is None else named & asked

    async def version(self, sha256: str) -> Answer:
        """What the site publishes about one content: `GET by-hash/{sha256}`."""
        found = await self._ask("GET", f"{BY_HASH}/{sha256.upper()}")
        return read_version(found.value, sha256, self._site.url) if isinstance(found, _Body) else found

    # ------------------------------------------------------------ one question

    async def _ask(self, method: str, path: str, body: list[str] | None = None) -> _Body | Unknown | Failed:
        """One question, tried again while that may help and the wait is short."""
        for attempt in range(TRIES):
            async with self._pace.turn():
                found = await self._once(method, f"{self._site.url.rstrip('/')}/{path}", body)
            if not isinstance(found, Failed) or not found.passing or attempt == TRIES - 1:
                break
            wait = found.after if found.after is not None else self._backoff(attempt)
            if wait > LONGEST_WAIT:
                break
            await self._time.pause(wait)
        return found

    def _backoff(self, attempt: int) -> float:
        """Seconds before the next try: doubled each time, at least half of it, the rest by chance."""
        return min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt) * (0.5 + self._time.chance() / 2)

    async def _once(self, method: str, url: str, body: list[str] | None) -> _Body | Unknown | Failed:
        where = shown(url)
        try:
            async with asyncio.timeout(self._site.timeout):
                for _ in range(REDIRECTS):
                    found = await self._request(method, url, body)
                    if not isinstance(found, _Moved):
                        return found
                    if _origin(found.to) != _origin(url):
                        reason = f"{where} sends on to {shown(found.to)}, which is not asked: set `civitai.url` if that is right"
                        return Failed(Trouble.ODD, reason, passing=False)
                    url = found.to
            return Failed(Trouble.ODD, f"{where} sends on and on")
        except TimeoutError:
            return Failed(Trouble.SILENT, f"{where} did not answer within {self._site.timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a ValueError: an address or a redirect that is none
            return Failed(Trouble.UNREACHABLE, f"{where} cannot be asked: {type(error).__name__}")

    async def _request(self, method: str, url: str, body: list[str] | None) -> _Body | Unknown | Failed | _Moved:
        """One request. The answer is asked for unpacked, so that its bytes are its size."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._site.token:
            headers["Authorization"] = f"Bearer {self._site.token}"
        async with self._session.request(
            method, url, json=body, headers=headers, allow_redirects=False, auto_decompress=False
        ) as answer:
            where = shown(url)
            target = answer.headers.get("Location")
            if answer.status in _ON and target and (method == "GET" or answer.status in (307, 308)):
                return _Moved(urljoin(url, target))
            if answer.status == 200:
                return await self._body(answer, where)
            return self._refusal(answer, where)

    def _refusal(self, answer: aiohttp.ClientResponse, where: str) -> Unknown | Failed:
        status = answer.status
        if status == 404 and answer.content_type == "application/json":
            return Unknown()
        if status == 404:
            return Failed(Trouble.NOWHERE, f"{where} has no such address (404): is `civitai.url` right?", passing=False)
        if status in (401, 403):
            page = " with a web page" if answer.content_type == "text/html" else ""
            hint = "the token in `civitai.token` is not taken" if self._site.token else "set `civitai.token`"
            return Failed(Trouble.REFUSED, f"{where} refuses ({status}{page}): {hint}", passing=False)
        if status in _AGAIN:
            trouble = Trouble.LIMITED if status == 429 else Trouble.BUSY
            return Failed(trouble, f"{where} answered {status}", after=self._told(answer.headers.get("Retry-After", "")))
        return Failed(Trouble.ODD, f"{where} answered {status}", passing=False)

    def _told(self, text: str) -> float | None:
        """Retry-After (RFC 9110, 10.2.3) in seconds from now: a number of seconds, or a date. None when it says nothing."""
        if text.isascii() and text.isdigit():
            return min(float(text[:9]), LONGEST_TOLD)
        try:
            return min(max(0.0, parsedate_to_datetime(text).timestamp() - self._time.wall()), LONGEST_TOLD)
        except (ValueError, OverflowError):
            return None

    async def _body(self, answer: aiohttp.ClientResponse, where: str) -> _Body | Failed:
        """The JSON of an answer; a web page, half an answer or one that is too large is a failure."""
        too_large = Failed(Trouble.LARGE, f"{where} answered with more than {BODY >> 20} MiB", passing=False)
        if (answer.content_length or 0) > BODY:
            return too_large
        data = bytearray()
        async for chunk in answer.content.iter_chunked(1 << 16):
            data += chunk
            if len(data) > BODY:
                return too_large
        try:
            return _Body(orjson.loads(data))
        except orjson.JSONDecodeError:
            what = "a web page" if data.lstrip()[:1] == b"<" else "no whole JSON"
            return Failed(Trouble.ODD, f"{where} answered with {what}")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port. Raises ValueError for a port that is none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


@dataclass(frozen=True, slots=True)
class _Body:
    """The JSON of an answer."""

    value: object


@dataclass(frozen=True, slots=True)
class _Moved:
    """Where a request was redirected to."""

    to: str
