"""Links as a projection, first half: what every target should have.

What must hold: everything here is pure. Within one folder of a target (its scope: `loras` where it is sorted by base) no two models
share a base name, without regard to case, Unicode composition or suffix, since the apps tell models apart by it; a name once given
is kept, whoever comes or goes, so that one change never renames another model. What is done about it stands in linkplan.py.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .companions import Beside, beside, mmproj_names
from .globs import fold
from .layouts import Layout, layout_of
from .layouts import load_layouts as load_layouts  # so that whoever plans needs one import
from .terms import Link, Target

COMPANION = "companion"  # the `type` of a link that stands beside a model's own
NOWHERE = ""  # the `target` of a link at an adopted place that no target holds


@dataclass(frozen=True, slots=True)
class Deployable:
    """One kept model that is wanted by targets (None: by every enabled one; empty: by none).

    `name` is the file's or folder's name as dropped, `blob` where it lies in the hub. For a folder that is one model, `files`
    are its files, relative, with forward slashes; `companions` are paths of files that belong to it; `roles` are types it can also
    serve as. `adopted` are places it was adopted from: a link is wanted at each, whatever the targets say.
    """

    sha256: str
    name: str
    type: str
    base: str
    blob: Path
    targets: frozenset[str] | None = None
    companions: tuple[Path, ...] = ()
    files: tuple[str, ...] = ()
    variant: str | None = None
    roles: tuple[str, ...] = ()
    adopted: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A base name that one model has in one scope of a target; nobody else may have it there. `identity` is folded."""

    target: str
    scope: Path
    identity: str


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
    """Every link that should stand, what no target could take, the targets (by name) it was made for, and who claims which name."""

    links: tuple[Link, ...]
    unmapped: tuple[Unmapped, ...] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)
    claims: Mapping[Path, Claim] = field(default_factory=dict)  # by the place of a link; companions claim nothing


@dataclass(frozen=True, slots=True)
class _Slot:
    """A model and the folder of a target it goes to. `ask` is the name it would have, were it free."""

    model: Deployable
    type: str
    folder: Path
    scope: Path
    ask: str
    bound: bool = False  # another file finds it by `ask`: an older name is not kept


def wanted(
    models: Sequence[Deployable],
    targets: Sequence[Target],
    layouts: Mapping[str, Layout],
    recorded: Mapping[tuple[str, str], Path] | None = None,
    taken: Collection[Claim] = frozenset(),
) -> Wanted:
    """Every link that the enabled targets should have of these models.

    `recorded` maps (target, sha256) to the path of a link that is recorded already (see `recorded_names`): its name is kept.
    Otherwise the first of a name (by SHA-256) gets it, and the others `stem-<first 8 of sha256>`. `taken` are the names that models
    which are not among `models` have, of those that `candidates` names. Pure; the order of `models` does not matter.
    """
    links: list[Link] = []
    unmapped: list[Unmapped] = []
    claims: dict[Path, Claim] = {}
    enabled = [t for t in targets if t.enabled]
    at_home = _adopted(models, enabled, links)
    for target in enabled:
        slots, lost = _slots(models, target, layouts, at_home)
        unmapped += lost
        for scope, group in sorted(slots.items()):
            used = {claim.identity for claim in taken if (claim.target, claim.scope) == (target.name, scope)}
            for slot, name in _named(group, target.name, recorded or {}, used):
                made = list(_links(slot, target.name, name))
                claim = Claim(target.name, scope, _identity(name, slot.model))
                claims |= {link.at: claim for link in made if link.type != COMPANION}
                links += made
    return Wanted(tuple(links), tuple(unmapped), {t.name: t for t in enabled}, claims)


def recorded_names(links: Iterable[Link]) -> dict[tuple[str, str], Path]:
    """The path by which each (target, sha256) is known, from the links that are recorded; companions do not count."""
    return {(link.target, link.sha256): link.at for link in links if link.type != COMPANION}


def scopes(target: Target, layouts: Mapping[str, Layout]) -> dict[str, Path]:
    """The folder of a target within which names must differ, for each type that it has a folder for."""
    return {kind: target.path / folder.scope for kind, folder in layout_of(target, layouts).folders.items()}


def candidates(
    models: Sequence[Deployable],
    targets: Sequence[Target],
    layouts: Mapping[str, Layout],
    recorded: Mapping[tuple[str, str], Path],
) -> frozenset[Claim]:
    """The names that `wanted` may give to models that have none yet: ask who has them, and hand the answer in as `taken`."""
    found: set[Claim] = set()
    for target in targets:
        if not target.enabled:
            continue
        for group in _slots(models, target, layouts, frozenset())[0].values():
            for slot in group:
                if _kept(slot, recorded.get((target.name, slot.model.sha256))) is None:
                    names = (name for name, _ in zip(_candidates(slot), range(4), strict=False))
                    found |= {Claim(target.name, slot.scope, _identity(name, slot.model)) for name in names}
    return frozenset(found)


# ---------------------------------------------------------------- places


