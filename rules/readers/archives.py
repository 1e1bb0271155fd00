"""Archives: the member lists of ZIP and tar files, without unpacking a member.

What must hold: a list is bounded in members, bytes and time (of a compressed tar at most 512 MB are decompressed; what lies
behind is not listed), junk that systems put into archives is left out, and kinds are only guessed from names. Whether
unpacking is safe is asked of the unpacker, not here. Format of tar: POSIX.1-2017 pax and the GNU long-name records.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..header import Damaged
from ..terms import ArchiveFacts, ArchiveMember, Kind
from .zipdir import MAX_MEMBERS, read_directory

MAX_UNPACKED = 512 << 20  # bytes decompressed to list a compressed tar
MAX_NAME = 64 << 10  # bytes of one pax or GNU name record
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
MODEL_SUFFIXES = frozenset({".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl"})
CAPTION_SUFFIXES = frozenset({".txt", ".caption"})
ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
_JUNK = re.compile(
    r"(^|/)(__MACOSX(/|$)|\._[^/]*$|\.DS_Store$|Thumbs\.db$|ehthumbs\.db$|desktop\.ini$|\.Spotlight-V100(/|$)|"
    r"\.Trashes(/|$)|@eaDir(/|$)|\.git(/|$)|Icon\r$)",
    re.IGNORECASE,
)
_MAGIC = {b"\x1f\x8b": "tar.gz", b"BZ": "tar.bz2", b"\xfd7": "tar.xz"}


def is_junk(name: str) -> bool:
    """Is this member name one that a system leaves behind (__MACOSX, Thumbs.db, .DS_Store …) and nobody wants? Pure."""
    return bool(_JUNK.search(name.replace("\\", "/")))


def kind_by_name(name: str) -> Kind:
    """What a file of this name probably is. Pure."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (called for every member; a Path costs ten times as much)
    for kind, suffixes in (
        (Kind.IMAGE, IMAGE_SUFFIXES),
        (Kind.CAPTION, CAPTION_SUFFIXES),
        (Kind.MODEL, MODEL_SUFFIXES),
        (Kind.ARCHIVE, ARCHIVE_SUFFIXES),
    ):
        if suffix in suffixes:
            return kind
    return Kind.OTHER


def list_archive(path: Path) -> ArchiveFacts | Damaged:
    """The members of the ZIP or tar at `path`, by content. Raises OSError only when it cannot be opened or read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(512)
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            members = read_directory(file, size)
            if isinstance(members, Damaged):
                return members
            return _facts("zip", [(m.name, m.size) for m in members if not m.raw.endswith((b"/", b"\\"))])
        if head[257:262] == b"ustar" or _checksum_ok(head):
            file.seek(0)
            return _list_tar(file, "tar", size)
        packed = _MAGIC.get(head[:2])
        if packed is None:
            return Damaged("not-an-archive", "the content is neither a ZIP nor a tar")
        file.seek(0)
        return _list_packed(file, packed)


def _list_packed(file: BinaryIO, packed: str) -> ArchiveFacts | Damaged:
    opened: BinaryIO
    if packed == "tar.gz":
        opened = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
    elif packed == "tar.bz2":
        opened = bz2.BZ2File(file)  # type: ignore[assignment]
    else:
        opened = lzma.LZMAFile(file)  # type: ignore[assignment]  # noqa: SIM115 (the caller closes the file)
    try:
        return _list_tar(opened, packed, MAX_UNPACKED)
    except EOFError:
        return Damaged("truncated-data", "the compressed data ends too early")
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, MemoryError) as error:
        return Damaged("bad-data", f"the compressed data is damaged: {error}")
    except OSError as error:
        if error.errno is None:  # how bz2 says that the data is damaged
            return Damaged("bad-data", f"the compressed data is damaged: {error}")
        raise


def _facts(form: str, files: list[tuple[str, int]]) -> ArchiveFacts:
    members = tuple(ArchiveMember(name, size, kind_by_name(name)) for name, size in files if not is_junk(name))
    return ArchiveFacts(form, members, sum(m.size for m in members))


def _checksum_ok(block: bytes) -> bool:
    """Is this block a tar header, by its own checksum (bytes 148..156, octal, computed with that field blank)?"""
    if len(block) < 512 or block[0] == 0:
        return False
    return _number(block[148:156]) == sum(block) - sum(block[148:156]) + 8 * 32


def _number(raw: bytes) -> int:
    """A tar number: octal text, or base 256 when its first bit is set. -1 when it is neither."""
    if raw[:1] and raw[0] & 0x80:
        return int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
    text = raw.strip(b" \0")
    return int(text, 8) if text and re.fullmatch(rb"[0-7]+", text) else (0 if not text else -1)


def _list_tar(file: BinaryIO, form: str, limit: int) -> ArchiveFacts | Damaged:
    files: list[tuple[str, int]] = []
    for found in _tar_members(file, limit):
        if isinstance(found, Damaged):
            return found
        files.append(found)
        if len(files) > MAX_MEMBERS:
            return Damaged("too-many-members", f"the archive has more than {MAX_MEMBERS} members")
    return _facts(form, files)


def _tar_members(file: BinaryIO, limit: int) -> Iterator[tuple[str, int] | Damaged]:
    """Name and size of each regular file. Ends silently at `limit` bytes of a compressed tar, with damage at a cut."""
    at, name = 0, ""
    seekable = isinstance(limit, int) and not isinstance(file, gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile)
    while True:
        block = file.read(512)
        if not block.strip(b"\0"):
            if not block and at == 0:
                yield Damaged("not-an-archive", "the content is not a tar")
            return  # the end mark, or an end without one, which tar itself accepts
        size = _number(block[124:136])
        if not _checksum_ok(block) or size < 0:
            yield Damaged("not-an-archive" if at == 0 else "bad-data", "a tar header is damaged")
            return
        at += 512 + -(-size // 512) * 512
        if at > limit:
            if seekable:
                yield Damaged("truncated-data", "the last member of the tar is cut off")
            return
        kind = block[156:157]
        if kind in b"LxKg" and size <= MAX_NAME:
            name = _long_name(kind, file.read(-(-size // 512) * 512)[:size]) or name
            continue
        if kind in b"0\x007":
            yield name or _plain_name(block), size
        name = ""
        _skip(file, -(-size // 512) * 512, seekable)


def _skip(file: BinaryIO, size: int, seekable: bool) -> None:
    if seekable:
        file.seek(size, os.SEEK_CUR)
        return
    while size > 0:
        step = len(file.read(min(size, 1 << 20)))
        if not step:
            raise EOFError
        size -= step


def _plain_name(block: bytes) -> str:
    name, prefix = block[:100].split(b"\0")[0], block[345:500].split(b"\0")[0]
    joined = prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name
    return joined.decode("utf-8", "surrogateescape")


def _long_name(kind: bytes, data: bytes) -> str:
    if kind == b"L":
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    if kind == b"x":
        found = re.search(rb"(?:^|\n)\d+ path=([^\n]*)\n", data)
        return found.group(1).decode("utf-8", "surrogateescape") if found else ""
    return ""
