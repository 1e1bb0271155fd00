"""Telling a running app that its folders changed, or asking it whether it lists a new file.

A1111 and Forge (started with --api): POST /sdapi/v1/refresh-checkpoints, -vae, -loras, -embeddings. SwarmUI: POST /API/GetNewSession,
then /API/TriggerRefresh with that session. ComfyUI needs no word, it looks at its folders anew: GET /models/FOLDER is asked for the
names. What must hold: an app that is off, slow or of another version is a note and nothing more, asked once a change; what is known as
a secret is sent to the configured address alone (no redirect is followed) and stands in no note.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import aiohttp

PATIENCE = aiohttp.ClientTimeout(total=20, connect=3)  # a refresh of a thousand files takes A1111 seconds
MOST = 8 << 20  # bytes of an answer that are read
SDAPI: Mapping[str, str] = {  # type of a model -> what A1111 and Forge call its list
    "checkpoint": "checkpoints",
    "diffusion_model": "checkpoints",
    "lora": "loras",
    "vae": "vae",
    "text_encoder": "vae",  # Forge lists both in one box
    "embedding": "embeddings",
}


@dataclass(frozen=True, slots=True)
class App:
    """A running app: how it is told (a layout's `refresh`), its address, and `user:password` or a token, if it wants one."""

    refresh: str
    url: str
    auth: str = ""

    def headers(self) -> dict[str, str]:
        """What every request to it carries."""
        if not self.auth:
            return {}
        basic = ":" in self.auth
        return {"Authorization": f"Basic {b64encode(self.auth.encode()).decode()}" if basic else f"Bearer {self.auth}"}


@dataclass(frozen=True, slots=True)
class Change:
    """One model's link in an app: its type, the place below the app's own folder, and whether it is there now or gone."""

    type: str
    at: PurePosixPath
    there: bool = True


@dataclass(frozen=True, slots=True)
class Told:
    """How it went, for a person."""

    ok: bool
    note: str


async def tell(session: aiohttp.ClientSession, app: App, changes: Iterable[Change]) -> Told:
    """Tell an app of changes in its folders. Never raises for what an app or the network does."""
    made = tuple(changes)
    try:
        if app.refresh == "sdapi":
            return await _sdapi(session, app, made)
        if app.refresh == "swarmui":
            return await _swarmui(session, app)
        if app.refresh == "comfyui":
            return await _comfyui(session, app, made)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return Told(False, f"{app.url} does not answer: {_kind(error)}")
    return Told(True, "it cannot be told; it looks by itself, or by its own refresh button")


def _kind(error: Exception) -> str:
    """The kind of failure, without what an error's text may hold of addresses and headers."""
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "nobody listens there"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"status {error.status}"
    return "not an answer of this app" if isinstance(error, ValueError) else type(error).__name__


async def _sdapi(session: aiohttp.ClientSession, app: App, changes: tuple[Change, ...]) -> Told:
    lists = sorted({SDAPI[change.type] for change in changes if change.type in SDAPI})
    silent = sorted({change.type for change in changes if change.type not in SDAPI})
    for name in lists:
        await _ask(session, app, "POST", f"/sdapi/v1/refresh-{name}")
    notes = [f"refreshed {', '.join(lists)}"] if lists else []
    notes += [f"no refresh for {', '.join(silent)}: use the app's own button"] if silent else []
    return Told(True, "; ".join(notes) or "nothing to refresh")


async def _swarmui(session: aiohttp.ClientSession, app: App) -> Told:
    answer = await _ask(session, app, "POST", "/API/GetNewSession", {})
    session_id = answer.get("session_id") if isinstance(answer, dict) else None
    if not isinstance(session_id, str):
        raise ValueError("no session")
    answer = await _ask(session, app, "POST", "/API/TriggerRefresh", {"session_id": session_id, "strong": True})
    if isinstance(answer, dict) and "error" in answer:
        return Told(False, "it refused to refresh: its user may lack the right")
    return Told(True, "refreshed")


async def _comfyui(session: aiohttp.ClientSession, app: App, changes: tuple[Change, ...]) -> Told:
    """ComfyUI lists names relative to models/FOLDER. A folder that it does not know answers 404."""
    wanted: dict[str, set[tuple[str, bool]]] = {}
    for change in changes:
        parts = change.at.parts
        if len(parts) > 2 and parts[0] == "models":
            wanted.setdefault(parts[1], set()).add(("/".join(parts[2:]), change.there))
    notes, right = [], 0
    for folder, names in sorted(wanted.items()):
        listed = await _ask(session, app, "GET", f"/models/{folder}")
        have = {name.replace("\\", "/") for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
        for name, there in sorted(names):
            if (name in have) is there:
                right += 1
            else:
                notes.append(f"{folder}/{name} is {'not listed' if there else 'still listed'}")
    return Told(not notes, "; ".join(notes[:5]) or f"{right} as they should be listed")


async def _ask(session: aiohttp.ClientSession, app: App, method: str, path: str, body: object = None) -> object:
    """The JSON of an answer, None of an empty one. Raises ValueError for what is no JSON, ClientResponseError for a bad status."""
    url = app.url.rstrip("/") + path
    async with session.request(
        method, url, json=body, headers=app.headers(), timeout=PATIENCE, allow_redirects=False
    ) as response:
        if response.status >= 300:
            raise aiohttp.ClientResponseError(response.request_info, (), status=response.status)
        raw = await response.content.read(MOST)
        while raw and len(raw) < MOST and (more := await response.content.read(MOST - len(raw))):
            raw += more
    return json.loads(raw) if raw.strip() else None
