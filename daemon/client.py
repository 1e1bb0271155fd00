"""Talking to the running daemon: JSON questions, an upload, and the stream of events. Standard library only, so that it is there at once.

What must hold: the key goes only to the daemon that the data folder (or the configuration's `server`) names, and into no message; an
answer that no dropdock gave is "no daemon"; an upload is streamed, never held in memory.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from .instance import find

if TYPE_CHECKING:  # of this very room; the client itself needs no pydantic
    from .config import Config

Row = dict[str, object]
BASE = "/api/v1"
KEY_VARIABLE = "DROPDOCK_API_KEY"
TIMEOUT = 30.0  # seconds that an answer may take
CHUNK = 1 << 20
VERSION_HEADER = "Dropdock-Version"  # every answer of a daemon has it
TELLING = (400, 404, 409)  # statuses of problems whose detail says all: see api/problems.py
NOBODY = "no daemon is running (start it with `dropdock run`)"


class NoDaemon(Exception):
    """Nobody answers, or whoever does is no dropdock."""


class Refused(Exception):
    """The daemon's answer is no: an RFC 9457 problem in one sentence; `problems` are its list of that name, one mistake a line."""

    def __init__(self, status: int, said: str, problems: Sequence[str] = ()) -> None:
        super().__init__(said)
        self.status, self.problems = status, tuple(problems)


@dataclass(frozen=True, slots=True)
class Event:
    """One happening of the stream; `id` None is a passing one."""

    id: int | None
    type: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Client:
    """A daemon at `url` (http://host:port). Every method raises NoDaemon, and Refused for a problem."""

    url: str
    key: str = ""

    def get(self, path: str, /, **query: object) -> Row:
        """GET below /api/v1; parameters that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(given)}" if given else path)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Row:
        """POST below /api/v1, with a body of JSON or none."""
        return self._ask("POST", path, body)

    def put(self, path: str, body: Mapping[str, object]) -> Row:
        """PUT below /api/v1."""
        return self._ask("PUT", path, body)

    def patch(self, path: str, body: Mapping[str, object]) -> Row:
        """PATCH below /api/v1."""
        return self._ask("PATCH", path, body)

    def delete(self, path: str) -> Row:
        """DELETE below /api/v1."""
        return self._ask("DELETE", path)

    def lines(self, path: str, body: Mapping[str, object]) -> Iterator[Row]:
        """POST below /api/v1, and the JSON objects of the answer, one a line, as they come."""
        headers = {**self._headers(), "Content-Type": "application/json"}
        with closing(self._open()) as connection:
            try:
                connection.request("POST", BASE + path, json.dumps(body).encode(), headers)
                response = connection.getresponse()
                if response.status != 200 or response.getheader(VERSION_HEADER) is None:
                    _answer(response)
                for line in iter(response.readline, b""):
                    yield _object(line.decode("utf-8", "replace"))
            except (OSError, http.client.HTTPException) as error:
                raise _gone(error) from error

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Row:
        headers = {**self._headers(), **({"Content-Type": "application/json"} if body is not None else {})}
        data = None if body is None else json.dumps(body).encode()
        with closing(self._open()) as connection:
            try:
                connection.request(method, BASE + path, data, headers)
                return _answer(connection.getresponse())
            except (OSError, http.client.HTTPException) as error:
                raise _gone(error) from error

    def upload(self, files: Sequence[Path], watch: str | None, tick: Callable[[int], None] = lambda n: None) -> Row:
        """Put files into an inbox: they appear there together, when all are complete. `tick` gets the bytes sent, as they go.

        Raises OSError when a file of ours cannot be read.
        """
        form = _Form(files)
        path = f"{BASE}/inbox" + (f"?{urlencode({'watch': watch})}" if watch else "")
        with closing(self._open()) as connection:
            try:
                connection.putrequest("POST", path)
                for name, value in {**self._headers(), **form.headers()}.items():
                    connection.putheader(name, value)
                connection.endheaders()
            except (OSError, http.client.HTTPException) as error:
                raise _gone(error) from error
            for part in form.parts():
                try:
                    connection.send(part)
                except (BrokenPipeError, ConnectionResetError):
                    break  # it has answered already: why, stands in the answer
                tick(len(part))
            try:
                return _answer(connection.getresponse())
            except (OSError, http.client.HTTPException) as error:
                raise _gone(error) from error

    def events(self, since: int | None = None) -> Iterator[Event]:
        """What happens behind line `since` (from now on when None), until the daemon ends the stream."""
        path = f"{BASE}/events" + ("" if since is None else f"?since={since}")
        with closing(self._open()) as connection:
            try:
                connection.request("GET", path, headers={**self._headers(), "Accept": "text/event-stream"})
                response = connection.getresponse()
                if response.status != 200 or response.getheader(VERSION_HEADER) is None:
                    _answer(response)
                yield from _events(iter(response.readline, b""))
            except (OSError, http.client.HTTPException) as error:
                raise _gone(error) from error

    def _open(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)

    def _headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key} if self.key else {}


def connect(config: Config, environ: Mapping[str, str]) -> Client:
    """The daemon of this configuration: at the address it announced, else where `server` says. Raises NoDaemon.

    The key is $DROPDOCK_API_KEY, else the configuration's.
    """
    server = config.server
    key = environ.get(KEY_VARIABLE) or (server.api_key.reveal() if server.api_key else "")
    running = find(config.data_dir)
    if running is not None and not running.url:
        raise NoDaemon(f"the daemon (pid {running.pid}) is still starting: try again in a moment")
    if running is not None:
        parts = urlsplit(running.url)
        return Client(_reachable(parts.hostname or "", parts.port or 80), key)
    if not server.port:
        raise NoDaemon(NOBODY)
    return Client(_reachable(server.host, server.port), key)


def _reachable(host: str, port: int) -> str:
    """The URL of an address that is listened at; one that means "every address" is asked at loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


