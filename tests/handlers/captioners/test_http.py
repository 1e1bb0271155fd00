"""The http engine against real servers on loopback: BLIP-2 behind an inference API, base64 servers, LLaVA's worker."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import aiohttp
import pytest
from caption_servers import CaptionServer, Step, says, streams, text
from dropdock.handlers.captioners import client
from dropdock.handlers.captioners.client import Trouble
from dropdock.handlers.captioners.http import Http
from dropdock.handlers.captioners.offers import offered
from dropdock.handlers.captioners.protocol import Answer, Fixed, Picture
from pictures_made import picture

SAID = "a red lantern over a wet street"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF", 0.01)


@pytest.fixture
def one(tmp_path: Path) -> Picture:
    path = tmp_path / "a.webp"
    path.write_bytes(picture(1, (90, 70), "WEBP"))
    return Picture(0, path, quality=False)


def ask(server: CaptionServer, one: Picture, path: str = "/models/blip2", **options: object) -> Answer:
    captioner = Http({"url": server.url + path, **options})
    try:
        return dict(captioner.captions(Fixed([one])))[0]
    finally:
        captioner.close()


@pytest.mark.parametrize(
    "step",
    [
        says([{"generated_text": SAID}]),
        says({"generated_text": SAID}),
        says([[{"generated_text": SAID}]]),
        says({"caption": SAID}),
        says({"data": [SAID]}),
        says(SAID),
        text(f"{SAID}\n"),
    ],
)
def test_bytes_go_and_a_text_comes(one: Picture, step: Step) -> None:
    """The JPEG itself is the body (the WebP was made one), and the text is found in every form these servers answer in."""
    with CaptionServer({"/models/blip2": [step]}) as server:
        found = ask(server, one, api_key="hf_x")
        asked = server.asked[0]
    assert found.text == SAID and found.quality is None
    assert asked.data[:3] == b"\xff\xd8\xff" and asked.headers["Content-Type"] == "image/jpeg"
    assert asked.headers["Authorization"] == "Bearer hf_x"


def test_a_model_that_is_loading_is_waited_for(one: Picture) -> None:
    """503 with estimated_time: a short one is waited for, for a long one the picture goes back into the queue."""
    soon, late = ({"error": "Model is currently loading", "estimated_time": t} for t in (0.01, 240.0))
    with CaptionServer({"/models/blip2": [says(soon, 503), says([{"generated_text": SAID}])]}) as server:
        assert ask(server, one).text == SAID
    with CaptionServer({"/models/blip2": [says(late, 503)]}) as server:
        found = ask(server, one)
        assert found.later == 240.0 and "loading" in found.error and len(server.asked) == 1


def test_base64_with_a_prompt(one: Picture) -> None:
    """A JSON body with the picture and the question, asked for in words."""
    with CaptionServer({"/caption": [says({"response": SAID})]}) as server:
        assert ask(server, one, "/caption", api="base64", style="natural_detailed").text == SAID
        body = server.asked[0].json
    assert (
        base64.b64decode(body["image"])[:3] == b"\xff\xd8\xff"
        and "two or three" in body["prompt"]
        and "no JSON" in body["prompt"]
    )


def test_llava(one: Picture) -> None:
    """Objects between zero bytes, each with the prompt and the text so far: the last one counts, without the prompt."""

    async def worker(request):
        body = await request.json()
        prompt = body["prompt"].replace("<image>", " ")
        assert len(body["images"]) == body["prompt"].count("<image>") == 1
        parts = [json.dumps({"text": prompt + SAID[:n], "error_code": 0}).encode() + b"\0" for n in (5, 12, len(SAID))]
        return await streams(parts, "application/octet-stream")(request)

    with CaptionServer({"/worker_generate_stream": [worker]}) as server:
        assert ask(server, one, "", api="llava", model="llava-v1.6").text == SAID


def test_llava_tells_errors_in_its_stream(one: Picture) -> None:
    """An error code behind status 200 is no caption."""
    part = json.dumps({"text": "**NETWORK ERROR DUE TO HIGH TRAFFIC. CUDA out of memory**", "error_code": 1}).encode() + b"\0"
    with CaptionServer({"/worker_generate_stream": [streams([part], "application/octet-stream")]}) as server:
        found = ask(server, one, "", api="llava")
    assert not found.text and "out of memory" in found.error and found.later > 0


@pytest.mark.parametrize("step", [says([]), says({}), text(""), says([{"generated_text": ""}])])
def test_an_answer_without_a_text_is_a_failure(one: Picture, step: Step) -> None:
    """Nothing said is nothing written."""
    with CaptionServer({"/models/blip2": [step]}) as server:
        found = ask(server, one)
    assert not found.text and found.error


def test_a_web_page_is_no_caption(one: Picture) -> None:
    """An address that answers a page is a wrong address: the pictures wait for a person."""
    with CaptionServer({"/models/blip2": [text("<!doctype html><p>hello", kind="text/html")]}) as server:
        found = ask(server, one)
    assert not found.text and "web page" in found.error and found.later >= 300


async def test_a_server_that_is_not_there_is_told_in_words() -> None:
    """Whoever is asked first: the address and `connection refused`, without the words of the library."""
    async with aiohttp.ClientSession() as session:
        for engine in ("http", "openai", "ollama"):
            with pytest.raises(Trouble) as raised:
                await offered(session, engine, {"url": "http://127.0.0.1:9"}, 4.0)
            assert raised.value.why == "http://127.0.0.1:9: connection refused"
