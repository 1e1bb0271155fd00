"""Performing: the actions of one unit, one after another, each as staging, intent, moves, record.

What must hold: before the first move of an action its intent is durable, after the last one its Outcome is recorded with the job's next
step in the same transaction; a crash anywhere in between is finished by `recover` at the next start, from the journal alone; the same
content never gets two blobs and a dataset never two batches at once (locks by digest and by dataset).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import structlog

from ..handlers import conflict, disk, hashing
from ..handlers.hashes import contradiction
from ..handlers.store import files_below
from ..handlers.table import HANDLERS
from ..handlers.task import Failure, Handler, Task
from ..rules.pipeline import decide
from ..rules.terms import (
    Action,
    Digests,
    End,
    Ended,
    Facts,
    Job,
    Kind,
    Known,
    Lane,
    Mode,
    Model,
    Outcome,
    Prepared,
    Status,
    Verdict,
)
from ..store import codec, datasets, files, history, placed
from ..store.jobs import NewJob
from ..store.placed import Placing
from ..store.rows import FileRow
from ..store.store import Entry
from . import hub
from .blobs import kept_blob
from .chain import Chain
from .conveyor import as_data, as_list, lane_of, plan_job
from .errands import NOW_PRIORITY, caption_job, caption_of, last_word, tell, webhook_job
from .house import House
from .marking import marked
from .reclassifying import keep_headers
from .renames import is_gone

TAKEN_TRIES = 5  # times that another name is looked for when somebody takes ours first
_NEEDS_HUB = ("store", "adopt", "deploy")
_NEEDS_NO_FILE = ("tag", "hold", "track")
_log = structlog.get_logger()


class Performer:
    """Performs jobs of the hash and cpu lanes. `on_deploy` gets the SHA-256 of models that became wanted or whose blobs changed."""

    def __init__(self, house: House, on_deploy: Callable[..., None], on_changed: Callable[[Path], None]) -> None:
        self._house, self._on_deploy, self._on_changed = house, on_deploy, on_changed
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def alone(self, *keys: str) -> AsyncIterator[None]:
        """Hold the locks of these names; they vanish when nobody wants them any more."""
        async with contextlib.AsyncExitStack() as stack:
            for key in sorted(keys):
                lock, users = self._locks.get(key, (asyncio.Lock(), 0))
                self._locks[key] = (lock, users + 1)
                stack.callback(self._leave, key)
                await stack.enter_async_context(lock)
            yield

    def _leave(self, key: str) -> None:
        lock, users = self._locks.pop(key)
        if users > 1:
            self._locks[key] = (lock, users - 1)

    # ------------------------------------------------------------ one job

    async def perform(self, job: Job, tick: Callable[[float], None]) -> None:
        """All actions of a job from its step on. Raises disk.NoRoom, hashing.Cancelled, or what surprised us."""
        chain = Chain.of(job)
        for step in range(chain.step, len(chain.actions)):
            tick(0.0)  # raises when the job was cancelled during the step before
            unit = await self._unit(job)
            if unit is None:
                await self._finish(job, None, Outcome(Status.SKIPPED, "the file is gone"))
                return
            if chain.actions[step].verb == "track" and not unit[0].present:  # a new rule was quicker
                await self._finish(job, unit[0], Outcome(Status.SKIPPED, "it does not lie there any more"), quiet=True)
                return
            if step == 0 and unit[0].present and job.payload.get("stamp", as_list(unit[0].stamp)) != as_list(unit[0].stamp):
                await self._finish(job, unit[0], Outcome(Status.SKIPPED, "it was replaced after this was decided"))
                return
            try:
                stop = await self._step(job, chain, step, unit, tick)
            except disk.Changed as error:
                await self._finish(job, unit[0], Outcome(Status.SKIPPED, str(error)))
                self._on_changed(unit[0].path)
                return
            except (Failure, OSError) as error:
                if isinstance(error, FileNotFoundError) and unit[0].present and await asyncio.to_thread(is_gone, unit[0].path):
                    await self._vanished(job, unit[0])
                    return
                takes = chain.actions[step].verb not in ("copy", "track")  # these only read
                if takes and isinstance(error, OSError) and (why := await asyncio.to_thread(_closed, unit[0].path, error)):
                    await self._hold(job, chain, step, unit, why)  # trying again would not help: a person has to
                    return
                if not await self._gave_up(job, chain, step, unit, str(error)):
                    raise
                return
            if stop:
                return

    async def _vanished(self, job: Job, lead: FileRow) -> None:
        """A file that somebody took away meanwhile, perhaps a program that a rule ran; should it come back, it is looked at anew."""
        await self._house.store.write(files.forget_stamp, lead.id)
        await self._finish(job, lead, Outcome(Status.SKIPPED, "the file is not there any more"))
        self._on_changed(lead.path)

    async def _gave_up(self, job: Job, chain: Chain, step: int, rows: Sequence[FileRow], why: str) -> bool:
        """What `on_error` says of an action that failed once more; False when the queue is to try again, or to give up by itself."""
        word = last_word(chain.actions[step], job)
        if word is None:
            return False
        if word == "quarantine":
            if not rows[0].present:  # what was taken in is not put aside: the job is what failed
                return False
            instead = Action("quarantine", {"reason": f"{chain.actions[step].verb} failed: {why}"})
            await self._step(job, Chain((*chain.actions[:step], instead), step), step, rows, lambda fraction: None)
        else:
            await self._hold(job, chain, step, rows, why)
        return True

    async def _hold(self, job: Job, chain: Chain, step: int, rows: Sequence[FileRow], why: str) -> None:
        entry = Entry(chain.actions[step].verb, Outcome(Status.FAILED, why), rows[0].path, rows[0].rule, rows[0].id, job.id)
        await self._house.store.record(replace(entry, owner=self._house.owner))

    async def _unit(self, job: Job) -> list[FileRow] | None:
        if "path" in job.payload:
            row = await self._house.store.read(files.at, Path(str(job.payload["path"])))
            return [row] if row else None
        rows = await self._house.store.read(files.unit, int(str(job.payload["file"])))
        return rows if rows and (rows[0].present or rows[0].end is not None) else None

    async def _step(self, job: Job, chain: Chain, step: int, rows: Sequence[FileRow], tick: Callable[[float], None]) -> bool:
        """One action; True when the chain ends here."""
        action = chain.actions[step]
        if action.verb == "caption":
            return await self._queue_caption(job, chain, step, rows)
        if action.verb == "webhook":
            return await self._webhook(job, chain, step, rows)
        if why := await self._round_trip(action, rows[0]):
            await self._hold(job, chain, step, rows, why)
            return True
        digests = await self._digests(action.verb, rows, tick)
        if digests is not None and (why := await asyncio.to_thread(_contradicted, rows, digests)):
            await self._hold(job, chain, step, rows, why)
            return True
        keys = [f"sha:{digests.sha256}"] if digests else []
        if action.verb in ("unpack", "dataset"):
            keys.append(f"dataset:{self._slug(action).casefold()}")
        async with self.alone(*keys):
            prepared, intent = await self._prepare_and_move(job, step, action, rows, digests, tick)
            outcome = prepared.outcome
            then = action.text("on_error.then")
            if outcome.status is Status.FAILED and not outcome.ended and then == "quarantine" and rows[0].present:
                instead = Action("quarantine", {"reason": f"{action.verb} failed: {outcome.note}"})  # trying again would not help
                return await self._step(job, Chain((*chain.actions[:step], instead), step), step, rows, tick)
            stop = stops(outcome, rows[0])
            entry = self.entry(action, prepared, rows, job, None if stop else chain.after(job, step), intent)
            try:
                await self._house.store.record(entry)
            finally:  # not before: their own departures must not be taken for somebody else's
                self._house.mine -= _paths(prepared)
        await self.tidy(prepared)
        self.announce(prepared, rows[0])
        if outcome.models:
            await keep_headers(self._house, outcome.models)
        if outcome.deploy or (outcome.models and any(m.in_hub for m in outcome.models)):
            self._on_deploy(*outcome.deploy, *(m.sha256 for m in outcome.models if m.in_hub))
        return stop

    async def _round_trip(self, action: Action, lead: FileRow) -> str:
        """Why a file is not moved or copied into another watch: our own actions took it from there, and so it would go on for ever."""
        folder = conflict.folder_below(self._house.watch(lead.watch), action) if action.verb in ("move", "copy") else None
        watch = self._house.watch_of(folder) if folder is not None else None
        if watch is None or watch.name == lead.watch or lead.placed_by is None:
            return ""
        hop = next((h for h in await self._house.store.read(placed.way, lead.placed_by) if h.watch == watch.name), None)
        if hop is None:
            return ""
        return f"it came here from {hop.path} (line {hop.line}, {hop.verb}): to {action.verb} it back to {watch.name} would go on for ever"

    @staticmethod
    def _slug(action: Action) -> str:
        return action.text("dataset") or action.text("name")

    async def _prepare_and_move(
        self, job: Job, step: int, action: Action, rows: Sequence[FileRow], digests: Digests | None, tick: Callable[[float], None]
    ) -> tuple[Prepared, int | None]:
        house = self._house
        if action.verb in _NEEDS_HUB or (rows[0].end == End.HUB and action.verb not in _NEEDS_NO_FILE):
            await hub.need(house)
        for attempt in range(TAKEN_TRIES):
            task = await self._task(action, rows, digests)
            if action.verb == "track":
                return _track(task), None
            handler: Handler = HANDLERS[action.verb]
            async with marked(house, task):
                prepared = await asyncio.to_thread(handler.prepare, task, house.tools(tick))
                if not prepared.moves:
                    return prepared, None
                intent = await house.store.intend(action.verb, prepared, rows[0].id, job, step)
            try:
                house.mine |= _paths(prepared)
                await asyncio.to_thread(disk.carry_out, prepared.moves)
            except (disk.Changed, disk.Taken, OSError) as error:
                house.mine -= _paths(prepared)
                await asyncio.to_thread(disk.prune_after, prepared.moves, (house.config.datasets, house.config.hub))
                await house.store.write(history.settle_intent, intent)
                await self.tidy(prepared)
                if not isinstance(error, disk.Taken) or attempt == TAKEN_TRIES - 1:
                    raise
                continue
            return prepared, intent
        raise AssertionError("unreachable")

    async def _task(self, action: Action, rows: Sequence[FileRow], digests: Digests | None) -> Task:
        house, lead = self._house, rows[0]
        facts = codec.loads(Facts, lead.facts) if lead.facts else Facts(lead.path, Kind(lead.kind), lead.stamp.size)
        kept = None
        if digests is not None:
            kept = await kept_blob(house, digests.sha256, self._on_deploy)
        slug = self._slug(action) if action.verb in ("unpack", "dataset") else None
        holdings = await house.store.read(datasets.holdings, slug) if slug else None
        unit = {row.path: row.stamp for row in rows if row.present}
        members = {}
        if facts.folder:
            members = {path: stamp for path, stamp in unit.items() if facts.path in path.parents}
            unit = {lead.path: lead.stamp} if lead.present else {}
        return Task(
            action, facts, facts.path if facts.folder else lead.path, unit, house.token(), house.store.now(),
            house.watch(lead.watch), digests, kept, holdings, members, lead.end_at,
        )  # fmt: skip

    async def _digests(self, verb: str, rows: Sequence[FileRow], tick: Callable[[float], None]) -> Digests | None:
        """The digests of the lead: remembered, or read now (the first step of performing)."""
        house, lead = self._house, rows[0]
        if verb != "track" and not HANDLERS[verb].needs_digest:
            return None
        if lead.sha256 and lead.xxh3:
            return Digests(lead.sha256, lead.xxh3, lead.stamp.size)
        size = max(1, lead.stamp.size)
        facts = codec.loads(Facts, lead.facts) if lead.facts else None
        before = await asyncio.to_thread(disk.stamp, lead.path)
        if facts is not None and facts.folder:
            names = await asyncio.to_thread(files_below, facts.path)
            found = await asyncio.to_thread(
                hashing.digest_folder, facts.path, names, lambda n: tick(min(1.0, n / max(1, facts.size)))
            )
            if not await asyncio.to_thread(_as_recorded, facts.path, rows):
                raise disk.Changed(f"{facts.path} changed while it was hashed")
        else:
            found = await asyncio.to_thread(hashing.digest, lead.path, lambda n: tick(min(1.0, n / size)))
            if before != lead.stamp or await asyncio.to_thread(disk.stamp, lead.path) != before:
                raise disk.Changed(f"{lead.path} changed while it was hashed")
        await house.store.write(files.set_digests, lead.id, found.sha256, found.xxh3)
        return found

    # ------------------------------------------------------------ what follows

    def entry(
        self, action: Action, prepared: Prepared, rows: Sequence[FileRow], job: Job | None, payload: Mapping[str, object] | None,
        intent: int | None,
    ) -> Entry:  # fmt: skip
        house, lead = self._house, rows[0]
        watch = house.dataset_watch
        outcome = replace(prepared.outcome, ended=_with_members(prepared.outcome.ended, rows))
        return Entry(
            action.verb, outcome, lead.path, lead.rule, lead.id, job.id if job else None, house.owner, payload, intent,
            self._followers(action, prepared.outcome, lead), watch.name if watch else "", house.config.datasets,
            placing=self._placing(outcome, lead, job), quiet=action.verb == "track",
        )  # fmt: skip

    def _placing(self, outcome: Outcome, lead: FileRow, job: Job | None) -> Placing | None:
        """What an action put under a watch, for the store; a dataset's folder is read back, as whatever is put there."""
        if not outcome.placed:
            return None
        house, stamps = self._house, dict(outcome.placed)
        at = next(iter(stamps))
        watch = house.watch_of(at)
        if watch is None or not watch.enabled or watch.mode is Mode.DATASET:
            return None
        facts = codec.loads(Facts, lead.facts) if lead.facts else Facts(lead.path, Kind(lead.kind), lead.stamp.size)
        facts, decide_there = replace(facts, path=at), watch.name != lead.watch
        verdict = Verdict(lead.rule, pipeline=lead.pipeline, why=lead.why)
        follow_up = None if decide_there else plan_job(watch, at, stamps, facts, replace(verdict, actions=()))
        note = f"{outcome.note.split(' ', 1)[0]} here from {lead.path}"
        return Placing(watch.name, at, stamps, facts, verdict, note, decide_there, follow_up)

    def announce(self, prepared: Prepared, lead: FileRow) -> None:
        """What was put into another watch arrives there at once; in its own it is known already."""
        for path, stamp in prepared.outcome.placed:
            watch = self._house.watch_of(path)
            if watch is not None and watch.name != lead.watch and (stamp.size, stamp.mtime_ns) != (0, 0):  # not a folder itself
                self._on_changed(path)

    def _followers(self, action: Action, outcome: Outcome, lead: FileRow) -> list[NewJob]:
        """The jobs that an archive's pictures start: each enters once, from here, by the pipeline of its archive."""
        if action.verb != "unpack":
            return []
        house = self._house
        watch = house.watch(lead.watch)
        pipeline = house.pipeline(watch)
        captioned = {c.rel for c in outcome.captions}
        new: list[NewJob] = []
        for item in outcome.items:
            path = house.config.datasets / item.dataset / PurePosixPath(item.rel)
            facts = Facts(path, Kind.IMAGE, item.stamp.size, image=item.image)
            verdict = decide(pipeline, facts, Known(watch=watch, dataset=item.dataset), house.store.now())
            rest = [a for a in verdict.actions if a.verb not in ("dataset", "caption")]
            if rest:
                payload = {"path": os.fspath(path), "actions": [as_data(a) for a in rest], "step": 0}
                new.append(NewJob(f"produced:{path}", lane_of(rest), f"{rest[0].verb}: {item.rel}", payload))
            for wish in (a for a in verdict.actions if a.verb == "caption"):
                if wish.text("only", "missing") == "all" or item.rel not in captioned:
                    new.append(caption_job(wish, item, 0))
        return new

    async def _queue_caption(self, job: Job, chain: Chain, step: int, rows: Sequence[FileRow]) -> bool:
        """The caption action: the picture's job in the caption lane."""
        house, lead, action = self._house, rows[0], chain.actions[step]
        where = lead.end_at if lead.end == End.DATASET else lead.path
        found = await house.store.read(datasets.locate, where) if where else None
        new: list[NewJob] = []
        outcome = Outcome(Status.SKIPPED, "only pictures of a dataset are captioned by a rule: put `dataset` before `caption`")
        if found is not None:
            slug, rel = found
            outcome = Outcome(Status.SKIPPED, "it has a caption")
            has = await house.store.read(datasets.has_caption, slug, rel, action.text("set", datasets.DEFAULT_SET))
            if action.text("only", "missing") == "all" or not has:
                outcome = Outcome(Status.DEFERRED, f"waits for captioner {action.text('with', 'basic')}")
                new.append(caption_of(action, slug, rel, NOW_PRIORITY))
        payload = chain.after(job, step)
        await house.store.record(
            Entry("caption", outcome, lead.path, lead.rule, lead.id, job.id, house.owner, payload, new_jobs=new, quiet=True)
        )
        return False

    async def _webhook(self, job: Job, chain: Chain, step: int, rows: Sequence[FileRow]) -> bool:
        """The webhook action: a job in the net lane, and there the telling itself."""
        house, lead, action = self._house, rows[0], chain.actions[step]
        new: list[NewJob] = []
        if job.lane is Lane.NET:
            outcome = Outcome(Status.DONE, await tell(action, rows, house.store.now()))
        else:
            new.append(webhook_job(action, job, step))
            outcome = Outcome(Status.DEFERRED, new[0].title)
        payload, quiet = chain.after(job, step), bool(new)
        await house.store.record(
            Entry("webhook", outcome, lead.path, lead.rule, lead.id, job.id, house.owner, payload, new_jobs=new, quiet=quiet)
        )
        return False

    async def tidy(self, prepared: Prepared) -> None:
        """Clear staging, and inbox folders that our taking emptied."""
        roots = self._house.places.roots
        inboxes = [w.path for w in self._house.config.watches if w.mode is Mode.INBOX]

        def work() -> None:
            for folder in prepared.staging:
                disk.clear(folder)
                if not any(root in folder.parents for root in roots):  # somebody else's folder: nothing of ours stays there
                    disk.prune_empty(folder.parent, folder.parents[2])
            for move in prepared.moves:
                for inbox in inboxes:
                    if inbox in move.src.parents and disk.OWN not in move.src.parts:
                        disk.prune_empty(move.src.parent, inbox)

        await asyncio.to_thread(work)

    async def _finish(self, job: Job, row: FileRow | None, outcome: Outcome, quiet: bool = False) -> None:
        house = self._house
        verb = Chain.of(job).actions[-1].verb
        path = row.path if row else None
        await house.store.record(Entry(verb, outcome, path, None, row.id if row else None, job.id, house.owner, quiet=quiet))


