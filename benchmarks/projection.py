"""Links after one change, with 100, 10,000 and 100,000 recorded models and four targets. Goal: at most 2x from first to last.

The models that do not change are rows of a real database, as the store itself writes them, with four links each; their files are not
on the disk, since a change must not look at them. Measured is from a changed model to its four links recorded: deployed, then
undeployed.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from statistics import median

import structlog
from _bench import Figure, check, report, scratch
from dropdock.daemon.config import read
from dropdock.daemon.house import House
from dropdock.daemon.projection import Projection
from dropdock.rules.globs import fold
from dropdock.rules.terms import Facts, Kind, Model, ModelFacts
from dropdock.store import links, models
from dropdock.store.database import Database
from dropdock.store.rows import LinkRow
from dropdock.store.store import Store

SIZES = (100, 10_000, 100_000)
FOLDERS = {"comfyui": "models/loras", "forge": "models/Lora", "swarmui": "Models/Lora", "fooocus": "models/loras"}
ROUNDS = 41
GOAL = 2.0
CONFIG = "data_dir: data\nhub: hub\ndatasets: datasets\ntargets:\n" + "".join(
    f"  {app}: {{layout: {app}, path: apps/{app}}}\n" for app in FOLDERS
)


def model(home: Path, name: str) -> Model:
    sha = hashlib.sha256(name.encode()).hexdigest()
    blob = home / "hub" / sha[:2] / sha / f"{name}.safetensors"
    facts = Facts(blob, Kind.MODEL, 4, model=ModelFacts("safetensors", "lora", "sdxl", confidences={"type": 1.0, "base": 1.0}))
    return Model(sha, sha[:32], 4, blob.name, blob, facts)


def linked(home: Path, made: Model) -> list[LinkRow]:
    rows = []
    for app, folder in FOLDERS.items():
        scope = home / "apps" / app / folder
        at = scope / made.name
        rows.append(LinkRow(at, app, "lora", made.blob, made.sha256, "ok", True, "symlink", 1.0, "", scope, fold(at.stem)))
    return rows


async def fill(store: Store, home: Path, first: int, last: int) -> None:
    """Models and links that are there already."""
    for start in range(first, last, 5000):
        made = [model(home, f"model-{n:06}") for n in range(start, min(start + 5000, last))]

        def work(c, made=made) -> None:  # type: ignore[no-untyped-def]
            for one in made:
                models.keep(c, one, one.blob, 1.0)
                models.want(c, one.sha256)
            links.put(c, (row for one in made for row in linked(home, one)))

        await store.db.write(work)


async def one_change(store: Store, projection: Projection, changed: Model) -> float:
    """Seconds from a change to recorded links: made, and taken away again."""
    took = 0.0
    for on in (True, False):
        await store.write(links.deploy, changed.sha256, [], on, list(FOLDERS))
        begun = time.perf_counter()
        await projection.project_some([changed.sha256])
        took += time.perf_counter() - begun
    return took


async def measure(home: Path) -> list[list[object]]:
    rows: list[list[object]] = []
    async with Database(home / "data" / "dropdock.db") as database:
        store = Store(database)
        projection = Projection(House(read(CONFIG, home / "config.yaml", {"HOME": str(home)}), store))
        changed = model(home, "changed")
        changed.blob.parent.mkdir(parents=True)
        changed.blob.write_bytes(b"1234")
        await store.write(models.keep, changed, changed.blob, 1.0)
        there = 0
        for size in SIZES:
            await fill(store, home, there, size)
            there = size
            times = [await one_change(store, projection, changed) for _ in range(ROUNDS)]
            rows.append([f"{size:,}", f"{size * len(FOLDERS):,}", median(times) * 1e3])
        await store.write(links.deploy, changed.sha256, [], True, list(FOLDERS))
        await projection.project_some([changed.sha256])
        found = await store.read(links.listing, sha256=changed.sha256)
        check([row.state for row in found] == ["ok"] * len(FOLDERS), "every target has its link")
        check(all(row.at.resolve() == changed.blob for row in found), "every link names the hub's file")
    first = rows[0][2]
    assert isinstance(first, float)
    for row in rows:
        assert isinstance(row[2], float)
        row.append(row[2] / first)
    return rows


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with scratch(fast=True) as home:
        for app in FOLDERS:
            (home / "apps" / app).mkdir(parents=True)
        rows = asyncio.run(measure(home))
    ratio = rows[-1][3]
    assert isinstance(ratio, float)
    report(
        "Links after one change, four targets",
        ["models", "links", "ms for a model deployed and undeployed", "ratio"],
        rows,
        f"Median of {ROUNDS}, database in memory.",
        [Figure("links after one change, 100 to 100,000 models", f"<= {GOAL}x", f"{ratio:.2f}x", ratio <= GOAL)],
    )


if __name__ == "__main__":
    main()
