"""Caption files: reading a text that came beside a picture, and writing ours.

What must hold: a caption in UTF-8 stays byte for byte; anything else is decoded by its mark or as Windows-1252 and written as UTF-8.
"""

from __future__ import annotations

import codecs
import os
from pathlib import Path

MAX_CAPTION = 64 << 10  # bytes; more is no caption
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def decode(data: bytes) -> tuple[str, bool]:
    """The text, and whether the bytes are plain UTF-8 already."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), False
    try:
        return data.decode("utf-8"), True
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), False


def write_new(path: Path, data: bytes) -> None:
    """Write a new file of ours durably. Raises FileExistsError rather than overwrite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
