"""Changing a text as a person asks for: find and replace, tags put first or last, tags removed. Pure.

What must hold: a text in which nothing is found stays as it is, byte for byte; a tag stands once, however often it is put there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..rules.captions import Edit
from .captioners.finish import broken_pattern, key, matcher, unique

_COMMA = re.compile(r"(?<!\\),")  # one that parts tags


def mistake(edit: Edit) -> str:
    """Why an edit cannot be carried out; '' when it can."""
    if edit == Edit():
        return "nothing is to be changed: say find, remove, prepend or append"
    if edit.replace and not edit.find:
        return "replace needs find"
    if why := next((f"{p}: {why}" for p in edit.remove if (why := broken_pattern(p))), ""):
        return why
    if edit.regex:
        try:
            re.compile(edit.find).sub(edit.replace, "")
        except (re.error, IndexError) as error:  # IndexError: a group of a name that is none
            return f"find is no regular expression, or replace does not fit it: {error}"
    return ""


def edited(text: str, edit: Edit) -> str:
    """The text with the change made, in one line. Raises re.error where `mistake` would have said something."""
    if edit.find:
        pattern = edit.find if edit.regex else re.escape(edit.find)
        with_ = edit.replace if edit.regex else edit.replace.replace("\\", r"\\")
        text = re.sub(pattern, with_, text)
    if edit.remove:
        gone = matcher(edit.remove)
        parts = _parts(text)
        kept = [part for part in parts if not gone(part)]
        text = ", ".join(kept) if len(kept) < len(parts) else text
    return _put(text, edit.prepend, edit.append)


def _put(text: str, first: Sequence[str], last: Sequence[str]) -> str:
    there = {key(part) for part in _parts(text)}
    head = [tag for tag in unique(first) if key(tag) not in there]
    tail = [tag for tag in unique(last) if key(tag) not in there | {key(tag) for tag in head}]
    return ", ".join(filter(None, (*head, text, *tail))) if head or tail else text


def _parts(text: str) -> list[str]:
    """What stands between commas, as written."""
    return [part for piece in _COMMA.split(text) if (part := piece.strip())]