# ---------------------------------------------------------------- answers


def _gone(error: Exception) -> NoDaemon:
    if isinstance(error, TimeoutError):
        return NoDaemon("the daemon does not answer")
    return NoDaemon(NOBODY)


def _answer(response: http.client.HTTPResponse) -> Row:
    """The JSON object of an answer. Raises NoDaemon when no dropdock gave it, Refused for a problem."""
    if response.getheader(VERSION_HEADER) is None:
        raise NoDaemon(f"{NOBODY}; something else answers at its address")
    try:
        body = json.loads(response.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(response.status, f"the daemon answered {response.status} without a reason")
    if response.status >= 400:
        title, detail = str(body.get("title", "")), str(body.get("detail", ""))
        if response.status == 401:
            detail = f"set {KEY_VARIABLE}, or server.api_key in the configuration"
        found = body.get("problems")
        problems = [str(p) for p in found] if isinstance(found, list) else []
        raise Refused(response.status, _said(response.status, title, detail), problems)
    return body


def _said(status: int, title: str, detail: str) -> str:
    """A problem in one sentence. The detail is enough where it names what is missing, wrong or in the way, or repeats the title."""
    if detail and (status in TELLING or detail.startswith(title)):
        return detail
    return ": ".join(filter(None, (title, detail))) or f"the daemon answered {status}"


def _events(lines: Iterator[bytes]) -> Iterator[Event]:
    """The events of a text/event-stream (WHATWG HTML, 9.2), line by line; comments and `retry` are passed over."""
    number: int | None = None
    kind, data = "message", list[str]()
    for raw in lines:
        name, _, value = raw.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            number = int(value) if value.isascii() and value.isdigit() else None
        elif not raw.strip():
            if data:
                yield Event(number, kind, _object("\n".join(data)))
            number, kind, data = None, "message", []


def _object(text: str) -> Row:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# ---------------------------------------------------------------- uploads


class _Form:
    """A multipart/form-data body (RFC 7578) of files, whose length is known before it is sent."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._boundary = f"dropdock-{secrets.token_hex(16)}"
        self._files = [(path, path.stat().st_size, self._head(path)) for path in files]
        self._end = f"--{self._boundary}--\r\n".encode()

    def _head(self, path: Path) -> bytes:
        # filename* (RFC 5987) can carry every name, quotes and line ends included; RFC 7578 would leave those undefined
        name = quote(os.fsencode(path.name).decode("utf-8", "replace"), safe="")
        return (
            f"--{self._boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''{name}\r\n"
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()

    def headers(self) -> dict[str, str]:
        length = sum(len(head) + size + 2 for _, size, head in self._files) + len(self._end)
        return {"Content-Type": f"multipart/form-data; boundary={self._boundary}", "Content-Length": str(length)}

    def parts(self) -> Iterator[bytes]:
        """The body. Raises OSError when a file cannot be read or is no longer as long as it was."""
        for path, size, head in self._files:
            yield head
            left = size
            with path.open("rb") as file:
                while left and (chunk := file.read(min(CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
            if left:
                raise OSError(f"{path} became shorter while it was sent")
            yield b"\r\n"
        yield self._end