def _paths(prepared: Prepared) -> set[Path]:
    return {path for move in prepared.moves for path in (move.src, move.dst)}


def _contradicted(rows: Sequence[FileRow], digests: Digests) -> str:
    """Why a file that lies where it was dropped is not what the checksum file beside it says."""
    lead = rows[0].path
    beside = [r.path for r in rows[1:] if r.present and r.path.parent == lead.parent]
    return contradiction(lead, beside, digests.sha256) if rows[0].present and lead.is_file() else ""


def _closed(lead: Path, error: OSError) -> str:
    """Why nothing can be taken from where it lies: the folder that we may not write to, and whose it is; "" where we may."""
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not hasattr(os, "getuid"):
        return ""
    for folder in (lead.parent, lead):
        try:
            found = folder.lstat()
        except OSError:
            return ""
        if not stat.S_ISDIR(found.st_mode) or os.access(folder, os.W_OK | os.X_OK):
            continue
        whose = f"it belongs to uid {found.st_uid}, mode {found.st_mode & 0o7777:04o}; dropdock runs as uid {os.getuid()}"
        disk_too = ", and its disk is mounted read-only" if error.errno == errno.EROFS else ""
        return f"the folder {folder} is read-only to dropdock ({whose}{disk_too}): make it writable, then touch the file"
    return ""


