"""The CivitAI client against a server on loopback that answers as the real one does, well and ill."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from civitai_site import CivitaiSite, moved, never, page, status, text, version
from dropdock.handlers.civitai import BODY, FIRST_WAIT, LONGEST_TOLD, TRIES, Civitai, Failed, Pace, Site, Time, Trouble, Unknown
from dropdock.rules.civitai import Misfit
from dropdock.rules.terms import Published

A, B = "ab" * 32, "cd" * 32
TOKEN = "t0ken-of-mine"


@dataclass
class Clock:
    """Time that passes only by pausing."""

    at: float = 1_700_000_000.0
    paused: list[float] = field(default_factory=list)

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.at += seconds

    def time(self) -> Time:
        return Time(lambda: self.at, lambda: self.at, self.pause, lambda: 1.0)


@pytest.fixture
def site() -> CivitaiSite:
    return CivitaiSite({A: version(A, "Illustrious")})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(site: CivitaiSite) -> AsyncIterator[TestServer]:
    async with TestServer(site.app()) as server:
        yield server


@pytest.fixture
async def civitai(server: TestServer, clock: Clock) -> AsyncIterator[Civitai]:
    async with aiohttp.ClientSession() as session:
        yield asker(session, server, clock)


def asker(session: aiohttp.ClientSession, server: TestServer, clock: Clock, timeout: float = 20.0) -> Civitai:
    time = clock.time()
    return Civitai(session, Site(str(server.make_url("")), TOKEN, timeout), Pace(apart=0, clock=time), time)


async def test_many_are_asked_for_at_once_and_one_by_one(civitai: Civitai, site: CivitaiSite, clock: Clock) -> None:
    """One request says which are known; one more says what is published of it; the token goes as Bearer."""
    assert await civitai.known([A, B]) == {A}
    found = await civitai.version(A)
    assert isinstance(found, Published)
    assert (found.base, found.words, found.model, found.version) == ("Illustrious", ("blue hat",), 101, 100)
    assert found.page.endswith("/models/101?modelVersionId=100")
    assert site.asked == ["POST ids 2", f"GET {A.upper()}"]
    assert site.tokens == [f"Bearer {TOKEN}"] * 2 and clock.paused == []


async def test_unknown_is_an_answer(civitai: Civitai) -> None:
    """A 404 of the site's own is no failure."""
    assert await civitai.version(B) == Unknown()


async def test_without_a_token_none_is_sent(server: TestServer, site: CivitaiSite) -> None:
    """No Authorization header at all."""
    async with aiohttp.ClientSession() as session:
        assert isinstance(await Civitai(session, Site(str(server.make_url("")))).version(A), Published)
    assert site.tokens == [None]


@pytest.mark.parametrize(("code", "html"), [(401, True), (401, False), (403, True), (403, False)])
async def test_a_refusal_is_final_and_says_what_to_do(civitai: Civitai, site: CivitaiSite, code: int, html: bool) -> None:
    """401 and 403, as JSON or as a page: asked once, no token in the reason."""
    site.always(page(code) if html else status(code))
    found = await civitai.version(A)
    assert isinstance(found, Failed) and (found.trouble, found.passing) == (Trouble.REFUSED, False)
    assert str(code) in found.reason and "civitai.token" in found.reason and TOKEN not in found.reason and len(site.asked) == 1
    assert ("web page" in found.reason) is html


async def test_too_many_then_an_answer(civitai: Civitai, site: CivitaiSite, clock: Clock) -> None:
    """429 with Retry-After: waited for exactly so long, and asked again."""
    site.scripts = [status(429, **{"Retry-After": "7"})]
    assert isinstance(await civitai.version(A), Published) and clock.paused == [7.0]


async def test_a_date_to_wait_for(civitai: Civitai, site: CivitaiSite, clock: Clock) -> None:
    """Retry-After may be a date."""
    site.scripts = [status(429, **{"Retry-After": format_datetime(datetime.fromtimestamp(clock.at + 9, UTC), usegmt=True)})]
    assert isinstance(await civitai.version(A), Published) and clock.paused == [9.0]


