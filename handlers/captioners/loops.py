"""Texts that go round in circles, and where a text can be ended.

What must hold: pure; time is bounded by TAIL times PERIOD; a text is only ever shortened.
"""

from __future__ import annotations

import re

TAIL = 1600  # characters at the end that are looked at
PERIOD = 240  # characters of the longest circle that is found
LEAST = 40  # characters that must repeat
TURNS = 3  # times a circle must have been gone through again
_WORDS = 60  # words at the end whose variety is measured
_VARIETY = 0.28  # different words among them, below which they are one circle with changes
_SENTENCE = re.compile(r"[.!?](?=[\s\"'”’)]|$)|[。！？]")


def loop_start(text: str) -> int | None:
    """Where a text's end begins to repeat what it has just said: the index behind the first time it was said. None: it does not."""
    tail = text.rstrip()[-TAIL:]
    offset = len(text.rstrip()) - len(tail)
    for period in range(1, min(PERIOD, len(tail) // 2) + 1):
        n = len(tail) - 1
        while n >= period and tail[n] == tail[n - period]:
            n -= 1
        repeated = len(tail) - 1 - n
        if repeated >= max(LEAST, TURNS * period):
            return offset + n + 1
    words = [*re.finditer(r"\w+", tail)][-_WORDS:]
    if len(words) == _WORDS and len({w[0].casefold() for w in words}) < _VARIETY * _WORDS:
        seen: set[str] = set()
        for word in words:
            if word[0].casefold() in seen:
                return offset + word.start()
            seen.add(word[0].casefold())
    return None


def clean_end(text: str, tags: bool, sure: bool) -> str:
    """A text without its unfinished end: up to its last whole sentence, or the last comma of tags.

    Without any such place: up to the last comma or word (`sure`), or, for a text that goes in a circle, up to its last comma, if that
    leaves three words.
    """
    text = text.rstrip()
    if tags:
        return text.rpartition(",")[0] if "," in text else text
    ends = [m.end() for m in _SENTENCE.finditer(text)]
    if ends and len(text[: ends[-1]].split()) >= 3:
        return text[: ends[-1]]
    head = text.rpartition(",")[0].rstrip(" ,;")
    if len(head.split()) >= 3:
        return head
    head = text.rpartition(" ")[0].rstrip(" ,;")
    if sure:
        return head
    return head if len(head.split()) >= 3 else ""
