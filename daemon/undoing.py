"""Undoing: one line of history taken back, or one thing restored from the trash or the quarantine, as a journalled list of moves.

What must hold: everything is checked before anything moves, and what cannot be taken back says exactly why; nothing is overwritten and
nothing goes straight to unlink (a copy of ours goes to the trash); what came back is held until it changes or a person lets the rules
decide again; a crash in between is finished by the same recovery as any other action, since the journal holds all there is to record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..api.undo import Answer
from ..handlers import disk
from ..rules.terms import Back, Mode, Move, Outcome, Prepared, Status, TakenBack
from ..store import blobs, datasets, deeds, files, history, links
from ..store.rows import AsideRow, DeedRow, Switched
from ..store.store import Entry
from . import hub
from .house import House
from .performing import Performer
from .projection import Projection
from .way_back import Impossible, Remembered, Way, way_back

HELD = "held until it changes, or `dropdock rescan --force`"
_NEVER = {
    "caption": "a caption is not undone: edit the text beside the picture, or delete it",
    "webhook": "what was sent cannot be taken back",
    "run": "what a program did is not known here, so it cannot be undone",
    "hold": "it changed nothing: the file waits where it is",
    "undo": "an undo is not undone: `dropdock rescan --force` lets the rules decide again",
    "restore": "it was restored by hand: `dropdock rescan --force` lets the rules decide again",
    "release": "it was released by hand, and the rules have decided since",
}


class Undoer:
    """Takes back what was done. `touch` has a path looked at again."""

    def __init__(self, house: House, performer: Performer, projection: Projection, touch: Callable[[Path], None]) -> None:
        self._house, self._performer, self._projection, self._touch = house, performer, projection, touch
        self._moved: dict[int, tuple[int, int]] = {}  # line -> (moves made, moves in all) of undos that go on

    def progress(self, line: int) -> tuple[int, int]:
        """(moves made, moves in all) of an undo that goes on; (0, 0) while it is still looked at."""
        return self._moved.get(line, (0, 0))

    async def undo(self, line: int) -> Answer | None:
        """Take back one line of history; None when there is none of that id. An Answer that is not done says why."""
        row = await self._house.store.read(deeds.get, line)
        if row is None:
            return None
        try:
            await self._allowed(row)
            async with self._performer.alone(*_locks(row)):
                return await self._take_back(await self._again(row))
        except (Impossible, disk.Changed, disk.Taken) as error:
            return Answer(False, str(error))
        except OSError as error:
            return Answer(False, f"{error.filename or row.path}: {error.strerror or error}")
        finally:
            self._moved.pop(line, None)

    async def restore(self, aside_id: int, release: bool) -> Answer | None:
        """Put something back from the trash or the quarantine, with its companions; `release`: and let the rules decide again.

        None when there is none of that id.
        """
        row = await self._house.store.read(deeds.aside, aside_id)
        if row is None:
            return None
        try:
            return await self._restore(row, release)
        except (Impossible, disk.Changed, disk.Taken) as error:
            return Answer(False, str(error))
        except OSError as error:
            return Answer(False, f"{error.filename or row.path}: {error.strerror or error}")

    # ------------------------------------------------------------ a line of history

    async def _again(self, row: DeedRow) -> DeedRow:
        """The line as it is now that nobody else works on what it is about."""
        found = await self._house.store.read(deeds.get, row.id)
        assert found is not None
        await self._allowed(found)
        return found

    async def _allowed(self, row: DeedRow) -> None:
        if row.undone is not None:
            raise Impossible(f"it was undone already, by line {row.undone}")
        if any(self._in_hub(path) for move in row.moves for path in (move.src, move.dst)):
            await self._hub_is_there()
        if row.deed is None:
            raise Impossible(_NEVER.get(row.verb, "nothing was kept of it that could be taken back"))
        if row.file_id is not None and await self._house.store.read(deeds.busy, row.file_id):
            raise Impossible("its job is not done yet: wait for it, or cancel it with `dropdock jobs cancel`")
        wished = [sha256 for sha256, _, _ in row.deed.wanted]
        if wished and not row.deed.models and not await self._house.store.read(deeds.kept, wished):
            said = "does not keep this model" if len(wished) == 1 else "keeps none of these models"
            raise Impossible(f"the hub {said} any more")
        for sha256, _ in row.deed.models:
            for other in await self._house.store.read(deeds.counting_on, row, sha256):
                raise Impossible(f"a later action depends on it: undo {other.id} ({other.verb} of {other.path}) first")

    def _in_hub(self, path: Path) -> bool:
        return self._house.config.hub in path.parents

    async def _hub_is_there(self) -> None:
        if why := await hub.away(self._house):
            raise Impossible(why)

    async def _take_back(self, row: DeedRow) -> Answer:
        assert row.deed is not None
        remembered = await self._remember(row)
        way = await asyncio.to_thread(way_back, row, remembered)
        undone = TakenBack(
            row.id, way.backs(self._watch_name), tuple(way.items), tuple(way.datasets), row.deed.models, row.deed.origins,
            row.deed.adopted, row.deed.tags, tuple(way.restored),
        )  # fmt: skip
        note = "; ".join((f"undone: line {row.id}, {row.verb}", *way.notes, *([HELD] if undone.back else [])))
        outcome = Outcome(Status.DONE, note, ended=tuple(way.ended), aside=tuple(way.aside), taken_back=undone)
        return await self._without_links(row, "undo", Prepared(outcome, tuple(way.moves)))

    async def _remember(self, row: DeedRow) -> Remembered:
        """What the store knows of the things that this line brought about."""
        house, store, deed = self._house, self._house.store, row.deed
        assert deed is not None
        asides = [(m.src, a) for m in row.moves if (a := await store.read(deeds.aside_at, m.src)) is not None]
        found: dict[str, dict[str, deeds.Picture]] = {}
        others: dict[str, int] = {}
        for slug in {slug for slug, _ in deed.items}:
            rels = [rel for name, rel in deed.items if name == slug]
            found[slug] = await store.read(deeds.pictures, slug, rels)
            holdings = await store.read(datasets.holdings, slug)
            others[slug] = len((holdings.names if holdings else frozenset()) - set(rels))
        changed = await store.read(deeds.rewanted, deed) if deed.wanted else []
        by = await store.read(deeds.rewanting, row, changed) if changed else None
        return Remembered(
            house.places, house.config.datasets, house.config.trash, store.now(), house.token(), dict(asides), found, others,
            await store.read(deeds.later, row), tuple(changed), by, await store.read(blobs.became, [m.src for m in row.moves]),
            await self._switched(deed.switched),
        )  # fmt: skip

    async def _switched(self, switched: Switched | None) -> str:
        """Why a target that was switched is not so any more; "" where it is."""
        if switched is None:
            return ""
        target = next((t for t in self._house.config.targets if t.name == switched.target), None)
        if target is None:
            return f"the configuration has no target {switched.target} any more"
        now = (await self._house.store.read(links.switches)).get(switched.target)
        if now != (switched.enabled, switched.configured):
            return f"the target {switched.target} was switched again since"
        if target.enabled is not switched.configured:
            return f"the configuration says of {switched.target} something else since, and that holds"
        return ""

    async def _without_links(self, row: DeedRow, verb: str, prepared: Prepared) -> Answer:
        """Links of what leaves the hub go first; when it cannot leave after all, they come again."""
        assert row.deed is not None
        leaving = {sha256 for sha256, _ in row.deed.models}
        self._projection.leaving |= leaving
        try:
            if leaving:
                await self._projection.project_some(leaving)
                await self._unlinked(leaving, row.deed.adopted)
            return await self._do(verb, prepared, row.path, row.file_id)
        finally:
            self._projection.leaving -= leaving
            shas = [*leaving, *(sha256 for sha256, _, _ in row.deed.wanted), *([row.sha256] if row.sha256 else [])]
            if shas or row.deed.switched is not None:
                self._projection.ask(*shas)  # none named means all: a target was switched

    async def _unlinked(self, leaving: Collection[str], adopted: Sequence[Path]) -> None:
        for sha256 in leaving:
            for link in await self._house.store.read(links.listing, sha256=sha256):
                if link.ours and not any(place in (link.at, *link.at.parents) for place in adopted):
                    raise Impossible(f"the link {link.at} could not be removed: {link.note or link.state}")

    # ------------------------------------------------------------ trash and quarantine

    async def _restore(self, row: AsideRow, release: bool) -> Answer:
        store = self._house.store
        if row.state != "kept":
            raise Impossible(f"it was {row.state} already")
        if self._in_hub(row.path):
            await self._hub_is_there()
        unit = [row, *await store.read(deeds.beside, row)]
        archive = await store.read(files.at, row.original.parent)  # a broken picture's "folder" is the archive that it came in
        way = await asyncio.to_thread(_restoring, unit, archive is not None)
        lead = await store.read(files.at, row.original)
        verb = "release" if release else "restore"
        back = way.backs(self._watch_name)
        back = tuple(replace(b, decide=release or self._reads(b.path)) for b in back)
        note = f"{verb}d from the {row.place}" + ("" if release or not back else f"; {HELD}")
        outcome = Outcome(Status.DONE, note, taken_back=TakenBack(back=back, aside=tuple(way.restored)))
        answer = await self._do(verb, Prepared(outcome, tuple(way.moves)), way.moves[0].dst, lead.id if lead else None)
        for b in back:
            if b.decide:
                self._touch(b.path)
        return answer

    def _reads(self, path: Path) -> bool:
        """Whether what lies there is read back rather than decided: a picture returns into its dataset by being there."""
        watch = self._house.watch_of(path)
        return watch is not None and watch.mode is Mode.DATASET

    # ------------------------------------------------------------ doing it

    async def _do(self, verb: str, prepared: Prepared, path: Path | None, file_id: int | None) -> Answer:
        """Intent, moves, record: as every action."""
        house, store = self._house, self._house.store
        paths = {p for move in prepared.moves for p in (move.src, move.dst)}
        intent = None
        if prepared.moves:
            intent = await store.intend(verb, prepared, file_id, None, 0)
            house.mine |= paths
            try:
                await asyncio.to_thread(disk.carry_out, prepared.moves, tick=self._ticker(prepared))
            except (disk.Changed, disk.Taken, OSError):
                house.mine -= paths
                await asyncio.to_thread(disk.prune_after, prepared.moves, (house.config.datasets, house.config.hub))
                await store.write(history.settle_intent, intent)
                raise
        # before the intent is settled: a crash in between leaves no empty folders either, recovery removes them
        await asyncio.to_thread(disk.prune_after, prepared.moves, (house.config.datasets, house.config.hub))
        await store.record(Entry(verb, prepared.outcome, path, None, file_id, intent=intent))
        house.mine -= paths
        return Answer(True, prepared.outcome.note, tuple(b.path for b in _backs(prepared.outcome)))

    def _ticker(self, prepared: Prepared) -> Callable[[int], None]:
        """Keeps how far the moves of an undo are; called in the thread that makes them."""
        back = prepared.outcome.taken_back
        line = back.line if back is not None else None
        if line is None:
            return lambda made: None

        def tick(made: int) -> None:
            self._moved[line] = (made, len(prepared.moves))

        tick(0)
        return tick

    def _watch_name(self, path: Path) -> str | None:
        watch = self._house.watch_of(path)
        return watch.name if watch is not None else None


def _backs(outcome: Outcome) -> Sequence[Back]:
    return outcome.taken_back.back if outcome.taken_back is not None else ()


def _locks(row: DeedRow) -> list[str]:
    """The names under which the performer works on the same things."""
    assert row.deed is not None
    shas = {*(sha256 for sha256, _ in row.deed.models), *([row.sha256] if row.sha256 else [])}
    slugs = {slug.casefold() for slug, _ in row.deed.items}
    return [*(f"sha:{sha256}" for sha256 in shas), *(f"dataset:{slug}" for slug in slugs)]


def _restoring(unit: Sequence[AsideRow], from_archive: bool) -> Way:
    """The way back of a unit that was put aside, looked at on the disk. Raises Impossible."""
    way = Way()
    for row in unit:
        target = row.original
        if from_archive:
            folder = target.parent.parent
            target = disk.free_name(folder, PurePosixPath(target.name).name)
        if not disk.is_there(row.path):
            raise Impossible(f"{row.path} is not there any more")
        if disk.is_there(target):
            raise Impossible(f"something stands at {target}: move it away first")
        way.give_back(Move(row.path, target, disk.stamp(row.path)), row)
    return way
