"""The disk: stamps, renames that never replace, checked copies across volumes, room, and the journalled moves.

What must hold: nothing here unlinks a user's file. Bytes change place by rename on one volume, or by a copy that is fsynced and
digest-checked before anything else happens; a rename never replaces what stands at its destination (renameat2, else link + unlink
of the very same inode). `carry_out` can be run again after a crash and finishes what is left of a list of moves.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import xxhash

from ..rules.terms import Digests, Move, Stamp
from . import swap
from .hashing import CHUNK, new_sha256
from .stamps import Changed as Changed
from .stamps import stamp as stamp
from .stamps import stamp_of as stamp_of
from .volumes import mount_below as mount_below

OWN = ".dropdock"  # our folder at every root: staging, trash, quarantine
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)  # what link(2) says where hard links cannot be
COPY_MARGIN = 16 << 20  # bytes of room a copy must leave besides the floor


class Taken(Exception):
    """Something stands at the destination; the action is prepared again and finds another name."""


class NoRoom(Exception):
    """The volume has too little free space; the message says how much is missing and where."""


class Away(OSError):
    """A disk that a list of moves needs is not there, or does not answer: nothing can be said of the moves until it is back."""

    def __init__(self, path: Path, why: str = "its disk is away") -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


def own_folder(root: Path, place: str, *parts: str) -> Path:
    """`<root>/.dropdock/<place>/...`, made. place is staging, trash or quarantine."""
    folder = root.joinpath(OWN, place, *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def one_volume(source_root: Path, target_root: Path) -> bool:
    """Whether a rename works from one root to the other. Equal st_dev is not enough: bind mounts of one disk refuse it."""
    if os.stat(source_root).st_dev != os.stat(target_root).st_dev:
        return False
    probe = own_folder(source_root, "staging") / f"probe-{secrets.token_hex(8)}"  # two threads may ask at once
    there = own_folder(target_root, "staging") / f"{probe.name}-there"
    probe.touch()
    try:
        os.rename(probe, there)
        there.unlink()
    except OSError as error:
        probe.unlink(missing_ok=True)
        if error.errno == errno.EXDEV:
            return False
        raise
    return True


def need_room(folder: Path, size: int, floor: int) -> None:
    """Raise NoRoom unless `size` bytes can be written to the volume of `folder` and `floor` bytes stay free."""
    free = shutil.disk_usage(folder).free
    if free < size + floor:
        raise NoRoom(f"{folder} has {free >> 20} MiB free; {(size + floor - free) >> 20} MiB more are needed")


def copy_checked(
    source: Path, target: Path, expected: Digests | None = None, tick: Callable[[int], None] = lambda n: None
) -> Digests:
    """Copy a file to a new path of ours: digests on the way, fsync, then the copy is read back and compared. mtime is kept.

    Raises Changed when the source's digest is not `expected`, OSError when the copy reads back differently. `tick` gets bytes.
    """
    sha, xxh = new_sha256(), xxhash.xxh3_128()
    size = 0
    with source.open("rb", buffering=0) as src, target.open("xb") as dst:
        before = os.fstat(src.fileno())
        while chunk := src.read(CHUNK):
            sha.update(chunk)
            xxh.update(chunk)
            dst.write(chunk)
            size += len(chunk)
            tick(len(chunk))
        dst.flush()
        os.fsync(dst.fileno())
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    digests = Digests(sha.hexdigest(), xxh.hexdigest(), size)
    if expected and digests != expected:
        raise Changed(f"{source} changed while it was copied")
    back = xxhash.xxh3_128()
    with target.open("rb", buffering=0) as again:
        while chunk := again.read(CHUNK):
            back.update(chunk)
    if back.hexdigest() != digests.xxh3:
        raise OSError(errno.EIO, "the copy reads back differently", str(target))
    return digests


def second_name(path: Path, at: Path) -> bool:
    """Give a file a second name on its own volume (link(2)); False where the disk has no such thing. Raises OSError otherwise."""
    try:
        os.link(path, at, follow_symlinks=False)
    except (PermissionError, NotImplementedError):  # EPERM: FAT and some network shares; protected_hardlinks says so too
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True


# ---------------------------------------------------------------- renames that never replace

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100


def _renameat2() -> Callable[[bytes, bytes], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return None if call is None else lambda a, b: int(call(_AT_FDCWD, a, _AT_FDCWD, b, _RENAME_NOREPLACE))


_RENAME = _renameat2()


def rename_new(source: Path, target: Path) -> None:
    """Rename, and raise FileExistsError rather than replace anything (renameat2(2), RENAME_NOREPLACE).

    Where the system or the file system has no such rename: a hard link (which is exclusive) and the removal of the old name of
    the same inode; for a folder, mkdir refuses for us, since rename replaces empty folders only.
    """
    if _RENAME is not None:
        if _RENAME(os.fsencode(source), os.fsencode(target)) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code), str(source), None, str(target))
    if source.is_dir() and not source.is_symlink():
        target.mkdir()
        try:
            os.rename(source, target)
        except BaseException:
            target.rmdir()
            raise
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "exists", str(target)) from None
        os.rename(source, target)
        return
    os.unlink(source)


def carry_out(moves: Sequence[Move], again: bool = False, tick: Callable[[int], None] = lambda made: None) -> None:
    """Make the moves and fsync the folders they touched. `again`: a dead process may have made some of them, or one of them half.

    Then a move whose source is gone (or is another file by now) and whose destination is there counts as made. Raises Changed,
    Taken or OSError; what was made is taken back first, with `again` also what the dead process made of the moves behind the one
    that failed, so that either all or none of the list stands. With `again` a disk that is away or that fails raises Away instead:
    nothing is taken back then, and the same call finishes the list once the disk is there. `tick` hears how many are made.
    """
    if again:
        _ask_for_disks(moves)
    made: list[Move] = []
    folders: set[Path] = set()
    try:
        for move in moves:
            if not (again and _was_made(move)):
                _one(move, again)
            made.append(move)
            tick(len(made))
            folders.update((move.src.parent, move.dst.parent))
    except (Changed, Taken):
        later = moves[len(made) + 1 :] if again else ()
        take_back([*made, *(m for m in later if _was_made_surely(m))])
        raise
    except OSError as error:
        if again:
            raise Away(moves[len(made)].src, str(error)) from error
        take_back(made)
        raise
    for folder in folders:
        sync_folder(folder)


def _was_made(move: Move) -> bool:
    """Whether a dead process made this move: what it was to bring lies at its destination, and no more at its source."""
    if not os.path.lexists(move.dst):
        return False
    if not os.path.lexists(move.src):
        return True
    if move.over and swap.was_swapped(move):
        swap.finish(move)
        return True
    return move.stamp is not None and stamp(move.src) != move.stamp and stamp(move.dst) == move.stamp


def _was_made_surely(move: Move) -> bool:
    """The same of a move behind one that failed: it may never have been begun, so the file there must be the very one that was meant."""
    return _was_made(move) and (move.stamp is None or _same_file(stamp(move.dst), move.stamp))


def _same_file(one: Stamp, other: Stamp) -> bool:
    """Equal but for the disk's number, which may be another after a start of the machine."""
    return (one.size, one.mtime_ns, one.ino) == (other.size, other.mtime_ns, other.ino)


