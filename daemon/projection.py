"""The projection: wanted links minus found links, made so. Of the models that changed at once, of all of them now and then.

What must hold: a link is recorded as ours before it is made, so that a crash leaves none that we do not own; running it twice changes
nothing; while the hub is away no link is made or removed; what stands in the way is recorded as a conflict and never touched; one changed
model costs the same whether there are a hundred or a hundred thousand others: only its own places are looked at, and the names of others
are asked of an index.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from ..handlers import hashing
from ..handlers import links as hands
from ..rules import deployment, linkplan
from ..rules.companions import lone_halves, other_half
from ..rules.deployment import Claim, Deployable, Wanted
from ..rules.layouts import built_in_layouts
from ..rules.linkplan import Plan
from ..rules.terms import Link, Stamp, Target
from ..store import blobs, links
from ..store.history import tell
from ..store.links import Stock
from ..store.rows import LinkRow
from . import hub
from .house import House
from .link_rows import Ledger, deployable, link_of, made_of

PORTION = 500  # models that are looked at together
DIGESTS = 4096  # digests of other people's files that are remembered while their stamps hold
Scopes = Mapping[str, Mapping[str, Path]]  # target -> type -> the folder within which names must differ
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found out about some models before anything is done."""

    stock: Stock
    aims: Wanted
    plan: Plan
    notes: Mapping[str, str] = field(default_factory=dict)  # SHA-256 -> what a person should know of it


