"""Telling apps of their new links: what changed is gathered for a moment, then each app is told once, in its own way.

What must hold: nothing waits for an app; an app that is off costs a note, and one line of history when that begins or ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import aiohttp

from ..handlers import refresh
from ..handlers.refresh import App, Change, Told
from ..rules.deployment import COMPANION
from ..rules.layouts import built_in_layouts
from ..rules.terms import Link, Target
from ..store.history import Happening, tell
from .house import House

GATHER = 1.0  # seconds: a burst of links is told at once


@dataclass(frozen=True, slots=True)
class Said:
    """The last word with an app: when (epoch seconds), and how it went."""

    at: float
    told: Told


class Telling:
    """`changed` notes links; run `run` as a task. `last` is the last word with each target."""

    def __init__(self, house: House, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._house, self._pause = house, pause
        self._changes: dict[str, set[tuple[str, PurePosixPath]]] = {}
        self._wake = asyncio.Event()
        self.last: dict[str, Said] = {}

    def changed(self, links: Sequence[Link]) -> None:
        """Links that were made or removed just now."""
        targets = {t.name: t for t in self._house.config.targets if t.name in self._house.config.apps}
        for link in links:
            target = targets.get(link.target)
            if target is not None and link.type != COMPANION and link.at.is_relative_to(target.path):
                place = PurePosixPath(link.at.relative_to(target.path).as_posix())
                self._changes.setdefault(target.name, set()).add((link.type, place))
                self._wake.set()

    async def run(self) -> None:
        """Tell, for ever."""
        async with aiohttp.ClientSession() as session:
            while True:
                await self._wake.wait()
                await self._pause(GATHER)
                self._wake.clear()
                await self.tell_all(session)

    async def tell_all(self, session: aiohttp.ClientSession) -> None:
        """Tell every app that something changed for, all at the same time."""
        waiting, self._changes = self._changes, {}
        targets = {t.name: t for t in self._house.config.targets}
        known = [(targets[name], changes) for name, changes in waiting.items() if name in targets]
        await asyncio.gather(*(self._tell(session, target, changes) for target, changes in known))

    async def _tell(self, session: aiohttp.ClientSession, target: Target, changes: set[tuple[str, PurePosixPath]]) -> None:
        address = self._house.config.apps.get(target.name)
        layout = built_in_layouts().get(target.layout)
        if address is None:
            return
        app = App(layout.refresh if layout else "", address.url, address.auth.reveal() if address.auth else "")
        now = await asyncio.to_thread(
            lambda: [Change(kind, at, (target.path / at).is_symlink() or (target.path / at).exists()) for kind, at in changes]
        )
        await self._remember(target.name, await refresh.tell(session, app, now))

    async def _remember(self, name: str, told: Told) -> None:
        store = self._house.store
        before = self.last.get(name)
        self.last[name] = Said(store.now(), told)
        if not told.ok if before is None else before.told.ok is not told.ok:
            line = Happening("told", None, "deploy", "done" if told.ok else "failed", note=f"{name}: {told.note}")
            await store.write(tell, line, store.now())
