"""The ollama engine against a real server on loopback that speaks Ollama's API: chats, loading, pulls, and what goes wrong in them."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from caption_servers import CAPTION, GOOD, SCORES, CaptionServer, Step, hangs, ndjson, ollama, says, streams
from dropdock.handlers.captioners import client, news
from dropdock.handlers.captioners.client import Client, Trouble
from dropdock.handlers.captioners.ollama import Ollama, OllamaDialect, Pulled
from dropdock.handlers.captioners.protocol import Answer, Fixed, Picture
from pictures_made import picture

CHAT, SHOW, LOAD, PULL, TAGS = "/api/chat", "/api/show", "/api/generate", "/api/pull", "/api/tags"
SEES = says({"capabilities": ["completion", "vision"]})
LOADED = says({"model": "eye", "done": True, "done_reason": "load"})


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF", 0.01)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    paths = [tmp_path / f"{n}.png" for n in range(4)]
    for n, path in enumerate(paths):
        path.write_bytes(picture(n, (90, 70)))
    return [Picture(n, path, quality=False) for n, path in enumerate(paths)]


def serving(*chat: Step, **others: list[Step]) -> CaptionServer:
    return CaptionServer({CHAT: chat, SHOW: [SEES], LOAD: [LOADED], **{f"/api/{name}": steps for name, steps in others.items()}})


def run(server: CaptionServer, pictures: list[Picture], **options: object) -> dict[int, Answer]:
    captioner = Ollama({"url": server.url, "model": "eye", **options})
    try:
        return dict(captioner.captions(Fixed(pictures)))
    finally:
        captioner.close()


def test_the_request_and_its_answer(pictures: list[Picture]) -> None:
    """Raw base64, the schema on the top level, thinking off, a context that holds a picture; it is loaded once, before the first."""
    with serving(ollama(GOOD)) as server:
        found = run(server, pictures[:2], idle_unload=90.0)
        order = [asked.path for asked in server.asked]
    assert found[0].text == CAPTION and found[0].quality is not None and dict(found[0].quality.opinion) == SCORES
    assert order == [SHOW, LOAD, CHAT, CHAT]
    body = server.of(CHAT)[0].json
    message = body["messages"][0]
    assert base64.b64decode(message["images"][0])[:3] == b"\xff\xd8\xff" and "caption" in message["content"]
    assert (body["model"], body["think"], body["keep_alive"], body["stream"]) == ("eye", False, "90s", True)
    assert body["format"]["required"] == ["caption", "quality", "flags"] and body["options"]["num_ctx"] == 8192
    assert server.of(LOAD)[0].json["options"] == {"num_ctx": 8192}


@pytest.mark.parametrize(
    "step",
    [
        ollama(f"```json\n{GOOD}\n```"),
        ollama(f"<think>x</think>{GOOD}"),
        ollama(GOOD, thinking="let me see"),
        ollama("", thinking=GOOD),
    ],
    ids=["fence", "think", "thinking", "only thinking"],
)
def test_odd_replies_are_read(pictures: list[Picture], step: Step) -> None:
    """Fences and thoughts are taken away; an object that stands among the thoughts is found."""
    with serving(step) as server:
        assert run(server, pictures[:1])[0].text == CAPTION


def test_a_cut_reply_is_asked_again_with_more_room(pictures: list[Picture]) -> None:
    """done_reason length in the middle of the caption: three times the tokens."""
    with serving(ollama('{"caption": "A red', "length"), ollama(GOOD)) as server:
        assert run(server, pictures[:1])[0].text == CAPTION
        first, second = (asked.json["options"]["num_predict"] for asked in server.of(CHAT))
    assert second == 3 * first


def test_a_circle_is_asked_again_with_a_brake(pictures: list[Picture]) -> None:
    """The second question has a repeat penalty and another seed."""
    with serving(ollama("A lantern. " + "and a street, " * 300), ollama(GOOD)) as server:
        assert run(server, pictures[:1])[0].text == CAPTION
        first, second = (asked.json["options"] for asked in server.of(CHAT))
    assert "repeat_penalty" not in first and second["repeat_penalty"] > 1 and "seed" in second


def test_a_schema_that_is_refused_is_left_out(pictures: list[Picture]) -> None:
    """Schema, then `json`, then words; remembered for the next picture."""

    async def words_only(request: web.Request) -> web.StreamResponse:
        if "format" in await request.json():
            return web.json_response({"error": "invalid JSON schema in format"}, status=400)
        return await ollama(GOOD)(request)

    with serving(words_only) as server:
        assert run(server, pictures[:2])[1].text == CAPTION
        forms = [asked.json.get("format") for asked in server.of(CHAT)]
    assert isinstance(forms[0], dict) and forms[1:] == ["json", None, None]


def test_an_old_server_that_knows_no_thinking(pictures: list[Picture]) -> None:
    """A refusal that names thinking leaves that out, and nothing else."""

    async def old(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await (says({"error": '"eye" does not support thinking'}, 400) if "think" in body else ollama(GOOD))(request)

    with serving(old) as server:
        assert run(server, pictures[:2])[1].text == CAPTION
        assert [isinstance(asked.json.get("format"), dict) for asked in server.of(CHAT)] == [True] * 3


@pytest.mark.parametrize(
    "step",
    [
        ndjson({"message": {"content": "A red"}}, {"error": "model runner has unexpectedly stopped, resource limitations"}),
        says({"error": "llama runner process no longer running: -1"}),
        streams([b'{"message": {"content": "A red"}, "done": false}\n'], "application/x-ndjson"),
        streams([b'{"message": {"content": "A red"}, "do'], "application/x-ndjson", ends=False),
        streams([b"<html>"], "text/html"),
    ],
    ids=["error line", "error", "no end", "torn", "no json"],
)
def test_a_broken_answer_keeps_the_picture_queued(pictures: list[Picture], step: Step) -> None:
    """An error line behind status 200, or half a stream: no half caption, and the picture waits."""
    with serving(step) as server:
        found = run(server, pictures[:1], structured=False)[0]
    assert not found.text and found.error and found.later > 0


def test_a_full_queue_is_waited_for(pictures: list[Picture]) -> None:
    """503 of a full queue twice, then the caption."""
    full = says({"error": "server busy, please try again. maximum pending requests exceeded"}, 503)
    with serving(full, full, ollama(GOOD)) as server:
        assert run(server, pictures[:1])[0].text == CAPTION


def test_a_stalled_schema_is_answered_in_words(pictures: list[Picture]) -> None:
    """A model that stalls in its grammar has the rest of the time without one."""

    async def stalls(request: web.Request) -> web.StreamResponse:
        return await (hangs() if "format" in await request.json() else ollama(CAPTION))(request)

    with serving(stalls) as server:
        found = run(server, pictures[:1], timeout=1.0)[0]
    assert found.text == CAPTION and "text instead of json" in found.flags


def test_a_model_that_is_not_there_waits_for_a_person(pictures: list[Picture]) -> None:
    """Nothing is pulled unasked: the reason names the command."""
    with serving(ollama(GOOD), show=[says({"error": "model 'eye' not found"}, 404)]) as server:
        found = run(server, pictures[:2])
        assert server.of(CHAT) == []
    assert all(a.later >= 300 and "dropdock captioners pull" in a.error for a in found.values())


def test_a_model_that_sees_nothing_is_told(pictures: list[Picture]) -> None:
    """A model without vision would make up captions: it is not asked."""
    with serving(ollama(GOOD), show=[says({"capabilities": ["completion"]})]) as server:
        found = run(server, pictures[:1])[0]
        assert server.of(CHAT) == [] and "cannot see" in found.error and found.later >= 300


PULLING = [
    {"status": "pulling manifest"},
    {"status": "pulling aa", "digest": "sha256:aa"},
    {"status": "pulling aa", "digest": "sha256:aa", "total": 1000},
    {"status": "pulling aa", "digest": "sha256:aa", "total": 1000, "completed": 600},
    {"status": "pulling bb", "digest": "sha256:bb", "total": 500, "completed": 100},
    {"status": "pulling aa", "digest": "sha256:aa", "total": 1000, "completed": 1000},
    {"status": "pulling bb", "digest": "sha256:bb", "total": 500, "completed": 500},
    {"status": "verifying sha256 digest"},
    {"status": "success"},
]


def test_a_pull_that_is_allowed_is_made(pictures: list[Picture]) -> None:
    """`pull: true`: it is fetched, its progress is told as news, and then the pictures are captioned."""
    heard: list[str] = []
    news.listen(heard.append)
    missing = says({"error": "model 'eye' not found"}, 404)
    try:
        with serving(ollama(GOOD), show=[missing, SEES], pull=[ndjson(*PULLING)]) as server:
            assert run(server, pictures[:1], pull=True)[0].text == CAPTION
            assert server.of(PULL)[0].json == {"model": "eye", "stream": True}
    finally:
        news.listen(None)
    assert "pulling eye: 60 %" in heard and "loading eye" in heard


async def pulled(server: CaptionServer) -> list[Pulled]:
    async with aiohttp.ClientSession() as session:
        return [p async for p in OllamaDialect({"model": "eye"}).pull(Client(session, server.url))]


async def test_progress_is_summed_over_all_parts() -> None:
    """Several digests, totals that come late: one number that never falls but for a part that becomes known."""
    with CaptionServer({PULL: [ndjson(*PULLING)]}) as server:
        found = await pulled(server)
    assert [(p.done, p.total) for p in found] == [
        (0, 0), (0, 0), (0, 1000), (600, 1000), (700, 1500), (1100, 1500), (1500, 1500), (1500, 1500), (1500, 1500),
    ]  # fmt: skip
    assert found[-1].status == "success"


async def test_an_error_line_ends_a_pull() -> None:
    """An error behind status 200 is raised with its words, after the progress before it."""
    failing = ndjson(*PULLING[:3], {"error": "pull model manifest: file does not exist"})
    with CaptionServer({PULL: [failing]}) as server, pytest.raises(Trouble, match="file does not exist"):
        await pulled(server)


async def test_a_pull_that_breaks_off_goes_on() -> None:
    """A torn connection is taken up again; Ollama goes on where it was, and so does the progress."""
    torn = streams([json.dumps(line).encode() + b"\n" for line in PULLING[:4]], "application/x-ndjson", ends=False)
    with CaptionServer({PULL: [torn, ndjson(*PULLING[3:])]}) as server:
        found = await pulled(server)
        assert len(server.asked) == 2
    assert found[-1] == Pulled("success", 1500, 1500)


async def test_leaving_a_pull_stops_it() -> None:
    """Whoever no longer listens closes the connection, which is how Ollama's pulls are cancelled."""
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(json.dumps(PULLING[0]).encode() + b"\n")
        try:
            await asyncio.Event().wait()
        finally:
            loop.call_soon_threadsafe(gone.set)
        return response

    with CaptionServer({PULL: [endless]}) as server:
        async with aiohttp.ClientSession() as session:
            pulling = OllamaDialect({"model": "eye"}).pull(Client(session, server.url))
            assert (await anext(pulling)).status == "pulling manifest"
            await pulling.aclose()
            await asyncio.wait_for(gone.wait(), 20)


async def test_the_models_that_it_offers() -> None:
    """Names as they are asked for; an odd list is an empty one."""
    with CaptionServer(
        {TAGS: [says({"models": [{"name": "qwen2.5vl:7b"}, {"name": "llava:13b"}]}), says({"models": None})]}
    ) as server:
        async with aiohttp.ClientSession() as session:
            talk = OllamaDialect({})
            assert await talk.models(Client(session, server.url), 10) == ["qwen2.5vl:7b", "llava:13b"]
            assert await talk.models(Client(session, server.url), 10) == []
