"""Settling: turns dirty paths into Arrivals, units that have gone quiet, whole and unchanged. Pure: no I/O, no clock of its own.

The caller tells what happened (`touch`), asks which paths want a look (`due`), looks at them in a thread (looking.py), tells what it saw
(`look`), and takes the units that are done (`ready`). Of a file that looks finished already at its first look `likely` tells, so that its
header can be read while it settles. Times are monotonic seconds, handed in. What must hold: a path is quiet only when two looks, with
no event between, saw the same stamp and the watch's settle time is over; one open for writing, or still growing, is
waited for however long it takes; one that stays unfinished arrives with whole=False after the watch's patience; looks at one path get
rarer (up to a minute), no path is polled on a fixed beat; the cost of a call does not grow with the number of paths that wait.
"""

from __future__ import annotations

import heapq
import math
import os
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path, PurePath

from ..rules import units
from ..rules.terms import Arrival, Departure, Stamp, Watch

EARLY = 0.2  # seconds between the looks at a closed archive, which takes no companions and can prove that it is whole
AHEAD = 0.3  # seconds from a close to the first look, at most: the rest of the settle time is there for looking ahead
APART = 0.4  # of the settle time between two looks at least: under a half, so that a first look that came late delays nothing
LONGEST = 60.0  # seconds between looks at a path that nothing happens to
_Group = tuple[str, str | None]  # (folder, key of units.key), or (folder that is one model, None)


@dataclass(frozen=True, slots=True)
class Look:
    """What the disk said of one path. `stamp` is None when there is nothing to take: then `gone` tells a deleted path from others."""

    stamp: Stamp | None
    whole: bool | None = None  # None: its format cannot tell
    writer: bool | None = None  # somebody has it open for writing; None: cannot tell
    folder: Path | None = None  # the folder that is one model, which this path is or is a part of
    beside: tuple[str, ...] = ()  # names in its folder that may be of its unit, whether dirty or not
    pending: str | None = None  # a fresh temporary file beside it that will become a part of its unit, or it itself
    gone: bool = False
    changed: int = 0  # ctime in ns: what was seen of the content stands while this and the stamp do


@dataclass(frozen=True, slots=True)
class Waiting:
    """A path that has not arrived, and why, for a person. `since` is the monotonic time of its first event."""

    path: Path
    why: str
    since: float


@dataclass(slots=True)
class _Dirty:
    path: Path
    group: _Group
    since: float
    event: float  # the last event
    closed: bool
    step: float
    changed: float  # the last event or change of stamp
    at: float = math.inf  # when it wants a look
    armed: float = math.inf  # the time under which the heap knows it: never later than `at`
    asked: float = -math.inf
    gap: float = 0.0  # the longest time between two changes
    seen: Look | None = None
    seen_at: float = -math.inf
    quiet: bool = False
    archive: bool = False  # by its name
    why: str = "waits for quiet"

    @property
    def unfinished(self) -> bool:
        return self.seen is not None and self.seen.whole is False


