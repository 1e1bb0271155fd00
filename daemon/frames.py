"""The frames that the daemon and a worker process exchange over their socket: the one place that knows how they are written.

    daemon  Hello, then Pictures as there is room for them, and Drop for those that nobody wants any more
    worker  News while it loads, Ready or Broken, then Answers as they are ready, in any order, and News in between
A frame is 4 bytes of length (big endian), then a JSON object in ASCII whose `frame` names its kind.
What must hold: `unpack(pack(f)[HEAD:]) == f` for every frame, paths whose bytes are no UTF-8 included; whatever else comes is a BadFrame.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ..handlers.captioners.protocol import Answer, Picture
from ..rules.captions import Quality, Style
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
class News:
    """What goes on in the worker, for people (`downloading model.onnx: 30 %`); `device` is where it runs, once that is known."""

    text: str
    device: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """The captioner is made, likes to hold `ahead` pictures at once, and runs on `device`."""

    ahead: int
    device: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """The captioner cannot be made, or cannot go on. `lasting`: it will not be otherwise before somebody does something."""

    reason: str
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """Pictures to caption; each Answer comes with its picture's id."""

    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Pictures whose answers nobody wants any more. They are answered all the same, as soon as that is convenient."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """Pictures' ids with their Answers, a few at a time."""

    answers: tuple[tuple[int, Answer], ...]


Frame = Hello | News | Ready | Broken | Order | Drop | Answers


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


# ---------------------------------------------------------------- writing


def _plain(frame: Frame) -> dict[str, object]:
    match frame:
        case Hello(engine, options):
            return {"frame": "hello", "engine": engine, "options": dict(options)}
        case News(text, device):
            return {"frame": "news", "text": text, "device": device}
        case Ready(ahead, device):
            return {"frame": "ready", "ahead": ahead, "device": device}
        case Broken(reason, lasting):
            return {"frame": "broken", "reason": reason, "lasting": lasting}
        case Order(pictures):
            return {"frame": "order", "pictures": [_plain_picture(p) for p in pictures]}
        case Drop(ids):
            return {"frame": "drop", "ids": list(ids)}
        case Answers(answers):
            return {"frame": "answers", "answers": [[id, *_plain_answer(a)] for id, a in answers]}


def _plain_picture(p: Picture) -> list[object]:
    return [p.id, os.fspath(p.path), _style_given(p.style), p.tags, p.existing, p.quality]


def _style_given(style: Style) -> dict[str, object]:
    """What a style asks for; the rest is what an empty one says."""
    empty = Style()
    found = {f.name: getattr(style, f.name) for f in fields(Style)}
    return {name: value for name, value in found.items() if value != getattr(empty, name)}


def _plain_answer(a: Answer) -> list[object]:
    q = a.quality
    scores = None if q is None else [dict(q.measured), dict(q.opinion), list(q.flags), q.overall, q.dhash, q.version]
    return [a.text, a.error, a.later, list(a.flags), scores, [[tag, list(models)] for tag, models in a.votes]]


# ---------------------------------------------------------------- reading


def _frame(found: Mapping[str, object]) -> Frame:
    match found["frame"]:
        case "hello":
            return Hello(_text(found["engine"]), _options(found["options"]))
        case "news":
            return News(_text(found["text"]), _text(found["device"]))
        case "ready":
            return Ready(_whole(found["ahead"]), _text(found["device"]))
        case "broken":
            return Broken(_text(found["reason"]), _flag(found["lasting"]))
        case "order":
            return Order(tuple(_picture(p) for p in _list(found["pictures"])))
        case "drop":
            return Drop(tuple(_whole(id) for id in _list(found["ids"])))
        case "answers":
            return Answers(tuple(_answer(a) for a in _list(found["answers"])))
    raise BadFrame("of no known kind")


def _picture(value: object) -> Picture:
    id, path, style, tags, existing, quality = _parts(value, 6)
    return Picture(_whole(id), Path(_text(path)), _style(style), _text(tags), _text(existing), _flag(quality))


def _style(value: object) -> Style:
    if not isinstance(value, dict):
        raise TypeError("a style is an object")
    empty = Style()
    given: dict[str, object] = {}
    for name, said in value.items():
        match getattr(empty, name, _list):  # a function is like no field
            case str():
                given[name] = _text(said)
            case tuple():
                given[name] = tuple(_text(part) for part in _list(said))
            case dict():
                given[name] = _words(said)
            case None:
                given[name] = None if said is None else _flag(said)
            case int():
                given[name] = _whole(said)
            case _:
                raise TypeError("a style has no such field")
    return Style(**given)  # type: ignore[arg-type]  # each by the form of its own default


def _answer(value: object) -> tuple[int, Answer]:
    id, text, error, later, flags, scores, votes = _parts(value, 7)
    who = tuple(_vote(vote) for vote in _list(votes))
    said = Answer(_text(text), _text(error), _number(later), tuple(_text(f) for f in _list(flags)), _quality(scores), who)
    return _whole(id), said


def _vote(value: object) -> tuple[str, tuple[str, ...]]:
    tag, models = _parts(value, 2)
    return _text(tag), tuple(_text(model) for model in _list(models))


def _quality(value: object) -> Quality | None:
    if value is None:
        return None
    measured, opinion, flags, overall, dhash, version = _parts(value, 6)
    return Quality(
        _scores(measured), _scores(opinion), tuple(_text(f) for f in _list(flags)),
        None if overall is None else _number(overall), _text(dhash), _whole(version),
    )  # fmt: skip


def _parts(value: object, count: int) -> list[object]:
    parts = _list(value)
    if len(parts) != count:
        raise TypeError(f"{count} parts were expected")
    return parts


def _scores(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        raise TypeError("scores are an object")
    return {name: _number(score) for name, score in value.items()}


def _words(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("texts by name were expected")
    return {name: _text(said) for name, said in value.items()}


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


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError("a number was expected")
    return float(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false was expected")
    return value