def _adopted(models: Sequence[Deployable], targets: Sequence[Target], links: list[Link]) -> frozenset[tuple[str, str]]:
    """Links at the places models were adopted from; returns the (target, sha256) that have theirs by that."""
    served: set[tuple[str, str]] = set()
    for model in sorted(models, key=lambda m: m.sha256):
        for at in sorted(model.adopted):
            holders = [t.name for t in targets if at.is_relative_to(t.path)]
            served |= {(name, model.sha256) for name in holders}
            target = holders[0] if holders else NOWHERE
            if not model.files:
                links.append(Link(target, model.type, at, model.blob, model.sha256))
            links += [Link(target, model.type, at / rel, model.blob / rel, model.sha256) for rel in model.files if _within(rel)]
    return frozenset(served)


def _slots(
    models: Sequence[Deployable], target: Target, layouts: Mapping[str, Layout], served: Collection[tuple[str, str]]
) -> tuple[dict[Path, list[_Slot]], list[Unmapped]]:
    """The models that a target gets, by the scope they come into, and those that it has no folder for."""
    layout = layout_of(target, layouts)
    slots: dict[Path, list[_Slot]] = {}
    unmapped: list[Unmapped] = []
    aliases = _mmproj_aliases(models)
    within = scopes(target, layouts)
    folders: dict[PurePosixPath, Path] = {}  # a path is dear to make, and a thousand models share a few
    for model in sorted(models, key=lambda m: m.sha256):
        if (model.targets is not None and target.name not in model.targets) or (target.name, model.sha256) in served:
            continue
        reason = ""
        for kind in dict.fromkeys((model.type, *model.roles)):
            folder, said = layout.place(kind, model.name, bool(model.files), model.base, model.variant)
            reason = reason or said
            if folder is not None:
                place = folders.get(folder) or folders.setdefault(folder, target.path / folder)
                alias = aliases.get(model.name) if kind == "mmproj" else None
                slot = _Slot(model, kind, place, within[kind], alias or Path(model.name).name, alias is not None)
                slots.setdefault(within[kind], []).append(slot)
                break
        else:
            unmapped.append(Unmapped(target.name, model.sha256, model.type, model.name, reason))
    return slots, unmapped


def is_kin(model: Deployable) -> bool:
    """Whether a model's name in an app may depend on models beside it: GGUF text encoders and their vision halves."""
    return model.name.casefold().endswith(".gguf") and not {"text_encoder", "mmproj"}.isdisjoint((model.type, *model.roles))


def _mmproj_aliases(models: Sequence[Deployable]) -> dict[str, str]:
    kin = [m for m in models if is_kin(m)]
    halves = [m.name for m in kin if m.type == "mmproj"]
    return mmproj_names([m.name for m in kin if m.type != "mmproj"], halves) if halves else {}


# ---------------------------------------------------------------- names


def _named(
    group: list[_Slot], target: str, recorded: Mapping[tuple[str, str], Path], taken: set[str]
) -> Iterator[tuple[_Slot, str]]:
    """A unique name for every model of one scope: recorded names first, then free ones, then suffixed ones."""
    late: list[_Slot] = []
    for slot in group:
        kept = _kept(slot, recorded.get((target, slot.model.sha256)))
        if kept and _identity(kept, slot.model) not in taken:
            taken.add(_identity(kept, slot.model))
            yield slot, kept
        else:
            late.append(slot)
    for slot in late:
        name = next(n for n in _candidates(slot) if _identity(n, slot.model) not in taken)
        taken.add(_identity(name, slot.model))
        yield slot, name


def _kept(slot: _Slot, at: Path | None) -> str | None:
    """The name of a recorded link, if it stands in this folder and still has the model's suffix."""
    here = os.fspath(slot.folder).rstrip(os.sep) + os.sep
    if at is None or not os.fspath(at).startswith(here):
        return None
    name = os.fspath(at)[len(here) :].partition(os.sep)[0]
    if slot.bound and fold(Path(slot.ask).stem) not in fold(name):
        return None
    return name if slot.model.files or Path(name).suffix == Path(slot.model.name).suffix else None


def _identity(name: str, model: Deployable) -> str:
    return fold(name if model.files else Path(name).stem)


def _candidates(slot: _Slot) -> Iterator[str]:
    name, model = slot.ask, slot.model
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
                yield Link(target, slot.type, at.joinpath(*rel.split("/")), model.blob.joinpath(*rel.split("/")), model.sha256)
        return
    yield Link(target, slot.type, at, model.blob, model.sha256)
    stem, new = Path(model.name).stem, Path(name).stem
    for path in sorted(model.companions):
        if beside(path.name) is not Beside.NOT and path.name.startswith(stem + "."):
            yield Link(target, COMPANION, slot.folder / (new + path.name[len(stem) :]), path, model.sha256)


def _within(rel: str) -> bool:
    """False for a relative path that would leave its folder."""
    parts = PurePosixPath(rel).parts
    return bool(parts) and not rel.startswith("/") and ".." not in parts and "\\" not in rel and ":" not in parts[0]