class Settling:
    """The paths of one watch that are not at rest. Not thread-safe: it belongs to the event loop."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self._root = watch, str(watch.path)
        self._dirty: dict[str, _Dirty] = {}
        self._groups: dict[_Group, set[str]] = {}
        self._restless: dict[str, int] = {}  # folder below the root -> dirty paths in or below it that are not quiet
        self._heap: list[tuple[float, int, str]] = []
        self._order = count()
        self._changed: dict[_Group, None] = {}  # groups to look at in ready(), in the order of their becoming quiet
        self._gone: dict[str, None] = {}
        self._likely: list[Arrival] = []

    def __len__(self) -> int:
        return len(self._dirty)

    # ------------------------------------------------------------ what happened

    def touch(self, path: Path, now: float, closed: bool = False) -> None:
        """An event said that `path` is dirty; `closed`: a writer closed it or it was renamed into place."""
        text = str(path)
        self._gone.pop(text, None)
        entry = self._dirty.get(text)
        if entry is None:
            entry = self._enter(path, now)
        entry.gap = max(entry.gap, now - entry.changed)
        entry.event = entry.changed = now
        entry.closed, entry.step, entry.why = closed, self._watch.settle / 2, "waits for quiet"
        self._stir(entry, text)
        for folder in self._above(text):
            if whole_folder := self._dirty.get(folder):
                self._stir(whole_folder, folder)
                whole_folder.event = now
                self._arm(whole_folder, now + self._watch.settle)
        soon = EARLY if entry.archive else AHEAD
        self._arm(entry, now + (min(soon, entry.step) if closed else entry.step))

    def forget(self, path: Path) -> None:
        """Nobody waits for `path` any more (we moved it ourselves)."""
        self._drop(str(path))
        self._gone.pop(str(path), None)

    def look(self, path: Path, look: Look, now: float) -> None:
        """What the disk said of `path`, asked for by due(). Answers for paths that nobody waits for are ignored."""
        text = str(path)
        entry = self._dirty.get(text)
        if entry is None:
            return
        if look.stamp is None:
            self._drop(text)
            if look.gone:
                self._gone[text] = None
            self._scatter((text, None), now)
            return
        before = entry.seen if entry.seen_at > entry.event else None  # a look from before the last event proves nothing
        entry.seen, entry.seen_at = look, now
        self._regroup(entry, text)
        grew = before is not None and before.stamp != look.stamp
        if grew:
            entry.gap = max(entry.gap, now - entry.changed)
            entry.changed = now
        if entry.event >= entry.asked:  # something happened while the disk was looked at: touch() has set the next look
            return
        at = self._next(entry, look, before is None, grew, now)
        if at <= now:
            entry.why = "waits for the rest of its unit"
            self._calm(entry, text)
        else:
            self._arm(entry, at)
            if before is None:
                self._foresee(entry, look)

    # ------------------------------------------------------------ what is to be done

    def due(self, now: float, limit: int = 1000) -> list[Path]:
        """The paths that want a look now, `limit` at most so that a burst does not hold up the event loop: while there are more,
        next_deadline() is in the past. Each is named once until its look() or a new event."""
        found: list[Path] = []
        while len(found) < limit and self._heap and self._heap[0][0] <= now:
            armed, _, text = heapq.heappop(self._heap)
            entry = self._dirty.get(text)
            if entry is None or entry.armed != armed:
                continue
            entry.armed = math.inf
            if entry.at > now:
                self._arm(entry, entry.at)
                continue
            entry.at, entry.asked = math.inf, now
            found.append(entry.path)
        return found

    def ready(self, now: float) -> list[Arrival]:
        """The units that have settled; they are forgotten here. A unit waits until all its members are quiet."""
        changed, self._changed = self._changed, {}
        found: list[Arrival] = []
        for group in changed:
            if group[1] is None:
                found += self._ready_folder(group, now)
            else:
                found += self._ready_files(group, now)
        return found

    def seen(self, path: Path) -> Look | None:
        """The last look at a path that is waited for."""
        entry = self._dirty.get(str(path))
        return entry.seen if entry is not None else None

    def likely(self) -> list[Arrival]:
        """Units that look finished but have not settled; each is told once after its last event. What becomes of them is not known."""
        found, self._likely = self._likely, []
        return found

    def departures(self) -> list[Departure]:
        """The paths (files, or folders with all that was in them) that were gone when they were looked at; each is told once."""
        gone, self._gone = self._gone, {}
        return [Departure(self._watch.name, Path(text)) for text in gone]

    def next_deadline(self) -> float | None:
        """When to come back: 0.0 when ready() has something to look into, else when due() may; None when nothing is waited for."""
        if self._changed:
            return 0.0
        while self._heap:
            armed, _, text = self._heap[0]
            entry = self._dirty.get(text)
            if entry is not None and entry.armed == armed:
                return armed
            heapq.heappop(self._heap)
        return None

    def waiting(self) -> list[Waiting]:
        """Every path that has not arrived, and why, the oldest first."""
        found = [Waiting(e.path, e.why, e.since) for e in self._dirty.values()]
        return sorted(found, key=lambda w: w.since)

    # ------------------------------------------------------------ one path

    def _next(self, entry: _Dirty, look: Look, first: bool, grew: bool, now: float) -> float:
        """When to look again, `now` for never: it is quiet. Sets the reason to wait."""
        settle = self._watch.settle
        lone = entry.closed and entry.archive and bool(look.whole) and look.writer is False
        if first:
            return now + EARLY if lone and settle > EARLY else max(entry.event + settle, now + APART * settle)
        if grew:
            entry.why, entry.step = "is still growing", min(max(entry.step, settle / 2) * 2, 4 * settle)
            return now + entry.step
        if look.pending or look.writer:
            entry.why = f"waits for {look.pending}" if look.pending else "is open for writing"
            return now + self._longer(entry)
        if lone:
            return now
        need = settle
        if look.whole is False:
            need = max(self._watch.patience, 10 * entry.gap)
            entry.why = "is not whole yet, and nobody has it open" if look.writer is False else "is not whole yet"
        elif look.whole is None and look.writer is None:  # nothing but time can tell
            need = max(settle, 2 * entry.gap)
        until = entry.changed + need
        return now if until <= now + 1e-6 else min(until, now + self._longer(entry))

    def _foresee(self, entry: _Dirty, look: Look) -> None:
        """Tell of a file that nobody seems to write to any more, unless something else leads its unit."""
        steady = look.writer is False or (entry.closed and look.writer is None)
        if look.stamp is None or look.folder or look.pending or look.whole is False or not steady:
            return
        own, folder = entry.path.name, entry.path.parent
        unit = units.unit_of(entry.path, look.beside) if look.beside else units.Unit(own)
        if unit.lead == own:
            companions = tuple(folder / name for name in unit.companions)
            self._likely.append(Arrival(self._watch.name, entry.path, look.stamp, companions))

    def _longer(self, entry: _Dirty) -> float:
        entry.step = min(max(entry.step, self._watch.settle / 2) * 2, max(LONGEST, self._watch.settle))
        return entry.step

    def _arm(self, entry: _Dirty, at: float) -> None:
        entry.at = at
        if at < entry.armed:
            entry.armed = at
            heapq.heappush(self._heap, (at, next(self._order), str(entry.path)))

    def _enter(self, path: Path, now: float) -> _Dirty:
        text = str(path)
        group = (str(path.parent), units.key(path.name))
        entry = _Dirty(path, group, now, now, False, self._watch.settle / 2, now, archive=units.is_archive(path.name))
        self._dirty[text] = entry
        self._groups.setdefault(entry.group, set()).add(text)
        self._count(text, 1)
        return entry

    def _drop(self, text: str) -> None:
        entry = self._dirty.pop(text, None)
        if entry is None:
            return
        if not entry.quiet:
            self._count(text, -1)
        self._leave_group(entry.group, text)
        for member in self._groups.get(entry.group, ()):  # it may be named as one of them, and must not be asked for again
            other = self._dirty[member]
            if other.seen is not None and entry.path.name in other.seen.beside:
                other.seen = replace(other.seen, beside=tuple(n for n in other.seen.beside if n != entry.path.name))
        self._recheck(entry.group, text)

    def _leave_group(self, group: _Group, text: str) -> None:
        members = self._groups[group]
        members.discard(text)
        if not members:
            del self._groups[group]

    def _regroup(self, entry: _Dirty, text: str) -> None:
        """A part of a folder that is one model waits with that folder, not with its own stem."""
        folder = entry.seen.folder if entry.seen else None
        if folder is None and entry.group[1] is not None:
            return  # as nearly always: it is in the group of its stem already
        group: _Group = (str(folder), None) if folder else (str(entry.path.parent), units.key(entry.path.name))
        if group != entry.group:
            self._leave_group(entry.group, text)
            self._recheck(entry.group, text)
            entry.group = group
            self._groups.setdefault(group, set()).add(text)

    # ------------------------------------------------------------ quiet and restless

    def _above(self, text: str) -> list[str]:
        """The folders between the watch root and `text`, the nearest first."""
        found = []
        at = text
        while (cut := at.rfind(os.sep)) > len(self._root):
            at = at[:cut]
            found.append(at)
        return found

    def _count(self, text: str, by: int) -> None:
        for folder in self._above(text):
            number = self._restless.get(folder, 0) + by
            if number:
                self._restless[folder] = number
            else:
                self._restless.pop(folder, None)

    def _stir(self, entry: _Dirty, text: str) -> None:
        if entry.quiet:
            entry.quiet = False
            self._count(text, 1)

    def _calm(self, entry: _Dirty, text: str) -> None:
        if not entry.quiet:
            entry.quiet = True
            self._count(text, -1)
        self._recheck(entry.group, text)

    def _recheck(self, group: _Group, text: str) -> None:
        """Have ready() ask again of `group` and of every folder that is one model above `text`."""
        for candidate in (group, *((folder, None) for folder in self._above(text))):
            if candidate in self._groups:
                self._changed[candidate] = None

    # ------------------------------------------------------------ whole units

    def _ready_files(self, group: _Group, now: float) -> list[Arrival]:
        texts = list(self._groups.get(group, ()))
        if len(texts) == 1 and (only := self._dirty[texts[0]]).quiet and only.seen is not None and not only.seen.beside:
            return [self._arrive(only.path.parent, units.Unit(only.path.name), texts, only)]
        members = {self._dirty[text].path.name: text for text in texts}
        beside = {name for text in members.values() if (seen := self._dirty[text].seen) for name in seen.beside}
        found = []
        for unit in units.units(members.keys() | beside):
            texts = [members[name] for name in unit.names if name in members]
            if not texts or not all(self._dirty[text].quiet for text in texts):
                continue
            folder = self._dirty[texts[0]].path.parent
            if unit.lead not in members:  # only a companion changed: the lead is looked at too, for its stamp
                self._pull(folder / unit.lead, now)
            else:
                found.append(self._arrive(folder, unit, texts, self._dirty[members[unit.lead]]))
        return found

    def _arrive(self, folder: Path, unit: units.Unit, texts: list[str], lead: _Dirty) -> Arrival:
        whole = not any(self._dirty[text].unfinished for text in texts)
        companions = tuple(folder / name for name in unit.companions)
        arrival = Arrival(self._watch.name, lead.path, _stamp(lead), companions, False, whole)
        for text in texts:
            self._drop(text)
        return arrival

    def _ready_folder(self, group: _Group, now: float) -> list[Arrival]:
        """A folder that is one model: when nothing in it moves, the folder itself is looked at, as a path of its own."""
        folder, members = group[0], self._groups.get(group, set())
        if not members or self._restless.get(folder):
            return []
        lead = self._dirty.get(folder)
        if lead is None:
            self._pull(Path(folder), now)
            return []
        if lead.seen is not None and lead.group != group:  # no longer one model: its files go their own ways
            self._drop(folder)
            self._scatter(group, now)
            return []
        if not lead.quiet:
            return []
        whole = not any(self._dirty[text].unfinished for text in members)
        arrival = Arrival(self._watch.name, lead.path, _stamp(lead), (), True, whole)
        for text in list(members):
            self._drop(text)
        return [arrival]

    def _scatter(self, group: _Group, now: float) -> None:
        """The folder is not one model after all: its files are looked at again, to go their own ways."""
        for text in list(self._groups.get(group, ())):
            self.touch(self._dirty[text].path, now)

    def _pull(self, path: Path, now: float) -> None:
        """Wait for a path that no event named: quiet already, as far as anybody knows, so that two looks are enough."""
        entry = self._enter(path, now)
        entry.event = entry.changed = now - self._watch.settle
        self._arm(entry, now)


def _stamp(entry: _Dirty) -> Stamp:
    if entry.seen is None or entry.seen.stamp is None:
        raise AssertionError(f"{PurePath(entry.path)} is quiet but was never seen")
    return entry.seen.stamp
