"""Makers for tests of the hands: places on a real disk, a task for one unit, and doing what a handler prepared."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dropdock.handlers import disk, hashing
from dropdock.handlers.store import files_below
from dropdock.handlers.table import HANDLERS
from dropdock.handlers.task import Places, Task, Tools
from dropdock.rules.identify import identify
from dropdock.rules.terms import Action, Digests, Facts, Holdings, Mode, Outcome, Param, Prepared, Watch

NOW = 1_700_000_000.0
DAY = 86_400.0


class Desk:
    """An inbox, a hub and datasets below one folder, and the hands that work there."""

    def __init__(self, root: Path, hub: Path | None = None, datasets: Path | None = None) -> None:
        self.inbox, self.hub, self.datasets = root / "inbox", hub or root / "hub", datasets or root / "datasets"
        for folder in (self.inbox, self.hub, self.datasets):
            folder.mkdir(parents=True, exist_ok=True)
        self.watch = Watch("inbox", self.inbox, Mode.INBOX)
        self.tools = Tools(Places(self.hub, self.datasets, (self.inbox, self.hub, self.datasets)), floor=0)
        self._tokens = 0

    def put(self, rel: str, data: bytes) -> Path:
        """A file in the inbox."""
        path = self.inbox / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def task(
        self,
        verb: str,
        lead: Path,
        *companions: Path,
        facts: Facts | None = None,
        kept: Path | None = None,
        holdings: Holdings | None = None,
        digests: Digests | None = None,
        params: dict[str, Param] | None = None,
    ) -> Task:
        """One action on what lies there now, hashed when the hand asks for it."""
        self._tokens += 1
        unit = {path: disk.stamp(path) for path in (lead, *companions)}
        if digests is None and HANDLERS[verb].needs_digest:
            digests = hashing.digest_folder(lead, files_below(lead)) if lead.is_dir() else hashing.digest(lead)
        facts = facts or identify(lead, companions)
        action = Action(verb, params or {})
        inside = {lead / rel: disk.stamp(lead / rel) for rel in files_below(lead)} if lead.is_dir() else {}
        return Task(action, facts, lead, unit, f"t{self._tokens}", NOW, self.watch, digests, kept, holdings, inside)

    def prepare(self, task: Task) -> Prepared:
        """What the hand answers."""
        return HANDLERS[task.action.verb].prepare(task, self.tools)

    def do(self, task: Task) -> Outcome:
        """Prepare, move, clear staging: what the performer does."""
        prepared = self.prepare(task)
        disk.carry_out(prepared.moves)
        for folder in prepared.staging:
            disk.clear(folder)
        return prepared.outcome

    def library(self, task: Task) -> Task:
        """The same in a library."""
        return replace(task, watch=replace(self.watch, mode=Mode.LIBRARY))

    def staging_left(self) -> list[Path]:
        """What lies in any staging folder."""
        return [p for root in (self.inbox, self.hub, self.datasets) for p in root.glob(".dropdock/staging/*")]


@contextmanager
def other_volume(near: Path) -> Iterator[Path]:
    """A fresh folder on another file system than `near`: a real one where there is one, else one that `one_volume` is told is."""
    shm = Path("/dev/shm")
    if shm.is_dir() and os.access(shm, os.W_OK) and shm.stat().st_dev != near.stat().st_dev:
        folder = Path(tempfile.mkdtemp(prefix="dropdock-test-", dir=shm))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
    else:
        kept, folder = disk.one_volume, near / "elsewhere"
        folder.mkdir()
        disk.one_volume = lambda one, other: (folder in (one, *one.parents)) == (folder in (other, *other.parents))
        try:
            yield folder
        finally:
            disk.one_volume = kept


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, our own folders included, staging probes left out."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and not p.is_symlink()}


def contents(roots: Sequence[Path]) -> list[bytes]:
    """The contents of all files below some folders, sorted: what may never become less."""
    return sorted(p.read_bytes() for root in roots for p in root.rglob("*") if p.is_file())
