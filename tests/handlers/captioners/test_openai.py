"""The openai engine against a real server on loopback: what is sent, what is made of every odd answer, and how many at once."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from pathlib import Path

import pytest
from aiohttp import web
from caption_servers import CAPTION, GOOD, SCORES, CaptionServer, Step, hangs, openai, says, streams, text
from dropdock.handlers.captioners import client
from dropdock.handlers.captioners.openai import OpenAI, base_url
from dropdock.handlers.captioners.protocol import Answer, Fixed, Picture
from dropdock.rules.captions import Style
from pictures_made import picture
from PIL import Image

CHAT = "/v1/chat/completions"
WHOLE = {"choices": [{"message": {"content": GOOD}, "finish_reason": "stop"}]}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF", 0.01)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    found = []
    for n in range(12):
        path = tmp_path / "cats" / f"cat {n}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(n, (90, 70)))
        found.append(Picture(n, path, quality=False))
    return found


def run(server: CaptionServer, pictures: list[Picture], **options: object) -> dict[int, Answer]:
    captioner = OpenAI({"url": server.url, "model": "eye", **options})
    try:
        return dict(captioner.captions(Fixed(pictures)))
    finally:
        captioner.close()


def test_the_request_and_its_answer(pictures: list[Picture]) -> None:
    """The picture goes as a JPEG data URL with the schema, thinking off and the key; text, scores and flags come back."""
    with CaptionServer({CHAT: [openai(GOOD)]}) as server:
        found = run(server, pictures[:1], api_key="sk-secret", trigger="ohwx cat", system="Be brief.")
    assert found[0].text == f"ohwx cat, {CAPTION}"
    assert found[0].quality is not None and dict(found[0].quality.opinion) == SCORES and found[0].quality.flags == ("low light",)
    asked = server.asked[0]
    assert asked.headers["Authorization"] == "Bearer sk-secret"
    body = asked.json
    assert (body["model"], body["stream"], body["chat_template_kwargs"]) == ("eye", True, {"enable_thinking": False})
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["caption", "quality", "flags"]
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    image, words = user["content"]
    head, data = image["image_url"]["url"].split(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as sent:
        assert (sent.format, sent.size) == ("JPEG", (90, 70))
    assert "ohwx cat" in words["text"] and '"sharpness"' in words["text"]


@pytest.mark.parametrize(
    "reply",
    [f"```json\n{GOOD}\n```", f"<think>a lantern</think>{GOOD}", f"Sure! {GOOD} Anything else?"],
    ids=["fence", "think", "prose"],
)
def test_odd_replies_are_read(pictures: list[Picture], reply: str) -> None:
    """Fences, thoughts and prose around the object cost nothing: one question is enough."""
    with CaptionServer({CHAT: [openai(reply)]}) as server:
        assert run(server, pictures[:1])[0].text == CAPTION
        assert len(server.asked) == 1


def test_a_whole_answer_is_read_as_well(pictures: list[Picture]) -> None:
    """A server that does not stream answers at once, with content in parts or with the text among its thoughts."""
    for message in (
        {"content": GOOD},
        {"content": [{"type": "text", "text": GOOD}]},
        {"content": None, "reasoning_content": GOOD},
    ):
        with CaptionServer({CHAT: [says({"choices": [{"message": message, "finish_reason": "stop"}]})]}) as server:
            assert run(server, pictures[:1])[0].text == CAPTION


def test_half_json_is_asked_again_with_more_room(pictures: list[Picture]) -> None:
    """A reply that was cut off is asked for again with three times the tokens."""
    with CaptionServer({CHAT: [openai('{"caption": "A red paper lan', "length"), openai(GOOD)]}) as server:
        assert run(server, pictures[:1])[0].text == CAPTION
        first, second = (asked.json for asked in server.asked)
        assert second["max_tokens"] == 3 * first["max_tokens"]


def test_a_refusal_is_asked_in_another_way(pictures: list[Picture]) -> None:
    """The second question is another one, in words; a model that refuses again fails this picture."""
    refusal = openai("I'm sorry, but I can't help with describing this image.")
    with CaptionServer({CHAT: [refusal, openai(CAPTION)]}) as server:
        found = run(server, pictures[:1])[0]
        first, second = (asked.json for asked in server.asked)
    assert found.text == CAPTION and "refused" in found.flags
    assert "response_format" not in second and first["messages"] != second["messages"]
    with CaptionServer({CHAT: [refusal]}) as server:
        found = run(server, pictures[:1])[0]
        assert len(server.asked) == 3
    assert not found.text and "refuses" in found.error and not found.later


def test_a_circle_is_broken_off_while_it_streams(pictures: list[Picture]) -> None:
    """A model that repeats itself is left long before it ends, asked again with a brake, and then taken up to its last clean end."""
    endless = [
        f"data: {json.dumps({'choices': [{'delta': {'content': 'A lantern. ' if not n else 'and a wet street, '}}]})}\n\n"
        for n in range(400)
    ]
    left = threading.Event()

    async def circle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for line in endless:
                await response.write(line.encode())
            await asyncio.Event().wait()
        except (asyncio.CancelledError, ConnectionError):
            left.set()
            raise
        return response

    with CaptionServer({CHAT: [circle]}) as server:
        found = run(server, pictures[:1], structured=False)[0]
        assert left.wait(10)
        penalties = [asked.json.get("frequency_penalty", 0) for asked in server.asked]
    assert penalties == sorted(set(penalties)) and penalties[0] == 0
    assert found.text and found.text.count("and a wet street") <= 1 and "loop" in found.flags


@pytest.mark.parametrize("reply", ["", "   ", "<think>hm</think>", '{"quality": {}}'])
def test_an_empty_answer_is_a_failure(pictures: list[Picture], reply: str) -> None:
    """Status 200 with nothing in it is no caption."""
    with CaptionServer({CHAT: [openai(reply)]}) as server:
        found = run(server, pictures[:1])[0]
    assert found.text == "" and found.error and not found.later


def test_forms_that_are_refused_are_left_out_and_remembered(pictures: list[Picture]) -> None:
    """json_schema, then json_object, then words: what a server takes is found once, and asked for from then on."""

    async def words_only(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if "response_format" in body:
            return web.json_response({"error": "'response_format.type' must be 'text'"}, status=400)
        return await openai(GOOD)(request)

    with CaptionServer({CHAT: [words_only]}) as server:
        found = run(server, pictures[:3])
        forms = [asked.json.get("response_format", {}).get("type") for asked in server.asked]
    assert [found[n].text for n in range(3)] == [CAPTION] * 3
    assert forms == ["json_schema", "json_object", None, None, None]


def test_json_object_is_enough_for_a_server_without_schemas(pictures: list[Picture]) -> None:
    """The ladder stops at the first form that is taken."""

    async def objects(request: web.Request) -> web.StreamResponse:
        kind = (await request.json()).get("response_format", {}).get("type")
        return await (openai(GOOD) if kind == "json_object" else says({"detail": "unknown response_format"}, 422))(request)

    with CaptionServer({CHAT: [objects]}) as server:
        assert run(server, pictures[:2])[1].text == CAPTION
        assert len(server.asked) == 3


def test_an_unknown_parameter_goes_by_its_name(pictures: list[Picture]) -> None:
    """A server that names what it does not know is asked without it; the schema stays. max_tokens may have another name."""

    async def strict(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if "chat_template_kwargs" in body:
            return web.json_response(
                {"error": {"message": "Unrecognized request argument supplied: chat_template_kwargs"}}, status=400
            )
        if "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return web.json_response({"error": {"message": message}}, status=400)
        assert body["response_format"]["type"] == "json_schema"
        return await openai(GOOD)(request)

    with CaptionServer({CHAT: [strict]}) as server:
        found = run(server, pictures[:2])
        assert len(server.asked) == 4
    assert found[0].text == found[1].text == CAPTION


def test_a_picture_that_is_refused_fails_alone(pictures: list[Picture]) -> None:
    """A 400 for one picture whatever is left out is that picture's error; the next is asked for with a schema as before."""
    bad = {"count": 0}

    async def picky(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if "FIRST" in body["messages"][0]["content"][1]["text"]:
            bad["count"] += 1
            return web.json_response({"error": "'url' field must be a base64 encoded image."}, status=400)
        return await openai(GOOD if "response_format" in body else "x")(request)

    from dataclasses import replace

    first = replace(pictures[0], style=Style(prompt="FIRST"))
    with CaptionServer({CHAT: [picky]}) as server:
        found = run(server, [first, pictures[1]])
    assert "base64 encoded image" in found[0].error and not found[0].later and bad["count"] <= 8
    assert found[1].text == CAPTION


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_server_is_asked_again(pictures: list[Picture], status: int) -> None:
    """Two refusals, then an answer: the picture has its caption and no attempt was spent."""
    busy = says({"error": "busy"}, status, {"Retry-After": "0"})
    with CaptionServer({CHAT: [busy, busy, openai(GOOD)]}) as server:
        assert run(server, pictures[:1], structured=False)[0].text == CAPTION


def test_a_server_that_stays_busy_keeps_the_picture_queued(pictures: list[Picture]) -> None:
    """Three refusals, or one that asks for a long wait: `later`, as long as the server said, and nothing burnt."""
    with CaptionServer({CHAT: [says({"error": "slow down"}, 429, {"Retry-After": "77"})]}) as server:
        found = run(server, pictures[:1])[0]
        assert len(server.asked) == 1
    assert (found.text, found.later) == ("", 77.0) and "429: slow down" in found.error
    with CaptionServer({CHAT: [says({"error": "loading"}, 503)]}) as server:
        found = run(server, pictures[:1])[0]
        assert len(server.asked) == 3
    assert found.later > 0 and "503" in found.error


def test_a_server_that_is_down_keeps_the_picture_queued(pictures: list[Picture]) -> None:
    """Nothing listens: the reason in words, and later."""
    with CaptionServer({}) as server:
        url = server.url
    captioner = OpenAI({"url": url, "model": "eye"})
    found = dict(captioner.captions(Fixed(pictures[:1])))[0]
    captioner.close()
    assert found.later > 0 and "127.0.0.1" in found.error and "connect" in found.error


def test_a_wrong_key_or_model_waits_for_a_person(pictures: list[Picture]) -> None:
    """401 and 404 concern every picture: they stay queued for long; the key is in no error."""
    told = {"error": {"message": "Incorrect API key provided: sk-secret."}}
    with CaptionServer({CHAT: [says(told, 401)]}) as server:
        found = run(server, pictures[:1], api_key="sk-secret")[0]
    assert found.later >= 300 and "Incorrect API key" in found.error and "sk-secret" not in found.error
    with CaptionServer({CHAT: [says({"error": "model 'eye' not found"}, 404)]}) as server:
        found = run(server, pictures[:1])[0]
    assert found.later >= 300 and "not found" in found.error


def test_a_model_that_sees_nothing_waits_for_a_person(pictures: list[Picture]) -> None:
    """A model without vision would refuse every picture: they are kept."""
    with CaptionServer({CHAT: [says({"error": "this model does not support image input, provide the mmproj"}, 500)]}) as server:
        found = run(server, pictures[:1])[0]
    assert found.later >= 300


def test_silence_is_waited_for_within_the_time_out(pictures: list[Picture]) -> None:
    """A server that says nothing: with a schema half of the time, in words the rest, then the picture stays queued."""
    with CaptionServer({CHAT: [hangs()]}) as server:
        found = run(server, pictures[:1], timeout=0.6)[0]
        forms = ["response_format" in asked.json for asked in server.asked]
    assert forms == [True, False] and found.later > 0 and "did not answer in time" in found.error


def test_a_stall_with_a_schema_is_answered_in_words(pictures: list[Picture]) -> None:
    """A model that stalls in a grammar answers without; after the second stall it is no longer asked with one."""

    async def stalls(request: web.Request) -> web.StreamResponse:
        schema = "response_format" in await request.json()
        return await (hangs() if schema else openai(GOOD))(request)

    with CaptionServer({CHAT: [stalls]}) as server:
        found = run(server, pictures[:3], timeout=1.0)
        forms = ["response_format" in asked.json for asked in server.asked]
    assert [found[n].text for n in range(3)] == [CAPTION] * 3 and forms == [True, False, True, False, False]


def test_a_picture_that_never_answers_fails_once_others_do(pictures: list[Picture]) -> None:
    """It stays queued at first; when it comes again after another was answered, it is the picture's own failure."""
    from dataclasses import replace

    async def poisoned(request: web.Request) -> web.StreamResponse:
        words = (await request.json())["messages"][0]["content"][1]["text"]
        return await (hangs() if "POISON" in words else openai(CAPTION))(request)

    bad = replace(pictures[0], style=Style(prompt="POISON"))
    with CaptionServer({CHAT: [poisoned]}) as server:
        captioner = OpenAI({"url": server.url, "model": "eye", "timeout": 0.4, "structured": False})
        first = dict(captioner.captions(Fixed([bad])))[0]
        dict(captioner.captions(Fixed([pictures[1]])))
        second = dict(captioner.captions(Fixed([bad])))[0]
        captioner.close()
    assert first.later > 0 and second.later == 0 and "this picture alone" in second.error


def test_a_picture_that_kills_the_server_fails_alone(pictures: list[Picture]) -> None:
    """It takes along what flies beside it; all of these stay queued, are asked about one at a time, and only it fails in the end."""
    going: dict[int, asyncio.Transport] = {}

    async def step(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        going[id(request)] = request.transport
        try:
            if _side(await request.read()) == 91:
                for other in [*going.values()]:
                    other.close()
            await asyncio.sleep(0.05)
            return await says(WHOLE)(request)
        finally:
            del going[id(request)]

    with Image.open(pictures[5].path) as image:
        image.resize((91, 70)).save(pictures[5].path)
    with CaptionServer({CHAT: [step]}) as server:
        captioner = OpenAI({"url": server.url, "model": "eye", "concurrency": 4})
        left, failed, texts = list(pictures), [], 0
        for _ in range(6):
            found = dict(captioner.captions(Fixed(left)))
            failed += [id for id, answer in found.items() if answer.error and not answer.later]
            texts += sum(1 for answer in found.values() if answer.text)
            left = [picture for picture in left if found[picture.id].later]
        captioner.close()
    assert (left, failed, texts) == ([], [5], 11)


def _side(body: bytes) -> int:
    """How wide the picture is that a request asks about."""
    url = json.loads(body)["messages"][-1]["content"][0]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) as image:
        return image.width


@pytest.mark.parametrize(
    "step",
    [
        text('{"error": "loading", "estimated_time": ' + "9" * 400 + "}", status=503, kind="application/json"),
        text('{"choices": [{"message": {"content": ' + '[{"text": ' * 450 + '"x"' + "}]" * 450 + "}}]}", kind="application/json"),
    ],
    ids=["endless number", "deep content"],
)
def test_an_answer_made_to_break_the_reader_does_not(pictures: list[Picture], step: Step) -> None:
    """A number with four hundred digits, a content in four hundred lists."""
    with CaptionServer({CHAT: [step]}) as server:
        assert run(server, pictures[:1])[0].error


def test_an_address_that_is_none_is_told_without_its_password(pictures: list[Picture]) -> None:
    """And is not asked again soon."""
    captioner = OpenAI({"url": "htp://me:secret@127.0.0.1:9/v1", "model": "eye"})
    answer = dict(captioner.captions(Fixed(pictures[:1])))[0]
    captioner.close()
    assert answer.later == client.SETUP and "no address" in answer.error and "secret" not in answer.error


@pytest.mark.parametrize(
    "step",
    [
        streams([b'data: {"error": {"message": "CUDA out of memory"}}\n\n'], "text/event-stream"),
        streams([b'{"error": {"message": "CUDA out of memory"}}\n'], "text/event-stream"),
        says({"error": {"message": "CUDA out of memory"}}),
    ],
)
def test_an_error_behind_a_good_status_counts(pictures: list[Picture], step: Step) -> None:
    """200 and then an error: no caption, and its words are told."""
    with CaptionServer({CHAT: [step]}) as server:
        found = run(server, pictures[:1])[0]
    assert not found.text and "out of memory" in found.error and found.later > 0


@pytest.mark.parametrize(
    "step",
    [
        streams([b'data: {"choices": [{"delta": {"content": "A red"}}]}\n\n'], "text/event-stream", ends=False),
        streams([b'data: {"choices": [{"delta": {"content": "A red"}}]}\n\n'], "text/event-stream"),
        streams([b"data: {not json}\n\n"], "text/event-stream"),
        streams([b"data: " + b"x" * (3 << 20)], "text/event-stream"),
        streams([b"x" * (5 << 20)], "application/json"),
        says({"choices": []}),
        says([]),
    ],
    ids=["torn", "no end", "no json", "long line", "long body", "no choice", "no object"],
)
def test_a_broken_answer_is_no_caption(pictures: list[Picture], step: Step) -> None:
    """Half a stream, no JSON, or more bytes than any answer has: the picture stays queued, and nothing half is kept."""
    with CaptionServer({CHAT: [step]}) as server:
        found = run(server, pictures[:1], structured=False)[0]
    assert not found.text and found.error and found.later > 0


def test_redirects_are_not_followed(pictures: list[Picture]) -> None:
    """The configuration alone says who gets the pictures and the key."""
    with CaptionServer({CHAT: [openai(GOOD)]}) as other, CaptionServer({}) as server:
        server.scripts[CHAT] = [says({}, 307, {"Location": other.url + CHAT})]
        found = run(server, pictures[:1])[0]
        assert not found.text and other.asked == []


def test_n_are_asked_at_once_and_never_more(pictures: list[Picture]) -> None:
    """With `concurrency: 4` there are four open requests whenever there are four pictures; with none said, one."""
    four = threading.Barrier(4, timeout=20)

    async def together(request: web.Request) -> web.StreamResponse:
        await asyncio.get_running_loop().run_in_executor(None, four.wait)
        return await openai(GOOD)(request)

    with CaptionServer({CHAT: [together]}) as server:
        found = run(server, pictures, concurrency=4)
        assert (len(found), server.most) == (12, 4)
    with CaptionServer({CHAT: [openai(GOOD)]}) as server:
        assert len(run(server, pictures)) == 12 and server.most == 1


class Cancelling(Fixed):
    """A source whose first picture nobody wants any more once it is asked about."""

    def __init__(self, pictures: list[Picture], server: CaptionServer) -> None:
        super().__init__(pictures)
        self._server = server

    def dropped(self, id: int) -> bool:
        return id == 0 and bool(self._server.asked)


def test_a_cancelled_picture_is_broken_off(pictures: list[Picture]) -> None:
    """The server hears that nobody waits any more; the next picture has its turn."""
    left = threading.Event()

    async def first_hangs(request: web.Request) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.set()
            raise
        raise AssertionError("never")

    with CaptionServer({CHAT: [first_hangs, openai(GOOD)]}) as server:
        captioner = OpenAI({"url": server.url, "model": "eye"})
        found = dict(captioner.captions(Cancelling(pictures[:2], server)))
        captioner.close()
        assert left.wait(10)
    assert (found[0].error, found[1].text) == ("cancelled", CAPTION)


def test_a_bad_picture_costs_no_question(pictures: list[Picture], tmp_path: Path) -> None:
    """What does not decode is its own error, and the server never hears of it."""
    bad = tmp_path / "bad.png"
    bad.write_bytes(picture(1)[:200])
    with CaptionServer({CHAT: [openai(GOOD)]}) as server:
        found = run(server, [Picture(7, bad), pictures[0]])
        assert len(server.asked) == 1
    assert "decode" in found[7].error and found[0].text == CAPTION


def test_the_quality_is_measured_on_the_same_pixels(pictures: list[Picture]) -> None:
    """Measures and the model's opinion stand side by side."""
    pytest.importorskip("numpy")
    with CaptionServer({CHAT: [openai(GOOD)]}) as server:
        quality = run(server, [Picture(0, pictures[0].path)])[0].quality
    assert quality is not None and quality.measured["sharpness"] >= 0 and dict(quality.opinion) == SCORES


def test_without_a_model_the_first_one_is_asked(pictures: list[Picture]) -> None:
    """GET /models says which; a server that offers none is told so."""
    with CaptionServer({CHAT: [openai(GOOD)], "/v1/models": [says({"data": [{"id": "first"}, {"id": "second"}]})]}) as server:
        assert run(server, pictures[:1], model="")[0].text == CAPTION
        assert server.of(CHAT)[0].json["model"] == "first"
    with CaptionServer({"/v1/models": [says({"data": []})]}) as server:
        found = run(server, pictures[:1], model="")[0]
        assert found.later > 0 and "no model" in found.error


def test_garbage_three_times_in_a_row_stops_the_queue(pictures: list[Picture]) -> None:
    """A broken model does not burn the batch: from the third picture on they stay queued and the reason is told."""
    with CaptionServer({CHAT: [openai("????????????????????")]}) as server:
        found = run(server, pictures[:4])
    assert [found[n].later > 0 for n in range(4)] == [False, False, True, True]
    assert "mmproj" in found[2].error


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://a:8000", "http://a:8000/v1"),
        ("http://a:8000/v1", "http://a:8000/v1"),
        ("https://a/api/v1", "https://a/api/v1"),
    ],
)
def test_v1_is_added_to_a_bare_host(url: str, base: str) -> None:
    """An address with a path is taken as it stands."""
    assert base_url(url) == base
