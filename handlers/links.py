"""The hands of deployment: look at the places of links, and apply a plan.

What must hold: nothing that exists is ever written over. A link is made only where nothing stands (symlink, link and open-for-
exclusive are each refused by the kernel otherwise); only what was recorded as ours and still is as it was found is removed, by
unlinking that one name, or changes places with the new one in one step, so that an app finds a file at every instant. A target's
own folder is never made: a missing one is an unplugged disk. Each link stands or falls alone; a failure is a result, not an exception.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ..rules.deployment import Wanted
from ..rules.linkplan import Create, Found, Made, Method, Plan, Remove, Seen
from ..rules.terms import Link, Move, Stamp
from . import disk, swap
from .stamps import Changed

Digest = Callable[[Path], str | None]  # a file's digest, from memory or by reading it; None when it cannot be told
METHODS = (Method.SYMLINK, Method.HARDLINK, Method.COPY)
# What a file system or platform answers that cannot do it at all; anything else (a full disk, say) is a failure of this link.
_CANNOT = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.EINVAL}
FRESH = ".dropdock.link"  # behind the hidden name of what is about to change places with a link of ours
_NO_PRIVILEGE = 1314  # Windows: symlinks want developer mode or an administrator


class Did(StrEnum):
    """What became of one place."""

    CREATED = "created"
    REPLACED = "replaced"
    REMOVED = "removed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Applied:
    """The result at one place: `made` is what stands there now and is to be recorded."""

    at: Path
    did: Did
    made: Made | None = None
    note: str = ""


# ---------------------------------------------------------------- looking


def look(aims: Wanted, recorded: Collection[Made], digest: Digest | None = None) -> dict[Path, Found]:
    """What stands at the place of every wanted and every recorded link.

    `digest` is asked only about two files of one size, when a file stands where a link is wanted or where a copy of ours was
    made; without it such files count as not compared. Reads, changes nothing, never raises OSError.
    """
    made = {m.link.at: m for m in recorded}
    places: dict[Path, Link] = {m.link.at: m.link for m in recorded} | {link.at: link for link in aims.links}
    found: dict[Path, Found] = {}
    roots: dict[str, bool] = {name: _folder(target.path) for name, target in aims.targets.items()}
    for at, link in places.items():
        if not roots.get(link.target, True):
            note = f"the target's folder {aims.targets[link.target].path} does not exist"
            found[at] = Found(Seen.BLOCKED, note=note)
            continue
        mine = made.get(at)
        original = mine.link.to if mine and mine.method is not Method.SYMLINK else link.to
        found[at] = _found(at, link.to, original, digest, mine.stamp if mine else None)
    return found


def _found(at: Path, to: Path, original: Path, digest: Digest | None, left: Stamp | None) -> Found:
    """`left` is the stamp of our copy as we left it: with that it is the same without a read."""
    alive = _readable(to)
    try:
        status = at.lstat()
        if stat.S_ISLNK(status.st_mode):
            text = str(at.readlink())
            return Found(Seen.LINK, text, _named_by(at, text), alive, stamp=_stamp(status))
        if not stat.S_ISREG(status.st_mode):
            return Found(Seen.OTHER, alive=alive)
        stamp = _stamp(status)
        return Found(Seen.FILE, alive=alive, same=stamp == left or _same_content(at, original, digest), stamp=stamp)
    except FileNotFoundError:
        return Found(Seen.ABSENT, alive=alive)
    except OSError as error:  # a file where a folder should be, no permission, a name too long for this disk
        return Found(Seen.BLOCKED, alive=alive, note=f"{at}: {error.strerror or error}")


def left_by_adopting(places: Collection[Link], hub: Path) -> list[Made]:
    """Of these links at adopted places, those that stand as links into the hub, as they stand: ours, whatever is recorded of them."""
    return [Made(replace(link, to=to)) for link in places if (to := _into(link.at, hub)) is not None]


def _into(at: Path, hub: Path) -> Path | None:
    """What a link in the hub points to by its text; None where no such link stands."""
    try:
        to = _named_by(at, str(at.readlink()))
    except OSError:  # nothing there, or no link
        return None
    return to if any(to.is_relative_to(home) for home in (os.path.abspath(hub), os.path.realpath(hub))) else None  # noqa: PTH100  # as adopting writes it


def _readable(path: Path) -> bool:
    try:
        path.stat()
    except OSError:  # Path.exists would raise for a folder that we may not enter
        return False
    return True


def _folder(path: Path) -> bool:
    return _readable(path) and path.is_dir()


def _named_by(at: Path, text: str) -> Path:
    """The absolute path that a link's text names, from the folder the link really lies in."""
    text = text.removeprefix("\\\\?\\")  # Windows writes its long form
    if Path(text).is_absolute():
        return Path(os.path.normpath(text))
    return Path(os.path.normpath(Path(os.path.realpath(at.parent), text)))


