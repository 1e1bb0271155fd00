"""The frames that the daemon and a worker process exchange over their socket: the one place that knows how they are written.

    daemon  Hello, then an Order for each batch
    worker  Ready or Broken, then Answers to each Order
A frame is 4 bytes of length (big endian), then a JSON object in ASCII whose `frame` names its kind.
What must hold: `unpack(pack(f)[HEAD:]) == f` for every frame, paths whose bytes are no UTF-8 included; whatever else comes is a BadFrame.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..handlers.captioners.protocol import Answer
from ..rules.terms import Param

_LENGTH = struct.Struct(">I")
HEAD = _LENGTH.size
LONGEST = 64 << 20  # bytes of one frame: a length beyond it is something else that was written into the socket


class BadFrame(ValueError):
    """What came is no frame."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Which captioner the worker shall make."""

    engine: str
    options: Mapping[str, Param]


@dataclass(frozen=True, slots=True)
class Ready:
    """The captioner is made, and likes `batch` pictures at once."""

    batch: int


@dataclass(frozen=True, slots=True)
class Broken:
    """The captioner cannot be made."""

    reason: str


@dataclass(frozen=True, slots=True)
class Order:
    """Pictures to caption; the Answers have the same id."""

    id: int
    pictures: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """One Answer for each picture of the Order of this id, in its order."""

    id: int
    answers: tuple[Answer, ...]


Frame = Hello | Ready | Broken | Order | Answers


def pack(frame: Frame) -> bytes:
    """A frame as it goes over the socket, its length in front."""
    body = json.dumps(_plain(frame)).encode("ascii")
    return _LENGTH.pack(len(body)) + body


def length(head: bytes) -> int:
    """Bytes of the body behind a head of HEAD bytes. Raises BadFrame when no frame is that long."""
    (size,) = _LENGTH.unpack(head)
    if size > LONGEST:
        raise BadFrame(f"a frame of {size} bytes")
    return int(size)


def unpack(body: bytes) -> Frame:
    """The frame of a body. Raises BadFrame."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFrame("no JSON") from error
    if not isinstance(found, dict):
        raise BadFrame("no object")
    try:
        return _frame(found)
    except (KeyError, TypeError) as error:
        raise BadFrame(f"not as agreed: {error}") from error


def _plain(frame: Frame) -> dict[str, object]:
    match frame:
        case Hello(engine, options):
            return {"frame": "hello", "engine": engine, "options": dict(options)}
        case Ready(batch):
            return {"frame": "ready", "batch": batch}
        case Broken(reason):
            return {"frame": "broken", "reason": reason}
        case Order(id, pictures):
            return {"frame": "order", "id": id, "pictures": [os.fspath(p) for p in pictures]}
        case Answers(id, answers):
            return {"frame": "answers", "id": id, "answers": [[a.text, a.error] for a in answers]}


def _frame(found: Mapping[str, object]) -> Frame:
    match found["frame"]:
        case "hello":
            return Hello(_text(found["engine"]), _options(found["options"]))
        case "ready":
            return Ready(_whole(found["batch"]))
        case "broken":
            return Broken(_text(found["reason"]))
        case "order":
            return Order(_whole(found["id"]), tuple(Path(_text(p)) for p in _list(found["pictures"])))
        case "answers":
            return Answers(_whole(found["id"]), tuple(_answer(a) for a in _list(found["answers"])))
    raise BadFrame("of no known kind")


def _answer(value: object) -> Answer:
    match value:
        case [str(text), str(error)]:
            return Answer(text, error)
    raise TypeError("an answer is a text and an error")


def _options(value: object) -> dict[str, Param]:
    if not isinstance(value, dict):
        raise TypeError("options are an object")
    return {name: _param(given) for name, given in value.items()}


def _param(value: object) -> Param:
    if isinstance(value, list):
        return tuple(_text(part) for part in value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError("an option is a plain value or a list of texts")


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("a whole number was expected")
    return value
