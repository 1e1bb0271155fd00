"""What the parts of the daemon share: the config, the store, places and tools. Made by app.py, read by everybody here."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..handlers.task import Places, Tools
from ..rules.pipeline import Pipeline
from ..rules.terms import Mode, Watch
from ..store.store import Store
from .config import Config


@dataclass(slots=True)
class House:
    """`owner` names this process in the queue's leases; `mine` are paths that our own hands are moving right now."""

    config: Config
    store: Store
    owner: str = field(default_factory=lambda: secrets.token_hex(8))
    mine: set[Path] = field(default_factory=set)
    stopping: bool = False
    waiting: set[int] = field(default_factory=set)  # intents of a process that died whose disk is away
    hub_away: str = ""  # why the hub was away when it was last looked at; ask hub.py, which looks
    on_hub: Callable[[], None] = lambda: None  # hears that the hub is back
    _count: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def places(self) -> Places:
        """Where things live."""
        c = self.config
        return Places(c.hub, c.datasets, (*(w.path for w in c.watches), c.hub, c.datasets))

    @property
    def dataset_watch(self) -> Watch | None:
        """The watch that the datasets folder is under."""
        return next((w for w in self.config.watches if w.mode is Mode.DATASET and w.path == self.config.datasets), None)

    def watch(self, name: str) -> Watch | None:
        """A watch by name; None when the config no longer has it."""
        return next((w for w in self.config.watches if w.name == name), None)

    def watch_of(self, path: Path) -> Watch | None:
        """The watch that a path lies under, the deepest one."""
        found = [w for w in self.config.watches if w.path == path or w.path in path.parents]
        return max(found, key=lambda w: len(w.path.parts)) if found else None

    def pipeline(self, watch: Watch | None) -> Pipeline | None:
        """The pipeline that decides for a watch."""
        return self.config.pipelines.get(watch.pipeline) if watch is not None and watch.pipeline else None

    def tools(self, tick: Callable[[float], None] = lambda fraction: None) -> Tools:
        """What hands work with, under the present config."""
        c = self.config
        return Tools(self.places, c.limits, c.trash, c.free_space, tick=tick)

    def token(self) -> str:
        """A staging name that no other attempt has."""
        return f"{self.owner[:6]}{next(self._count):06d}"

    def moving(self, path: Path) -> bool:
        """Whether a path is, or lies below, something our own hands are moving right now."""
        return path in self.mine or any(parent in self.mine for parent in path.parents)
