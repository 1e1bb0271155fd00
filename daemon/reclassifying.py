"""Reclassifying: a model is told again what it is, from its kept header and what is said of it, and records and links follow.

What must hold: a file is read only when its header is not kept; a person's word wins as it does anywhere; all that one model's new
verdict changes is written in one transaction with the line that says so; what was held and is sure now is decided again; asking twice
changes nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import structlog

from ..api.reclassify import Change, Preview, Told
from ..rules.compact import Compact, facts_of, pack, read_compact, table_version, unpack
from ..rules.identify import known_as
from ..rules.readers.sidecars import sidecars_of
from ..rules.terms import Condition, Evidence, Facts, Job, Known, Lane, Model
from ..store import codec, files, headers, history, jobs, models
from ..store.headers import HeaderRow
from ..store.history import Happening
from ..store.jobs import NewJob
from ..store.rows import FileRow, ModelRow
from .house import House
from .overriding import decided, job_of

VERB = "reclassify"
SIDECARS = "sidecars"  # who says what the files beside a model say
PORTION = 32  # models between two notes of how far the job came
_CERTAIN = (Condition.OK, Condition.UNKNOWN, Condition.INCOMPLETE, Condition.NEEDS_TRUST)  # others are damaged: no header helps
_log = structlog.get_logger()
Tick = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class _Looked:
    """One model asked anew: without and with a person's word, and the same of every file of that content."""

    row: ModelRow
    header: HeaderRow
    facts: Facts
    files: dict[int, Facts]
    fresh: bool  # the header was not kept before


class Reclassifier:
    """`refine` one model, `look` at several, or `perform` the job of all. `ask` is told of models whose links may change.

    Implements api.reclassify.Reclassify.
    """

    def __init__(self, house: House, ask: Callable[..., None]) -> None:
        self._house, self._ask = house, ask

    # ------------------------------------------------------------ one model

    async def refine(
        self, sha256: str, said: Sequence[Evidence] | None = None, origin: str = "civitai", unit: int | None = None
    ) -> Change | None:
        """Ask again what a content is, with what `origin` says of it now in place of what it said before (None: leave that).

        Records, history and links follow. `unit` is a file of it that was decided before all that was known: if it is held, it is
        decided again though the content is what it was. None when nothing changes, or no model has this content. Never raises for a
        file that is gone.
        """
        house = self._house
        if await house.store.read(models.get, sha256) is None:
            return None
        if said is not None:
            await house.store.write(headers.say, sha256, origin, said, house.store.now())
        return await self._again(sha256, dry=False, unit=unit)

    async def look(self, sha256s: Iterable[str], dry: bool = False) -> list[Change]:
        """Ask again what these contents are; the changes. `dry`: nothing is written."""
        found = [await self._again(sha256, dry) for sha256 in sha256s]
        return [change for change in found if change is not None]

    async def _again(self, sha256: str, dry: bool, unit: int | None = None) -> Change | None:
        store = self._house.store
        row, kept, units = await store.db.read(
            lambda c: (models.get(c, sha256), headers.get(c, sha256), models.units_of(c, sha256))
        )
        if row is None:
            return None
        looked = await asyncio.to_thread(_look, row, kept, units)
        if looked is None:
            return None
        if dry:
            word = await store.read(models.word_of, sha256)
            return _change(row, _with_word(looked.facts, *word))
        change, asked = await store.db.write(lambda c: self._write(c, looked, unit))
        if asked:
            store.on_jobs()
        if change is not None:
            self._ask(sha256)
        return change

    def _write(self, c: sqlite3.Connection, looked: _Looked, late: int | None = None) -> tuple[Change | None, bool]:
        """All that one verdict changes; also whether jobs were queued."""
        row, now = looked.row, self._house.store.now()
        if looked.fresh or looked.header.version != table_version() or looked.header.verdict != _verdict(looked.facts):
            headers.keep(c, replace(looked.header, version=table_version(), verdict=_verdict(looked.facts)), now)
        type, base = models.word_of(c, row.sha256)
        facts = _with_word(looked.facts, type, base)
        same = codec.dumps(facts) == row.facts
        if same and late is None:
            return None, False
        models.redescribe(c, row.sha256, facts)
        change, queued = _change(row, facts), False
        for unit in models.units_of(c, row.sha256):
            if unit.id in looked.files and (not same or unit.id == late):
                queued |= self._decide_again(c, unit, looked.files[unit.id], type, base)
        if change is not None:
            line = Happening("set", row.blob, VERB, "done", note=change.text(), sha256=row.sha256)
            history.tell(c, line, now)
        return change, queued

    def _decide_again(self, c: sqlite3.Connection, unit: FileRow, facts: Facts, type: str | None, base: str | None) -> bool:
        """A file's own record; and when it was held and another rule takes it now, its way goes on at "decide"."""
        now = self._house.store.now()
        verdict = decided(self._house, unit, facts, type, base, now)
        again = unit.state == "held" and verdict.rule != unit.rule
        job = job_of(unit, verdict) if again else None
        models.redescribe_file(c, unit.id, _with_word(facts, type, base), verdict if job else None)
        if job is None or jobs.enqueue(c, job, now) is None:
            return False
        files.queued(c, unit.id)
        return True

    # ------------------------------------------------------------ all of them

    async def preview(self, after: int, limit: int) -> Preview:
        """What would change among the models behind an id, at most `limit` of them."""
        portion = await self._house.store.read(headers.batch, None, after, limit)
        changes = await self.look([sha256 for _, sha256 in portion], dry=True)
        return Preview(changes, len(portion), portion[-1][0] if len(portion) == limit else None)

    async def start(self) -> None:
        """When the rules are of another version than the verdicts, or headers are not kept yet: queue the job that mends it."""
        if await self._house.store.read(headers.stale, await asyncio.to_thread(table_version)):
            await self.queue(everything=False)

    async def queue(self, everything: bool) -> int | None:
        """Queue the job that asks again about every model, or about those alone whose verdict is of another version of the rules."""
        title = "reclassify: every model" if everything else "reclassify: what other rules told"
        payload = {VERB: "all" if everything else "stale", "after": 0, "done": 0}
        (job,) = await self._house.store.enqueue(NewJob(f"{VERB}:{payload[VERB]}", Lane.CPU, title, payload, priority=-5))
        return job

    async def perform(self, job: Job, tick: Tick) -> None:
        """The job: portion by portion, so that a crash or a stop goes on where it was."""
        store, owner = self._house.store, self._house.owner
        version = None if job.payload[VERB] == "all" else await asyncio.to_thread(table_version)
        after, done = int(str(job.payload["after"])), int(str(job.payload["done"]))
        total = max(1, done + await store.read(_left, version, after))
        while portion := await store.read(headers.batch, version, after, PORTION):
            for at, sha256 in portion:
                tick(min(1.0, done / total))
                await self._again(sha256, dry=False)
                after, done = at, done + 1
            await store.write(jobs.step, job.id, {**job.payload, "after": after, "done": done})
        await store.write(jobs.finish, job.id, owner, store.now())


