"""Hashing: one read of a file gives SHA-256 (the content address) and xxh3-128 (the cheap identity).

What must hold: the file is the same at the end as at the start (fstat before and after, and the path still names it), else Changed
is raised by the caller's stamp check; the reading thread gives up the GIL during reads and digests, so a second file hashes beside it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import xxhash

from ..rules.terms import Digests

CHUNK = 1 << 20  # bytes; measured best for xxh3 together with SHA-256
TICK = 64 << 20  # bytes between two calls of `tick`


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class Cancelled(Exception):
    """Somebody cancelled the job; what was staged is cleared."""


def new_sha256() -> _Hash:
    """A SHA-256 as an address of content, not as a secret."""
    return hashlib.sha256(usedforsecurity=False)


def digest(path: Path, tick: Callable[[int], None] = lambda n: None) -> Digests:
    """Both digests of one file in one read. `tick` gets the bytes read so far, now and then, and may raise Cancelled."""
    sha, xxh = new_sha256(), xxhash.xxh3_128()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    size, told = 0, 0
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while n := file.readinto(buffer):
            part = view[:n]
            sha.update(part)
            xxh.update(part)
            size += n
            if size - told >= TICK:
                told = size
                tick(size)
    return Digests(sha.hexdigest(), xxh.hexdigest(), size)


def digest_folder(folder: Path, files: Iterable[str], tick: Callable[[int], None] = lambda n: None) -> Digests:
    """The digest of a folder that is one model: SHA-256 (and xxh3) of its sorted lines `relative path, two spaces, SHA-256`."""
    done = 0
    found: dict[str, Digests] = {}
    for rel in sorted(files):
        found[rel] = digest(folder / rel, lambda n, done=done: tick(done + n))  # type: ignore[misc]
        done += found[rel].size
    return of_parts(found)


def of_parts(parts: Mapping[str, Digests]) -> Digests:
    """The digest of a folder from the digests of its files by relative path. `size` is the sum of theirs."""
    text = "".join(f"{rel}  {parts[rel].sha256}\n" for rel in sorted(parts)).encode("utf-8", "surrogateescape")
    sha, xxh = new_sha256(), xxhash.xxh3_128()
    sha.update(text)
    xxh.update(text)
    return Digests(sha.hexdigest(), xxh.hexdigest(), sum(d.size for d in parts.values()))