class Projection:
    """Call `ask` when something changed; run `run` as a task. `told` hears of every link that was made or removed.

    `check`, once it is set, looks at the blobs of models before their links are looked at.
    """

    def __init__(self, house: House, told: Callable[[Sequence[Link]], None] = lambda changed: None) -> None:
        self._house, self._told = house, told
        self.check: Callable[[Collection[str]], Awaitable[None]] | None = None
        self._asked = asyncio.Event()
        self._changed: set[str] = set()
        self._all = False
        self._digests: dict[tuple[Path, Stamp], str] = {}
        self._swept: set[Path] = set()  # folders in which nothing of a dead process is left
        self.leaving: set[str] = set()  # contents that an undo is about to take out of the hub: no target gets them any more

    def ask(self, *sha256s: str) -> None:
        """Project these models soon; none named means all of them."""
        self._changed.update(sha256s)
        self._all = self._all or not sha256s
        self._asked.set()

    async def run(self) -> None:
        """Project whenever asked, for ever; wishes that come meanwhile are one wish."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                if self._all:
                    await self.project()
                await self._those_that_changed()
            except hashing.Cancelled:  # the daemon stops; the next start projects everything
                return

    async def project(self) -> None:
        """Make all links what they should be, a portion at a time; models that change meanwhile do not wait for the end."""
        self._all = False
        store = self._house.store
        await store.write(blobs.pass_on)
        last = 0
        while found := await store.read(links.everyone, last, PORTION):
            last = found[-1][0]
            await self.project_some([sha256 for _, sha256 in found])
            await self._those_that_changed()
        lost = await store.read(links.strays)
        for start in range(0, len(lost), PORTION):
            await self.project_some(lost[start : start + PORTION])

    async def _those_that_changed(self) -> None:
        while self._changed:
            changed, self._changed = self._changed, set()
            await self.project_some(changed)

    async def project_some(self, sha256s: Collection[str]) -> None:
        """Make the links of some models what they should be. While the hub is away they stay as they are; its return asks for all."""
        if await hub.away(self._house):
            return
        if self.check is not None:
            await self.check(sha256s)
        looked = await self.look(sha256s)
        plan = looked.plan
        if await hub.away(self._house):  # it went while we looked
            return
        await asyncio.to_thread(self._sweep, looked)
        ledger = Ledger(looked.stock.links, looked.aims)
        fresh = [ledger.coming(create.link) for create in plan.create]
        if fresh:
            await self._house.store.write(links.put, fresh)
        applied = await asyncio.to_thread(hands.apply, plan)
        ledger.enter(plan, applied, looked.notes, self._house.store.now())
        await self._record(ledger)
        changed = [*(c.link for c in plan.create), *(r.made.link for r in plan.remove)]
        if changed:
            self._told(changed)

    def _sweep(self, looked: Looked) -> None:
        """Clear what a process that died left half done, once in each folder that links are in."""
        folders = {row.at.parent for row in looked.stock.links if row.ours and row.at.is_absolute()} - self._swept
        hands.clear_fresh(folders, self._house.config.hub)
        self._swept |= folders

    async def _record(self, ledger: Ledger) -> None:
        store = self._house.store
        now = store.now()
        if not (ledger.rows or ledger.gone or ledger.lines):
            return

        def work(c) -> None:  # type: ignore[no-untyped-def]  # a piece of work for the writer
            links.drop(c, ledger.gone)
            links.put(c, ledger.rows)
            for line in ledger.lines:
                tell(c, line, now)

        await store.db.write(work)
        _log.info("projected", links=len(ledger.rows), gone=len(ledger.gone))

    # ------------------------------------------------------------ looking

    async def look(self, sha256s: Collection[str], targets: Sequence[Target] | None = None) -> Looked:
        """What there is to do for some models; changes nothing. `targets` instead of those in force, for a plan."""
        store = self._house.store
        targets = await self.targets() if targets is None else targets
        stock = self._staying(await store.read(links.stock, sha256s))
        wishes = await asyncio.to_thread(_wishes, stock)
        others = await self._others(wishes)
        more = set(others.values()) | (set(await store.read(links.kin)) if any(map(deployment.is_kin, wishes)) else set())
        if not more <= {wish.sha256 for wish in wishes}:  # the name, or a note, of one depends on another
            stock = await store.read(links.stock, more | set(sha256s))
            wishes = await asyncio.to_thread(_wishes, stock)
        layouts = built_in_layouts()
        names = deployment.recorded_names(link_of(row) for row in stock.links if row.scope is not None or row.ours)
        concerned = {*sha256s, *(row.sha256 for row in stock.models)}
        scopes = {target.name: deployment.scopes(target, layouts) for target in targets if target.enabled}
        names |= await self._past_names(concerned, stock.links, scopes)
        asked = deployment.candidates(wishes, targets, layouts, names)
        taken = await self._taken(asked, concerned, scopes)
        mine = [made_of(row) for row in stock.links if row.ours]
        known = {made.link.at for made in mine}
        adopted = {at for places in stock.adopted.values() for at in places}

        def compare() -> tuple[Wanted, Plan]:
            aims = deployment.wanted(wishes, targets, layouts, names, taken)
            new = [link for link in aims.links if link.at not in known] if adopted else []
            unsure = [link for link in new if not adopted.isdisjoint((link.at, *link.at.parents))]
            ours = [*mine, *hands.left_by_adopting(unsure, self._house.config.hub)]
            return aims, linkplan.plan(aims, hands.look(aims, ours, self._digest), ours)

        aims, plan = await asyncio.to_thread(compare)
        return Looked(stock, aims, plan, lone_halves(_halves(wishes), await self._others(wishes)))

    async def _past_names(self, sha256s: Collection[str], rows: Sequence[LinkRow], scopes: Scopes) -> dict[tuple[str, str], Path]:
        """Names that models had in a target before it was off, or lay elsewhere, as far as nobody else has them now."""
        here, elsewhere = [], []
        for row in rows:
            past = links.past_name(row)
            if row.scope == scopes.get(row.target, {}).get(row.type, row.scope):
                here.append(row)
            elif past is not None:
                elsewhere.append(past)
        has, claimed = {(r.target, r.sha256) for r in here if r.scope}, {(r.target, r.scope, r.identity) for r in here}
        found: dict[Claim, tuple[tuple[str, str], Path]] = {}
        for past in (*elsewhere, *await self._house.store.read(links.past_names, sha256s)):
            scope = scopes.get(past.target, {}).get(past.type)
            free = (past.target, scope, past.identity) not in claimed
            if scope is not None and free and (past.target, past.sha256) not in has:
                found.setdefault(Claim(past.target, scope, past.identity), ((past.target, past.sha256), scope / past.tail))
        taken = await self._taken(found, sha256s, scopes)
        return dict(there for claim, there in found.items() if claim not in taken)

    async def _taken(self, asked: Collection[Claim], but: Collection[str], scopes: Scopes) -> frozenset[Claim]:
        """Of these names, those that another model has, or gets again where its target was off for a while."""
        if not asked:
            return frozenset()
        store = self._house.store
        has = await store.read(links.taken, [(c.target, c.scope, c.identity) for c in asked], but)
        kinds: dict[tuple[str, Path], set[str]] = {}
        for target, places in scopes.items():
            for kind, scope in places.items():
                kinds.setdefault((target, scope), set()).add(kind)
        promised = await store.read(links.promised, [(c.target, kinds[c.target, c.scope], c.identity) for c in asked], but)
        return frozenset(c for c in asked if (c.target, c.scope, c.identity) in has or (c.target, c.identity) in promised)

    def _staying(self, stock: Stock) -> Stock:
        """What is known of models, as if nobody wanted those that are leaving. Kept in memory only: after a crash they stay."""
        rows = [replace(row, wanted=None) if row.sha256 in self.leaving else row for row in stock.models]
        return replace(stock, models=[row for row in rows if row.wanted is not None or row.sha256 in stock.adopted])

    async def targets(self) -> tuple[Target, ...]:
        """The targets of the configuration, with the switches that were set at run time."""
        return in_force(self._house.config.targets, await self._house.store.read(links.switches))

    async def _others(self, wishes: Sequence[Deployable]) -> Mapping[str, str]:
        """The other halves of pairs, as far as the hub has them: name -> SHA-256."""
        names = [other for name in _halves(wishes).values() if (other := other_half(name)) is not None]
        return await self._house.store.read(links.named, names) if names else {}

    def _tick(self, done: int) -> None:
        """Ends the reading of a person's large file when the daemon stops."""
        if self._house.stopping:
            raise hashing.Cancelled("the daemon stops")

    def _digest(self, path: Path) -> str | None:
        """The SHA-256 of a file, remembered while its stamp holds: a person's 20 GB file is read once, not at every audit."""
        try:
            status = path.stat()
            stamp = Stamp(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)
            known = self._digests.get((path, stamp))
            if known is None:
                known = hashing.digest(path, self._tick).sha256
                if len(self._digests) >= DIGESTS:
                    self._digests.clear()
                self._digests[path, stamp] = known
        except OSError:
            return None
        return known


def _wishes(stock: Stock) -> list[Deployable]:
    """What targets should have of these models; a folder that is gone has no file to link to."""
    wishes = [deployable(row, stock.adopted.get(row.sha256, ())) for row in stock.models]
    return [wish for wish, row in zip(wishes, stock.models, strict=True) if wish.files or not row.folder]


def _halves(wishes: Sequence[Deployable]) -> dict[str, str]:
    """Models that come in two halves: SHA-256 -> name."""
    return {w.sha256: w.name for w in wishes if w.base == "wan" and other_half(w.name)}


def in_force(targets: Sequence[Target], switches: Mapping[str, tuple[bool, bool]]) -> tuple[Target, ...]:
    """Targets with the switches set at run time; a switch is void once the configuration says something new."""
    found = []
    for target in targets:
        enabled, configured = switches.get(target.name, (target.enabled, target.enabled))
        on = enabled if configured is target.enabled else target.enabled
        found.append(Target(target.name, target.layout, target.path, on, target.relative, target.map))
    return tuple(found)