def stops(outcome: Outcome, lead: FileRow) -> bool:
    """Whether nothing more is to be done with a unit: an action failed for good, or put it aside."""
    ended = {e.path: e.end for e in outcome.ended}.get(lead.path)
    return outcome.status is Status.FAILED or ended in (End.TRASH, End.QUARANTINE)


def _with_members(ended: tuple[Ended, ...], rows: Sequence[FileRow]) -> tuple[Ended, ...]:
    """The ends of a folder's files beside the end of the folder that moved whole."""
    named = {e.path for e in ended}
    more = []
    for e in ended:
        inside = [r.path for r in rows if r.present and r.path not in named and e.path in r.path.parents]
        more += [Ended(path, e.end, e.at / path.relative_to(e.path), e.note) for path in inside]
    return (*ended, *more)


def _track(task: Task) -> Prepared:
    """A library's model, hashed where it lies: known from now on, moved never."""
    if task.digests is None:
        return Prepared(Outcome(Status.FAILED, "the file could not be hashed"))
    d = task.digests
    model = Model(d.sha256, d.xxh3, d.size, task.lead.name, task.lead, task.facts, in_hub=False, folder=task.facts.folder)
    return Prepared(Outcome(Status.DONE, "tracked where it lies", models=(model,)))


def _as_recorded(folder: Path, rows: Sequence[FileRow]) -> bool:
    """Whether a folder that is one model holds the very files that were recorded when it arrived."""
    recorded = {row.path: row.stamp for row in rows if row.present and folder in row.path.parents}
    return {p: disk.stamp(p) for p in folder.rglob("*") if p.is_file() and not p.is_symlink()} == recorded
