"""The whole way of a look-up with the real daemon: held by what its tensors say, placed once CivitAI has answered."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from civitai_site import CivitaiSite, status, version
from click.testing import CliRunner, Result
from daemon_process import Daemon, Home, wait_for
from dropdock.daemon.cli import cli
from house_made import sha
from model_files import write_safetensors

TOKEN = "Zebra-4711-token"
VAGUE = {"a.lora_down.weight": ("F16", (4, 640)), "a.lora_up.weight": ("F16", (640, 4))}  # a LoRA of whatever has such a layer


class Served:
    """The site on a loop of its own, beside the daemon's process."""

    def __init__(self) -> None:
        self.site = CivitaiSite()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = TestServer(self.site.app(), loop=self.loop)
        asyncio.run_coroutine_threadsafe(self.server.start_server(), self.loop).result(10)
        self.url = str(self.server.make_url(""))

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


def call(home: Home, *args: str, code: int = 0) -> Result:
    env = {"DROPDOCK_CONFIG": str(home.config), "HOME": str(home.root), "DROPDOCK_API_KEY": None}
    result = CliRunner().invoke(cli, args, env=env, prog_name="dropdock")
    assert result.exit_code == code, result.output
    return result


def drop(home: Home, name: str, tensors: dict[str, tuple[str, tuple[int, ...]]]) -> str:
    path = write_safetensors(home.root / name, tensors)
    digest = sha(path)
    path.rename(home.inbox / name)
    return digest


def test_placed_refined_and_linked(tmp_path: Path, served: Served) -> None:
    """Off: held, nobody is asked, an order says how to switch it on -> on by a reload: busy once, then refined, and its link is made."""
    home = Home(tmp_path)
    link = home.root / "ComfyUI/models/loras/style.safetensors"
    with Daemon(home) as daemon:
        digest = drop(home, "style.safetensors", VAGUE)
        wait_for(lambda: daemon.get("files?state=held")["files"], 20, daemon.said)
        refused = call(home, "models", "lookup", "style.safetensors", code=1)
        assert "civitai: {enabled: true}" in refused.output and served.site.asked == []
        served.site.versions[digest] = version(digest, "Illustrious")
        served.site.scripts = [status(503)]
        settings = f"civitai: {{enabled: true, url: '{served.url}', token: {TOKEN}}}\n"
        home.config.write_text(home.config.read_text() + settings)
        call(home, "reload")
        wait_for(lambda: os.path.lexists(link), 30, daemon.said)
        shown = call(home, "models", "show", "style.safetensors").output
        assert "illustrious" in shown and "blue hat" in shown and f"{served.url}/models/101" in shown
        assert daemon.get(f"models/{digest}")["base"] == "sdxl" and not daemon.get("files?state=held")["files"]
        assert served.site.asked == ["POST ids 1", "POST ids 1", f"GET {digest.upper()}"]

        served.site.versions[digest] = version(digest, "Illustrious", trainedWords=["red scarf"])
        row = json.loads(call(home, "models", "lookup", "--json", digest[:8]).stdout)
        assert row["civitai"]["words"] == ["red scarf"]
        home.config.write_text(home.config.read_text().replace("civitai: {enabled: true,", "civitai: {enabled: true, batch: 1,"))
        call(home, "reload")
        more = [drop(home, f"{n}.safetensors", {**VAGUE, f"b{n}.lora_up.weight": ("F16", (640, 4))}) for n in range(3)]
        served.site.versions |= {one: version(one, "Illustrious", trainedWords=[f"hat {n}"]) for n, one in enumerate(more)}
        wait_for(lambda: len(daemon.get("models")["models"]) == 4, 20, daemon.said)
        found = call(home, "models", "lookup", "--json", digest, *more).stdout.splitlines()
        assert [json.loads(line)["civitai"]["words"] for line in found] == [["red scarf"], ["hat 0"], ["hat 1"], ["hat 2"]]
        served.site.scripts = [status(401)]
        assert "civitai.token" in call(home, "models", "lookup", digest, code=1).output
        assert TOKEN not in json.dumps(daemon.get("config")) + json.dumps(daemon.get("jobs")) + json.dumps(daemon.get("history"))
    assert set(served.site.tokens) == {f"Bearer {TOKEN}"}
    kept = b"".join(f.read_bytes() for f in (tmp_path / "data").rglob("*") if f.is_file())
    assert TOKEN.encode() not in kept and TOKEN not in (tmp_path / "run.log").read_text()