def _ask_for_disks(moves: Sequence[Move]) -> None:
    """Raise Away when a move can be neither made nor found made because what it is about is on a disk that is not mounted."""
    for move in moves:
        if not os.path.lexists(move.src) and not os.path.lexists(move.dst) and _on_missing_disk(move):
            raise Away(move.src)


def _on_missing_disk(move: Move) -> bool:
    """Whether another disk is where the file's was; of a file of ours: a root has lost our folder there, or both folders are gone."""
    ways = (move.src, move.dst)
    if move.stamp is not None:
        return all(_device_at(path) != move.stamp.dev for path in ways)
    ours = [Path(*path.parts[: path.parts.index(OWN) + 1]) for path in ways if OWN in path.parts]
    return any(not folder.is_dir() for folder in ours) or all(not path.parent.is_dir() for path in ways)


def _device_at(path: Path) -> int:
    """The number of the disk on which a path is or would be."""
    for folder in (path, *path.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            return os.stat(folder).st_dev
    return 0


def _one(move: Move, again: bool) -> None:
    try:
        found = stamp(move.src)
    except FileNotFoundError:
        raise Changed(f"{move.src} is gone") from None
    if move.stamp is not None and found != move.stamp:
        raise Changed(f"{move.src} changed after it was looked at")
    move.dst.parent.mkdir(parents=True, exist_ok=True)
    if move.over:
        if move.replaces is None:
            os.replace(move.src, move.dst)
        else:
            swap.put_over(move)
        return
    try:
        rename_new(move.src, move.dst)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        if not (again and _finish_half(move)):
            raise Taken(f"{move.dst} exists already") from None


def _finish_half(move: Move) -> bool:
    """A rename that `rename_new` had to do in two steps and that was killed between them: the second step. False: it was not that."""
    one, other = os.lstat(move.src), os.lstat(move.dst)
    if stat.S_ISREG(one.st_mode) and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino):
        os.unlink(move.src)  # the other name of the same bytes
        return True
    if stat.S_ISDIR(one.st_mode) and stat.S_ISDIR(other.st_mode) and not os.listdir(move.dst):
        os.rename(move.src, move.dst)  # replaces an empty folder only, and refuses when it is not empty any more
        return True
    return False


