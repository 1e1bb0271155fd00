"""Links as a projection, second half: wanted minus found on disk gives a plan.

What must hold: everything here is pure. A planned removal is only ever of a link (or of its fallback) that we recorded and that
still is as we left it; a person's own file or link is reported, never replaced. Applying a plan and planning anew gives an empty
plan. A copied companion that an app has written into is the app's own from then on.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .companions import Beside, beside
from .deployment import COMPANION, Wanted
from .layouts import CUSTOM
from .terms import Link, LinkState, Stamp, Target

# ---------------------------------------------------------------- what is there


class Method(StrEnum):
    """How a link was made: symlinks, except where the platform refuses them."""

    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Made:
    """A link that we made and recorded, and how."""

    link: Link
    method: Method = Method.SYMLINK
    stamp: Stamp | None = None  # of a copy, as we left it: while it has that, it need not be read to be known as ours


class Seen(StrEnum):
    """What lstat saw at a path."""

    ABSENT = "absent"
    LINK = "link"
    FILE = "file"
    OTHER = "other"  # a folder or a device
    BLOCKED = "blocked"  # the target's folder is missing, or something in the way cannot be passed


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at the place of a link.

    `text` is a symlink's text as stored, `points` the absolute path it names (not resolved further). `alive`: the wanted hub
    file exists. `same`: a file there has the content of the hub file (the recorded one where we made a hardlink or a copy, else
    the wanted one); None when it was not compared.
    """

    seen: Seen
    text: str = ""
    points: Path | None = None
    alive: bool = True
    same: bool | None = None
    stamp: Stamp | None = None
    note: str = ""


# ---------------------------------------------------------------- what to do about it


