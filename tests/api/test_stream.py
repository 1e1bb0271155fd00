"""The event stream: ids, resume, reset, and an end at once when it is time."""

import asyncio
import json

import pytest
from aiohttp.test_utils import TestServer
from dropdock.api.ports import Event
from dropdock.store import history
from dropdock.store.history import Happening


async def frame(answer):
    """The next event of a stream as (id, type, data)."""
    found = {"id": None, "event": "message", "data": ""}
    while True:
        line = (await answer.content.readline()).decode()
        assert line.endswith("\n"), "the stream has ended"
        line = line.rstrip("\n")
        if not line and found["data"]:
            return found["id"] and int(found["id"]), found["event"], json.loads(found["data"])
        name, _, value = line.partition(":")
        if name in found:
            found[name] = value.removeprefix(" ")


async def listen(client, query="", **headers):
    answer = await client.get("/api/v1/events" + query, headers=headers)
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    return answer, await frame(answer)


async def test_what_happens_is_sent_with_its_id(face, client):
    """A line of history arrives with its id, its kind as the event's name, and the same words as GET /history."""
    stream, (number, name, _) = await listen(client)
    assert (number, name) == (None, "hello")
    told = await face.feed.tell(Happening("arrived", note="line one\nline two"))
    number, name, data = await frame(stream)
    assert (number, name, data["note"]) == (told, "arrived", "line one\nline two")
    assert data == {k: v for k, v in (await history_of(client))[0].items() if k not in ("end", "end_at")}
    stream.close()


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_listener_resumes_where_it_was(face, client, way):
    """Nothing is skipped and nothing comes twice behind the last id a listener saw; the header wins over the query."""
    ids = [await face.feed.tell(Happening("arrived", note=str(n))) for n in range(5)]
    if way == "header":
        stream, _ = await listen(client, "?since=0", **{"Last-Event-ID": str(ids[1])})
    else:
        stream, _ = await listen(client, f"?since={ids[1]}")
    assert [(await frame(stream))[0] for _ in range(3)] == ids[2:]
    more = await face.feed.tell(Happening("departed"))
    assert (await frame(stream))[0] == more
    stream.close()


async def test_progress_carries_no_id(face, client):
    """A passing event does not move the place that a listener resumes from."""
    stream, _ = await listen(client)
    face.feed.send(Event(None, "progress", {"job": 3, "progress": 0.5, "title": "bad\udcff"}))
    assert await frame(stream) == (None, "progress", {"job": 3, "progress": 0.5, "title": "bad\\udcff"})
    stream.close()


async def test_a_place_that_is_gone_is_reset(face, client):
    """Before the oldest line kept, and beyond the newest one, a listener is told to begin anew and gets what happens from now on."""
    ids = [await face.feed.tell(Happening("arrived")) for _ in range(4)]
    await face.store.write(lambda c: c.execute("DELETE FROM history WHERE id < ?", (ids[2],)))
    for since in (ids[0], ids[3] + 5):
        stream, first = await listen(client, f"?since={since}")
        assert first == (None, "reset", {"last": ids[3]})
        now = await face.feed.tell(Happening("departed"))
        assert (await frame(stream))[0] == now
        ids[3] = now
        stream.close()
    stream, (_, name, _) = await listen(client, f"?since={ids[1]}")
    assert name == "hello"  # the line behind it is the oldest one kept: nothing was missed
    stream.close()


async def test_an_idle_stream_shows_signs_of_life(face, aiohttp_client):
    """Without events a comment comes, so that both sides notice when the other is gone."""
    client = await aiohttp_client(face.app(ping=0.05))
    stream, _ = await listen(client)
    assert (await stream.content.readline()).startswith(b":")
    stream.close()


async def test_a_feed_that_gives_a_listener_up_ends_its_stream(face, client):
    """The end of the feed's iterator is the end of the answer: the listener comes again and resumes."""
    stream, _ = await listen(client)
    face.feed.send(None)
    assert await stream.content.read() == b""


async def test_a_listener_that_left_is_forgotten(face, aiohttp_client):
    """When a listener is gone its subscription ends."""
    client = await aiohttp_client(face.app(ping=0.05))
    stream, _ = await listen(client)
    assert len(face.feed.listeners) == 1
    stream.close()
    while face.feed.listeners:
        await asyncio.sleep(0.01)


async def test_a_listener_that_takes_nothing_is_dropped(face, aiohttp_client):
    """A stalled reader does not make us buffer: its stream is cut and its subscription ends."""
    client = await aiohttp_client(face.app(send_timeout=0.05))
    _, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1)
    writer.transport.pause_reading()
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while not face.feed.listeners:
        await asyncio.sleep(0.01)
    while face.feed.listeners:
        face.feed.send(Event(None, "progress", {"text": "x" * 1_000_000}))
        await asyncio.sleep(0.01)
    writer.transport.abort()


async def test_stopping_ends_open_streams_at_once(face):
    """The server's stop does not wait for listeners: the stream ends cleanly and its subscription with it."""
    server = TestServer(face.app())
    await server.start_server()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while not face.feed.listeners:
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):  # aiohttp's own patience with open answers is 60 s
        await server.close()
    assert (await reader.read()).endswith(b"0\r\n\r\n")
    assert not face.feed.listeners
    writer.close()


async def history_of(client):
    return (await (await client.get("/api/v1/history")).json())["history"]


async def test_history_ids_are_the_feeds(face, client):
    """`last` of the status is the place to stream on from: nothing is missed between the two."""
    await face.feed.tell(Happening("arrived"))
    last = (await (await client.get("/api/v1/status")).json())["last"]
    assert last == await face.store.read(history.last_id)
    missed = await face.feed.tell(Happening("performed"))
    stream, _ = await listen(client, f"?since={last}")
    assert (await frame(stream))[0] == missed
    stream.close()