def take_back(made: Sequence[Move]) -> None:
    """Undo moves of a list that could not be finished, newest first. A file that was replaced by `over` is ours and stays new; a folder
    that was comes back into its place.

    Where somebody put another file meanwhile, ours comes back beside it under a number.
    """
    for move in reversed(made):
        if move.over:
            if move.holds and move.src.is_dir():
                swap.exchange(move.src, move.dst)
            continue
        move.src.parent.mkdir(parents=True, exist_ok=True)
        try:
            rename_new(move.dst, move.src)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            rename_new(move.dst, free_name(move.src.parent, move.src.name))


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable, where the system has such a thing."""
    with suppress(FileNotFoundError, PermissionError):  # a folder that is gone, or Windows, which has no folder fsync
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(fd)


def sync_volume(folder: Path) -> None:
    """Make everything written below a folder durable in one call (syncfs(2)); elsewhere the whole system's sync."""
    if sys.platform.startswith("linux"):
        fd = os.open(folder, os.O_RDONLY)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.syncfs(fd) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), str(folder))
        finally:
            os.close(fd)
    elif hasattr(os, "sync"):
        os.sync()


def free_name(folder: Path, name: str, taken: Callable[[Path], bool] = os.path.lexists) -> Path:
    """A path in `folder` that is not taken: name.ext, name (2).ext, ..."""
    candidate = folder / name
    stem, suffix = candidate.stem, candidate.suffix
    n = 2
    while taken(candidate):
        candidate = folder / f"{stem} ({n}){suffix}"
        n += 1
    return candidate


def is_there(path: Path) -> bool:
    """Whether anything stands at a path, a dangling link included."""
    return os.path.lexists(path)


def clear(folder: Path) -> None:
    """Remove a staging folder of ours with everything in it. Refuses any path that is not below a staging folder."""
    if OWN not in folder.parts or "staging" not in folder.parts:
        raise ValueError(f"{folder} is no staging folder")
    shutil.rmtree(folder, ignore_errors=True)


def prune_after(moves: Iterable[Move], roots: Collection[Path]) -> None:
    """Remove folders of ours that moves emptied, or that they made and then did not need: a dataset's, a content's, a slot in the trash."""
    for folder in {path.parent for move in moves for path in (move.src, move.dst)}:
        if OWN in folder.parts:
            own = next(p for p in (folder, *folder.parents) if p.name == OWN)
            prune_empty(folder, own / folder.relative_to(own).parts[0])
            continue
        for root in roots:
            prune_empty(folder, root)


def prune_empty(folder: Path, root: Path) -> list[Path]:
    """Remove `folder` and its parents below `root` as far as they are empty; returns those removed."""
    gone = []
    while folder != root and root in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            break
        gone.append(folder)
        folder = folder.parent
    return gone