@dataclass(frozen=True, slots=True)
class Create:
    """Make this link; where something of ours stands there, remove that first."""

    link: Link
    relative: bool
    root: Path  # the target's folder: must exist, everything below is made on demand
    instead: Remove | None = None

    @property
    def copied(self) -> bool:
        """Whether a copy is wanted here, and no link."""
        return is_copied(self.link)


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove what we made, if it still is as it was found."""

    made: Made
    found: Found


@dataclass(frozen=True, slots=True)
class Conflict:
    """A wanted link that cannot stand, and why."""

    link: Link
    state: LinkState
    note: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `forget` are recorded paths where nothing of ours stands any more; `theirs` are links and
    companions that a person or an app has made: as it should be, and never ours to remove. `idle` is True when nothing is to do."""

    create: tuple[Create, ...] = ()
    remove: tuple[Remove, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    ok: tuple[Made, ...] = ()
    forget: tuple[Path, ...] = ()
    theirs: tuple[Link, ...] = ()

    @property
    def idle(self) -> bool:
        return not (self.create or self.remove or self.forget)


def plan(aims: Wanted, found: Mapping[Path, Found], recorded: Collection[Made]) -> Plan:
    """Wanted minus found. `found` must have an entry for the place of every wanted and every recorded link. Pure."""
    made = {m.link.at: m for m in recorded}
    sorted_out = _Sorted()
    for link in aims.links:
        # an adopted place that no target holds: its folder is one that a person made
        target = aims.targets.get(link.target) or Target(link.target, CUSTOM, link.at.parent)
        _want(link, target, found[link.at], made.get(link.at), sorted_out)
    places = {link.at for link in aims.links}
    for at, mine in sorted(made.items()):
        if at in places:
            continue
        if found[at].seen is Seen.BLOCKED:  # an unplugged disk: what we made there is still ours when it comes back
            sorted_out.ok.append(mine)
        elif _ours(mine, found[at]):
            sorted_out.remove.append(Remove(mine, found[at]))
        else:
            sorted_out.forget.append(at)
    s = sorted_out
    return Plan(_by_their_models(s), tuple(s.remove), tuple(s.conflicts), tuple(s.ok), tuple(s.forget), tuple(s.theirs))


def _by_their_models(out: _Sorted) -> tuple[Create, ...]:
    """What to make, without new companions where something else stands in their model's place: an app would take them for that one's."""
    taken = {
        (c.link.target, c.link.sha256, c.link.at.parent)
        for c in out.conflicts
        if c.link.type != COMPANION and c.state in (LinkState.CONFLICT, LinkState.FOREIGN)
    }
    return tuple(
        c
        for c in out.create
        if c.link.type != COMPANION or c.instead is not None or (c.link.target, c.link.sha256, c.link.at.parent) not in taken
    )


def is_copied(link: Link) -> bool:
    """Whether a link stands for a copy: a preview or metadata beside a model, which apps write into."""
    return link.type == COMPANION and beside(link.at.name) is Beside.COPIED


class _Sorted:
    """The plan while it grows."""

    def __init__(self) -> None:
        self.create: list[Create] = []
        self.remove: list[Remove] = []
        self.conflicts: list[Conflict] = []
        self.ok: list[Made] = []
        self.forget: list[Path] = []
        self.theirs: list[Link] = []

    def conflict(self, link: Link, state: LinkState, note: str) -> None:
        self.conflicts.append(Conflict(link, state, note))


def _want(link: Link, target: Target, found: Found, mine: Made | None, out: _Sorted) -> None:
    """Sort one wanted link into the out."""
    if found.seen is Seen.BLOCKED:
        out.conflict(link, LinkState.CONFLICT, found.note)
        return
    ours = mine if mine is not None and _ours(mine, found) else None
    if not found.alive:  # a link to nothing makes some apps' scans fail, so it goes
        if ours is not None:
            out.remove.append(Remove(ours, found))
        out.conflict(link, LinkState.BROKEN, f"{link.to} is gone from the hub")
    elif found.seen is Seen.ABSENT:
        out.create.append(Create(link, target.relative, target.path))
    elif found.seen is Seen.LINK and _same(found.points, link.to) and not (ours and is_copied(link)):
        if ours is None:  # a person made it by hand: it does what we want and stays theirs
            out.theirs.append(link)
        elif Path(found.text).is_absolute() != target.relative:
            out.ok.append(Made(link))
        else:  # relative became absolute or the other way round
            out.create.append(Create(link, target.relative, target.path, Remove(Made(link), found)))
    elif ours is not None and found.seen is Seen.FILE and _same(ours.link.to, link.to):
        out.ok.append(Made(link, ours.method, found.stamp if ours.method is Method.COPY else None))
    elif ours is not None:
        out.create.append(Create(link, target.relative, target.path, Remove(ours, found)))
    elif link.type == COMPANION and found.seen is not Seen.OTHER:
        out.theirs.append(link)
    else:
        out.conflict(link, *_conflict(found, mine))


def _conflict(found: Found, mine: Made | None) -> tuple[LinkState, str]:
    if found.seen is Seen.LINK:
        return LinkState.FOREIGN, f"somebody's link to {found.text} stands there"
    if found.seen is Seen.OTHER:
        return LinkState.CONFLICT, "a folder stands there"
    what = "a file" if mine is None else "a file that an app put in our link's place"
    if found.same:
        return LinkState.ADOPTABLE, f"{what} with the same content stands there"
    return LinkState.CONFLICT, f"{what} stands there" + (", with other content" if found.same is False else ", not compared yet")


def _ours(mine: Made, found: Found) -> bool:
    """True when what is found is what we made: a symlink to the recorded file, or an unchanged hardlink or copy."""
    if found.seen is Seen.LINK:
        return mine.method is Method.SYMLINK and _same(found.points, mine.link.to)
    return found.seen is Seen.FILE and mine.method is not Method.SYMLINK and found.same is True


def _same(left: Path | None, right: Path) -> bool:
    return left is not None and os.path.normpath(left) == os.path.normpath(right)