@pytest.mark.parametrize(("told", "after"), [("3600", 3600.0), ("9" * 30, LONGEST_TOLD), ("soon", None), ("-5", None)])
async def test_a_long_wait_is_left_to_the_queue(
    civitai: Civitai, site: CivitaiSite, clock: Clock, told: str, after: float | None
) -> None:
    """An hour is not waited for here; a hostile number is a day; a word is nothing."""
    site.always(status(429, **{"Retry-After": told}))
    found = await civitai.version(A)
    assert isinstance(found, Failed) and (found.trouble, found.after, found.passing) == (Trouble.LIMITED, after, True)
    assert len(site.asked) == (1 if after else TRIES) and max(clock.paused, default=0) <= 30


async def test_a_server_in_trouble_is_asked_again_with_longer_waits(civitai: Civitai, site: CivitaiSite, clock: Clock) -> None:
    """Two 500s, then the answer; the waits double. One more and the queue has it."""
    site.scripts = [status(500), page(503)]
    assert isinstance(await civitai.version(A), Published) and clock.paused == [FIRST_WAIT, 2 * FIRST_WAIT]
    site.always(status(502))
    found = await civitai.known([A])
    assert isinstance(found, Failed) and (found.trouble, found.passing) == (Trouble.BUSY, True)


async def test_waits_are_scattered(server: TestServer, site: CivitaiSite, clock: Clock) -> None:
    """Chance halves a wait at most, so that many machines do not come back together."""
    site.scripts = [status(500)]
    time = Time(lambda: clock.at, lambda: clock.at, clock.pause, lambda: 0.0)
    async with aiohttp.ClientSession() as session:
        await Civitai(session, Site(str(server.make_url(""))), Pace(apart=0, clock=time), time).version(A)
    assert clock.paused == [FIRST_WAIT / 2]


@pytest.mark.parametrize(
    ("script", "word"),
    [(page(), "web page"), (text('{"id": 1, "mod'), "no whole JSON"), (text("[" * 100_000), "no whole JSON"), (text(""), "no whole")],
)  # fmt: skip
async def test_what_is_no_json_is_asked_for_again(civitai: Civitai, site: CivitaiSite, script: object, word: str) -> None:
    """A page with status 200, half an answer, nesting without end: a passing failure with its reason."""
    site.always(script)  # type: ignore[arg-type]
    found = await civitai.version(A)
    assert isinstance(found, Failed) and (found.trouble, found.passing) == (Trouble.ODD, True) and word in found.reason
    assert len(site.asked) == TRIES


async def test_a_body_without_end_is_not_read(civitai: Civitai, site: CivitaiSite) -> None:
    """Beyond the bound the answer is refused, whether its length is told or not."""
    site.always(text(" " * (BODY + 1)))
    found = await civitai.version(A)
    assert isinstance(found, Failed) and "4 MiB" in found.reason and not found.passing and len(site.asked) == 1


async def test_a_packed_body_is_not_unpacked(civitai: Civitai, site: CivitaiSite) -> None:
    """A bomb that is sent packed although it was not asked for so is no JSON."""

    def packed(request: object) -> object:
        answer = text(" " * 10_000)(request)  # type: ignore[arg-type]
        answer.enable_compression(web.ContentCoding.gzip)  # type: ignore[union-attr]
        return answer

    site.always(packed)  # type: ignore[arg-type]
    found = await civitai.version(A)
    assert isinstance(found, Failed) and "no whole JSON" in found.reason


async def test_silence_ends(server: TestServer, site: CivitaiSite, clock: Clock) -> None:
    """A server that never answers costs the time-out, and is asked as often as a busy one."""
    site.always(never)
    async with aiohttp.ClientSession() as session:
        found = await asker(session, server, clock, timeout=0.1).version(A)
    assert isinstance(found, Failed) and (found.trouble, found.passing) == (Trouble.SILENT, True) and "0.1 s" in found.reason
    assert len(site.asked) == TRIES


