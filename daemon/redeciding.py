"""Redeciding: files that no rule wanted are decided again when the rules of their watch changed, at the start and at a reload.

What must hold: the digest is of what the rules say, so that a comment or another order of keys changes nothing; what is held waits for a
person whatever the rules say, and what a rule had already keeps what was decided. A library's files are decided from what is recorded of
them: they are neither read nor hashed again, and their jobs see to it that they are still what they were. Nothing is queued for a library
that is paused or on a disk that is not there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence

import structlog

from ..rules.identify import known_as
from ..rules.pipeline import Pipeline, decide
from ..rules.terms import Facts, Known, Mode, Watch
from ..store import codec, rules_seen
from ..store.rules_seen import Untaken, Wanted, note_rules
from .conveyor import plan_job
from .house import House
from .reload import rules_of

PORTION = 200  # files of a library decided in one go
_log = structlog.get_logger()


async def redecide(house: House) -> dict[str, int]:
    """Note the rules in force; inbox -> how many left files its next comparison looks at anew. Ask for that comparison."""
    digests = {w.name: rules_digest(house, w.pipeline or "") for w in house.config.watches if w.mode is Mode.INBOX}
    return await house.store.write(note_rules, digests)


def _digests(house: House) -> dict[str, str]:
    """Each library that is watched -> the digest of its rules."""
    libraries = [w for w in house.config.watches if w.mode is Mode.LIBRARY and w.enabled]
    return {w.name: rules_digest(house, w.pipeline or "") for w in libraries}


async def changed_libraries(house: House) -> list[str]:
    """The libraries that decided by other rules before: their next comparison has them decided again."""
    return await house.store.read(rules_seen.changed, _digests(house))


class Libraries:
    """Decides again what no rule of a library wanted, where its rules changed: behind a comparison, so that only what is there is asked
    about, and nothing of a library that is paused."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._due: dict[str, bool] = {}  # library -> whether something that was away came back
        self._asked: dict[str, str] = {}  # library -> the rules that all but what is away was asked about
        self._news = asyncio.Event()

    def compared(self, watch: str, back: bool) -> None:
        """A comparison found the folder of a watch; `back`: with files that were away."""
        self._due[watch] = back or self._due.get(watch, False)
        self._news.set()

    async def run(self) -> None:
        """Decide again whatever was compared, for ever; beside everything else, since there may be many files."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._due:
                name = next(iter(self._due))
                if count := await self.redecide(name, self._due.pop(name)):
                    _log.info("the rules of a library changed", watch=name, wanted=count)

    async def redecide(self, name: str, back: bool) -> int:
        """Ask the rules of a library, if they are others now, about what none had wanted; how many files a rule wants.

        The rules are noted when all is queued: a crash before that begins anew, and what is queued is queued once. They are not while
        files are away: those are asked about when they are back.
        """
        house, watch, digest = self._house, self._house.watch(name), _digests(self._house).get(name)
        if watch is None or digest is None or (self._asked.get(name) == digest and not back):
            return 0
        pipeline, queued, all_there = house.pipeline(watch), 0, True
        if await house.store.read(rules_seen.changed, {name: digest}):
            queued = await _library(house, watch, pipeline)
            all_there = not await house.store.read(rules_seen.any_away, name)
        if house.pipeline(watch) is pipeline:  # else a reload came in between, which asks anew
            self._asked[name] = digest
            if all_there:
                await house.store.write(note_rules, {name: digest})
        return queued


async def _library(house: House, watch: Watch, pipeline: Pipeline | None) -> int:
    queued = last = 0
    while found := await house.store.read(rules_seen.untaken, watch.name, last, PORTION):
        last = found[-1].row.id
        if house.pipeline(watch) is not pipeline:
            break
        wanted = await asyncio.to_thread(_wanted, found, watch, pipeline, house.store.now())
        queued += await house.store.write(rules_seen.take_up, wanted, house.store.now())
        house.store.on_jobs()
    return queued


def _wanted(found: Sequence[Untaken], watch: Watch, pipeline: Pipeline | None, now: float) -> list[Wanted]:
    """Those that a rule wants now, with their jobs. Pure."""
    wanted = []
    for one in found:
        if one.row.facts is None:
            continue
        # `seen` as when it came: that it is tracked itself makes it no second copy
        known = Known(False, frozenset(one.row.tags), one.type, one.base, None, one.row.first_seen, watch)
        facts = known_as(codec.loads(Facts, one.row.facts), known)
        verdict = decide(pipeline, facts, known, now)
        stamps = {row.path: row.stamp for row in (one.row, *one.companions)}
        job = plan_job(watch, one.row.path, stamps, facts, verdict) if verdict.actions else None
        if job is not None:
            wanted.append(Wanted(one.row, facts, verdict, job))
    return wanted


def rules_digest(house: House, pipeline: str) -> str:
    """SHA-256 of what the rules of a pipeline say."""
    found = house.config.pipelines.get(pipeline)
    rules = rules_of(found) if found is not None else []
    return hashlib.sha256(json.dumps([pipeline, rules], sort_keys=True, default=str).encode()).hexdigest()
