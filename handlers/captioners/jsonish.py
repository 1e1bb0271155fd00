"""JSON as language models write it: in fences, with prose around, with commas too many, cut off in the middle.

What must hold: pure, bounded work on any text (at most TRIES beginnings are tried), nothing is raised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

TRIES = 24  # braces that are tried as the beginning of the object
NAMES = ("caption", "description", "text", "tags", "answer")  # keys under which models put the text
_FENCE = re.compile(r"```[a-zA-Z]*\s*(.*?)(?:```|\Z)", re.DOTALL)
_COMMA = re.compile(r",\s*([}\]])")
_VALUE = re.compile(r'"(?:caption|description)"\s*:\s*"((?:[^"\\]|\\.)*)("?)', re.DOTALL)
_BEGINS = re.compile(r"\{|\[(?=\s*[\"{])")
_PAIR = re.compile(r'["“”\']\w{1,40}["“”\']\s*:')


def find_object(text: str) -> tuple[Mapping[str, object], bool] | None:
    """The object that a reply holds, and whether its end was missing. One with a caption is preferred; None when there is none.

    A bare list of texts counts as the tags of one.
    """
    spots = (*[m[1] for m in _FENCE.finditer(text)][:4], text)
    second: tuple[Mapping[str, object], bool] | None = None
    for spot in spots:
        for found in (*_whole(spot), *_mended(spot)):
            if caption_of(found[0]):
                return found
            second = second or found
    return second


def caption_of(found: Mapping[str, object]) -> str:
    """The text of an object; '' when it has none. A list of texts is joined by commas."""
    for name in NAMES:
        value = found.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, (list, tuple)):
            parts = [part.strip() for part in value if isinstance(part, str) and part.strip()]
            if parts:
                return ", ".join(parts)
    return ""


def looks_like_json(text: str) -> bool:
    """Whether a text is JSON, or a piece of it, rather than words."""
    bare = text.lstrip("` \n\t").removeprefix("json").lstrip()
    return bare.startswith(("{", "[")) or bare.endswith(('"}', '"]')) or _PAIR.search(bare) is not None


def _whole(text: str) -> list[tuple[Mapping[str, object], bool]]:
    """Objects that are complete, commas too many forgiven."""
    decoder = json.JSONDecoder(strict=False)
    found: list[tuple[Mapping[str, object], bool]] = []
    at, tries = _next_brace(text, 0), 0
    while at >= 0 and tries < TRIES:
        tries += 1
        end = at + 1
        for candidate in (text[at:], _COMMA.sub(r"\1", text[at:])):
            try:
                value, length = decoder.raw_decode(candidate)
            except (ValueError, RecursionError):
                continue
            mapping = _mapping(value)
            if mapping is not None:
                found.append((mapping, False))
                end = at + max(1, length)
                break
        at = _next_brace(text, end)
    return found


def _mended(text: str) -> list[tuple[Mapping[str, object], bool]]:
    """The object that begins at the first brace, its end made up; else the value of "caption" alone."""
    at = _next_brace(text, 0)
    if at < 0:
        return []
    for candidate in _closed(text[at:]):
        try:
            mapping = _mapping(json.loads(candidate, strict=False))
        except (ValueError, RecursionError):
            continue
        if mapping is not None:
            return [(mapping, True)]
    alone = _VALUE.search(text)
    if alone is None:
        return []
    try:
        value = json.loads(f'"{alone[1]}"', strict=False)
    except ValueError:
        value = alone[1].replace("\\", "")
    return [({"caption": value, **({"flags": []} if alone[2] else {})}, True)]  # its closing quote came: it is whole


def _closed(text: str) -> list[str]:
    """The text with its open string and brackets closed; then the same cut back to the last comma outside of a string."""
    stack: list[str] = []
    inside = escaped = False
    comma: tuple[int, tuple[str, ...]] | None = None
    for n, c in enumerate(text):
        if inside:
            inside = escaped or c != '"'
            escaped = c == "\\" and not escaped
        elif c == '"':
            inside = True
        elif c in "{[":
            stack.append("}" if c == "{" else "]")
        elif c in "}]":
            if not stack or stack.pop() != c:
                break
            if not stack:
                return []  # it is complete, and was no JSON
        elif c == ",":
            comma = n, tuple(stack)
    rest = text[:-1] if escaped else re.sub(r"\\u[0-9a-fA-F]{0,3}$", "", text)
    made = [_COMMA.sub(r"\1", rest.rstrip() + '"' * inside).rstrip(", ") + "".join(reversed(stack))]
    if comma is not None:
        made.append(text[: comma[0]] + "".join(reversed(comma[1])))
    return made


def _mapping(value: object) -> Mapping[str, object] | None:
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return {"tags": value}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value[0]
    return value if isinstance(value, dict) and value else None


def _next_brace(text: str, start: int) -> int:
    """Where the next object begins; a list counts only before any object, or it would be a part of one that was cut off."""
    found = _BEGINS.search(text, start)
    if found is not None and found[0] == "[" and "{" in text[: found.start()]:
        return text.find("{", start)
    return found.start() if found else -1
