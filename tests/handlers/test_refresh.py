"""Telling apps, against servers on loopback that speak their routes; what they are asked, and what is said when they do not answer."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from dropdock.handlers import refresh
from dropdock.handlers.refresh import App, Change, tell

LORA = Change("lora", PurePosixPath("models/loras/sub/a.safetensors"))


@dataclass
class Spoken:
    """What a server was asked: method and path, body, and the Authorization it came with."""

    asked: list[str] = field(default_factory=list)
    bodies: list[object] = field(default_factory=list)
    auth: set[str | None] = field(default_factory=set)
    answers: dict[str, object] = field(default_factory=dict)  # path -> JSON, or a status

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        self.bodies.append(await request.json() if request.can_read_body else None)
        self.auth.add(request.headers.get("Authorization"))
        found = self.answers.get(request.path, {})
        if isinstance(found, int):
            return web.Response(status=found, headers={"Location": "http://127.0.0.1:1/"})
        return web.Response(text=found) if isinstance(found, str) else web.json_response(found)


@pytest.fixture
async def spoken() -> Spoken:
    return Spoken()


@pytest.fixture
async def url(spoken: Spoken) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", spoken.answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a1111_refreshes_only_what_changed(spoken: Spoken, url: str, session: aiohttp.ClientSession) -> None:
    """One POST for each list that changed; a type without a route is said, basic auth is sent."""
    changes = [LORA, LORA, Change("vae", PurePosixPath("x")), Change("controlnet", PurePosixPath("y"))]
    told = await tell(session, App("sdapi", url, "me:pass"), changes)
    assert spoken.asked == ["POST /sdapi/v1/refresh-loras", "POST /sdapi/v1/refresh-vae"]
    assert spoken.auth == {f"Basic {b64encode(b'me:pass').decode()}"}
    assert told.ok and "controlnet" in told.note


async def test_swarmui_is_told_within_a_session(spoken: Spoken, url: str, session: aiohttp.ClientSession) -> None:
    """A session first, then the refresh with it; a token goes as a bearer."""
    spoken.answers["/API/GetNewSession"] = {"session_id": "s1"}
    assert (await tell(session, App("swarmui", url, "token"), [LORA])).ok
    assert spoken.asked == ["POST /API/GetNewSession", "POST /API/TriggerRefresh"]
    assert spoken.bodies[1] == {"session_id": "s1", "strong": True} and spoken.auth == {"Bearer token"}
    spoken.answers["/API/TriggerRefresh"] = {"error": "no permission"}
    assert not (await tell(session, App("swarmui", url), [LORA])).ok


async def test_comfyui_is_asked_whether_it_lists_the_name(spoken: Spoken, url: str, session: aiohttp.ClientSession) -> None:
    """Present links must be listed by their relative path, removed ones not; a Windows server's slashes are the same."""
    spoken.answers["/models/loras"] = ["sub\\a.safetensors", "old.safetensors"]
    gone = Change("lora", PurePosixPath("models/loras/old.safetensors"), there=False)
    assert (await tell(session, App("comfyui", url), [LORA])).ok
    told = await tell(session, App("comfyui", url), [LORA, gone, Change("lora", PurePosixPath("models/loras/b.safetensors"))])
    assert told.note == "loras/b.safetensors is not listed; loras/old.safetensors is still listed"
    assert not told.ok and spoken.asked[-1] == "GET /models/loras"


@pytest.mark.parametrize(
    ("answer", "said"),
    [(500, "status 500"), (302, "status 302"), ("<html>", "not an answer of this app"), (401, "status 401")],
)
@pytest.mark.parametrize("kind", ["sdapi", "swarmui", "comfyui"])
async def test_what_goes_wrong_is_a_note(
    kind: str, answer: object, said: str, spoken: Spoken, url: str, session: aiohttp.ClientSession
) -> None:
    """A bad status, a redirect (never followed) and another program's page: one attempt, a note, and no secret in it."""
    for path in ("/sdapi/v1/refresh-loras", "/API/GetNewSession", "/models/loras"):
        spoken.answers[path] = answer
    told = await tell(session, App(kind, url, "me:pass"), [LORA])
    assert not told.ok and said in told.note and "pass" not in told.note
    assert len(spoken.asked) == 1


async def test_nobody_listens(session: aiohttp.ClientSession, unused_tcp_port: int) -> None:
    """An app that is off is a note, too."""
    told = await tell(session, App("sdapi", f"http://127.0.0.1:{unused_tcp_port}"), [LORA])
    assert not told.ok and "nobody listens there" in told.note


async def test_an_app_that_hangs_is_left_alone(session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer within the patience is a note."""
    monkeypatch.setattr(refresh, "PATIENCE", aiohttp.ClientTimeout(total=0.05))
    open_ones: list[asyncio.StreamWriter] = []  # a writer that nobody holds closes its connection
    server = await asyncio.start_server(lambda reader, writer: open_ones.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        told = await tell(session, App("comfyui", f"http://127.0.0.1:{port}"), [LORA])
        for writer in open_ones:
            writer.close()
    assert not told.ok and "no answer in time" in told.note


async def test_an_app_that_cannot_be_told_is_no_failure(session: aiohttp.ClientSession) -> None:
    """Fooocus and Wan2GP have a button of their own; a map of one's own says nothing of its app."""
    assert (await tell(session, App("", "http://127.0.0.1:1"), [LORA])).ok
