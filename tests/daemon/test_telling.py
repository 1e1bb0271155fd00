"""Telling apps of links: gathered, told once, and history only when it begins or ends to fail."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from dropdock.daemon.telling import Telling
from dropdock.rules.deployment import COMPANION
from dropdock.rules.terms import Link
from house_made import Home, opened


def links(home: Home, *names: str, type: str = "lora") -> list[Link]:
    return [Link("comfyui", type, home.app / "models" / "loras" / name, Path("/hub/x"), "aa") for name in names]


async def test_a_burst_is_told_once_and_only_news_is_history(tmp_path: Path) -> None:
    """before: links change twice -> one question a folder; an app that fails, fails on, and is well again: two lines."""
    asked: list[str] = []
    status = [200, 500, 500, 200]

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response(["a.safetensors", "b.safetensors"], status=status[len(asked) - 1])

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        home = Home(tmp_path)
        home.text = home.text.replace("{layout: comfyui,", f"{{layout: comfyui, url: '{server.make_url('/')}',")
        folder = home.app / "models" / "loras"
        folder.mkdir()
        for name in ("a.safetensors", "b.safetensors"):
            (folder / name).symlink_to(tmp_path)
        async with opened(home) as o:
            telling = Telling(o.house)
            telling.changed(links(home, "a.safetensors"))
            telling.changed(links(home, "b.safetensors"))
            await telling.tell_all(session)
            assert (asked, telling.last["comfyui"].told.ok) == (["/models/loras"], True)
            for _ in range(3):
                telling.changed(links(home, "a.safetensors"))
                await telling.tell_all(session)
            assert [row.status for row in await o.told() if row.event == "told"] == ["failed", "done"]


async def test_a_target_without_an_address_is_not_told(tmp_path: Path) -> None:
    """Nor is anybody told of a preview."""
    home = Home(tmp_path)
    async with opened(home) as o, aiohttp.ClientSession() as session:
        telling = Telling(o.house)
        telling.changed(links(home, "a.safetensors"))
        telling.changed(links(home, "a.png", type=COMPANION))
        await telling.tell_all(session)
        assert telling.last == {}
