"""The conveyor: the walk of one unit, a call a row: identify, decide, record, and a Job for what should be done.

A unit that looks finished is identified and decided while it still settles, whenever nothing that has settled waits; then only to record
is left, if nothing it rests on has changed (foresight.py). What must hold: an arrival that the store knows unchanged does nothing (own
writes, double events, rescans); a unit is recorded with its verdict and its job in one transaction; a file that cannot be read is a
record with a reason, and never ends the conveyor.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from ..handlers import disk
from ..handlers.table import HANDLERS
from ..rules.identify import known_as
from ..rules.pipeline import decide
from ..rules.readers.folders import siblings
from ..rules.terms import (
    Action,
    Arrival,
    Condition,
    Departure,
    End,
    Ended,
    Facts,
    Kind,
    Known,
    Lane,
    Mode,
    Stamp,
    Verdict,
    Watch,
)
from ..store import files
from ..store.files import Unit
from ..store.jobs import NewJob
from ..store.renames import Twin
from . import renames
from .errands import most_tries
from .foresight import Foresight, Ground
from .header_worker import identify
from .house import House
from .readback import read_back

BATCH = 256
GLIMPSES = 32  # units looked ahead at in one go: what settles meanwhile waits for these
UNREADABLE = "unreadable"
P = ParamSpec("P")
T = TypeVar("T")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Seen:
    """A unit that was looked at: its stamps and what it is."""

    arrival: Arrival
    watch: Watch
    stamps: Mapping[Path, Stamp]
    facts: Facts
    changed: tuple[int, ...] = ()  # ctimes (ns) in the order of the stamps
    twin: Twin | None = None  # the row that followed it here from another name


class Conveyor:
    """Takes Arrivals and Departures in batches. While none is there it looks ahead at what has not settled yet."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._belt: deque[Arrival] = deque()
        self._apart: deque[Arrival] = deque()  # of a batch that could not be taken whole
        self._likely: dict[Path, Arrival] = {}
        self._foresight = Foresight()
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()

    def put(self, arrivals: Iterable[Arrival]) -> None:
        """Lay units onto the belt."""
        for arrival in arrivals:
            self._belt.append(arrival)
            self._likely.pop(arrival.lead, None)
            self._news.set()

    def look_ahead(self, likely: Iterable[Arrival]) -> None:
        """Find out what these are, when there is time for it, so that it is known when they settle. Those without room are left out."""
        room = self._foresight.room - len(self._likely)
        for arrival in islice(likely, max(0, room)):
            self._likely[arrival.lead] = arrival
            self._news.set()

    async def in_turn(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on the disk in a thread, one at a time: two that make many small calls would only wake each other up all the time."""
        async with self._turn:
            return await asyncio.to_thread(work, *args, **kwargs)

    def __len__(self) -> int:
        return len(self._belt) + len(self._apart)

    async def run(self) -> None:
        """Take what lies on the belt, as many at once as are there, for ever."""
        while True:
            batch = self._next()
            try:
                if batch:
                    await self.take(batch)
                elif self._likely:
                    await self.foresee([self._likely.pop(lead) for lead in list(islice(self._likely, GLIMPSES))])
                else:
                    self._news.clear()
                    await self._news.wait()
            except Exception as error:  # noqa: BLE001
                # one of the broad excepts of the house: a surprise in one batch must not stop all that come after it;
                # what it left undone is found again by the next rescan, since nothing of it was recorded
                # (and what was only looked ahead at comes by again when it settles)
                _log.exception("a batch could not be taken", units=[str(a.lead) for a in batch[:5]], count=len(batch))
                if len(batch) > 1:  # each on its own, so that only the one that surprised us is left out
                    self._apart.extend(batch)
                elif batch:
                    await self._give_up(batch[0], error)

    async def _give_up(self, arrival: Arrival, error: Exception) -> None:
        """A unit that surprises us stays where it lies, and is listed as failed with the reason."""
        watch = self._house.watch(arrival.watch)
        seen = await self.in_turn(_look, [arrival], {watch.name: watch} if watch else {})
        for s in seen:
            facts = replace(s.facts, condition=Condition.UNKNOWN, reason="surprise")
            verdict = Verdict(None, why=f"it could not be taken: {type(error).__name__}: {str(error)[:200]}")
            await self._house.store.take([Unit(s.watch.name, s.arrival.lead, s.stamps, facts, verdict, None, "failed")])

    def _next(self) -> list[Arrival]:
        if self._apart:
            return [self._apart.popleft()]
        return [self._belt.popleft() for _ in range(min(BATCH, len(self._belt)))]

    def _wanted(self, batch: Sequence[Arrival]) -> tuple[list[Arrival], dict[str, Watch]]:
        """Those of a batch that lie under a watch and are not being moved by us, and the watches."""
        house = self._house
        watches = {name: w for name in {a.watch for a in batch} if (w := house.watch(name)) is not None}
        return [a for a in batch if a.watch in watches and not (house.mine and house.moving(a.lead))], watches

    async def take(self, batch: Sequence[Arrival]) -> None:
        """The walk of a batch of units, up to their jobs."""
        seen = await self.in_turn(_look, *self._wanted(batch))
        fresh = await self._remembered(seen)
        foreseen = {s.arrival.lead: unit for s, known in fresh if (unit := self._recall(s, known)) is not None}
        decided = await self._decide([(s, known) for s, known in fresh if s.arrival.lead not in foreseen])
        ready = {**foreseen, **{unit.lead: unit for unit in decided}}
        first = [ready.pop(s.arrival.lead) for s, _ in fresh if s.arrival.lead in ready]  # in the order of their settling
        if first:
            await self._house.store.take([*first, *ready.values()])

    async def _remembered(self, seen: Sequence[Seen]) -> list[tuple[Seen, Known]]:
        """Those that are to be decided, with what is remembered of them; what a person edited in a dataset is read back here."""
        house = self._house
        memories = await house.store.recall([(s.arrival.lead, s.stamps, s.watch) for s in seen])
        new = [(s, memory) for s, memory in zip(seen, memories, strict=True) if not memory.unchanged]
        edits = [s for s, _ in new if s.watch.mode is Mode.DATASET]
        if edits:
            await read_back(house, [(s.arrival.lead, s.stamps, s.facts) for s in edits])
        rest = [(s, memory.known) for s, memory in new if s.watch.mode is not Mode.DATASET]
        if any(memory.twins for _, memory in new):
            return await self._followed([s for s, _ in rest])
        return rest

    async def _followed(self, seen: Sequence[Seen]) -> list[tuple[Seen, Known]]:
        """The same, when rows may have followed their files to other names: held and placed ones stay so, of others more is known now."""
        twins = await renames.follow(self._house, [(s.watch.name, s.arrival.lead, s.stamps) for s in seen])
        rest = [
            replace(s, twin=t) for s in seen if (t := twins.get(s.arrival.lead)) is None or not (t.state == "held" or t.placed)
        ]
        return list(zip(rest, await self._known(rest), strict=True))

    async def _known(self, seen: Sequence[Seen]) -> list[Known]:
        return await self._house.store.read(files.known_many, [(s.arrival.lead, s.stamps[s.arrival.lead], s.watch) for s in seen])

    async def _decide(self, fresh: Sequence[tuple[Seen, Known]]) -> list[Unit]:
        """What nobody foresaw: the header is read now."""
        if not fresh:
            return []
        known = {s.arrival.lead: k for s, k in fresh}
        seen = await self.in_turn(_identified, [s for s, _ in fresh])
        mates = await self._mates(seen)
        known.update((s.arrival.lead, k) for s, k in zip(mates, await self._known(mates) if mates else (), strict=True))
        return await self.in_turn(lambda: [self._decided(s, known[s.arrival.lead]) for s in (*seen, *mates)])

    # ------------------------------------------------------------ looking ahead

    async def foresee(self, batch: Sequence[Arrival]) -> None:
        """Walk units that have not settled up to their verdict, and keep that: taken as it is if nothing changes until they have."""
        wanted, watches = self._wanted(batch)
        likely = [a for a in wanted if watches[a.watch].mode is not Mode.DATASET and not siblings(a.lead)]
        seen = await self.in_turn(
            lambda: [s for s in _identified(_look(likely, watches)) if s.facts.condition is not Condition.UNKNOWN]
        )
        if not seen:
            return
        known = await self._known(seen)
        units = await self.in_turn(lambda: [_to_keep(self._decided(s, k)) for s, k in zip(seen, known, strict=True)])
        for s, k, unit in zip(seen, known, units, strict=True):
            self._foresight.keep(self._ground(s, k), unit)

    def _recall(self, seen: Seen, known: Known) -> Unit | None:
        """What was foreseen of a unit, if nothing has changed since; it is forgotten in any case."""
        unit = self._foresight.take(seen.arrival.lead, self._ground(seen, known))
        return unit if seen.arrival.whole and seen.twin is None else None

    def _ground(self, seen: Seen, known: Known) -> Ground:
        return Ground(seen.watch, self._house.pipeline(seen.watch), seen.stamps, seen.changed, known)

    async def _mates(self, seen: Sequence[Seen]) -> list[Seen]:
        """The shards that were held for want of these: with the last one the whole set is decided, before any of it moves."""
        house, found = self._house, []
        leads = {s.arrival.lead for s in seen}
        for s in seen:
            if s.facts.kind is not Kind.MODEL or s.facts.folder or s.facts.condition is Condition.INCOMPLETE:
                continue
            mates = [path for name in siblings(s.arrival.lead) if (path := s.arrival.lead.with_name(name)) not in leads]
            for path in mates:
                row = await house.store.read(files.at, path)
                if row is None or not row.present or row.state != "held" or row.reason != "missing-shards":
                    continue
                beside = [r.path for r in await house.store.read(files.unit, row.id) if r.present and r.path != path]
                leads.add(path)
                arrival = Arrival(s.watch.name, path, row.stamp, tuple(beside))
                found += await self.in_turn(_looked_into, arrival, s.watch)
        return found

    def _decided(self, seen: Seen, known: Known) -> Unit:
        house, watch, twin = self._house, seen.watch, seen.twin
        facts = known_as(seen.facts, known)
        known = known if twin is None else replace(known, seen=False)  # it was seen before as itself: that is no second copy
        verdict = decide(house.pipeline(watch), facts, known, house.store.now())
        unread = facts.condition is Condition.UNKNOWN and (facts.reason or "").startswith(UNREADABLE)
        if unread and not verdict.actions:  # that no rule wanted it is no news of what nobody could look into
            verdict = replace(verdict, why=f"{facts.reason}: left where it is")
        job = plan_job(watch, seen.arrival.lead, seen.stamps, facts, verdict)
        if job is not None and twin is not None and twin.hashed and not verdict.actions:
            job = None  # its digests are in its row
        ends: tuple[Ended, ...] = ()
        state = "queued"
        if job is None:
            state = "left" if watch.mode is Mode.INBOX else "done"
            note = verdict.why if unread else _why_left(facts, verdict)
            ends = tuple(Ended(path, End.LEFT, path, note) for path in seen.stamps) if watch.mode is Mode.INBOX else ()
        stamps = seen.stamps
        if unread:
            # a right that is given changes no mtime: with a stamp that no file has, every comparison looks again
            stamps = {path: replace(stamp, mtime_ns=-1) for path, stamp in stamps.items()}
        return Unit(watch.name, seen.arrival.lead, stamps, facts, verdict, job, state, ends)

    async def depart(self, departures: Sequence[Departure]) -> None:
        """Paths that somebody else took away: their rows say so, and datasets forget the pictures."""
        house = self._house
        gone = [d for d in departures if not house.moving(d.path)]
        if gone:
            await house.store.depart([(d.watch, d.path) for d in gone])

    async def reenter(self, file_id: int) -> bool:
        """Walk a known unit again from "decide": its type was set, or a person released it."""
        rows = await self._house.store.read(files.unit, file_id)
        here = [r for r in rows if r.present]
        if not here:
            return False
        lead = here[0]
        await self._house.store.write(files.forget_stamp, lead.id)
        self.put([Arrival(lead.watch, lead.path, lead.stamp, tuple(r.path for r in here[1:]))])
        return True


def _look(batch: Sequence[Arrival], watches: Mapping[str, Watch]) -> list[Seen]:
    """The stamps of each unit as it lies there now; units that are gone or are links of ours are left out."""
    found = []
    for a in batch:
        try:
            inside = sorted(p for p in a.lead.rglob("*") if p.is_file() and not p.is_symlink()) if a.lead.is_dir() else ()
            stats = {path: os.lstat(path) for path in (a.lead, *a.companions, *inside)}
        except OSError:
            continue  # gone again: its departure is told by another way
        stamps = {path: disk.stamp_of(s) for path, s in stats.items()}
        changed = tuple(s.st_ctime_ns for s in stats.values())
        found.append(Seen(a, watches[a.watch], stamps, Facts(a.lead, Kind.OTHER, stamps[a.lead].size), changed))
    return found


def _looked_into(arrival: Arrival, watch: Watch) -> list[Seen]:
    return _identified(_look([arrival], {watch.name: watch}))


def _identified(seen: Sequence[Seen]) -> list[Seen]:
    found = []
    for s in seen:
        try:
            facts = identify(s.arrival.lead, s.arrival.companions)
        except FileNotFoundError:
            continue
        except OSError as error:
            facts = replace(
                s.facts, condition=Condition.UNKNOWN, reason=f"{UNREADABLE}: {os.strerror(error.errno or 0)}{_whose(s, error)}"
            )
        if not s.arrival.whole and facts.condition is Condition.OK:
            facts = replace(facts, condition=Condition.INVALID, reason="unfinished")
        found.append(replace(s, facts=facts))
    return found


def _to_keep(unit: Unit) -> Unit:
    """A unit as it is kept until it settles: without what is not recorded, and with its facts written out."""
    return replace(unit, verdict=replace(unit.verdict, trace=()), text=files.facts_text(unit.facts))


def _whose(seen: Seen, error: OSError) -> str:
    """Whose file it is and who we are, when that is why it cannot be read."""
    if error.errno not in (errno.EACCES, errno.EPERM) or not hasattr(os, "getuid"):
        return ""
    try:
        found = seen.arrival.lead.lstat()
    except OSError:
        return ""
    return f" (it belongs to uid {found.st_uid}, mode {found.st_mode & 0o7777:04o}; dropdock runs as uid {os.getuid()})"


def _why_left(facts: Facts, verdict: Verdict) -> str:
    """Why a unit was left where it is, with a hint where people expect something else."""
    if facts.kind is Kind.ARCHIVE and facts.archive is not None and verdict.rule is None:
        inside = ", ".join(sorted(facts.archive.contains)) or "nothing"
        return f"{verdict.why} (an archive that holds {inside})"
    return verdict.why


def plan_job(watch: Watch, lead: Path, stamps: Mapping[Path, Stamp], facts: Facts, verdict: Verdict) -> NewJob | None:
    """The Job that performs a verdict, None when there is nothing to do. A library's model is hashed in the background."""
    stamp = stamps[lead]
    key = f"{stamp.dev}:{stamp.ino}:{stamp.size}:{stamp.mtime_ns}:{len(stamps)}:{os.fspath(lead)}"
    if verdict.actions:
        title = f"{', '.join(a.verb for a in verdict.actions)}: {lead.name}"
        payload = {"actions": [as_data(a) for a in verdict.actions], "step": 0, "stamp": as_list(stamp)}
        most = most_tries(verdict.actions)
        return NewJob(f"perform:{key}", lane_of(verdict.actions), title, payload, priority=5, max_attempts=most)
    if watch.mode is Mode.LIBRARY and facts.kind is Kind.MODEL and facts.condition in (Condition.OK, Condition.UNKNOWN):
        return NewJob(f"track:{key}", Lane.HASH, f"hash: {lead.name}", {"actions": [{"verb": "track"}], "step": 0}, priority=-5)
    return None


def lane_of(actions: Sequence[Action]) -> Lane:
    """The lane of a job of several actions: the hash lane as soon as one of them reads the whole file."""
    needs = any(HANDLERS[a.verb].lane is Lane.HASH for a in actions if a.verb in HANDLERS)
    return Lane.HASH if needs else Lane.CPU


def as_list(stamp: Stamp) -> list[int]:
    """A stamp as a job's payload keeps it: what the lead was when its actions were decided."""
    return [stamp.size, stamp.mtime_ns, stamp.ino, stamp.dev]


def as_data(action: Action) -> dict[str, object]:
    """An action as a job's payload keeps it."""
    return {"verb": action.verb, "params": dict(action.params)}
