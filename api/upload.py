"""One uploaded file on its way into an inbox: a safe name, a hidden part file, and the rename that makes it a drop.

What must hold: until it is complete the file has a name that no watch lets arrive, and a broken-off upload leaves nothing; nothing that
lies in the inbox is ever overwritten; the name that the sender gave cannot leave the folder. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import unicodedata
from pathlib import Path
from typing import BinaryIO

LONGEST = 240  # bytes of a name: room is left for " (2)" below the 255 that file systems take
PART = ".dropdock.part"
_OURS = re.compile(r"\..*\.[0-9a-f]{16}\.dropdock\.part", re.DOTALL)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EACCES)


def safe_name(given: str) -> str | None:
    """The name a sender's file gets: the last part of what was given, without control and invisible characters (categories Cc, Cf),
    leading dots and outer blanks, at most LONGEST bytes of UTF-8 with its suffix kept. None when nothing is left of it."""
    last = re.split(r"[/\\]", given)[-1].encode("utf-8", "replace").decode()
    kept = "".join(ch for ch in last if unicodedata.category(ch) not in ("Cc", "Cf", "Zl", "Zp"))
    return _shortened(_trimmed(kept)) or None


def _trimmed(name: str) -> str:
    """Without dots and blanks (of any alphabet) at either end, however they are mixed."""
    return re.sub(r"^[\s.]+|[\s.]+$", "", name)


def _shortened(name: str) -> str:
    if len(name.encode()) <= LONGEST:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix.encode()) > 20:
        stem, dot, suffix = name, "", ""
    room = LONGEST - len((dot + suffix).encode())
    stem = stem.encode()[:room].decode("utf-8", "ignore")
    return _trimmed(stem) + dot + suffix


def part_path(folder: Path, name: str) -> Path:
    """The hidden name beside which nothing can stand: `.<name>.<random>.dropdock.part`, the name cut to fit."""
    short = name.encode()[:180].decode("utf-8", "ignore")
    return folder / f".{short}.{secrets.token_hex(8)}{PART}"


def create(part: Path) -> BinaryIO:
    """Open the part file, which must not exist. Raises OSError."""
    return part.open("xb")


def finish(file: BinaryIO) -> int:
    """Bring what was written onto the disk and close the file; its size in bytes."""
    file.flush()
    os.fsync(file.fileno())
    size = file.tell()
    file.close()
    return size


def discard(file: BinaryIO | None, part: Path) -> None:
    """Close and remove a part file, whatever state it is in."""
    if file is not None:
        with contextlib.suppress(OSError):  # closing may flush onto a full disk
            file.close()
    part.unlink(missing_ok=True)


def publish(part: Path, name: str) -> Path:
    """Give a complete part file its name, or `name (2)` and so on when that is taken; the path it got. Raises OSError."""
    stem, suffix = _halves(name)
    for n in range(1, 10_000):
        final = part.with_name(name if n == 1 else f"{stem} ({n}){suffix}")
        try:
            _move_new(part, final)
        except FileExistsError:
            continue
        _sync(part.parent)
        return final
    raise FileExistsError(errno.EEXIST, "ten thousand files of this name lie there already", name)


def _halves(name: str) -> tuple[str, str]:
    path = Path(name)
    suffix = "".join(path.suffixes[-2:]) if Path(path.stem).suffix == ".tar" else path.suffix  # x.tar.gz: x (2).tar.gz
    return name.removesuffix(suffix), suffix


def _move_new(part: Path, final: Path) -> None:
    """Rename without overwriting: a second name first, which fails when it is taken, then the old one goes."""
    try:
        os.link(part, final, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        final.open("xb").close()  # a volume without hard links (exFAT): the name is taken by an empty file first
        part.replace(final)
        return
    part.unlink()


def _sync(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free(folder: Path) -> int:
    """Bytes that we may still write on the folder's volume. Raises OSError when the folder is missing."""
    return shutil.disk_usage(folder).free


def clear_leftovers(folder: Path) -> int:
    """Remove part files that a killed daemon left in an inbox; how many there were. To be called before the face is opened."""
    found = [
        Path(entry.path) for entry in os.scandir(folder) if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
    ]
    for part in found:
        part.unlink(missing_ok=True)
    return len(found)
