"""Explaining paths that nobody dropped: which units lie there, what they are, and what would be done. Nothing is touched.

What must hold: it is the walk of a dropped file stopped after "decide", with the same ignores, units, identify and decide; only headers
are read (whole files when digests are asked for); memory is opened read-only and may be missing; one unreadable path hinders no other.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self
from urllib.parse import quote

from ..rules.explain import Explanation, explanation
from ..rules.identify import known_as, model_folder
from ..rules.ignores import Ignores
from ..rules.pipeline import decide
from ..rules.terms import Facts, Known, Mode, Stamp, Watch
from ..rules.units import unit_of, units
from .config import Config
from .header_worker import identify
from .instance import find

DATABASE = "dropdock.db"


@dataclass(frozen=True, slots=True)
class Explained:
    """One unit explained; `digests` are the SHA-256 and the xxh3-128 when they were asked for."""

    explanation: Explanation
    digests: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a walk began: the path that was named, the watch that holds it or takes it, and its path as the watch would see it."""

    start: Path
    watch: Watch | None
    as_if: Path

    def seen(self, path: Path) -> Path:
        """The path that `path` has, or would have, below the watch."""
        return self.as_if / path.relative_to(self.start) if path != self.start else self.as_if


class Explainer:
    """`with Explainer(config, now, hashing, unreadable) as explainer`. `now` is epoch seconds; `unreadable` is told of bad paths."""

    def __init__(self, config: Config, now: float, hashing: bool, unreadable: Callable[[Path, OSError], None]) -> None:
        self._config, self._now, self._hashing, self._unreadable = config, now, hashing, unreadable

    def __enter__(self) -> Self:
        self._memory = open_memory(self._config.data_dir / DATABASE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._memory is not None:
            self._memory.close()

    def explain(self, path: Path) -> Iterator[Explained]:
        """The units at `path`, in order of their names."""
        path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow a link, whose own place is asked for
        place = self._place(path)
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise OSError(0, "is neither a file nor a folder")
        except OSError as error:
            self._unreadable(path, error)
            return
        if stat.S_ISREG(mode) or model_folder(path):
            found = self._unit(place, path, _companions(path) if stat.S_ISREG(mode) else ())
            if found:
                yield found
        else:
            ignores = Ignores(place.watch.ignore, place.watch.max_depth) if place.watch else Ignores()
            yield from self._folder(place, path, ignores)

    # ------------------------------------------------------------ where

    def _place(self, path: Path) -> _Place:
        """The innermost watch that holds the path; else the first inbox, as if the path were dropped there."""
        holding = [w for w in self._config.watches if path.is_relative_to(w.path)]
        if holding:
            return _Place(path, max(holding, key=lambda w: len(w.path.parts)), path)
        inbox = next((w for w in self._config.watches if w.mode is Mode.INBOX), None)
        return _Place(path, inbox, inbox.path / path.name if inbox else path)

    def _folder(self, place: _Place, folder: Path, ignores: Ignores) -> Iterator[Explained]:
        """Every unit below a folder. Links are not followed: what they point to is explained where it lies."""
        begun = [iter(self._entries(place, folder, ignores))]  # a stack: trees may be deeper than Python's calls
        while begun:
            path, companions = next(begun[-1], (None, None))
            if path is None:
                begun.pop()
            elif companions is None:
                begun.append(iter(self._entries(place, path, ignores)))
            elif one := self._unit(place, path, companions):
                yield one

    def _entries(self, place: _Place, folder: Path, ignores: Ignores) -> list[tuple[Path, tuple[Path, ...] | None]]:
        """What lies in a folder, by name: units with their companions, and folders to look into with None."""
        try:
            with os.scandir(folder) as entries:
                found = [(e.name, e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False)) for e in entries]
        except OSError as error:
            self._unreadable(folder, error)
            return []
        kept = [e for e in found if (e[1] or e[2]) and not self._skip(place, folder / e[0], e[1], ignores)]
        leads = {unit.lead: unit.companions for unit in units({name for name, _, is_file in kept if is_file})}
        folders = {name for name, is_dir, _ in kept if is_dir}
        entries_of: list[tuple[Path, tuple[Path, ...] | None]] = []
        for name in sorted(leads.keys() | folders):
            path = folder / name
            look_into = name in folders and not model_folder(path)
            entries_of.append((path, None if look_into else tuple(folder / c for c in leads.get(name, ()))))
        return entries_of

    @staticmethod
    def _skip(place: _Place, path: Path, is_dir: bool, ignores: Ignores) -> bool:
        seen = place.seen(path)
        if place.watch is not None and seen.is_relative_to(place.watch.path):
            seen = seen.relative_to(place.watch.path)
        else:
            seen = path.relative_to(place.start)
        return ignores.skip(seen.as_posix(), is_dir)

    # ------------------------------------------------------------ what

    def _unit(self, place: _Place, path: Path, companions: tuple[Path, ...]) -> Explained | None:
        try:
            facts = identify(path, companions)
            digests = self._digests(facts) if self._hashing else {}
            known = self._known(path, place.watch, digests.get("sha256"))
        except OSError as error:
            self._unreadable(path, error)
            return None
        facts = known_as(facts, known)
        pipeline = self._config.pipelines.get(place.watch.pipeline or "") if place.watch else None
        verdict = decide(pipeline, replace(facts, path=place.seen(path)), known, self._now)
        return Explained(explanation(facts, verdict), digests)

    def _known(self, path: Path, watch: Watch | None, sha256: str | None) -> Known:
        """What is remembered of a path, and of its content when that was read."""
        if self._memory is None:
            return Known(watch=watch)
        from ..store import files, models

        found = path.stat()
        stamp = Stamp(found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)
        try:
            known = files.known(self._memory, path, stamp, watch)
            sha256 = sha256 or _kept_as(self._memory, path, stamp)
            if sha256 is None:
                return known
            word = self._memory.execute("SELECT type, base FROM overrides WHERE sha256=?", (sha256,)).fetchone() or (None, None)
            seen = known.seen or models.get(self._memory, sha256) is not None
            return replace(known, seen=seen, type=word[0] or known.type, base=word[1] or known.base)
        except sqlite3.Error:  # a database of another version, or a damaged one: `run` says so, here it is only not asked
            return Known(watch=watch)

    @staticmethod
    def _digests(facts: Facts) -> dict[str, str]:
        from ..handlers.hashing import digest, digest_folder

        if facts.folder:
            inner = (Path(at, name).relative_to(facts.path).as_posix() for at, _, names in os.walk(facts.path) for name in names)
            found = digest_folder(facts.path, inner)
        else:
            found = digest(facts.path)
        return {"sha256": found.sha256, "xxh3": found.xxh3}


