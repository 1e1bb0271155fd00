"""Swaps: a new thing takes the place of an old one in one step, and what came out of the place is looked at afterwards.

renameat2(2) with RENAME_EXCHANGE, where the system and the file system have it. What must hold: the place is empty at no instant; what
somebody put there in the last moment comes back to it and is never lost; a folder gives way to a folder only so. Without such a rename
files are looked at before they are replaced, which leaves an instant, and folders are refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..rules.terms import Move, Stamp
from .stamps import Changed, stamp

_NOREPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)
Holds = Sequence[tuple[str, Stamp]]  # relative path -> stamp of every file that a folder must hold


def _renameat2() -> Callable[[bytes, bytes, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return None if call is None else lambda a, b, flags: int(call(_AT_FDCWD, a, _AT_FDCWD, b, flags))


_RENAME = _renameat2()


def exchange(one: Path, other: Path) -> bool:
    """Swap two names of one volume in one step; False where there is no such rename. Raises OSError, also when one is not there."""
    return _rename(one, other, _EXCHANGE)


def _rename(one: Path, other: Path, flags: int) -> bool:
    if _RENAME is None:
        return False
    if _RENAME(os.fsencode(one), os.fsencode(other), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def possible(folder: Path) -> bool:
    """Whether names in a folder of ours can be swapped. Asked of the file system with two empty files."""
    token = secrets.token_hex(8)
    one, other = folder / f"swap-{token}-1", folder / f"swap-{token}-2"
    one.touch()
    other.touch()
    try:
        return exchange(one, other)
    finally:
        one.unlink()
        other.unlink()


def put_over(move: Move) -> None:
    """Make a move that replaces: `src` takes the place of what must be `replaces`, and that is dropped if it still has another name.

    A folder with files in it that came out (`holds` says which) stays at `src`, for another move. Raises Changed when the place was not as
    expected: then whatever somebody put there stands there, and `src` is ours as before; or OSError.
    """
    expected = move.replaces
    placed = stamp(move.src)
    try:
        swapped = exchange(move.src, move.dst)
    except FileNotFoundError:
        raise Changed(f"{move.dst} changed after it was looked at") from None
    if swapped:
        _look_again(move, placed)
        return
    try:
        found = stamp(move.dst)
    except FileNotFoundError:
        raise Changed(f"{move.dst} changed after it was looked at") from None
    if found != expected:
        raise Changed(f"{move.dst} changed after it was looked at")
    os.replace(move.src, move.dst)


def was_swapped(move: Move) -> bool:
    """Whether a dead process made this move's swap, but may not have looked at what came out: `finish` does."""
    if move.replaces is None or move.stamp is None or not (os.path.lexists(move.src) and os.path.lexists(move.dst)):
        return False
    return _one_file(stamp(move.dst), move.stamp) and not _one_file(stamp(move.src), move.stamp)


def finish(move: Move) -> None:
    """Look at what came out in a swap of a dead process. Raises Changed when it was not what was meant; it is back then."""
    _look_again(move, stamp(move.dst))


def _look_again(move: Move, placed: Stamp) -> None:
    """What came out is what was meant, and is dropped; else it goes back into its place."""
    came = stamp(move.src)
    if move.replaces is not None and _one_file(came, move.replaces) and _as_meant(move):
        _drop(move)
        return
    _give_back(move, placed, came)
    raise Changed(f"{move.dst} changed after it was looked at")


def _one_file(one: Stamp, other: Stamp) -> bool:
    """Equal but for the disk's number, which may be another after a start of the machine."""
    return (one.size, one.mtime_ns, one.ino) == (other.size, other.mtime_ns, other.ino)


def _as_meant(move: Move) -> bool:
    """Whether a folder that came out holds just the files that it should: those of `holds`, else nothing but links."""
    if not stat.S_ISDIR(os.lstat(move.src).st_mode):
        return True
    if not move.holds:
        return only_links(move.src)
    found = {p.relative_to(move.src).as_posix(): stamp(p) for p in move.src.rglob("*") if p.is_symlink() or not p.is_dir()}
    wanted = dict(move.holds)
    return found.keys() == wanted.keys() and all(_one_file(found[rel], wanted[rel]) for rel in found)


def _drop(move: Move) -> None:
    """Remove a name whose bytes have another one, or a link, or a folder of links; a folder of files stays."""
    if not stat.S_ISDIR(os.lstat(move.src).st_mode):
        move.src.unlink()
    elif not move.holds:
        remove_links(move.src)


def _give_back(move: Move, placed: Stamp, came: Stamp) -> None:
    """Swap back. Where somebody replaced what we had placed in that very instant, theirs is the newest and goes back once more."""
    while True:
        try:
            exchange(move.src, move.dst)
        except FileNotFoundError:  # they took away what we had placed: theirs comes back all the same, rather than be lost
            if _try_new(move.src, move.dst):
                return
            continue
        out = stamp(move.src)
        if out == placed:
            return
        placed, came = came, out


def _try_new(source: Path, target: Path) -> bool:
    try:
        return _rename(source, target, _NOREPLACE)
    except FileExistsError:
        return False


def only_links(folder: Path) -> bool:
    """Whether a folder holds nothing but symlinks, in folders of any depth."""
    return all(p.is_symlink() or p.is_dir() for p in folder.rglob("*"))


def remove_links(folder: Path) -> None:
    """Remove a folder that holds nothing but symlinks; whatever else is in it stays."""
    for root, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            path = Path(root, name)
            if path.is_symlink():
                path.unlink()
        _rmdir(Path(root))


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
