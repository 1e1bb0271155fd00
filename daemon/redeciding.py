"""Redeciding: files that no rule wanted are decided again when the rules of their watch changed, at the start and at a reload.

What must hold: the digest is of what the rules say, so that a comment or another order of keys changes nothing; what is held waits for a
person whatever the rules say, and what a rule had already keeps what was decided. A library's files are decided from what is recorded of
them: they are neither read nor hashed again, and their jobs see to it that they are still what they were.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence

from ..rules.identify import known_as
from ..rules.pipeline import Pipeline, decide
from ..rules.terms import Facts, Known, Mode, Watch
from ..store import codec, rules_seen
from ..store.rules_seen import Untaken, Wanted, note_rules
from .conveyor import plan_job
from .house import House
from .reload import rules_of

PORTION = 200  # files of a library decided in one go


async def redecide(house: House) -> dict[str, int]:
    """Note the rules in force; inbox -> how many left files its next comparison looks at anew. Ask for that comparison."""
    digests = {w.name: rules_digest(house, w.pipeline or "") for w in house.config.watches if w.mode is Mode.INBOX}
    return await house.store.write(note_rules, digests)


async def redecide_libraries(house: House) -> int:
    """Decide again what no rule of a library wanted, where its rules changed; how many files a rule wants now.

    The rules are noted when all is queued: a crash before that begins anew, and what is queued is queued once.
    """
    queued = 0
    for watch in [w for w in house.config.watches if w.mode is Mode.LIBRARY and w.enabled]:
        digest, pipeline = {watch.name: rules_digest(house, watch.pipeline or "")}, house.pipeline(watch)
        if await house.store.read(rules_seen.changed, digest):
            queued += await _library(house, watch, pipeline)
        if house.pipeline(watch) is pipeline:  # else a reload came in between, which asks anew
            await house.store.write(note_rules, digest)
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