async def keep_headers(house: House, kept: Sequence[Model]) -> None:
    """Keep the headers of models that were just stored or tracked. What cannot be read is left to the next start."""
    have = await house.store.read(headers.known, [m.sha256 for m in kept])
    for model in kept:
        if model.sha256 in have:
            continue
        found = await asyncio.to_thread(_read, model)
        if found is not None:
            await house.store.write(headers.keep, found, house.store.now())


# ---------------------------------------------------------------- pure, or in a thread


def _look(row: ModelRow, kept: HeaderRow | None, units: Sequence[FileRow]) -> _Looked | None:
    """Ask the rules about one model, and about each file of it by its own name. None when its header is neither kept nor readable."""
    old = codec.loads(Facts, row.facts)
    compact = None if kept is None or kept.packed is None else unpack(kept.packed)
    fresh = compact is None
    if compact is None:
        model = Model(row.sha256, row.xxh3, row.size, row.name, row.blob, old, row.in_hub, row.folder)
        read = _read(model)
        if read is None:
            return None
        header = read if kept is None else replace(read, said={**kept.said, **read.said})
        compact = _of_file(model) if read.packed is None else unpack(read.packed)
    else:
        assert kept is not None
        header = kept
    if compact is None:
        return None
    compact = replace(compact, said=header.evidence())
    files = {unit.id: facts for unit in units if (facts := _of_unit(compact, unit)) is not None}
    return _Looked(row, header, _still_incomplete(facts_of(compact, old.path), old), files, fresh)


def _of_unit(compact: Compact, unit: FileRow) -> Facts | None:
    if unit.facts is None:
        return None
    old = codec.loads(Facts, unit.facts)
    if old.model is None or old.condition not in _CERTAIN:
        return None
    return _still_incomplete(facts_of(compact, old.path), old)


def _still_incomplete(facts: Facts, old: Facts) -> Facts:
    """In the hub a shard lies alone: whether its set was whole is known from when it came."""
    if facts.folder or old.condition is not Condition.INCOMPLETE or facts.condition is Condition.INCOMPLETE:
        return facts
    said = tuple(e for e in old.evidence if e.says == f"condition={Condition.INCOMPLETE}")
    return replace(facts, condition=old.condition, reason=old.reason, evidence=facts.evidence + said)


def _read(model: Model) -> HeaderRow | None:
    """The header of what lies in the hub, or where it is tracked, with the present rules' verdict; None when it cannot be read."""
    compact = _of_file(model)
    if compact is None:
        return None
    said = {SIDECARS: compact.said} if compact.said else {}
    verdict = _verdict(facts_of(compact, model.facts.path))
    return HeaderRow(model.sha256, pack(compact), said, table_version(), verdict)


def _of_file(model: Model) -> Compact | None:
    try:
        found = read_compact(model.blob, () if model.folder else sidecars_of(model.blob))
    except OSError as error:
        _log.info("a header cannot be read", path=str(model.blob), reason=error.strerror or str(error))
        return None
    return replace(found, missing=()) if found is not None and model.in_hub else found


def _verdict(facts: Facts) -> str:
    model = facts.model
    return f"{model.type} {model.base} {model.confidence:.4f}" if model is not None else ""


def _with_word(facts: Facts, type: str | None, base: str | None) -> Facts:
    return known_as(facts, Known(type=type, base=base))


def _told(facts: Facts) -> Told:
    model = facts.model
    assert model is not None
    return Told(model.type, model.base, model.variant, model.subfamily, round(model.confidence, 4), str(facts.condition))


def _change(row: ModelRow, facts: Facts) -> Change | None:
    """What a person sees differently; None when it is only other evidence for the same."""
    before = Told(row.type, row.base, row.variant, row.subfamily, round(row.confidence, 4), row.condition)
    after = _told(facts)
    return None if before == after else Change(row.sha256, row.name, before, after)


def _left(c: sqlite3.Connection, version: int | None, after: int) -> int:
    if version is not None:
        return headers.stale(c, version)
    return int(c.execute("SELECT count(*) FROM models WHERE id > ?", (after,)).fetchone()[0])
