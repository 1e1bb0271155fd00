"""A ZIP file's central directory, read with a cap on its length and count. Nothing is unpacked.

What must hold: the directory is the only truth about members, names are kept as bytes until `decode_name`, zip64 is
understood, and a directory that lies outside the file, or members that do, are damage.
Format: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from ..header import Damaged

MAX_DIRECTORY = 64 << 20  # bytes
MAX_MEMBERS = 500_000
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_TAIL = 65_535 + 22 + 20  # the longest comment, the end record, and the zip64 locator before it


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One entry of the directory. `attributes` are the external ones; the upper half is a Unix mode where `unix` is set."""

    raw: bytes
    flags: int
    method: int
    packed: int
    size: int
    offset: int
    attributes: int
    unix: bool

    @property
    def name(self) -> str:
        return decode_name(self.raw, self.flags)

    @property
    def encrypted(self) -> bool:
        return bool(self.flags & 0x2041)  # bit 0 encrypted, 6 strong, 13 masked directory


def decode_name(raw: bytes, flags: int) -> str:
    """A member's name as text: UTF-8 where it is (flagged or not, since many tools forget the flag), else code page 437."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437") if not flags & 0x800 else raw.decode("utf-8", "replace")


def read_directory(file: BinaryIO, size: int) -> tuple[ZipMember, ...] | Damaged:
    """The members of the ZIP of `size` bytes that is open as `file`."""
    found = _find_end(file, size)
    if isinstance(found, Damaged):
        return found
    count, length, offset, end_at = found
    if length > MAX_DIRECTORY or count > MAX_MEMBERS:
        return Damaged("too-many-members", f"the directory claims {count} members in {length} bytes, which is not read")
    if offset + length > end_at:
        return Damaged("bad-directory", "the ZIP directory lies outside the file")
    shift = end_at - length - offset  # bytes put before the archive (a self-extractor): every offset is off by them
    file.seek(offset + shift)
    raw = file.read(length)
    return _entries(raw, count, offset, shift)


def _find_end(file: BinaryIO, size: int) -> tuple[int, int, int, int] | Damaged:
    """Member count, directory length, directory offset, and where the directory must end."""
    at = max(0, size - _TAIL)
    file.seek(at)
    tail = file.read(_TAIL)
    spot = tail.rfind(b"PK\x05\x06")
    while spot >= 0 and len(tail) - spot < _END.size:
        spot = tail.rfind(b"PK\x05\x06", 0, spot)
    if spot < 0:
        return Damaged("truncated-data", "the ZIP has no directory at its end, so its end is missing")
    _, disk, start_disk, _, count, length, offset, _ = _END.unpack_from(tail, spot)
    locator = spot - 20
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        return _find_end64(file, struct.unpack_from("<Q", tail, locator + 8)[0], at + locator)
    if disk or start_disk:
        return Damaged("multi-disk", "the ZIP is one part of several")
    return count, length, offset, at + spot


def _find_end64(file: BinaryIO, where: int, locator: int) -> tuple[int, int, int, int] | Damaged:
    if where + _END64.size > locator:
        return Damaged("bad-directory", "the zip64 record lies outside the file")
    file.seek(where)
    raw = file.read(_END64.size)
    if len(raw) < _END64.size or raw[:4] != b"PK\x06\x06":
        return Damaged("bad-directory", "the zip64 record is missing")
    _, _, _, _, _, _, _, count, length, offset = _END64.unpack(raw)
    return count, length, offset, where


def _entries(raw: bytes, count: int, end: int, shift: int) -> tuple[ZipMember, ...] | Damaged:
    members: list[ZipMember] = []
    at = 0
    while at < len(raw):
        if at + _ENTRY.size > len(raw) or raw[at : at + 4] != b"PK\x01\x02":
            return Damaged("bad-directory", "the ZIP directory is damaged")
        fields = _ENTRY.unpack_from(raw, at)
        made, flags, method = fields[1], fields[3], fields[4]
        packed, size, names, extras, comments, attributes, offset = *fields[8:13], *fields[15:17]
        at += _ENTRY.size
        name = raw[at : at + names]
        size, packed, offset = _wide(raw[at + names : at + names + extras], size, packed, offset)
        at += names + extras + comments
        if offset + packed + _LOCAL.size > end:
            return Damaged("bad-directory", f"the member {decode_name(name, flags)!r} lies outside the file")
        members.append(ZipMember(name, flags, method, packed, size, offset + shift, attributes, made >> 8 == 3))
    if len(members) & 0xFFFF != count & 0xFFFF:
        return Damaged("bad-directory", f"the ZIP says {count} members and lists {len(members)}")
    return tuple(members)


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The 64-bit values of the zip64 extra field, for those that do not fit into 32 bits."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            size = next(numbers, size) if size == 0xFFFFFFFF else size
            packed = next(numbers, packed) if packed == 0xFFFFFFFF else packed
            offset = next(numbers, offset) if offset == 0xFFFFFFFF else offset
            break
        at += 4 + length
    return size, packed, offset


def data_at(file: BinaryIO, member: ZipMember) -> int | Damaged:
    """Where a member's bytes begin. Damage when its local header says another name, method or flags than the directory.

    Scanners and loaders that believe different headers see different files, so a disagreement is never harmless.
    """
    file.seek(member.offset)
    raw = file.read(_LOCAL.size)
    if len(raw) < _LOCAL.size or raw[:4] != b"PK\x03\x04":
        return Damaged("header-mismatch", f"{member.name!r} has no header of its own")
    _, _, flags, method, _, _, _, packed, size, names, extras = _LOCAL.unpack(raw)
    streamed = flags & 8  # sizes follow the data, so the header leaves them out
    if (
        file.read(names) != member.raw
        or method != member.method
        or (flags ^ member.flags) & 0x2041
        or (not streamed and {packed, size} - {member.packed, member.size, 0xFFFFFFFF})
    ):
        return Damaged("header-mismatch", f"the two headers of {member.name!r} disagree")
    return member.offset + _LOCAL.size + int(names) + int(extras)