async def test_nobody_there(unused_tcp_port: int, clock: Clock) -> None:
    """A closed port is unreachable, told by its host."""
    time = clock.time()
    async with aiohttp.ClientSession() as session:
        site = Site(f"http://127.0.0.1:{unused_tcp_port}", TOKEN)
        found = await Civitai(session, site, Pace(apart=0, clock=time), time).known([A])
    assert isinstance(found, Failed) and found.trouble is Trouble.UNREACHABLE and TOKEN not in found.reason


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_host_is_never_asked(civitai: Civitai, site: CivitaiSite, method: str) -> None:
    """A redirect to another host is told and not followed: it gets neither token nor digest."""
    other = CivitaiSite({A: version(A, "Pony")})
    async with TestServer(other.app()) as elsewhere:
        port = str(elsewhere.port)
        site.always(moved(f"{elsewhere.make_url('/api/v1/model-versions/by-hash/')}{A}?reason=download-auth"))
        found = await (civitai.version(A) if method == "GET" else civitai.known([A]))
    assert isinstance(found, Failed) and not found.passing and port in found.reason and A not in found.reason
    assert other.asked == [] and len(site.asked) == 1


async def test_a_redirect_on_the_same_host_is_followed(civitai: Civitai, site: CivitaiSite) -> None:
    """With the token; a circle ends."""
    site.scripts = [moved(f"/api/v1/model-versions/by-hash/{A}")]
    assert isinstance(await civitai.version(A), Published) and site.tokens == [f"Bearer {TOKEN}"] * 2
    site.always(moved("#", 302))
    found = await civitai.version(A)
    assert isinstance(found, Failed) and "on and on" in found.reason


async def test_an_answer_about_another_file_is_none(civitai: Civitai, site: CivitaiSite) -> None:
    """The digest of the answer must be the one that was asked for, in both kinds of look-up."""
    site.versions[A] = version(B, "Pony")
    assert await civitai.version(A) == Misfit("the answer is about another file")
    site.scripts = [text(f'[{{"modelVersionId": 1, "hash": "{"EE" * 32}"}}]')]
    assert await civitai.known([A]) == frozenset()


@pytest.mark.parametrize("script", [text("[100, 200]"), status(404), page(404)])
async def test_an_older_site_is_asked_for_each(civitai: Civitai, site: CivitaiSite, script: object) -> None:
    """Ids without digests, or no such address: every one stays to be asked for."""
    site.scripts = [script]  # type: ignore[list-item]
    assert await civitai.known([A, B]) == {A, B}


async def test_a_wrong_address_makes_nothing_unknown(civitai: Civitai, site: CivitaiSite) -> None:
    """A 404 page is not CivitAI's word that it does not know a file."""
    site.always(page(404))
    found = await civitai.version(A)
    assert isinstance(found, Failed) and found.trouble is Trouble.NOWHERE and "civitai.url" in found.reason


async def test_requests_stand_apart(server: TestServer, clock: Clock) -> None:
    """Three questions begin half a second after one another."""
    time = clock.time()
    async with aiohttp.ClientSession() as session:
        civitai = Civitai(session, Site(str(server.make_url(""))), Pace(apart=0.5, clock=time), time)
        for _ in range(3):
            await civitai.version(A)
    assert clock.paused == [0.5, 0.5]


async def test_no_secret_is_shown(caplog: pytest.LogCaptureFixture, civitai: Civitai, site: CivitaiSite) -> None:
    """Neither a value's text nor the log of a refusal has the token."""
    caplog.set_level(logging.DEBUG)
    site.always(status(401))
    found = await civitai.version(A)
    assert TOKEN not in f"{found} {Site('http://x', TOKEN)} {caplog.text}"
