"""What is known of the captioners without a picture: implements api.captioners.Captioners over the configuration.

What must hold: a server that does not answer costs a few seconds for all together; a download goes on whoever listens, one for each
captioner at a time, and ends with the daemon (what was fetched stays, and the next one goes on there).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import aiohttp

from ..api.captioners import CaptionerRow, Pull, pull_view
from ..api.ports import CaptionerState
from ..handlers.captioners import offers
from ..handlers.captioners.client import Trouble
from .config import CaptionerConfig

ASKED = 4.0  # seconds a server may take to tell its models
MOMENT = 1.0  # seconds that a question for a download's news waits
PULLABLE = ("ollama", "onnx")


class CaptionerInfo:
    """`config` gives the present captioners, `states` what the daemon does with them, `tell` passes events on."""

    def __init__(
        self,
        config: Callable[[], Mapping[str, CaptionerConfig]],
        states: Callable[[], Sequence[CaptionerState]] = tuple,
        tell: Callable[[str, Mapping[str, object]], None] = lambda kind, data: None,
    ) -> None:
        self._config, self._states, self._tell = config, states, tell
        self._pulls: dict[str, Pull] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Condition()

    async def listing(self) -> Sequence[CaptionerRow]:
        """Every captioner; servers are asked all at once."""
        now = {state.name: state for state in self._states()}
        async with aiohttp.ClientSession() as session:
            found = await asyncio.gather(*(_row(session, c) for c in self._config().values()))
        return [_with_state(row, now.get(row.name)) for row in found]

    async def models(self, name: str) -> Sequence[str] | str:
        """The models that are offered, or why they cannot be told. Raises KeyError for an unknown name."""
        captioner = self._config()[name]
        async with aiohttp.ClientSession() as session:
            try:
                return await offers.offered(session, captioner.engine, captioner.options, ASKED)
            except Trouble as trouble:
                return trouble.why

    def pull(self, name: str) -> Pull | str:
        """Begin to fetch its model, or join the download under way. Raises KeyError for an unknown name."""
        captioner = self._config()[name]
        if captioner.engine not in PULLABLE:
            return f"The engine {captioner.engine} fetches no models: only {' and '.join(PULLABLE)} do"
        known = self._pulls.get(name)
        if known is not None and known.going:
            return known
        begun = self._pulls[name] = Pull(name, offers.model_of(captioner.engine, captioner.options))
        self._tasks[name] = asyncio.create_task(self._fetch(captioner, begun), name=f"pull {name}")
        return begun

    async def pulled(self, name: str) -> Pull | None:
        """How far the last download is, at its next news or after a moment. Raises KeyError for an unknown name."""
        if name not in self._config():
            raise KeyError(name)
        known = self._pulls.get(name)
        if known is not None and known.going:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MOMENT), self._news:
                    await self._news.wait_for(lambda: self._pulls[name] != known)
        return self._pulls.get(name)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _fetch(self, captioner: CaptionerConfig, pull: Pull) -> None:
        try:
            async with (
                aiohttp.ClientSession() as session,
                contextlib.aclosing(offers.pull(session, captioner.engine, captioner.options)) as going,
            ):
                async for news in going:
                    pull = replace(pull, status=news.status, done=news.done, total=news.total)
                    await self._heard(pull)
            pull = replace(pull, going=False, status="success")
        except Trouble as trouble:
            pull = replace(pull, going=False, status="failed", error=trouble.why)
        except asyncio.CancelledError:
            self._pulls[captioner.name] = replace(pull, going=False, status="failed", error="stopped")
            raise
        await self._heard(pull)

    async def _heard(self, pull: Pull) -> None:
        self._pulls[pull.captioner] = pull
        self._tell("pull", pull_view(pull))
        async with self._news:
            self._news.notify_all()


async def _row(session: aiohttp.ClientSession, c: CaptionerConfig) -> CaptionerRow:
    """A captioner, its server asked or its files looked for."""
    model = offers.model_of(c.engine, c.options)
    row = CaptionerRow(c.name, c.engine, model, offers.where(c.engine, c.options))
    note = await asyncio.to_thread(offers.lacks, c.engine, c.options)
    if note:
        return replace(row, note=note)
    try:
        models = await offers.offered(session, c.engine, c.options, ASKED)
    except Trouble as trouble:
        return replace(row, note=trouble.why)
    if c.engine in ("ollama", "openai") and not offers.has(models, model):
        mend = f": `dropdock captioners pull {c.name}` fetches it" if c.engine == "ollama" else ""
        return replace(row, models=len(models), note=f"the server has no model {model}{mend}")
    return replace(row, models=len(models))


def _with_state(row: CaptionerRow, state: CaptionerState | None) -> CaptionerRow:
    if state is None:
        return row
    return replace(
        row,
        state=state.state,
        device=state.device or row.device,
        note=row.note or (state.note if state.state == "broken" else ""),
    )
