"""The status page of the real daemon in a real browser: a dropped file becomes a row. Takes the picture that the README shows."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from daemon_process import Daemon, Home
from dropdock.daemon import samples
from pictures_made import zipped
from playwright.async_api import async_playwright

FLAGS = [
    "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
]  # fmt: skip
PICTURE = Path(__file__).parents[2] / "docs/dashboard.png"


def browser() -> str:
    """The browser that `run test` provides."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
    found = os.environ.get("DROPDOCK_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    assert found, "no browser: run the tests by `./run test`, which provides one"
    return found


@pytest.mark.timeout(120)
async def test_a_file_dropped_on_the_page_becomes_a_row(tmp_path):
    """Open the page, drop files into the inbox and through the page, see their rows come, with no error in the console."""
    import asyncio

    scratch = Path(tempfile.mkdtemp(prefix="dropdock-"))  # a short path: it stands in the picture
    home = Home(scratch, settle=0.5)
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
            evil = tmp_path / "<img src=x onerror=alert(1)>.md"
            evil.write_text("text")
            await page.locator("#choose").set_input_files(evil)
            await page.locator("#history tr", has_text="onerror=alert").first.wait_for(timeout=20_000)
            assert await page.locator("#history img").count() == 0
            await asyncio.to_thread(samples.flux_lora, home.inbox / "ink-drawing-style.safetensors")
            await page.locator("#history tr", has_text="ink-drawing").first.wait_for(timeout=30_000)
            await asyncio.to_thread(daemon.wait_idle)
            await page.locator("tr", has_text="landscape picture").first.wait_for(timeout=20_000)
            await asyncio.sleep(0.6)  # the last event is being drawn
            shot = await page.screenshot(full_page=True, path=tmp_path / "dashboard.png")
            assert not errors, errors
            await chromium.close()
        assert len(shot) > 20_000
        if os.environ.get("DROPDOCK_TAKE_PICTURE"):
            PICTURE.write_bytes(shot)
    finally:
        code = await asyncio.to_thread(daemon.stop)
        said = daemon.said()
        shutil.rmtree(scratch)
        assert code == 0, said
