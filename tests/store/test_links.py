"""Links and blobs in the store: what an index must answer, and the migration that brought them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from dropdock.rules.terms import Facts, Kind, Model, Outcome, Stamp, Status
from dropdock.store import blobs, links, models
from dropdock.store.blobs import BlobState
from dropdock.store.database import Database, migrations
from dropdock.store.rows import LinkRow
from dropdock.store.store import Entry, Store

SCOPE = Path("/comfy/loras")
ROW = LinkRow(
    SCOPE / "a.pt", "comfyui", "lora", Path("/hub/a.pt"), "aa", "ok", True, "copy", 5.0, "why", SCOPE, "a", Stamp(1, 2, 3, 4)
)


def model(sha: str, blob: str) -> Model:
    return Model(sha, sha, 1, Path(blob).name, Path(blob), Facts(Path(blob), Kind.MODEL, 1))


@pytest.fixture
async def store(tmp_path: Path):
    async with Database(tmp_path / "d.db") as database:
        yield Store(database, lambda: 100.0)


async def test_a_row_survives_the_trip(store: Store) -> None:
    """Stamp, claim and note of a link come back as they went, names that are no UTF-8 too."""
    odd = LinkRow(SCOPE / "b\udcff", "comfyui", "lora", Path("/hub/b\udcff"), "bb", "missing", False, "symlink", None)
    await store.write(links.put, [ROW, odd])
    assert await store.read(links.listing) == [ROW, odd]
    await store.write(links.drop, [ROW.at])
    assert await store.read(links.listing) == [odd]


async def test_a_taken_name_is_found_but_not_ones_own(store: Store) -> None:
    """Somebody else's claim counts, in its own scope and target alone."""
    await store.write(links.put, [ROW])
    claims = [("comfyui", SCOPE, "a"), ("comfyui", SCOPE, "b"), ("forge", SCOPE, "a"), ("comfyui", SCOPE.parent, "a")]
    assert await store.read(links.taken, claims, {"zz"}) == {claims[0]}
    assert await store.read(links.taken, claims, {"aa"}) == frozenset()


async def test_what_one_change_asks_is_answered_from_indexes(store: Store) -> None:
    """No question about one model scans a table, however many rows it has."""

    def plans(c: sqlite3.Connection) -> list[str]:
        found: list[str] = []
        asked: list[str] = []
        c.set_trace_callback(asked.append)
        links.stock(c, ["aa"])
        links.taken(c, [("comfyui", SCOPE, "a")], [])
        links.named(c, ["a.pt"])
        links.kin(c)
        blobs.blobs(c, ["aa"])
        blobs.pass_on(c)
        c.set_trace_callback(None)
        for sql in asked:
            found += [row[3] for row in c.execute(f"EXPLAIN QUERY PLAN {sql}")]
        return found

    steps = await store.write(plans)
    assert any("models_type" in step for step in steps) and any("links_claim" in step for step in steps)
    assert [
        step for step in steps if step.startswith("SCAN") and "json_each" not in step and "models_successor" not in step
    ] == []


async def test_the_wishes_of_a_replaced_blob_pass_on(store: Store) -> None:
    """Targets, tags, the person's word and adopted places go over to what it became, once that is recorded, and only once."""
    await store.record(Entry("store", Outcome(Status.DONE, models=(model("aa", "/hub/aa/x"),), deploy=("aa",)), quiet=True))
    await store.write(models.override, "aa", "vae", None, 1.0)
    await store.write(links.adopt_place, "aa", Path("/lib/x"))
    await store.write(blobs.succeed, "aa", "bb")
    assert await store.write(blobs.pass_on) == []
    await store.record(Entry("store", Outcome(Status.DONE, models=(model("bb", "/hub/bb/x"),)), quiet=True))
    assert await store.write(blobs.pass_on) == ["aa", "bb"]
    assert await store.write(blobs.pass_on) == []
    old, new = await store.read(models.get, "aa"), await store.read(models.get, "bb")
    assert old is not None and new is not None
    assert (old.wanted, new.wanted, new.type) == (None, "*", "vae")
    assert (await store.read(links.stock, ["bb"])).adopted == {"bb": (Path("/lib/x"),)}


async def test_content_that_comes_again_is_whole_again(store: Store) -> None:
    """A blob that was gone or replaced, dropped once more at the very same place: looked at anew, with no successor."""
    await store.record(Entry("store", Outcome(Status.DONE, models=(model("aa", "/hub/aa/x"),)), quiet=True))
    await store.write(blobs.leave, {"aa": Stamp(1, 2, 3, 0)})
    await store.write(blobs.mark, ["aa"], BlobState.GONE)
    await store.record(Entry("store", Outcome(Status.DONE, models=(model("aa", "/hub/aa/x"),)), quiet=True))
    row = (await store.read(blobs.blobs, ["aa"]))[0]
    assert (row.state, row.left) == (BlobState.OK, None)


async def test_an_older_database_is_brought_along_with_a_backup(tmp_path: Path) -> None:
    """A database of version 1 with a model and a link: both are there afterwards, and as they were in the backup beside it."""
    path = tmp_path / "d.db"
    with sqlite3.connect(path) as c:
        c.executescript(dict(migrations())[1])
        c.execute(
            """INSERT INTO models(sha256, xxh3, size, name, blob, in_hub, type, base, confidence, condition, facts, wanted, added)
               VALUES ('aa', 'aa', 1, 'a.pt', '/hub/a.pt', 1, 'lora', 'sdxl', 1, 'ok', '{}', '*', 1)"""
        )
        c.execute("INSERT INTO links VALUES ('/comfy/a.pt', 'comfyui', 'lora', '/hub/a.pt', 'aa', 'ok', 1, 'symlink', 1)")
        c.execute("PRAGMA user_version=1")
    async with Database(path) as database:
        store = Store(database)
        stock = await store.read(links.stock, ["aa"])
        assert [m.name for m in stock.models] == ["a.pt"] and [(r.state, r.ours, r.note) for r in stock.links] == [
            ("ok", True, "")
        ]
        assert (await store.read(blobs.blobs, ["aa"]))[0].left is None
    with sqlite3.connect(path.with_name("d.db.before-0002")) as c:
        assert c.execute("PRAGMA user_version").fetchone() == (1,)
        assert c.execute("SELECT name FROM models").fetchall() == [("a.pt",)]
