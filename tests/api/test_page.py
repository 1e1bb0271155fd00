"""The status page in a real Chromium: it fills itself, follows the stream, takes files, and treats names as text."""

import os
import re
import shutil
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from dropdock.api.ports import Event
from dropdock.store import history
from dropdock.store.history import Happening
from playwright.async_api import async_playwright, expect

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
HOSTILE = "/in/<img src=x onerror=alert(1)>\u202egnp.png"


@pytest.fixture
async def browser():
    path = os.environ.get("DROPDOCK_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, "no Chromium: install one or set DROPDOCK_BROWSER"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*FLAGS, "--no-first-run"])
        yield browser
        await browser.close()


@pytest.fixture
async def serve():
    servers = []

    async def start(app, port=None):
        server = TestServer(app, port=port)
        await server.start_server()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def opened(browser, serve, face, full):
    """Open the page at a size; what goes wrong in it is gathered in `page.wrong`."""

    async def open_page(width=1280, height=900, server=None, **kwargs):
        server = server or await serve(face.app())
        page = await browser.new_page(viewport={"width": width, "height": height}, **kwargs)
        page.wrong = []
        origin = str(server.make_url("/"))
        page.on("console", lambda m: m.type in ("error", "warning") and page.wrong.append(m.text))
        page.on("pageerror", lambda e: page.wrong.append(str(e)))
        page.on("dialog", lambda d: page.wrong.append(f"dialog {d.message}"))
        page.on("request", lambda r: r.url.startswith(origin) or page.wrong.append(f"asked {r.url}"))
        await page.goto(origin)
        await expect(page.locator("#state")).to_have_text("running")
        return page

    return open_page


async def test_a_watch_says_when_its_files_were_counted(opened, face):
    """The count is that of the last comparison, and says so; a watch that was never compared has none."""
    await face.store.write(history.set_scanned, "inbox", face.store.now(), 1234, None)
    page = await opened()
    row = page.locator("#watches li")
    await expect(row.filter(has_text="inbox").locator(".count")).to_have_text(
        re.compile(r"^1,234 files at (\w+ \d+ )?\d\d:\d\d:\d\d$")
    )
    await expect(row.filter(has_text="comfy").locator(".count")).to_have_text("not compared yet")
    assert page.wrong == []


async def test_a_happening_arrives_as_a_row_and_its_name_stays_text(face, opened):
    """A line of history shows on top without a reload; a name made of markup is shown letter by letter; nothing else is asked."""
    page = await opened()
    rows = page.locator("#history tr")
    before = await rows.count()
    await face.feed.tell(
        Happening("arrived", Path(HOSTILE), rule="<b>rule</b>", status="queued", note="<script>alert(1)</script>")
    )
    await expect(rows).to_have_count(before + 1)
    await expect(rows.first.locator(".name")).to_have_text(HOSTILE.rpartition("/")[2])
    await expect(rows.first).to_contain_text("<script>alert(1)</script>")
    assert await page.locator("#history img, #history b, #history script").count() == 0
    assert page.wrong == []


async def test_every_panel_shows_what_the_store_has(opened):
    """Watches, queue, what needs a look, links and datasets are there with their states."""
    page = await opened()
    await expect(page.locator("#watches")).to_contain_text("comfy")
    await expect(page.locator("#lanes")).to_contain_text("caption cats")
    await expect(page.locator("#attention")).to_contain_text("what.bin")
    await expect(page.locator("#attention")).to_contain_text("would run code")
    await expect(page.locator("#links")).to_contain_text("1 conflict")
    await expect(page.locator("#datasets")).to_contain_text("3 pictures · 1 captions")
    await expect(page.locator("#tiles")).to_contain_text("models")
    assert page.wrong == []


async def test_buttons_do_what_they_say(face, opened):
    """Pausing a watch and cancelling a job reach the daemon, the page shows it, and the focus stays on the button."""
    page = await opened()
    await page.get_by_role("button", name="pause inbox").click()
    await expect(page.get_by_role("button", name="resume inbox")).to_be_focused()
    await page.get_by_role("button", name="cancel caption cats").click()
    await expect(page.locator("#lanes")).not_to_contain_text("caption cats")
    assert page.wrong == []


async def test_a_file_tells_its_story(opened):
    """A click on a file shows the evidence, the rule and where it ended."""
    page = await opened()
    await page.locator("#history button", has_text="a.safetensors").first.click()
    story = page.locator("#story")
    for text in ("It has lora_A keys.", "models (pipeline", "hub: /hub/ab/a.safetensors", "a.preview.png"):
        await expect(story).to_contain_text(text)
    await page.keyboard.press("Escape")
    await expect(story).to_be_hidden()
    assert page.wrong == []


async def test_chosen_files_are_uploaded(face, opened):
    """Files chosen on the page lie in the inbox afterwards, and the page says so."""
    page = await opened()
    files = [{"name": n, "mimeType": "application/zip", "buffer": b"PK" * 9} for n in ("a.zip", 'quote".zip')]
    await page.locator("#choose").set_input_files(files)
    await expect(page.locator("#sending")).to_contain_text("taken in")
    assert sorted(p.name for p in face.box.iterdir()) == ["a.zip", 'quote".zip']
    assert page.wrong == []


async def test_progress_moves_the_bar(face, opened):
    """A passing event moves the bar of its job without a question."""
    (job,) = await face.store.claim("caption", "me", 1)
    page = await opened()
    bar = page.locator(f"progress[data-job='{job.id}']")
    await expect(bar).to_have_count(1)
    face.feed.send(Event(None, "progress", {"job": job.id, "progress": 0.25}))
    await expect(bar).to_have_attribute("value", "0.25")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_sticks_out_on_a_phone(face, opened, scheme, tmp_path):
    """At 360 pixels nothing is wider than the screen, long names included; both schemes have their own ground."""
    await face.feed.tell(Happening("arrived", Path("/in/" + "long" * 50 + ".safetensors"), note="x" * 300))
    page = await opened(360, 740, color_scheme=scheme)
    await expect(page.locator("#history tr").first).to_contain_text("longlong")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (ground == "rgb(14, 21, 26)") == (scheme == "dark")
    assert page.wrong == []


async def test_the_page_asks_for_the_key(browser, serve, face, full):
    """With a key set the page shows nothing until it is given, says when it is wrong, and streams with the right one."""
    server = await serve(face.app(api_key="sesame"))
    page = await browser.new_page()
    await page.goto(str(server.make_url("/")))
    for given in ("wrong", "sesame"):
        await page.locator("#key").fill(given)
        await page.get_by_role("button", name="Open").click()
        if given == "wrong":
            await expect(page.locator("#wrong")).to_have_text("That was not the key.")
    await expect(page.locator("#state")).to_have_text("running")
    told = await face.feed.tell(Happening("arrived", Path("/in/new.zip")))
    await expect(page.locator(f"#history tr[data-key='{told}']")).to_contain_text("new.zip")
    assert "sesame" not in page.url


async def test_the_page_comes_back_by_itself(opened, serve, face):
    """When the daemon stops the page says so; when it is back, what happened meanwhile is there."""
    first = await serve(face.app())
    page = await opened(server=first)
    port = first.port
    await first.close()
    await expect(page.locator("#state")).to_contain_text("trying again")
    told = await face.feed.tell(Happening("arrived", Path("/in/meanwhile.zip")))
    await serve(face.app(), port)
    await expect(page.locator("#state")).to_have_text("running", timeout=15_000)
    await expect(page.locator(f"#history tr[data-key='{told}']")).to_contain_text("meanwhile.zip")
