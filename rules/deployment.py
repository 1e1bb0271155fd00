"""Links as a projection: what every target should have, against what is found on disk, gives a plan.

What must hold: everything here is pure. A planned removal is only ever of a link (or of its fallback) that we recorded and that
still is as we left it; a person's own file or link is reported, never replaced. Within one folder of a target no two models
share a base name, without regard to case, Unicode composition or suffix, since the apps tell models apart by it; a name once
given is kept. Applying a plan and planning anew gives an empty plan.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from .globs import fold
from .layouts import Layout
from .layouts import load_layouts as load_layouts  # so that whoever plans needs one import
from .terms import Link, LinkState, Stamp, Target

COMPANION = "companion"  # the `type` of a link that stands beside a model's own
# Companions that an app reads beside a model and does not write: a checkpoint's config and previews. Metadata files (.json,
# .civitai.info) are written by the apps themselves, through a link into our hub, therefore they are not linked.
LINKED_COMPANIONS = frozenset({".yaml", ".yml", ".png", ".jpg", ".jpeg", ".webp", ".gif"})


# ---------------------------------------------------------------- what should be there


@dataclass(frozen=True, slots=True)
class Deployable:
    """One kept model that is wanted by targets (None: by every enabled one).

    `name` is the file's or folder's name as dropped, `blob` where it lies in the hub. For a folder that is one model, `files`
    are its files, relative, with forward slashes; `companions` are paths of files that belong to it.
    """

    sha256: str
    name: str
    type: str
    base: str
    blob: Path
    targets: frozenset[str] | None = None
    companions: tuple[Path, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A model that a target has no folder for, and why."""

    target: str
    sha256: str
    type: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Every link that should stand, what no target could take, and the targets (by name) it was made for."""

    links: tuple[Link, ...]
    unmapped: tuple[Unmapped, ...] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A model and the folder of a target it goes to."""

    model: Deployable
    folder: Path


def wanted(
    models: Sequence[Deployable],
    targets: Sequence[Target],
    layouts: Mapping[str, Layout],
    recorded: Mapping[tuple[str, str], Path] | None = None,
) -> Wanted:
    """Every link that the enabled targets should have.

    `recorded` maps (target, sha256) to the path of a link that stands already (see `recorded_names`): its name is kept, whoever
    comes or goes. Otherwise the first of a name (by SHA-256) gets it, and the others `stem-<first 8 of sha256>`. Pure; the
    order of `models` does not matter.
    """
    links: list[Link] = []
    unmapped: list[Unmapped] = []
    enabled = [t for t in targets if t.enabled]
    for target in enabled:
        slots: dict[Path, list[_Slot]] = {}
        for model in sorted(models, key=lambda m: m.sha256):
            if model.targets is not None and target.name not in model.targets:
                continue
            folder, reason = layouts[target.layout].place(model.type, model.name, bool(model.files))
            if folder is None:
                unmapped.append(Unmapped(target.name, model.sha256, model.type, model.name, reason))
            else:
                slots.setdefault(target.path / folder, []).append(_Slot(model, target.path / folder))
        for _, group in sorted(slots.items()):
            for slot, name in _named(group, target.name, recorded or {}):
                links += _links(slot, target.name, name)
    return Wanted(tuple(links), tuple(unmapped), {t.name: t for t in enabled})


def recorded_names(links: Iterable[Link]) -> dict[tuple[str, str], Path]:
    """The path by which each (target, sha256) is known, from the links that stand; companions do not count."""
    return {(link.target, link.sha256): link.at for link in links if link.type != COMPANION}


def _named(group: list[_Slot], target: str, recorded: Mapping[tuple[str, str], Path]) -> Iterator[tuple[_Slot, str]]:
    """A unique name for every model of one folder: recorded names first, then free ones, then suffixed ones."""
    taken: set[str] = set()
    late: list[_Slot] = []
    for slot in group:
        kept = _kept(slot, recorded.get((target, slot.model.sha256)))
        if kept and _identity(kept, slot.model) not in taken:
            taken.add(_identity(kept, slot.model))
            yield slot, kept
        else:
            late.append(slot)
    for slot in late:
        name = next(n for n in _candidates(slot.model) if _identity(n, slot.model) not in taken)
        taken.add(_identity(name, slot.model))
        yield slot, name


def _kept(slot: _Slot, at: Path | None) -> str | None:
    """The name of a recorded link, if it stands in this folder and still has the model's suffix."""
    if at is None or not at.is_relative_to(slot.folder) or at == slot.folder:
        return None
    name = at.relative_to(slot.folder).parts[0]
    return name if slot.model.files or Path(name).suffix == Path(slot.model.name).suffix else None


def _identity(name: str, model: Deployable) -> str:
    return fold(name if model.files else Path(name).stem)