def _same_content(left: Path, right: Path, digest: Digest | None) -> bool | None:
    try:
        if left.samefile(right):
            return True
        if left.stat().st_size != right.stat().st_size:
            return False
    except OSError:
        return None
    if digest is None:
        return None
    one, other = digest(left), digest(right)
    return None if one is None or other is None else one == other


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)


# ---------------------------------------------------------------- applying


def apply(plan: Plan, methods: tuple[Method, ...] = METHODS) -> tuple[Applied, ...]:
    """Do what the plan says, removals first, and tell of each place what became of it.

    `methods` are tried in their order where the platform or the file system refuses one. Idempotent: a plan made anew after
    any interruption finishes the work. Never raises OSError.
    """
    return tuple(_apply(plan, methods))


def _apply(plan: Plan, methods: tuple[Method, ...]) -> Iterator[Applied]:
    for remove in plan.remove:
        note = _remove(remove)
        yield Applied(remove.made.link.at, Did.FAILED if note else Did.REMOVED, note=note)
    for create in plan.create:
        yield _create(create, methods)


def _remove(remove: Remove) -> str:
    """Unlink one place if it still is what was found; the reason when not. What is gone already is as good as removed."""
    at, found = remove.made.link.at, remove.found
    try:
        status = at.lstat()
        if _stamp(status) != found.stamp or (stat.S_ISLNK(status.st_mode) and str(at.readlink()) != found.text):
            return "it changed since it was looked at"
        at.unlink()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _create(create: Create, methods: tuple[Method, ...]) -> Applied:
    link = create.link
    note = ""
    methods = (Method.COPY,) if create.copied else methods
    try:
        if not _folder(create.root):
            return Applied(link.at, Did.FAILED, note=f"the target's folder {create.root} does not exist")
        link.at.parent.mkdir(parents=True, exist_ok=True)
        for method in methods:
            try:
                _put(create, method)
            except OSError as error:
                if error.errno not in _CANNOT and getattr(error, "winerror", None) != _NO_PRIVILEGE:
                    raise
                note = f"{method}: {error.strerror or error}"
                continue
            did = Did.REPLACED if create.instead else Did.CREATED
            return Applied(link.at, did, Made(link, method, _stamp(link.at.lstat()) if method is Method.COPY else None), note)
    except FileExistsError:
        return Applied(link.at, Did.FAILED, note="something stands there now")
    except Changed:
        return Applied(link.at, Did.FAILED, note="it changed since it was looked at")
    except OSError as error:
        return Applied(link.at, Did.FAILED, note=error.strerror or str(error))
    return Applied(link.at, Did.FAILED, note=note)


def _put(create: Create, method: Method) -> None:
    """Make a link where nothing stands; where one of ours does, make it beside that and let the two change places."""
    at = create.link.at
    if create.instead is None or not os.path.lexists(at):
        _make(create.link, at, method, create.relative)
        return
    fresh = at.with_name(f".{os.fsencode(at.name)[:200].decode('utf-8', 'ignore')}{FRESH}")
    _clear_fresh(fresh)
    _make(create.link, fresh, method, create.relative)
    ours = _stamp(fresh.lstat())
    try:
        swap.put_over(Move(fresh, at, ours, over=True, replaces=create.instead.found.stamp))
    except Changed:
        fresh.unlink(missing_ok=True)
        raise


def _make(link: Link, at: Path, method: Method, relative: bool) -> None:
    """Make what a link stands for at a place beside, or at, its own."""
    if method is Method.SYMLINK:
        to = os.path.normpath(link.to.absolute())
        # relative to where the folder really is: a type folder may itself be a link to another disk
        at.symlink_to(os.path.relpath(to, os.path.realpath(at.parent)) if relative else to)
    elif method is Method.HARDLINK:
        os.link(link.to, at)
    else:
        _copy(link.to, at)


def clear_fresh(folders: Iterable[Path], hub: Path) -> None:
    """Remove what a process that died left of a change of places in these folders: a link of ours under a hidden name.

    What an app had saved at the place in that very instant may lie there too: that gets a name that can be seen. Never raises OSError.
    """
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in [e for e in entries if e.name.startswith(".") and e.name.endswith(FRESH)]:
                path = Path(entry.path)
                if _into(path, hub) is not None:
                    path.unlink()
                else:
                    disk.rename_new(path, disk.free_name(folder, entry.name[1 : -len(FRESH)]))


def _clear_fresh(fresh: Path) -> None:
    """The same of one place: a link goes, anything else is given a name that can be seen."""
    if fresh.is_symlink():
        fresh.unlink()
    elif fresh.exists():
        disk.rename_new(fresh, disk.free_name(fresh.parent, fresh.name[1 : -len(FRESH)]))


def _copy(source: Path, at: Path) -> None:
    """A whole copy or nothing: filled under a hidden name, put over a place that we reserved with an exclusive open."""
    part = at.with_name(f".{at.name[:200]}.dropdock.part")
    try:
        with source.open("rb") as reader, part.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
        with at.open("xb"):
            pass
        part.replace(at)
    finally:
        part.unlink(missing_ok=True)
