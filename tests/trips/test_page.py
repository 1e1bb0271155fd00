"""The status page of the real daemon in a real browser: a dropped file becomes a row, a caption run moves. Takes the README's picture."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from caption_servers import CaptionServer, hangs, says
from daemon_process import Daemon, Home
from dropdock.daemon import samples
from pictures_made import zipped
from playwright.async_api import Page, async_playwright, expect

FLAGS = [
    "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
]  # fmt: skip
MORE = """
captioners:
  far: {{engine: http, url: "{url}", api: base64, concurrency: 1}}
"""
TAKE = bool(os.environ.get("DROPDOCK_TAKE_PICTURE"))
PICTURE = Path(__file__).parents[2] / "docs/dashboard.png"


def browser() -> str:
    """The browser that `run test` provides."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
    found = os.environ.get("DROPDOCK_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    assert found, "no browser: run the tests by `./run test`, which provides one"
    return found


async def _captioned(daemon: Daemon, page: Page) -> None:
    """A run whose server stops answering after two pictures: the page shows how far it is and who works on it."""
    import asyncio

    slug = daemon.get("datasets")["datasets"][0]["slug"]
    body = {"with": "far", "set": "prose", "only": "all"}
    run = (await asyncio.to_thread(daemon.post, f"datasets/{slug}/caption", body))["id"]
    row = page.locator("#runs li", has_text=f"run {run} with far")
    await expect(row.locator(".count")).to_contain_text("2 of ", timeout=20_000)
    await expect(row.get_by_role("button", name="pause")).to_be_visible()
    await expect(page.locator("#captioners li", has_text="far")).to_contain_text("working")


@pytest.mark.timeout(120)
async def test_a_file_dropped_on_the_page_becomes_a_row(tmp_path):
    """Open the page, drop files into the inbox and through the page, see their rows come, with no error in the console."""
    import asyncio

    scratch = Path(tempfile.mkdtemp(prefix="dropdock-"))  # a short path: it stands in the picture
    lantern = says({"caption": "A red paper lantern hangs over a wet street at night."})
    server = CaptionServer({"/caption": [lantern, lantern, hangs()]})
    server.__enter__()
    home = Home(scratch, settle=0.5, more=MORE.format(url=f"{server.url}/caption"))
    daemon = await asyncio.to_thread(lambda: Daemon(home).wait_ready())
    try:
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(executable_path=browser(), args=FLAGS)
            page = await chromium.new_page(viewport={"width": 1280, "height": 900})
            errors: list[str] = []
            page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
            page.on("pageerror", lambda e: errors.append(str(e)))
            await page.goto(daemon.url)
            await page.locator("#history").wait_for(state="attached")
            members = samples.photo_members()
            await asyncio.to_thread(lambda: zipped(tmp_path / "x.zip", members).rename(home.inbox / "holiday.zip"))
            await page.locator("#history tr", has_text="holiday.zip").first.wait_for(timeout=20_000)
            await asyncio.to_thread(samples.flux_lora, home.inbox / "ink-drawing-style.safetensors")
            await page.locator("#history tr", has_text="ink-drawing").first.wait_for(timeout=30_000)
            await asyncio.to_thread(daemon.wait_idle)
            await page.locator("tr", has_text="landscape picture").first.wait_for(timeout=20_000)
            await _captioned(daemon, page)
            await asyncio.sleep(3 if TAKE else 0.6)  # the last event is being drawn, and what is new has faded
            shot = await page.screenshot(full_page=True, path=tmp_path / "dashboard.png")
            evil = tmp_path / "<img src=x onerror=alert(1)>.md"
            evil.write_text("text")
            await page.locator("#choose").set_input_files(evil)
            await page.locator("#history tr", has_text="onerror=alert").first.wait_for(timeout=20_000)
            assert await page.locator("#history img").count() == 0
            assert not errors, errors
            await chromium.close()
        assert len(shot) > 20_000
        if TAKE:
            PICTURE.write_bytes(shot)
    finally:
        code = await asyncio.to_thread(daemon.stop)
        said = daemon.said()
        server.__exit__(None, None, None)
        shutil.rmtree(scratch)
        assert code == 0, said
