"""Talking to a daemon: the stream is parsed, uploads are whole, and whoever is no dropdock is not taken for one."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path

import pytest
from dropdock.daemon import client as client_module
from dropdock.daemon.client import Client, Event, NoDaemon, Refused, connect
from dropdock.daemon.config import read
from dropdock.daemon.instance import Instance
from hypothesis import given
from hypothesis import strategies as st

OURS = {"Dropdock-Version": "0.1.0", "Content-Type": "application/json"}
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """An HTTP server on loopback that answers every request with `answer`; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}"
        finally:
            httpd.shutdown()


def saying(status: int, body: object, headers: dict[str, str] = OURS) -> Answer:
    """An answer with this status, body and headers."""

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data)

    return answer


def test_an_answer_is_its_json_object() -> None:
    """GET gives the object; parameters that are None are not sent; the key goes along."""
    seen: list[tuple[str, str | None]] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        seen.append((request.path, request.headers["X-API-Key"]))
        saying(200, {"a": 1})(request)

    with server(answer) as url:
        assert Client(url, "secret").get("/jobs", state="open", lane=None) == {"a": 1}
        assert Client(url).post("/rescan") == {"a": 1}
    assert seen == [("/api/v1/jobs?state=open", "secret"), ("/api/v1/rescan", None)]


def test_a_refusal_is_said_in_the_daemons_words_without_the_key() -> None:
    """A problem document becomes one sentence; of a wrong key it is said what to set, never the key."""
    problem = {"title": "There is no such thing", "detail": "There is no job 7.", "status": 404}
    with (
        server(saying(404, problem)) as url,
        pytest.raises(Refused, match=r"^There is no job 7\.$") as refused,
    ):
        Client(url).get("/jobs/7")
    assert refused.value.status == 404
    inside = {"title": "Something went wrong inside", "detail": "The log of the daemon says more."}
    with server(saying(500, inside)) as url, pytest.raises(Refused, match="went wrong inside: The log"):
        Client(url).get("/status")
    full = {"title": "The inbox cannot be written", "detail": "The inbox cannot be written: no such folder."}
    with server(saying(503, full)) as url, pytest.raises(Refused, match=r"^The inbox cannot be written: no such folder\.$"):
        Client(url).get("/status")
    with (
        server(saying(401, {"title": "The API key is missing or wrong"})) as url,
        pytest.raises(Refused, match="DROPDOCK_API_KEY") as no,
    ):
        Client(url, "hunter2").get("/status")
    assert "hunter2" not in str(no.value)


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b""])
def test_a_broken_answer_is_a_refusal(body: bytes) -> None:
    """What is no JSON object is told, not raised as something else."""
    with server(saying(200, body)) as url, pytest.raises(Refused, match="without a reason"):
        Client(url).get("/status")


def test_nobody_and_somebody_else_are_no_daemon() -> None:
    """A closed port, and a web server that is no dropdock, are both "no daemon is running"."""
    with server(saying(200, {"a": 1}, {})) as url:
        with pytest.raises(NoDaemon, match="something else answers"):
            Client(url).get("/status")
        with pytest.raises(NoDaemon):
            list(Client(url).events())
        with pytest.raises(NoDaemon):
            Client(url).upload([], None)
    for ask in (lambda c: c.get("/status"), lambda c: list(c.events()), lambda c: c.upload([], None)):
        with pytest.raises(NoDaemon, match="dropdock run"):
            ask(Client(url))


# ---------------------------------------------------------------- uploads


def test_an_upload_is_every_byte_of_every_file_under_its_name(tmp_path: Path) -> None:
    """Names with quotes, line ends, blanks and other alphabets arrive as they are; ticks count every byte that is sent."""
    given = {'a "quoted" name.txt': b"one\r\n", "рыжая лиса.png": bytes(range(256)), "two\nlines;=%.bin": b"", "50%.zip": b"--x"}
    for name, data in given.items():
        (tmp_path / name).write_bytes(data)
    bodies: list[bytes] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        bodies.append(head + request.rfile.read(int(request.headers["Content-Length"])))
        assert request.path == "/api/v1/inbox?watch=my+box"
        saying(201, {"files": []})(request)

    ticks: list[int] = []
    with server(answer) as url:
        assert Client(url).upload([tmp_path / name for name in given], "my box", ticks.append) == {"files": []}
    form = message_from_bytes(bodies[0], policy=HTTP)
    parts = list(form.iter_parts())
    assert [p.get_filename() for p in parts] == list(given)
    # the email parser is for text: bytes are looked for in the body itself
    assert all(data in bodies[0] for data in given.values())
    assert sum(ticks) == len(bodies[0].split(b"\r\n\r\n", 1)[1])


