"""Checksum files (`x.safetensors.sha256`) as sha256sum of coreutils, `shasum --tag` and download pages write them, and our own.

What must hold: at most MAX_BYTES are read, of a regular file; a line speaks for a file only when it names it, or when it is the bare
digest alone; what is written here is read back the same by `sha256sum --check`. Format: coreutils manual, section md5sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 64 << 10
SUFFIX = ".sha256"
_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64})(?: [ *](.+)|\s*)")
_TAGGED = re.compile(r"(\\?)SHA256 \((.+)\) = ([0-9a-fA-F]{64})\s*")
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a checksum file says the SHA-256 of a file is."""

    path: Path
    sha256: str


def line(name: str, sha256: str) -> str:
    """The line that `sha256sum` writes for a file; a name with a backslash or a line end is escaped as it does. Pure."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{sha256}  {escaped}\n"


def claimed(text: str, name: str) -> str | None:
    """The SHA-256 that a checksum file's text claims for `name`, lower case; None when it says nothing of it. Pure; never raises."""
    bare: list[str] = []
    for row in text.split("\n"):
        row = row.removesuffix("\r")
        if found := _LINE.fullmatch(row):
            escaped, digest, of = found.groups()
        elif found := _TAGGED.fullmatch(row):
            escaped, of, digest = found.groups()
        else:
            continue
        if of is None:
            bare.append(digest.lower())
        elif name in _names(of, bool(escaped)):
            return digest.lower()
    return bare[0] if len(bare) == 1 else None


def _names(written: str, escaped: bool) -> set[str]:
    """A name as it may be meant: as it stands, or without the folders before it."""
    plain = _plain(written, escaped)
    return {plain, plain.rpartition("/")[2], plain.replace("\\", "/").rpartition("/")[2]}


def _plain(name: str, escaped: bool) -> str:
    return re.sub(r"\\[\\nr]", lambda m: _ESCAPES[m[0]], name) if escaped else name


def claim_of(model: Path, companions: Iterable[Path]) -> Claim | None:
    """What the checksum file among a model's companions claims of it; None when there is none, or it speaks of other files."""
    for path in sorted(companions):
        if not path.name.lower().endswith(SUFFIX) or path.is_symlink() or not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except OSError:
            continue
        found = claimed(raw.decode("utf-8", "surrogateescape"), model.name) if len(raw) <= MAX_BYTES else None
        if found is not None:
            return Claim(path, found)
    return None