def _kept_as(memory: sqlite3.Connection, path: Path, stamp: Stamp) -> str | None:
    """The digest under which the hub keeps what lies at a path, or what a link there leads to; None when it is not as we left it."""
    from ..store import blobs

    blob = Path(os.path.realpath(path))
    found = next(iter(blobs.blobs(memory, [blob.parent.name])), None)
    if found is None or Path(os.path.realpath(found.blob)) != blob or found.folder or found.size != stamp.size:
        return None
    return found.sha256 if found.left is None or found.left.mtime_ns == stamp.mtime_ns else None


def _companions(path: Path) -> tuple[Path, ...]:
    """The files that belong to a file that was named alone; none when it is itself a companion."""
    try:
        unit = unit_of(path, (name for name in os.listdir(path.parent) if not Ignores().skip(name, False)))
    except OSError:
        return ()
    return tuple(path.with_name(name) for name in unit.companions) if unit.lead == path.name else ()


def open_memory(path: Path) -> sqlite3.Connection | None:
    """The database to read from; None when there is none, or none that can be read. Nothing in its folder is written or made.

    With a daemon at work it is its live database. Without one it is the file itself, or, when a killed daemon left a log beside it
    (which SQLite could only read by writing there), a copy in a temporary folder that goes when the connection is closed.
    """
    if not path.is_file():
        return None
    log = path.with_name(f"{path.name}-wal")
    try:
        if find(path.parent) is not None:
            return _opened(path, "mode=ro")
        if not log.exists() or log.stat().st_size == 0:  # without `immutable` SQLite would make a log only to read
            return _opened(path, "mode=ro&immutable=1")
        copied = _copied(path, log)
        if find(path.parent) is None:
            return copied
        copied.close()  # a daemon began meanwhile and may have changed what was being copied
        return _opened(path, "mode=ro")
    except (sqlite3.Error, OSError):
        return None


class _Copy(sqlite3.Connection):
    """A database in a folder of its own, which goes with the connection."""

    folder: TemporaryDirectory[str]

    def close(self) -> None:
        super().close()
        self.folder.cleanup()


def _opened(path: Path, how: str, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(os.fsencode(path))}?{how}", uri=True, isolation_level=None, factory=factory)


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    folder = TemporaryDirectory(prefix="dropdock-")
    try:
        for file in (path, log):
            shutil.copyfile(file, Path(folder.name, file.name))
        copy = _opened(Path(folder.name, path.name), "mode=rw", _Copy)
    except (sqlite3.Error, OSError):
        folder.cleanup()
        raise
    assert isinstance(copy, _Copy)
    copy.folder = folder
    return copy
