"""The hashes by which sites and tools call a model, of one read of its file, and the checksum file that other tools check it by.

What must hold: one read however many are asked for; a hash that a file cannot have is None, never the hash of nothing; a checksum file
is written whole or not at all, and never over one that says something else. Definitions:
    sha256  FIPS 180-4, of the whole file            autov2  its first 10 digits (A1111's "model hash" since 2023, and CivitAI's)
    autov1  SHA-256 of the 64 KiB from byte 0x100000 on, 8 digits (A1111's first "model hash", modules/sd_models.py)
    autov3  SHA-256 of what follows a safetensors header, 12 digits (kohya's sshs_model_hash, CivitAI's AutoV3)
    crc32   as in ZIP (ISO 3309), 8 digits           blake3  of the whole file (github.com/BLAKE3-team/BLAKE3), by the extra `blake3`
"""

from __future__ import annotations

import hashlib
import importlib
import os
import zlib
from collections.abc import Callable, Collection
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ..rules.readers import checksums
from ..rules.readers.safetensors import announced
from ..rules.terms import Hashes
from . import disk
from .hashing import CHUNK, TICK

KINDS = ("sha256", "autov1", "autov2", "autov3", "blake3", "crc32")
NO_BLAKE3 = "BLAKE3 needs the extra: pip install 'dropdock[blake3]'"
V1_FROM, V1_SIZE = 0x100000, 0x10000


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


class _Part:
    """A SHA-256 of a part of the file, cut to so many digits. `end` None: up to the file's end."""

    def __init__(self, digits: int, begin: int = 0, end: int | None = None) -> None:
        self._sha, self._digits, self._begin, self._end, self._fed = (
            hashlib.sha256(usedforsecurity=False),
            digits,
            begin,
            end,
            False,
        )

    def feed(self, at: int, data: memoryview) -> None:
        """The bytes from `at` on."""
        end = len(data) if self._end is None else max(0, min(len(data), self._end - at))
        part = data[max(0, self._begin - at) : end]
        self._fed |= len(part) > 0
        self._sha.update(part)

    def text(self) -> str | None:
        """None for a file that ends before its part begins."""
        return self._sha.hexdigest()[: self._digits] if self._fed or not self._begin else None


class Written(StrEnum):
    """What became of a checksum file."""

    WRITTEN = "written"
    SAME = "there already"
    DIFFERS = "another one is there"


def has_blake3() -> bool:
    """Whether the extra is installed."""
    return _blake3() is not None


def _blake3() -> _Hash | None:
    try:
        made: _Hash = importlib.import_module("blake3").blake3()
    except ImportError:
        return None
    return made


def read_hashes(path: Path, wanted: Collection[str] = KINDS, tick: Callable[[int], None] = lambda n: None) -> Hashes:
    """The wanted hashes of one file, and its SHA-256. BLAKE3 is None where the extra is missing. `tick` gets the bytes read so far.

    Raises OSError, and what `tick` raises.
    """
    whole, first, third = _Part(64), None, None
    blake = _blake3() if "blake3" in wanted else None
    crc = size = told = 0
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while n := file.readinto(buffer):
            part = view[:n]
            if size == 0:
                first = _Part(8, V1_FROM, V1_FROM + V1_SIZE) if "autov1" in wanted else None
                third = _data_part(part) if "autov3" in wanted else None
            for one in (whole, first, third):
                if one is not None:
                    one.feed(size, part)
            if blake is not None:
                blake.update(part)
            crc = zlib.crc32(part, crc) if "crc32" in wanted else 0
            size += n
            if size - told >= TICK:
                told = size
                tick(size)
    sha = whole.text() or ""
    return Hashes(
        sha256=sha,
        autov1=first.text() if first is not None else None,
        autov2=sha[:10] if "autov2" in wanted else None,
        autov3=third.text() if third is not None else None,
        blake3=blake.hexdigest() if blake is not None else None,
        crc32=f"{crc:08x}" if "crc32" in wanted else None,
    )


def _data_part(head: memoryview) -> _Part | None:
    """The part behind a safetensors header; None for any other file."""
    if not announced(bytes(head[:16])):
        return None
    return _Part(12, 8 + int.from_bytes(head[:8], "little"))


def contradiction(path: Path, companions: Collection[Path], sha256: str) -> str:
    """Why a file is not what the checksum file among its companions says; "" when it is, or none speaks of it."""
    claim = checksums.claim_of(path, companions)
    if claim is None or claim.sha256 == sha256:
        return ""
    said = f"{claim.path.name} says {claim.sha256[:12]}…, the file is {sha256[:12]}…"
    return (
        f"it does not match its checksum file ({said}): get it again, or remove the checksum file, then `dropdock rescan --force`"
    )


def write_checksum(path: Path, sha256: str) -> Written:
    """Leave `path`.sha256 beside a file. Raises OSError where nothing can be written."""
    beside = path.with_name(path.name + checksums.SUFFIX)
    if (there := _there(beside, path.name)) is not None:
        return Written.SAME if there == sha256 else Written.DIFFERS
    staged = beside.with_name(f".{beside.name}.{os.getpid()}.part")
    try:
        with staged.open("xb") as file:
            file.write(os.fsencode(checksums.line(path.name, sha256)))
            file.flush()
            os.fsync(file.fileno())
        disk.rename_new(staged, beside)
    except FileExistsError:  # somebody was faster
        return Written.SAME if _there(beside, path.name) == sha256 else Written.DIFFERS
    finally:
        staged.unlink(missing_ok=True)
    disk.sync_folder(beside.parent)
    return Written.WRITTEN


def _there(beside: Path, name: str) -> str | None:
    """What a checksum file that lies there claims; "" for one that claims nothing of it, None when there is none."""
    if not os.path.lexists(beside):
        return None
    claim = checksums.claim_of(beside.with_name(name), [beside])
    return "" if claim is None else claim.sha256
