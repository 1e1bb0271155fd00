"""How settings are written: the forms of values, and what says so when one is wrong.

What must hold: validators raise Wrong with a sentence for the person; pydantic collects all of them before anything is refused. What
comes out is plain data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from ..handlers.captioners.finish import broken_pattern
from ..handlers.captioners.options import model_spec
from ..handlers.captioners.registry import entries
from ..handlers.captioners.tagging import MERGES, ORDERS, RATINGS
from ..rules.captions import EXISTING, KINDS, PAIR
from ..rules.conditions import TYPES
from ..rules.document import describe, nearest
from ..rules.layouts import CUSTOM, built_in_layouts, folder_path
from ..rules.measures import parse_duration, parse_number, parse_share, parse_size, show_duration, show_size
from ..rules.terms import Mode

LOG_FORMATS = ("auto", "console", "json")
BUSY = ("wait", "cpu")
APIS = ("bytes", "base64", "llava")  # how a plain caption server is asked
LOG_LEVELS = ("debug", "info", "warning", "error")


class Wrong(ValueError):
    """A value that cannot stand, in words; `value` is what stood there, `mend` the nearest right word."""

    def __init__(self, message: str, value: str = "", mend: str = "") -> None:
        super().__init__(message)
        self.message, self.value, self.mend = message, value, mend


class NotText(Wrong):
    """Text was expected; the document knows whether YAML made it something else."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a path is read by: the home for `~`, and the folder of the configuration for relative paths."""

    home: Path
    base: Path


# ---------------------------------------------------------------- forms


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NotText("expected text: put quotes around it", describe(value))
    if not value.strip() or "\0" in value:
        raise Wrong("expected text that is not empty", describe(value))
    return value


def _maybe_text(value: object) -> str | None:
    """Text, or nothing: an empty text is what `${NAME:-}` leaves of a variable that is not set."""
    return None if value is None or value == "" else _text(value)


