"""What a handler gets (Task, Tools) and how it answers: a Prepared, whose moves the conveyor journals and makes.

What must hold: preparing changes nothing outside our staging folders. Whatever a handler needs to know of the past is in the Task;
whatever it needs of the present (places, limits, a way to report progress) is in the Tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..rules.terms import Action, Digests, Facts, Holdings, Lane, Outcome, Prepared, Stamp, Status, Watch
from . import disk


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """What an archive may hold: bytes unpacked, unpacked over packed, files, folders deep, bytes of a name."""

    total: int = 20 << 30
    ratio: float = 200.0
    files: int = 20_000
    depth: int = 12
    name: int = 255


@dataclass(frozen=True, slots=True)
class Places:
    """Where things live. `roots` are the watch roots, the hub and the datasets folder; each has its own `.dropdock`."""

    hub: Path
    datasets: Path
    roots: tuple[Path, ...]

    def root_of(self, path: Path) -> Path:
        """The deepest root that a path lies under: its trash and quarantine are a rename away.

        Where another volume is mounted below that root, its mount point is the root of what lies on it.
        """
        found = [root for root in self.roots if root == path or root in path.parents]
        root = max(found, key=lambda root: len(root.parts)) if found else path.parent
        return root if root == path else disk.mount_below(root, path.parent)


@dataclass(frozen=True, slots=True)
class Tools:
    """What hands work with. `tick(fraction)` reports progress 0..1 and raises hashing.Cancelled when the job was cancelled."""

    places: Places
    limits: UnpackLimits = field(default_factory=UnpackLimits)
    retention: float = 14 * 86_400.0  # seconds that trash and quarantine are kept
    floor: int = 1 << 30  # bytes that stay free on every volume
    threads: int = 2
    tick: Callable[[float], None] = lambda fraction: None


@dataclass(frozen=True, slots=True)
class Task:
    """One action on one unit. `unit` maps its paths to their stamps, the lead first."""

    action: Action
    facts: Facts
    lead: Path
    unit: Mapping[Path, Stamp]
    token: str  # unique name of this attempt's staging
    now: float
    watch: Watch | None = None
    digests: Digests | None = None
    kept: Path | None = None  # the hub's copy of the same content
    holdings: Holdings | None = None  # what the dataset of the action holds
    members: Mapping[Path, Stamp] = field(default_factory=dict)  # of a folder that is one model: its files as they were recorded
    at: Path | None = None  # where the lead's bytes are, once an earlier action took them somewhere

    @property
    def companions(self) -> tuple[Path, ...]:
        return tuple(p for p in self.unit if p != self.lead)


class Failure(Exception):
    """It did not work this time; the message says why. The queue tries again, as `on_error` says."""


class Handler(Protocol):
    """One kind of action. `needs_digest`: the conveyor hashes the lead first."""

    lane: Lane
    needs_digest: bool

    def prepare(self, task: Task, tools: Tools) -> Prepared: ...


class Simple:
    """A base for handlers that need no digest."""

    lane = Lane.CPU
    needs_digest = False


def staging(tools: Tools, root: Path, task: Task) -> Path:
    """This attempt's own staging folder at a root, empty: what an earlier attempt of the same token left is cleared."""
    folder = disk.own_folder(root, "staging", task.token)
    if any(folder.iterdir()):
        disk.clear(folder)
        folder.mkdir()
    return folder


def skipped(note: str) -> Prepared:
    """Nothing to do, and why."""
    return Prepared(Outcome(Status.SKIPPED, note))


def failed(note: str) -> Prepared:
    """It cannot be done, and why; trying again would not help."""
    return Prepared(Outcome(Status.FAILED, note))
