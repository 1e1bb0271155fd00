"""Archive: a ZIP of 1,000 pictures to a visible dataset, before captions, against the least that could be done. Goal: at most 1.15x.

The least: `zipfile.extractall`, then one Pillow decode of every picture, on as many threads as we use. Ours does the same and also takes
both digests and the difference hash of every picture, checks every name, finds duplicates, syncs the volume, journals the intent, renames
the dataset into place and records every picture.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from _bench import Figure, check, report, scratch
from dropdock.handlers import disk
from dropdock.handlers.table import HANDLERS
from dropdock.handlers.task import Places, Task, Tools
from dropdock.rules.identify import identify
from dropdock.rules.terms import Action, Holdings, Mode, Watch
from dropdock.store.database import Database
from dropdock.store.store import Entry, Store
from PIL import Image

ROUNDS, PICTURES, PIXELS, THREADS = 3, 1000, 768, 2
GOAL = 1.15


def pictures(at: Path) -> None:
    """A ZIP of JPEGs that differ, each about as large as a photo of its pixels is."""
    chance = random.Random(7)
    with zipfile.ZipFile(at, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(PICTURES):
            out = io.BytesIO()
            noise = Image.frombytes("RGB", (PIXELS // 5, PIXELS // 5), chance.randbytes((PIXELS // 5) ** 2 * 3))
            noise.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
            archive.writestr(f"shoot/{n:04}.jpg", out.getvalue())


def plain(archive: Path, folder: Path) -> float:
    """Seconds for the least."""
    begun = time.perf_counter()
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    with ThreadPoolExecutor(THREADS) as pool:
        done = sum(pool.map(_decode, sorted(folder.rglob("*.jpg"))))
    took = time.perf_counter() - begun
    check(done == PICTURES, f"{done} pictures were decoded")
    return took


def _decode(path: Path) -> int:
    with Image.open(path) as image:
        image.load()
    return 1


async def ours(archive: Path, home: Path, store: Store, number: int) -> float:
    """Seconds from the order to unpack to the dataset that is in its place and in the store."""
    inbox, hub, datasets = (home / name for name in ("inbox", "hub", "datasets"))
    lead = inbox / f"shoot-{number}.zip"
    shutil.copy(archive, lead)
    os.sync()
    slug = lead.stem
    watch = Watch("inbox", inbox, Mode.INBOX)
    tools = Tools(Places(hub, datasets, (inbox, hub, datasets)), threads=THREADS)
    facts, stamp = identify(lead, ()), disk.stamp(lead)
    begun = time.perf_counter()
    task = Task(
        Action("unpack", {"dataset": slug}), facts, lead, {lead: stamp}, f"t{number}", time.time(), watch,
        holdings=Holdings(slug, datasets / slug),
    )  # fmt: skip
    prepared = await asyncio.to_thread(HANDLERS["unpack"].prepare, task, tools)
    intent = await store.intend("unpack", prepared, None, None, 0)
    await asyncio.to_thread(disk.carry_out, prepared.moves)
    await store.record(Entry("unpack", prepared.outcome, lead, intent=intent, dataset_watch="datasets", datasets_root=datasets))
    took = time.perf_counter() - begun
    check(len(list((datasets / slug).rglob("*.jpg"))) == PICTURES, "the dataset holds every picture")
    return took


async def measure(home: Path) -> tuple[list[float], list[float]]:
    for name in ("inbox", "hub", "datasets"):
        (home / name).mkdir()
    archive = home / "shoot.zip"
    pictures(archive)
    found: tuple[list[float], list[float]] = ([], [])
    async with Database(home / "data" / "dropdock.db") as database:
        store = Store(database)
        for n in range(ROUNDS + 1):
            took = await ours(archive, home, store, n), await asyncio.to_thread(plain, archive, home / f"plain-{n}")
            for folder in (home / f"plain-{n}", home / "datasets" / f"shoot-{n}"):
                shutil.rmtree(folder)
            if n:  # the first one warms imports and the page cache
                found[0].append(took[0])
                found[1].append(took[1])
    return found


def main() -> None:
    with scratch() as home:
        mine, least = asyncio.run(measure(home))
    ratio = median(a / b for a, b in zip(mine, least, strict=True))
    rows = [["dropdock: unpack to a visible dataset", median(mine), ratio], ["extractall + one decode each", median(least), 1.0]]
    notes = f"{PICTURES:,} JPEGs of {PIXELS} x {PIXELS} pixels, {THREADS} threads. Medians of {ROUNDS} rounds in turns."
    goal = Figure(
        f"{PICTURES:,}-picture ZIP to visible dataset / extractall + decode", f"<= {GOAL}x", f"{ratio:.2f}x", ratio <= GOAL
    )
    report("Archive", ["way", "s", "ratio"], rows, notes, [goal])


if __name__ == "__main__":
    main()
