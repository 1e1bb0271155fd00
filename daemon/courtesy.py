"""Courtesy: a captioner waits while somebody else needs the card: a picture is being made in ComfyUI, its memory is full, it is busy.

What must hold: nothing is asked while nothing waits for a captioner, and then every few seconds at most; an app that does not answer
keeps nobody waiting; what is waited for is said in a sentence. A captioner on the CPU or behind an address waits for nobody.
ComfyUI: GET /queue -> {"queue_running": [...], "queue_pending": [...]}.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping

import aiohttp

from ..handlers.refresh import App
from ..rules.measures import show_size
from ..rules.terms import Param
from .cards import Cards
from .house import House

BEAT = 3.0  # seconds between two looks while a captioner waits or works
BUSY = 85  # percent from which on a card that we do not use counts as busy with something else
PATIENCE = aiohttp.ClientTimeout(total=4, connect=2)
MOST = 8 << 20  # bytes of a queue's answer: its entries hold whole workflows
NETWORK = frozenset({"ollama", "openai", "http"})  # engines whose model lies behind an address
_CARD = re.compile(r"(?:cuda|gpu)(?::(\d+))?$", re.IGNORECASE)


def devices(options: Mapping[str, Param], cards: Cards) -> tuple[str, ...]:
    """Where a captioner shall run, one worker each: `device` may be a list, and `cuda` alone means every card there is."""
    asked = options.get("device")
    words = [asked] if isinstance(asked, str) else [str(word) for word in asked] if isinstance(asked, tuple) else []
    parts = [part.strip() for word in words for part in word.split(",") if part.strip()]
    found: list[str] = []
    for part in parts:
        every = part.lower() == "cuda" and cards.count() > 1
        found += [f"cuda:{n}" for n in range(cards.count())] if every else [part]
    return tuple(dict.fromkeys(found)) or ("",)


def card_of(device: str, cards: Cards) -> str:
    """The card that a device means (`cuda:0`), '' when it is none: the CPU, or `auto` where there is no card."""
    found = _CARD.match(device)
    if found is not None:
        return f"cuda:{int(found[1] or 0)}"
    return "cuda:0" if device.lower() == "auto" and cards.count() else ""


class Courtesy:
    """Says what a captioner has to wait for."""

    def __init__(self, house: House, cards: Cards) -> None:
        self._house, self.cards = house, cards
        self._asked: dict[str, tuple[float, str]] = {}  # address -> when it was asked, and what it said
        self._turn = asyncio.Lock()

    async def before(self, card: str, min_free: int) -> str:
        """Why a model should not be loaded onto a card now; '' when it may be. `min_free` is bytes."""
        if not card:
            return ""
        state = await asyncio.to_thread(self.cards.state, int(card.partition(":")[2]))
        if state is not None and state.free < min_free:
            return f"waits for memory: {show_size(state.free)} of the card are free, {show_size(min_free)} are wanted"
        if state is not None and state.busy >= BUSY:
            return f"waits for the card: it is busy ({state.busy} %)"
        return await self.during(card)

    async def during(self, card: str) -> str:
        """Why a model that is loaded should go from a card; '' when it may stay."""
        if not card:
            return ""
        async with self._turn:
            return next(iter([said for url in self._queues() if (said := await self._comfy(url))]), "")

    def _queues(self) -> list[str]:
        config = self._house.config
        comfy = [t.name for t in config.targets if t.layout == "comfyui" and t.enabled]
        return [config.apps[name].url for name in comfy if name in config.apps]

    async def _comfy(self, url: str) -> str:
        at, said = self._asked.get(url, (-BEAT, ""))
        if time.monotonic() - at >= BEAT - 0.5:
            said = await self._ask(url)
            self._asked[url] = (time.monotonic(), said)
        return said

    async def _ask(self, url: str) -> str:
        config = self._house.config
        auth = next((a.auth.reveal() for a in config.apps.values() if a.url == url and a.auth), "")
        try:
            async with (
                aiohttp.ClientSession(timeout=PATIENCE, headers=App("comfyui", url, auth).headers()) as session,
                session.get(f"{url}/queue", allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    return ""
                found = await _bounded(answer)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return ""  # off, or something else: nobody to be courteous to
        waiting = sum(len(found[name]) for name in ("queue_running", "queue_pending") if isinstance(found.get(name), list))
        return f"waits for ComfyUI: {waiting} in its queue" if waiting else ""


async def _bounded(answer: aiohttp.ClientResponse) -> dict[str, list[object]]:
    """The JSON object of an answer. Raises ValueError for anything else."""
    import orjson

    body = await answer.content.read(MOST)
    while len(body) < MOST and (more := await answer.content.read(MOST - len(body))):
        body += more
    found = orjson.loads(body)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found
