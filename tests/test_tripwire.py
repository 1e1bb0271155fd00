"""Nothing blocks the event loop: the whole daemon at work on real files, and not one file call in the loop's thread."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from dropdock.daemon import app
from dropdock.daemon.config import Config
from dropdock.daemon.samples import flux_lora
from dropdock.store import jobs
from house_made import Home
from pictures_made import picture, zipped
from tripwire import tripwire

MORE = "server: {port: 0}\n"


def test_the_wire_trips(tmp_path):
    """Each kind of call is caught in this thread with its stack, and not in another one, and imports are excused."""
    path = tmp_path / "a"
    calls: list[tuple[str, Callable[[], object]]] = [
        ("open", lambda: path.open("w").close()),
        ("open", lambda: os.close(os.open(path, os.O_RDONLY))),
        ("os.rename", lambda: path.rename(tmp_path / "b")),
        ("os.mkdir", lambda: (tmp_path / "c").mkdir()),
        ("os.scandir", lambda: os.scandir(tmp_path).close()),
        ("os.listdir", lambda: os.listdir(tmp_path)),
        ("os.link", lambda: os.link(tmp_path / "b", tmp_path / "d")),
        ("os.symlink", lambda: (tmp_path / "e").symlink_to("b")),
        ("os.remove", lambda: (tmp_path / "d").unlink()),
        ("subprocess.Popen", lambda: subprocess.run(["true"], check=True)),
        ("time.sleep", lambda: time.sleep(0)),
    ]
    for name, call in calls:
        with tripwire() as caught:
            call()
        assert [c for c in caught if c.startswith(f"{name}(") and "test_tripwire.py" in c], name

    async def elsewhere() -> list[str]:
        with tripwire() as caught:
            await asyncio.to_thread(os.listdir, tmp_path)
            import colorsys  # noqa: F401
        return caught

    assert asyncio.run(elsewhere()) == []


class Running:
    """The daemon in this very loop."""

    def __init__(self, house, url: str) -> None:
        self.house, self.url = house, url

    async def until_idle(self, condition: Callable[[], bool]) -> None:
        """Until something on disk holds and no job is open; asked anew with everything that happens."""
        async with asyncio.timeout(25):
            while not await asyncio.to_thread(condition) or await self.house.store.read(jobs.listing, state="open"):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def daemon(config: Config) -> AsyncIterator[Running]:
    """Everything that `dropdock run` starts, as it starts it."""
    async with app._house(config) as (house, feed), asyncio.TaskGroup() as tasks:
        running = await app._open(house, feed, tasks, lambda url: None)
        try:
            yield Running(house, running.url.rstrip("/"))
        finally:
            await running.close()


@pytest.mark.timeout(60)
async def test_the_daemon_never_blocks_its_loop(tmp_path):
    """A ZIP, a picture and a model dropped, an upload, the routes, a rescan: taken, captioned and linked, and the wire is still."""
    home = Home(tmp_path, MORE)
    home.text = home.text.replace("mode: inbox}", "mode: inbox, settle: 0.1 s}")

    def drop() -> None:
        home.drop("shots/one.png", picture(1))
        zipped(tmp_path / "made.zip", {"a.png": picture(2), "b.jpg": picture(3, form="JPEG"), "bad.png": picture(4)[:800]})
        (tmp_path / "made.zip").rename(home.inbox / "cats.zip")
        flux_lora(tmp_path / "made.safetensors", rank=1).rename(home.inbox / "style.safetensors")
        home.drop("evil.pt", b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.")
        home.drop("note.md", b"# words")

    def taken() -> bool:
        ours = [folder for folder in home.datasets.iterdir() if folder.name != ".dropdock"]  # staging comes and goes as we look
        texts = [p for folder in ours for p in folder.rglob("*.txt")]
        links = [p for p in home.app.rglob("*") if p.is_symlink() and p.exists()]
        return len(texts) == 4 and len(links) == 1 and not (home.inbox / "evil.pt").exists()

    config = home.config
    with tripwire() as caught:
        async with daemon(config) as running:
            await asyncio.to_thread(drop)
            async with aiohttp.ClientSession() as client:
                form = aiohttp.FormData()
                form.add_field("file", picture(5), filename="sent.png")
                async with client.post(f"{running.url}/api/v1/inbox", data=form) as answer:
                    assert answer.status < 300, await answer.text()
                await running.until_idle(taken)
                for route in ("status", "watches", "files", "models", "links", "datasets", "history", "jobs", "health", "aside"):
                    async with client.get(f"{running.url}/api/v1/{route}") as answer:
                        assert answer.status == 200, (route, await answer.text())
                async with client.get(f"{running.url}/") as answer:
                    assert answer.status == 200
                async with client.post(f"{running.url}/api/v1/explain", json={"path": str(home.inbox / "note.md")}) as answer:
                    assert answer.status == 200, await answer.text()
                async with client.post(f"{running.url}/api/v1/watches/inbox/rescan") as answer:
                    assert answer.status < 300
                await running.until_idle(lambda: True)
    assert not caught, f"{len(caught)} calls that may block were made in the event loop:\n\n" + "\n".join(dict.fromkeys(caught))
    assert Path(home.inbox / "note.md").exists()