def _folder(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    text, around = _text(value), info.context
    if not isinstance(around, Around):  # a mistake of ours, not of the person's: let it out
        raise TypeError("folders are read with Around as the context")
    if text == "~" or text.startswith(("~/", "~\\")):
        text = f"{around.home}/{text[2:]}"
    elif text.startswith("~"):
        raise Wrong("expected a folder, where ~ stands alone or before a slash", describe(value))
    return Path(os.path.normpath(around.base / text))


def _whole(value: object) -> int:
    number = _measured(parse_number, value)
    if number != int(number):
        raise Wrong("expected a whole number", describe(value))
    return int(number)


def _layers(value: object) -> int:
    """Layers on a card, as llama.cpp counts them: -1 is all of them."""
    if value in (-1, "-1"):
        return -1
    try:
        return _whole(value)
    except Wrong:
        raise Wrong("expected a whole number, or -1 for all layers", describe(value)) from None


def _flag(value: object) -> bool:
    word = value.casefold() if isinstance(value, str) else value
    if word in ("true", "false"):  # text, when it came out of ${NAME}
        return word == "true"
    if not isinstance(value, bool):
        raise Wrong("expected true or false", describe(value))
    return value


def _measured(parse: Callable[[object], float], value: object) -> float:
    try:
        return parse(value)
    except ValueError as error:
        raise Wrong(str(error), describe(value)) from None


def _one_of(value: object, words: tuple[str, ...]) -> str:
    text = _text(value)
    if text not in words:
        raise Wrong(f"expected one of {', '.join(words)}", describe(text), nearest(text, words))
    return text


def _type_map(value: object) -> tuple[tuple[str, str], ...]:
    """Type of a model -> folder below the app's own."""
    if not isinstance(value, Mapping):
        raise Wrong("expected folders by type, like {lora: loras}", describe(value))
    for kind, folder in value.items():
        if kind not in TYPES:
            raise Wrong("unknown type of a model", describe(kind), nearest(str(kind), TYPES))
        if not isinstance(folder, str):
            raise Wrong(f"expected a folder for {kind}: put quotes around it", describe(folder))
        try:
            folder_path(folder)
        except ValueError as error:
            raise Wrong(str(error), describe(folder)) from None
    return tuple((str(kind), str(folder)) for kind, folder in value.items())


def _pairs(value: object) -> tuple[str, ...]:
    """A mapping of text, as name, PAIR, value each; a value may be empty."""
    if not isinstance(value, Mapping):
        raise Wrong("expected texts by name, like {old: new}", describe(value))
    for name, text in value.items():
        if not isinstance(name, str) or not name.strip():
            raise NotText("expected text: put quotes around it", describe(name))
        if not isinstance(text, str):
            raise NotText(f"expected text for {name}: put quotes around it", describe(text))
    return tuple(f"{name}{PAIR}{text}" for name, text in value.items())


def _numbers(value: object) -> tuple[str, ...]:
    """A mapping of numbers, as name, PAIR, number each."""
    if not isinstance(value, Mapping):
        raise Wrong("expected numbers by name, like {copyright: 0.5}", describe(value))
    return tuple(f"{_text(name)}{PAIR}{_measured(parse_number, number):g}" for name, number in value.items())


def _models(value: object, info: ValidationInfo) -> tuple[str, ...]:
    """Taggers: a folder that is written as one (it begins with a point, a slash or ~) is made absolute."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence) or not items:
        raise Wrong(f"expected a list of models, like [{next(iter(entries()))}]", describe(value))
    return tuple(_model(_text(item), info) for item in items)


def _model(item: str, info: ValidationInfo) -> str:
    try:
        name, thresholds = model_spec(item)
    except ValueError as error:
        raise Wrong(str(error), describe(item)) from None
    if name.startswith((".", "~", "/")):
        name = str(_folder(name, info))
    elif "/" not in name and name not in entries() and not Path(name).is_absolute():
        raise Wrong(
            "expected a tagger's name, a folder, owner/repository or an address", describe(name), nearest(name, entries())
        )
    return " @ ".join([name, *([" ".join(f"{key}={number:g}" for key, number in thresholds.items())] if thresholds else [])])


def _pattern(value: object) -> str:
    text = _text(value)
    if why := broken_pattern(text):
        raise Wrong(why, describe(text))
    return text


def _devices(value: object) -> str:
    """Where a model runs: one device, or several as a list or with commas between them. Kept with commas."""
    items = value if isinstance(value, (list, tuple)) else [value]
    words = [word.strip() for item in items for word in _text(item).split(",")]
    bad = next((word for word in words if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", word)), None)
    if bad is not None or not words:
        raise Wrong("expected auto, cpu, cuda, cuda:N, or a list of cards like [cuda:0, cuda:1]", describe(bad or value))
    return ", ".join(dict.fromkeys(words))


def _address(value: object) -> str | None:
    """Where an app listens: http://host:port, without a user's name or a query."""
    if value is None or value == "":
        return None
    text = _text(value)
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username is not None or parts.query or parts.fragment:
        raise Wrong("expected an address like http://127.0.0.1:8188 (a password goes into `auth`)")
    return text.rstrip("/")


def _served_at(value: object) -> str:
    """Where a caption server listens; a key stands elsewhere, so that it can be hidden."""
    try:
        found = _address(value)
    except NotText:
        raise
    except Wrong:
        found = None
    if found is None:
        raise Wrong("expected an address like http://127.0.0.1:8000/v1 (a key goes into `api_key`)")
    return found


def _file_or_name(value: object, info: ValidationInfo) -> str:
    """A file, below the configuration's folder when it is relative, where there is a slash or an ending; else a name as it stands."""
    text = _text(value)
    if "/" in text or "\\" in text or text.endswith(".gguf") or text.startswith("~"):
        return str(_folder(text, info))
    return text


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written, and how a default of this form is shown."""

    words: str
    show: Callable[[float], str] | None = None


def _either(words: tuple[str, ...]) -> Form:
    return Form(f"{', '.join(words[:-1])} or {words[-1]}")


Text = Annotated[str, BeforeValidator(_text), Form("text")]
MaybeText = Annotated[str | None, BeforeValidator(_maybe_text), Form("text")]
Folder = Annotated[Path, BeforeValidator(_folder), Form("folder")]
MaybeFlag = Annotated[bool | None, BeforeValidator(lambda v: None if v is None else _flag(v)), Form("true or false")]
MaybeNumber = Annotated[
    float | None, BeforeValidator(lambda v: None if v is None else _measured(parse_number, v)), Form("number")
]
Flag = Annotated[bool, BeforeValidator(_flag), Form("true or false")]
Whole = Annotated[int, BeforeValidator(_whole), Form("whole number")]
MaybeWhole = Annotated[int | None, BeforeValidator(lambda v: None if v is None else _whole(v)), Form("whole number")]
Number = Annotated[float, BeforeValidator(lambda v: _measured(parse_number, v)), Form("number", "{:g}".format)]
Share = Annotated[float, BeforeValidator(lambda v: _measured(parse_share, v)), Form("number from 0 to 1", "{:g}".format)]
Duration = Annotated[float, BeforeValidator(lambda v: _measured(parse_duration, v)), Form("duration", show_duration)]
MaybeDuration = Annotated[
    float | None, BeforeValidator(lambda v: None if v is None else _measured(parse_duration, v)), Form("duration")
]
Size = Annotated[int, BeforeValidator(lambda v: int(_measured(parse_size, v))), Form("size", show_size)]
ModeWord = Annotated[Mode, BeforeValidator(lambda v: Mode(_one_of(v, tuple(Mode)))), Form("inbox, library or dataset")]
FormatWord = Annotated[str, BeforeValidator(lambda v: _one_of(v, LOG_FORMATS)), Form("auto, console or json")]
LevelWord = Annotated[str, BeforeValidator(lambda v: _one_of(v, LOG_LEVELS)), Form("debug, info, warning or error")]
LayoutWord = Annotated[str, BeforeValidator(lambda v: _one_of(v, (*built_in_layouts(), CUSTOM))), Form("name of a layout")]
TypeMap = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_type_map), Form("folder by type")]
Address = Annotated[str | None, BeforeValidator(_address), Form("http address")]
ServedAt = Annotated[str, BeforeValidator(_served_at), Form("http address")]
FileOrName = Annotated[str, BeforeValidator(_file_or_name), Form("text")]
MaybeFile = Annotated[str | None, BeforeValidator(lambda v, i: None if v in (None, "") else _file_or_name(v, i)), Form("text")]
Layers = Annotated[int, BeforeValidator(_layers), Form("whole number")]
Texts = Annotated[tuple[Text, ...], Form("list of text")]
TextMap = Annotated[tuple[str, ...], BeforeValidator(_pairs), Form("text by name")]
NumberMap = Annotated[tuple[str, ...], BeforeValidator(_numbers), Form("number by name")]

Patterns = Annotated[tuple[Annotated[str, BeforeValidator(_pattern)], ...], Form("list of text")]
Models = Annotated[tuple[str, ...], BeforeValidator(_models), Form("list of text")]
DeviceWord = Annotated[str, BeforeValidator(_devices), Form("text or list of text")]
RatingWord = Annotated[str, BeforeValidator(lambda v: _one_of(v, RATINGS)), _either(RATINGS)]
OrderWord = Annotated[str, BeforeValidator(lambda v: _one_of(v, ORDERS)), _either(ORDERS)]
MergeWord = Annotated[str, BeforeValidator(lambda v: _one_of(v, MERGES)), _either(MERGES)]
KindWord = Annotated[str | None, BeforeValidator(lambda v: None if v is None else _one_of(v, KINDS)), _either(KINDS)]
ExistingWord = Annotated[str | None, BeforeValidator(lambda v: None if v is None else _one_of(v, EXISTING)), _either(EXISTING)]
ApiWord = Annotated[str, BeforeValidator(lambda v: _one_of(v, APIS)), _either(APIS)]
BusyWord = Annotated[str, BeforeValidator(lambda v: _one_of(v, BUSY)), _either(BUSY)]


class Section(BaseModel):
    """A mapping of settings: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
