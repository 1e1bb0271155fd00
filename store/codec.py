"""How values become columns: terms as JSON, paths as TEXT or BLOB.

What must hold: whatever a file system can name survives the trip. A path whose bytes are not UTF-8 carries surrogate escapes in
Python, which SQLite's TEXT refuses: such a path is stored as the BLOB of its bytes. JSON escapes lone surrogates and gives them back.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")
DbPath = str | bytes


def to_db(path: Path | str) -> DbPath:
    """A path as a column value."""
    text = os.fspath(path)
    if text.isascii():  # as most are, and it is asked for each file several times
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text


def from_db(value: DbPath) -> str:
    """The path text of a column value."""
    return os.fsdecode(value) if isinstance(value, bytes) else value


def path_of(value: DbPath) -> Path:
    """The Path of a column value."""
    return Path(from_db(value))


def printable(text: str) -> str:
    """Text for a person: what is not UTF-8 is shown as an escape, so that it can be stored and sent."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def dumps(value: object) -> str:
    """JSON of a dataclass of rules/terms.py, or of plain values."""
    return _ENCODER.encode(value)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} does not go into the store")


_ENCODER = json.JSONEncoder(default=_plain, separators=(",", ":"))  # json.dumps would make one for each value


def loads(kind: type[T], text: str) -> T:
    """The dataclass back from `dumps`. Raises pydantic.ValidationError when the text is not one of ours."""
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        adapter = _ADAPTERS[kind] = TypeAdapter(kind)
    found: T = adapter.validate_python(json.loads(text))
    return found


_ADAPTERS: dict[object, TypeAdapter[Any]] = {}  # building one costs milliseconds, using it microseconds
