"""The status page in a real Chromium: it fills itself, follows the stream, takes files, and treats names as text."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from dropdock.api.captioners import CAPTIONERS, CaptionerRow
from dropdock.api.captioning import CAPTIONS, Progress
from dropdock.api.ports import CaptionerState, Event
from dropdock.store import history, jobs, runs
from dropdock.store.history import Happening
from playwright.async_api import async_playwright, expect

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
HOSTILE = "/in/<img src=x onerror=alert(1)>\u202egnp.png"


class Writers:
    """Two captioners of the config, one of which cannot work, and runs over the real store."""

    def __init__(self, store):
        self.store = store

    async def listing(self):
        return [
            CaptionerRow("qwen", "llama", "<i>q</i>.gguf", "cpu", "there is no file <i>q</i>.gguf"),
            CaptionerRow("tagger", "onnx", "vit", "auto"),
        ]

    async def order(self, run_id, verb):
        if verb == "cancel":
            return await self.store.write(runs.cancel, run_id, 6.0) is not None
        return await self.store.write({"pause": runs.pause, "resume": runs.resume}[verb], run_id)

    def progress(self, run):
        return Progress(run.done + run.failed, 4.25, 61.0)


def dressed(face, **changes):
    """The application with captioners."""
    app = face.app(**changes)
    app[CAPTIONERS] = app[CAPTIONS] = Writers(face.store)
    return app


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
        server = server or await serve(dressed(face))
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
    await expect(page.locator("#datasets")).to_contain_text("1 of 3 captioned")
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
    server = await serve(dressed(face, api_key="sesame"))
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
    first = await serve(dressed(face))
    page = await opened(server=first)
    port = first.port
    await first.close()
    await expect(page.locator("#state")).to_contain_text("trying again")
    told = await face.feed.tell(Happening("arrived", Path("/in/meanwhile.zip")))
    await serve(dressed(face), port)
    await expect(page.locator("#state")).to_have_text("running", timeout=15_000)
    await expect(page.locator(f"#history tr[data-key='{told}']")).to_contain_text("meanwhile.zip")


async def test_captioners_say_how_they_are(opened, face):
    """Those at work and those that rest or cannot work, with what they wait for and their speed; names and reasons stay text."""
    state = CaptionerState("tagger", "onnx", "cuda:0", "waits", "waits for ComfyUI: 2 in its queue", last_per_second=12.4)
    face.control.state = replace(face.control.state, captioners=(state,))
    page = await opened()
    rows = page.locator("#captioners li")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("cannot work")
    await expect(rows.nth(0)).to_contain_text("there is no file <i>q</i>.gguf")
    await expect(rows.nth(1)).to_have_text(
        re.compile(r"tagger ?waits ?last 12 img/s ?onnx · vit · cuda:0 ?waits for ComfyUI: 2 in its queue")
    )
    assert await page.locator("#captioners i").count() == 0 and page.wrong == []


async def test_a_run_is_followed_held_back_and_ended(opened, face):
    """Its bar, count, speed and time left move with the stream in the same row, so that its buttons stay; they do what they say."""
    run = await face.store.write(runs.create, runs.NewRun("cats", "basic", "tags", "all"), 3, 5.0)
    page = await opened()
    row = page.locator("#runs li")
    await expect(row.locator(".count")).to_have_text("0 of 3 · 4.3 img/s · 1 min left")
    pause = page.get_by_role("button", name=f"pause run {run} of cats")
    await pause.focus()
    await pause.evaluate("button => { button.before = true }")
    told = {
        "run": run,
        "state": "running",
        "phase": "caption",
        "total": 3,
        "done": 1,
        "failed": 0,
        "progress": 0.3333,
        "per_second": 12.0,
        "eta": 7.5,
    }
    face.feed.send(Event(None, "progress", told))
    await expect(row.locator("progress")).to_have_attribute("value", "0.3333")
    await expect(row.locator(".count")).to_have_text("1 of 3 · 12 img/s · 7 s left")
    assert await pause.evaluate("button => button.before === true && button === document.activeElement")
    await pause.click()
    await page.get_by_role("button", name=f"resume run {run} of cats").click()
    await page.get_by_role("button", name=f"cancel run {run} of cats").click()
    await expect(row).to_contain_text("cancelled")
    await expect(row.locator(".count")).to_have_text("0 of 3")
    assert await row.get_by_role("button").count() == 0 and page.wrong == []


async def test_a_run_that_has_measured_says_that_it_captions(opened, face):
    """What it does just now is another row, however little else changed."""
    run = await face.store.write(runs.create, runs.NewRun("cats", "basic", "tags", "below", below=0.5), 3, 5.0)
    page = await opened()
    row = page.locator("#runs li")
    await expect(row).to_contain_text("looking at the pictures first")
    await face.store.write(lambda c: c.execute("UPDATE caption_runs SET phase='caption' WHERE id=?", (run,)))
    told = {
        "run": run,
        "state": "running",
        "phase": "caption",
        "total": 3,
        "done": 0,
        "failed": 0,
        "progress": 0,
        "per_second": 0,
    }
    face.feed.send(Event(None, "progress", told))
    await expect(row).not_to_contain_text("looking at the pictures first")
    assert page.wrong == []


async def test_pictures_that_failed_are_counted(opened, face):
    """A run that is over says how many failed."""
    run = await face.store.write(runs.create, runs.NewRun("cats", "basic", "tags", "all"), 3, 5.0)
    row = await face.store.read(runs.get, run)
    await face.store.write(runs.feed, row, await face.store.read(runs.next_pictures, row, 9), True, 5.0)
    (job,) = await face.store.write(jobs.claim_for, "basic", "me", 9e9, 1)
    await face.store.write(jobs.fail, job.id, "me", "too ugly", 6.0, retry=False)
    page = await opened()
    await expect(page.locator("#runs li")).to_contain_text("1 failed")
    assert page.wrong == []
