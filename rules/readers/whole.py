"""Is a file complete by its own format? Asked while it may still be growing, so it is cheap and never guesses.

What must hold: head and tail only (under 1 MB; of a model its header), True and False only where the format itself says so,
None for everything else. Formats that may be followed by other data (a JPEG with a video behind it) count as complete.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

from ..header import Damaged, Header
from . import gguf, safetensors
from .images import sniff
from .zipdir import read_directory

_PART = 64 << 10
_CUT = frozenset({"truncated-data", "truncated-header"})


def is_whole(path: Path) -> bool | None:
    """True: complete. False: provably unfinished. None: cannot be told. Raises only OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(min(size, 512))
        if not head:
            return None
        if safetensors.announced(head) and int.from_bytes(head[:8], "little") > safetensors.BIG:
            return (
                None if size >= 8 + int.from_bytes(head[:8], "little") else False
            )  # too large to read each time that it is asked
        if safetensors.announced(head):
            return _model(safetensors.read_header(path))
        form = sniff(head[:16])
        if form in _PICTURES:
            return _PICTURES[form](file, head, size)
        if head[:4] == b"PK\x03\x04":
            return _zip(file, size)
        if head[257:262] == b"ustar":
            return _tar(file, size)
    if head[:4] == b"GGUF" and len(head) >= 24 and max(gguf.announced_counts(head)) > gguf.MANY:
        return None
    if head[:4] == b"GGUF":
        return _model(gguf.read_header(path))
    if len(head) < 9 and path.suffix.lower() in (".safetensors", ".sft"):
        return False  # shorter than its own length field
    return None


def _model(found: Header | Damaged) -> bool | None:
    if isinstance(found, Header):
        return True
    return False if found.reason in _CUT else None  # damaged in another way: waiting would not mend it


def _zip(file: BinaryIO, size: int) -> bool | None:
    found = read_directory(file, size)
    if not isinstance(found, Damaged):
        return True
    return False if found.reason == "truncated-data" else None


def _tar(file: BinaryIO, size: int) -> bool | None:
    """A tar ends with two empty blocks; without them it may still be growing, or be one that never had them."""
    if size < 1024:
        return None
    file.seek(size - 1024)
    return True if not file.read(1024).strip(b"\0") else None


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - _PART))
    return file.read(_PART)


def _png(file: BinaryIO, head: bytes, size: int) -> bool | None:
    return b"IEND\xaeB`\x82" in _tail(file, size) or (None if size > 256 << 20 else False)


def _jpeg(file: BinaryIO, head: bytes, size: int) -> bool | None:
    """Complete when an end marker stands near the end of the file, or data behind it begins with a marker of its own.

    Cameras append videos, depth maps and second pictures. A half-written file may hold a thumbnail's end marker, so only
    the tail counts; a tail of padding is looked through.
    """
    tail = _tail(file, size).rstrip(b"\0\n\r ")
    if tail.endswith(b"\xff\xd9"):
        return True
    if not tail:
        return None  # a sparse or padded tail: nothing to see
    file.seek(0)
    start = file.read(_PART)
    appended = b"MPF\0" in start or b"http://ns.google.com/photos/1.0" in start or b"ftyp" in tail or b"SEFT" in tail
    found = tail.rfind(b"\xff\xd9")
    if appended:
        return None
    # a little garbage behind the end is common; entropy-coded data never holds FF D9
    return found >= 0 and len(tail) - found < 4096


def _webp(file: BinaryIO, head: bytes, size: int) -> bool | None:
    return size >= int.from_bytes(head[4:8], "little") + 8


def _gif(file: BinaryIO, head: bytes, size: int) -> bool | None:
    return True if re.search(rb"\x3b[\0\s]*\Z", _tail(file, size)[-1024:]) else None


def _bmp(file: BinaryIO, head: bytes, size: int) -> bool | None:
    claimed = int.from_bytes(head[2:6], "little")
    return None if claimed < 54 else size >= claimed


_PICTURES = {"png": _png, "jpeg": _jpeg, "webp": _webp, "gif": _gif, "bmp": _bmp}
