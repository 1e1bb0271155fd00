"""Pickles that a ZIP of torch hides: members that would be loaded as a pickle whatever they are called, found by their first bytes.

What must hold: nothing is unpacked to the disk and nothing unpickled; at most MOST members and BUDGET bytes are looked at, and what was not
looked at for that is not called safe; the storages of torch.save are raw numbers, which torch never reads as pickles. A pickle of protocol
2 or newer begins with PROTO and its number (0x80 0x00 to 0x05), an older one with any opcode: that one is walked, and counts when it names
something to call. Opcodes: Lib/pickletools.py; layout: torch/serialization.py, caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import io
import pickletools
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from ..header import Damaged, Header
from ..terms import Condition
from .pickles import TOO_LARGE, walk
from .zipdir import ZipMember, data_at

MOST = 4096  # members
BUDGET = 16 << 20  # bytes of all of them, unpacked
NEWEST = 5  # protocol of pickles
STORED, DEFLATED = 0, 8
_PEEK = 512  # bytes of a member's beginning
_STORAGE = re.compile(rb"(?:[^/]+/)?data/\d+")
_NESTED = (b"PK\x03\x04", b"PK\x05\x06")
_OPCODES = frozenset(code.code.encode("latin-1") for code in pickletools.opcodes)
_IMPORTABLE = re.compile(r"[A-Za-z_][\w.]*")


def beside(file: BinaryIO, size: int, members: Iterable[ZipMember], known: Sequence[ZipMember]) -> Header | None:
    """What is wrong with the other members of a ZIP whose data.pkl is read already: a Header without tensors, or None."""
    others = [m for m in members if m not in known and not _STORAGE.fullmatch(m.raw)]
    return _worst(file, size, others, ())


def instead(file: BinaryIO, size: int, members: Iterable[ZipMember]) -> Header | None:
    """What a ZIP called like a torch file but without data.pkl hides: a Header without tensors; None when it hides nothing."""
    return _worst(file, size, list(members), _NESTED)


def _worst(file: BinaryIO, size: int, members: Sequence[ZipMember], nested: tuple[bytes, ...]) -> Header | None:
    """The gravest finding among members; the first that is unsafe ends the search."""
    left, worst, full = BUDGET, None, [m for m in members if m.size]
    for number, member in enumerate(full):
        if number == MOST or left <= 0:
            return worst or _told(
                size, Condition.NEEDS_TRUST, "hidden-pickle", "the ZIP holds more files than are looked through"
            )
        content = _content(file, member, min(left, member.size))
        if isinstance(content, Damaged):
            return _told(size, Condition.UNSAFE, content.reason, content.text)
        left -= len(content)
        found = _judged(size, member, content, nested)
        if found is not None and found.trust is Condition.UNSAFE:
            return found
        worst = worst or found
    return worst


def _content(file: BinaryIO, member: ZipMember, most: int) -> bytes | Damaged:
    """The beginning of a member: all of it, `most` bytes at most, when it could be a pickle; else a few bytes."""
    if member.encrypted or member.method not in (STORED, DEFLATED):
        return Damaged(
            "packed-pickle", f"{member.name!r} is packed or encrypted as torch.save never does, so it cannot be looked at"
        )
    where = data_at(file, member)
    if isinstance(where, Damaged):
        return where
    file.seek(where)
    if member.method == STORED:
        head = file.read(min(_PEEK, most))
        return head + file.read(most - len(head)) if _might(head) else head
    return _inflated(file, member, most)


def _inflated(file: BinaryIO, member: ZipMember, most: int) -> bytes | Damaged:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        head = unpacker.decompress(file.read(min(_PEEK, member.packed)), min(_PEEK, most))
        if not _might(head) or most <= len(head):
            return head
        rest = unpacker.unconsumed_tail + file.read(min(member.packed - _PEEK, BUDGET) if member.packed > _PEEK else 0)
        return head + unpacker.decompress(rest, most - len(head))
    except zlib.error as error:
        return Damaged("packed-pickle", f"{member.name!r} cannot be unpacked: {error}")


def _might(head: bytes) -> bool:
    """Whether a pickle could begin so."""
    return head[:1] in _OPCODES and (head[:1] != b"\x80" or _announced(head))


def _announced(head: bytes) -> bool:
    return head[:1] == b"\x80" and len(head) > 1 and head[1] <= NEWEST


def _judged(size: int, member: ZipMember, content: bytes, nested: tuple[bytes, ...]) -> Header | None:
    """What one member's content means."""
    if nested and content.startswith(nested):
        why = f"{member.name!r} is an archive inside of this one, which is not looked into"
        return _told(size, Condition.NEEDS_TRUST, "hidden-pickle", why)
    if not _might(content):
        return None
    stream = io.BytesIO(content)
    walked = walk(stream)
    if isinstance(walked, Damaged):
        # one that is cut, or too long to be walked, may call something behind the point that was reached
        cut = walked.reason == TOO_LARGE or (len(content) < member.size and stream.tell() == len(content))
        if not _announced(content) and not cut:
            return None  # text or numbers: reading it as a pickle ends before it calls anything
        why = f"{member.name!r} begins like a pickle and cannot be read as one: {walked.text}"
        return _told(size, Condition.NEEDS_TRUST, "hidden-pickle", why)
    plain = walked.trust is Condition.OK
    named = not walked.classes or any(map(_IMPORTABLE.fullmatch, walked.classes))
    if not _announced(content) and (plain or not named):
        return None  # a pickle that names nothing can call nothing, and a line of text is no name
    if plain and not nested:
        return None
    if walked.trust is Condition.UNSAFE:
        return _told(size, Condition.UNSAFE, "runs-code", f"{member.name!r} is a pickle, and {walked.why}", walked.classes)
    why = f"{member.name!r} is a pickle under another name than torch.save gives it"
    return _told(size, Condition.NEEDS_TRUST, "hidden-pickle", why, walked.classes)


def _told(size: int, trust: Condition, reason: str, why: str, classes: tuple[str, ...] = ()) -> Header:
    return Header("torch-zip", size, {}, trust=trust, reason=reason, why=why, classes=classes)