def test_an_upload_that_is_refused_early_says_why(tmp_path: Path) -> None:
    """A server that answers before it has read all is heard, though the sending breaks."""
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        file.truncate(64 << 20)

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        saying(507, {"title": "There is not enough free space", "detail": "5 bytes are free."})(request)

    with server(answer) as url, pytest.raises((Refused, NoDaemon)) as said:
        Client(url).upload([big], None)
    # the kernel may throw an unread answer away with a reset connection: then there is nothing to hear
    assert "free space" in str(said.value) or isinstance(said.value, NoDaemon)


def test_a_file_that_shrinks_while_it_is_sent_is_an_error(tmp_path: Path) -> None:
    """The promised length is never filled with something else."""
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(10))
    form = client_module._Form([path])
    path.write_bytes(bytes(3))
    with pytest.raises(OSError, match="became shorter"):
        list(form.parts())


# ---------------------------------------------------------------- events


def test_events_are_read_until_the_stream_ends() -> None:
    """Ids, types and data are taken; comments and retry passed over; an event without its empty line is not given out."""
    stream = b': ping\n\nevent: hello\ndata: {"last":4}\nretry: 1000\n\nid: 5\nevent: performed\ndata: {"a":\ndata: 1}\n\nid: 6\ndata: {}\n'
    paths: list[str] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        paths.append(request.path)
        saying(200, stream)(request)

    with server(answer) as url:
        assert list(Client(url).events(4)) == [Event(None, "hello", {"last": 4}), Event(5, "performed", {"a": 1})]
        list(Client(url).events())
    assert paths == ["/api/v1/events?since=4", "/api/v1/events"]


WORD = st.text("abcdefgh", min_size=1, max_size=8)
DATA = st.dictionaries(WORD, st.integers() | st.text(max_size=9) | st.none(), max_size=4)


@given(st.lists(st.tuples(st.none() | st.integers(0, 10**12), WORD, DATA), max_size=8), st.sampled_from([b"\n", b"\r\n"]))
def test_what_is_written_as_a_stream_is_read_back(events: list[tuple[int | None, str, dict[str, object]]], end: bytes) -> None:
    """Any list of events survives the trip through text/event-stream, with either line end."""
    lines: list[bytes] = []
    for number, kind, data in events:
        lines += [b": a comment"] + ([f"id: {number}".encode()] if number is not None else [])
        lines += [f"event:{kind}".encode(), b"data: " + json.dumps(data).encode(), b""]
    assert list(client_module._events(line + end for line in lines)) == [Event(*e) for e in events]


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=20))
def test_no_stream_breaks_the_reader(lines: list[bytes]) -> None:
    """Whatever bytes come, the answer is events whose data are objects."""
    for event in client_module._events(iter(lines)):
        assert isinstance(event.data, dict) and (event.id is None or event.id >= 0)


# ---------------------------------------------------------------- finding it


def config_of(tmp_path: Path, server_section: str) -> object:
    return read(f"data_dir: {tmp_path}/data\nserver: {server_section}\n", tmp_path / "c.yaml", {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("announced", "section", "environ", "expected"),
    [
        ("http://127.0.0.1:5000/", "{port: 9}", {}, Client("http://127.0.0.1:5000")),
        ("http://0.0.0.0:5000/", "{port: 9}", {}, Client("http://127.0.0.1:5000")),
        ("http://[::]:5000/", "{port: 9}", {}, Client("http://[::1]:5000")),
        (None, "{host: '::1', port: 9}", {}, Client("http://[::1]:9")),
        (None, "{host: 0.0.0.0, port: 9, api_key: aaaaaaaaaaaaaaaa}", {}, Client("http://127.0.0.1:9", "aaaaaaaaaaaaaaaa")),
        (None, "{api_key: aaaaaaaaaaaaaaaa}", {"DROPDOCK_API_KEY": "b"}, Client("http://127.0.0.1:8484", "b")),
    ],
)
def test_the_daemon_is_asked_where_it_is(
    tmp_path: Path, announced: str | None, section: str, environ: dict[str, str], expected: Client
) -> None:
    """At the address it announced, else at the configuration's; "every address" is loopback; the environment's key wins."""
    config = config_of(tmp_path, section)
    if announced is None:
        assert connect(config, environ) == expected  # type: ignore[arg-type]
        return
    with Instance(tmp_path / "data") as instance:
        instance.announce(announced)
        assert connect(config, environ) == expected  # type: ignore[arg-type]


def test_a_daemon_that_starts_is_no_daemon_yet(tmp_path: Path) -> None:
    """While it has no address the user is told to wait; with a free port and no daemon there is nobody to ask."""
    config = config_of(tmp_path, "{port: 0}")
    with pytest.raises(NoDaemon, match="dropdock run"):
        connect(config, {})  # type: ignore[arg-type]
    with Instance(tmp_path / "data"), pytest.raises(NoDaemon, match="still starting"):
        connect(config, {})  # type: ignore[arg-type]
