"""Captions: small UTF-8 text that could stand beside a picture.

What must hold: a caption is at most 64 KB of valid UTF-8 (a byte-order mark is allowed) without control characters, so a
binary file called .txt is never read as words.
"""

from __future__ import annotations

MAX_CAPTION = 64 << 10
CAPTION_SUFFIXES = (".txt", ".caption")
_CONTROL = dict.fromkeys(set(range(32)) - {9, 10, 12, 13})


def caption_text(data: bytes) -> str | None:
    """The caption that `data` is, stripped; None when it is too long, in another encoding, or binary. Pure."""
    if len(data) > MAX_CAPTION:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if text.translate(_CONTROL) != text else text.strip()
