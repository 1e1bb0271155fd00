"""Planning: what would be done with files, as data, on an overlay that remembers what was planned before. Nothing is touched.

What must hold: rules are asked by the very code that decides; the overlay knows every name, content and dataset that an earlier planned
action would make, so that two files with one target name, or two copies of the same bytes, are told as what they would become. Whole
files are read only where sizes say that contents may be the same.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from ..handlers import disk, hashing
from ..handlers.assembly import NAMED, Left
from ..handlers.dataset import wish
from ..handlers.placing import fitting, safe_rel, stem_key
from ..handlers.texts import MAX_CAPTION
from ..handlers.webhook import shown
from ..rules.actions import ON_CONFLICT, safe_name
from ..rules.explain import Explanation, said
from ..rules.header import Damaged
from ..rules.readers import archives, images
from ..rules.terms import Action, Kind, Mode, Watch
from ..store import files
from ..store.codec import from_db
from .config import Config
from .explaining import DATABASE, Explainer, open_memory

END = ("trash", "quarantine")  # nothing follows these


@dataclass(frozen=True, slots=True)
class Step:
    """One action as it would go: `do` is whether it would change anything, `note` what it would do, `at` where the file would be."""

    verb: str
    do: bool
    note: str
    at: Path | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """One unit: what it is, which rule fires and why, and the steps in their order. `note` says why nothing would be done."""

    explanation: Explanation
    steps: tuple[Step, ...]
    note: str = ""


def as_json(found: Planned) -> dict[str, object]:
    """A planned unit as values that JSON has: `at` is where the file would be after the step, or null."""
    e = found.explanation
    steps = [{"verb": s.verb, "do": s.do, "note": s.note, "at": None if s.at is None else str(s.at)} for s in found.steps]
    return {"path": e.path, "kind": e.kind, "rule": e.rule, "why": e.why, "steps": steps, "note": found.note}


@dataclass(slots=True)
class _Unit:
    """A unit on its way through the plan: `at` is where an earlier step would have put it."""

    explanation: Explanation
    path: Path
    watch: Watch | None
    at: Path
    taken: bool = False

    @property
    def in_library(self) -> bool:
        return self.watch is not None and self.watch.mode is Mode.LIBRARY


@dataclass(slots=True)
class _Overlay:
    """What earlier planned actions would have made."""

    paths: dict[Path, Path] = field(default_factory=dict)  # a name that would be taken -> the file that would lie there
    gone: set[Path] = field(default_factory=set)
    kept: dict[str, Path] = field(default_factory=dict)  # contents that the hub would keep
    pictures: dict[tuple[str, str], str] = field(default_factory=dict)  # (dataset, content) -> name in it
    stems: dict[str, set[str]] = field(default_factory=dict)  # dataset -> names without suffix that would be taken
    archives: dict[tuple[str, str], Path] = field(default_factory=dict)  # (dataset, content) -> the archive that would have come


class Planner:
    """`with Planner(config, now, unreadable) as planner`. `now` is epoch seconds; `unreadable` is told of bad paths."""

    def __init__(self, config: Config, now: float, unreadable: Callable[[Path, OSError], None]) -> None:
        self._config, self._unreadable = config, unreadable
        self._explainer = Explainer(config, now, False, unreadable)
        self._overlay = _Overlay()
        self._sizes: Counter[int] = Counter()
        self._digests: dict[Path, str] = {}
        self._verbs: dict[str, Callable[[_Unit, Action], Step]] = {
            "unpack": self._unpack, "dataset": self._dataset, "store": self._store, "adopt": self._adopt, "deploy": self._deploy,
            "move": self._placed, "copy": self._placed, "trash": self._aside, "quarantine": self._aside, "caption": self._caption,
            "webhook": self._webhook,
        }  # fmt: skip

    def __enter__(self) -> Self:
        self._memory = open_memory(self._config.data_dir / DATABASE)
        self._explainer.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._explainer.__exit__(kind, error, trace)
        if self._memory is not None:
            self._memory.close()

    def plan(self, paths: Iterable[Path], most: int | None = None) -> Iterator[Planned]:
        """What would be done with the units at these paths, in order: with all of them, or the first `most`."""
        walk = (found.explanation for path in paths for found in self._explainer.explain(path))
        units = list(islice(walk, most))
        self._sizes.update(_size(Path(e.path)) for e in units)
        for explanation in units:
            try:
                yield self._one(explanation)
            except OSError as error:
                self._unreadable(Path(explanation.path), error)

    def _one(self, explanation: Explanation) -> Planned:
        path = Path(explanation.path)
        held = self._held(path)
        if held:
            return Planned(explanation, (), held)
        if not explanation.actions:
            return Planned(explanation, (), explanation.why)
        unit = _Unit(explanation, path, self._watch(path), path)
        steps: list[Step] = []
        for action in explanation.actions:
            step = self._verbs.get(action.verb, self._plain)(unit, action)
            steps.append(step)
            if action.verb in END or (step.at is not None and disk.OWN in step.at.parts):
                break
        return Planned(explanation, tuple(steps))

    # ------------------------------------------------------------ what each action would do

    def _plain(self, unit: _Unit, action: Action) -> Step:
        return Step(action.verb, True, said(action))

    def _caption(self, unit: _Unit, action: Action) -> Step:
        return Step("caption", True, f"wait for the captioner {action.text('with', 'basic')}")

    def _webhook(self, unit: _Unit, action: Action) -> Step:
        return Step("webhook", True, f"tell {shown(action.text('url'))}")

    def _aside(self, unit: _Unit, action: Action) -> Step:
        if unit.taken:
            return Step(action.verb, False, "it was taken in already")
        return self._put_aside(unit, action.verb, action.verb, action.text("reason", "by this rule"))

    def _put_aside(self, unit: _Unit, verb: str, place: str, why: str) -> Step:
        home = unit.watch.path if unit.watch else unit.path.parent
        unit.at, unit.taken = home / disk.OWN / place / unit.path.name, True
        self._overlay.gone.add(unit.path)
        return Step(verb, True, f"into the {place}: {why}", unit.at)

    def _unpack(self, unit: _Unit, action: Action) -> Step:
        slug = action.text("dataset")
        if unit.in_library or unit.taken:
            return Step("unpack", False, "a library's file stays where it lies" if unit.in_library else "it was taken in already")
        more = _more_than_pictures(unit.path)
        if more:  # the archive stays, and nothing of it is known to be twice before it is unpacked
            new = "the dataset" if self._has_dataset(slug) else "a new dataset"
            self._overlay.stems.setdefault(slug, set())
            note = f"its pictures into {new} {slug}; the archive stays where it is, held, with more in it: {more}"
            return Step("unpack", True, note, unit.at)
        content = self._content(unit.path)
        before = self._overlay.archives.get((slug, content)) if content else None
        if before is not None:
            return self._put_aside(unit, "unpack", "trash", f"the dataset {slug} would have the same pictures from {before.name}")
        if content:
            self._overlay.archives[slug, content] = unit.path
        new = "a new dataset" if not self._has_dataset(slug) else "the dataset"
        self._overlay.stems.setdefault(slug, set())
        unit.at, unit.taken = self._config.datasets / slug, True
        return Step("unpack", True, f"its pictures into {new} {slug}, the archive into the trash", unit.at)

    def _dataset(self, unit: _Unit, action: Action) -> Step:
        slug = action.text("name")
        if unit.in_library or unit.taken or unit.explanation.kind != "image":
            return Step("dataset", False, "only a dropped picture goes into a dataset")
        content = self._content(unit.path)
        same = (self._overlay.pictures.get((slug, content)) or self._picture(slug, content)) if content else None
        if same is not None:
            return self._put_aside(unit, "dataset", "trash", f"the dataset {slug} has the same picture as {same}")
        new = "a new dataset" if not self._has_dataset(slug) else "the dataset"
        form = images.read_image(unit.path)
        plain = safe_rel(wish(unit.path, unit.watch))
        rel = self._free_rel(slug, plain if isinstance(form, Damaged) else safe_rel(fitting(plain, form.format)))
        if content:
            self._overlay.pictures[slug, content] = rel
        self._overlay.gone.add(unit.path)
        unit.at, unit.taken = self._config.datasets / slug / PurePosixPath(rel), True
        return Step("dataset", True, f"into {new} {slug} as {rel}", unit.at)

    def _store(self, unit: _Unit, action: Action) -> Step:
        if unit.in_library or unit.taken:
            return Step("store", False, "a library's file stays where it lies" if unit.in_library else "it was taken in already")
        return self._into_hub(unit, "store", "into the hub", "its name is added, the file itself goes into the trash")

    def _adopt(self, unit: _Unit, action: Action) -> Step:
        if not unit.in_library:
            return Step("adopt", False, "only a library's file is adopted")
        left = "a folder of links" if unit.path.is_dir() else "a link"
        again = f"{left} takes its place, its bytes go into the trash"
        return self._into_hub(unit, "adopt", f"into the hub, and {left} in its place", again)

    def _into_hub(self, unit: _Unit, verb: str, note: str, again: str) -> Step:
        content = self._content(unit.path)
        same = (self._overlay.kept.get(content) or self._model(content)) if content else None
        unit.taken = True
        self._overlay.gone.add(unit.path)
        if same is not None:
            unit.at = same
            return Step(verb, True, f"the hub keeps the same bytes as {same.name}: {again}", same)
        unit.at = self._config.hub / (f"{content[:2]}/{content}" if content else "…") / unit.path.name
        if content:
            self._overlay.kept[content] = unit.at
        return Step(verb, True, note, unit.at)

    def _deploy(self, unit: _Unit, action: Action) -> Step:
        if not unit.taken:
            return Step("deploy", False, "only a model that is kept in the hub is linked: put `store` before `deploy`")
        named = action.params.get("targets")
        names = list(named) if isinstance(named, tuple) else [t.name for t in self._config.targets if t.enabled]
        return Step("deploy", bool(names), f"wanted by {', '.join(names)}" if names else "no target is enabled", unit.at)

    def _placed(self, unit: _Unit, action: Action) -> Step:
        """move and copy: the folder, the name, and what is done when the name is taken by now."""
        if action.verb == "move" and unit.taken:
            return Step("move", False, "it was taken in already")
        to = Path(action.text("to"))
        folder = to if to.is_absolute() else (unit.watch.path if unit.watch else unit.path.parent) / to
        wish, own = action.text("name", unit.path.name), unit.path.name
        target = folder / (own if wish == safe_name(own) else wish)
        mode = action.text("on_conflict", ON_CONFLICT[0])
        if target == unit.path:
            return Step(action.verb, False, "it lies where the rule wants it")
        if self._taken(target):
            if mode in ("skip", "fail"):
                return Step(
                    action.verb, False, f"something would lie at {target} already" + (": a failure" if mode == "fail" else "")
                )
            if mode == ON_CONFLICT[0] and self._same(unit.path, self._overlay.paths.get(target, target)):
                note = f"the same bytes would lie at {target}"
                return self._put_aside(unit, "move", "trash", note) if action.verb == "move" else Step("copy", False, note)
            target = disk.free_name(folder, target.name, self._taken)
        self._overlay.paths[target] = unit.path
        if action.verb == "move":
            self._overlay.gone.add(unit.path)
            unit.at, unit.taken = target, True
        return Step(action.verb, True, f"to {target}", target)

    # ------------------------------------------------------------ what is there, or would be

    def _taken(self, path: Path) -> bool:
        return path in self._overlay.paths or (disk.is_there(path) and path not in self._overlay.gone)

    def _same(self, one: Path, other: Path) -> bool:
        return other.is_file() and _size(one) == _size(other) and self._digest(one) == self._digest(other)

    def _watch(self, path: Path) -> Watch | None:
        holding = [w for w in self._config.watches if path.is_relative_to(w.path)]
        inbox = next((w for w in self._config.watches if w.mode is Mode.INBOX), None)
        return max(holding, key=lambda w: len(w.path.parts)) if holding else inbox

    def _has_dataset(self, slug: str) -> bool:
        return slug in self._overlay.stems or disk.is_there(self._config.datasets / slug)

    def _free_rel(self, slug: str, rel: str) -> str:
        """The name that a picture would get: no two of a folder share a stem."""
        stems = self._overlay.stems.setdefault(slug, set())
        home = self._config.datasets / slug
        if not stems and home.is_dir():
            stems |= {stem_key(p.relative_to(home).as_posix()) for p in home.rglob("*") if p.is_file()}
        path, final, n = PurePosixPath(rel), PurePosixPath(rel), 2
        while stem_key(str(final)) in stems:
            final = path.with_name(f"{path.stem}-{n}{path.suffix}")
            n += 1
        stems.add(stem_key(str(final)))
        return str(final)

    def _content(self, path: Path) -> str | None:
        """The SHA-256 of a file where another one of its size is planned or remembered; None where none can be the same."""
        size = _size(path)
        if path.is_dir() or (self._sizes[size] < 2 and not self._remembers(size)):
            return None
        return self._digest(path)

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = hashing.digest(path).sha256
        return self._digests[path]

    def _ask(self, sql: str, *args: object) -> tuple[str | bytes, ...] | None:
        """One row of memory; None without one, or from a database of another version."""
        if self._memory is None:
            return None
        try:
            row: tuple[str | bytes, ...] | None = self._memory.execute(sql, args).fetchone()
        except sqlite3.Error:
            return None
        return row

    def _remembers(self, size: int) -> bool:
        asked = "SELECT 1 FROM models WHERE size=?1 AND in_hub UNION SELECT 1 FROM items WHERE size=?1 LIMIT 1"
        return self._ask(asked, size) is not None

    def _model(self, content: str) -> Path | None:
        row = self._ask("SELECT blob FROM models WHERE sha256=? AND in_hub", content)
        return Path(from_db(row[0])) if row else None

    def _picture(self, slug: str, content: str) -> str | None:
        asked = "SELECT i.rel FROM items i JOIN datasets d ON d.id=i.dataset_id WHERE d.slug=? AND i.sha256=?"
        row = self._ask(asked, slug, content)
        return from_db(row[0]) if row else None

    def _held(self, path: Path) -> str:
        """Why a unit is not decided anew: it waits for a person, as it lies there."""
        if self._memory is None:
            return ""
        try:
            row = files.at(self._memory, path)
        except sqlite3.Error:
            return ""
        if row is None or not row.present or row.state != "held" or disk.stamp(path) != row.stamp:
            return ""
        inside = {p: disk.stamp(p) for p in path.rglob("*") if p.is_file() and not p.is_symlink()} if path.is_dir() else {}
        if inside and not files.unchanged(self._memory, [inside])[0]:
            return ""
        return f"held: {row.note}"


def _more_than_pictures(path: Path) -> str:
    """The members for which an archive would be held, by their names, the first few; "" where none is."""
    facts = archives.list_archive(path)
    if isinstance(facts, Damaged):
        return ""
    names = [
        m.name[-80:]
        for m in facts.members
        if m.kind is not Kind.IMAGE and not (m.kind is Kind.CAPTION and m.size <= MAX_CAPTION) and Left(m.name, m.size).matters
    ]
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