def _candidates(model: Deployable) -> Iterator[str]:
    name = Path(model.name).name
    stem, suffix = (name, "") if model.files else (Path(name).stem, Path(name).suffix)
    yield name
    for digits in (8, 16, 64):
        yield f"{stem}-{model.sha256[:digits]}{suffix}"
    n = 2
    while True:  # only when another model is called like our own suffixed names
        yield f"{stem}-{model.sha256}-{n}{suffix}"
        n += 1


def _links(slot: _Slot, target: str, name: str) -> Iterator[Link]:
    model, at = slot.model, slot.folder / name
    if model.files:
        for rel in sorted(model.files):
            if _within(rel):
                yield Link(target, model.type, at.joinpath(*rel.split("/")), model.blob.joinpath(*rel.split("/")), model.sha256)
        return
    yield Link(target, model.type, at, model.blob, model.sha256)
    stem, new = Path(model.name).stem, Path(name).stem
    for path in sorted(model.companions):
        if path.suffix.casefold() in LINKED_COMPANIONS and path.name.startswith(stem + "."):
            yield Link(target, COMPANION, slot.folder / (new + path.name[len(stem) :]), path, model.sha256)


def _within(rel: str) -> bool:
    """False for a relative path that would leave its folder."""
    parts = PurePosixPath(rel).parts
    return bool(parts) and not rel.startswith("/") and ".." not in parts and "\\" not in rel and ":" not in parts[0]


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
    """What to do. `forget` are recorded paths where nothing of ours stands any more. `idle` is True when nothing is to do."""

    create: tuple[Create, ...] = ()
    remove: tuple[Remove, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    ok: tuple[Made, ...] = ()
    forget: tuple[Path, ...] = ()

    @property
    def idle(self) -> bool:
        return not (self.create or self.remove or self.forget)


def plan(aims: Wanted, found: Mapping[Path, Found], recorded: Collection[Made]) -> Plan:
    """Wanted minus found. `found` must have an entry for the place of every wanted and every recorded link. Pure."""
    made = {m.link.at: m for m in recorded}
    sorted_out = _Sorted()
    for link in aims.links:
        _want(link, aims.targets[link.target], found[link.at], made.get(link.at), sorted_out)
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
    return Plan(tuple(s.create), tuple(s.remove), tuple(s.conflicts), tuple(s.ok), tuple(s.forget))


class _Sorted:
    """The plan while it grows."""

    def __init__(self) -> None:
        self.create: list[Create] = []
        self.remove: list[Remove] = []
        self.conflicts: list[Conflict] = []
        self.ok: list[Made] = []
        self.forget: list[Path] = []

    def conflict(self, link: Link, state: LinkState, note: str) -> None:
        self.conflicts.append(Conflict(link, state, note))


def _want(link: Link, target: Target, found: Found, mine: Made | None, out: _Sorted) -> None:
    """Sort one wanted link into the out."""
    if found.seen is Seen.BLOCKED:
        out.conflict(link, LinkState.CONFLICT, found.note)
        return
    ours = mine is not None and _ours(mine, found)
    if not found.alive:  # a link to nothing makes some apps' scans fail, so it goes
        if mine is not None and ours:
            out.remove.append(Remove(mine, found))
        out.conflict(link, LinkState.BROKEN, f"{link.to} is gone from the hub")
        return
    if found.seen is Seen.ABSENT:
        out.create.append(Create(link, target.relative, target.path))
    elif found.seen is Seen.LINK and _same(found.points, link.to):
        if mine is None or Path(found.text).is_absolute() != target.relative:
            out.ok.append(Made(link))
        else:  # relative became absolute or the other way round
            out.create.append(Create(link, target.relative, target.path, Remove(Made(link), found)))
    elif mine is not None and ours and found.seen is Seen.FILE and _same(mine.link.to, link.to):
        out.ok.append(Made(link, mine.method))
    elif mine is not None and ours:
        out.create.append(Create(link, target.relative, target.path, Remove(mine, found)))
    else:
        out.conflict(link, *_conflict(found))


def _conflict(found: Found) -> tuple[LinkState, str]:
    if found.seen is Seen.LINK:
        return LinkState.FOREIGN, f"somebody's link to {found.text} stands there"
    if found.seen is Seen.OTHER:
        return LinkState.CONFLICT, "a folder stands there"
    if found.same:
        return LinkState.ADOPTABLE, "a file with the same content stands there"
    return LinkState.CONFLICT, "another file stands there" if found.same is False else "a file stands there, not compared yet"


def _ours(mine: Made, found: Found) -> bool:
    """True when what is found is what we made: a symlink to the recorded file, or an unchanged hardlink or copy."""
    if found.seen is Seen.LINK:
        return mine.method is Method.SYMLINK and _same(found.points, mine.link.to)
    return found.seen is Seen.FILE and mine.method is not Method.SYMLINK and found.same is True


def _same(left: Path | None, right: Path) -> bool:
    return left is not None and os.path.normpath(left) == os.path.normpath(right)
