"""Datasets in the store: what a dataset holds, as the hand that adds to it is told."""

from dataclasses import replace

import pytest
from dropdock.rules.terms import Caption, ImageFacts, Item, Stamp
from dropdock.store import datasets
from dropdock.store.database import Database
from dropdock.store.store import Store


@pytest.fixture
async def store(tmp_path):
    async with Database(tmp_path / "dropdock.db") as database:
        yield Store(database, lambda: 1_000_000.0)


async def test_holdings_tell_which_pictures_have_a_text_in_the_active_set(store, tmp_path):
    """a has an imported text, b one of a set that is not active, c none: only a counts as captioned; another case of the slug asks
    the same; a dataset that is not there holds nothing."""
    held = await store.write(datasets.ensure, "cats", tmp_path / "cats", 1.0)
    item = Item("cats", "a.png", "sha-a", "xxh-a", Stamp(1, 2, 3, 4), ImageFacts("png", 8, 8), "00ff" * 4)
    for name in "abc":
        await store.write(datasets.add_item, held, replace(item, rel=f"{name}.png", sha256=f"sha-{name}"), 1.0)
    await store.write(datasets.set_id, held, "tags")
    await store.write(datasets.put_caption, Caption("cats", "a.png", "", "mine", "imported"), 1.0)
    await store.write(datasets.put_caption, Caption("cats", "b.png", "other", "theirs", "generated"), 1.0)
    found = await store.read(datasets.holdings, "CATS")
    assert found.captioned == frozenset({"a.png"})
    assert found.names == {"a.png", "b.png", "c.png"} and found.contents["sha-c"] == "c.png"
    assert await store.read(datasets.holdings, "dogs") is None


async def test_only_a_set_of_what_came_along_gives_its_place_away(store, tmp_path):
    """`main` takes the name of the first set that is asked for while nothing in it was generated, and keeps its own from then on."""
    held = await store.write(datasets.ensure, "cats", tmp_path / "cats", 1.0)
    item = Item("cats", "a.png", "a" * 64, "b" * 32, Stamp(1, 1, 1, 1), ImageFacts("png", 64, 48))
    await store.write(datasets.add_item, held, item, 1.0)
    await store.write(datasets.put_caption, Caption("cats", "a.png", "main", "mine", "imported"), 1.0)
    assert await store.read(datasets.takes_over, "cats", "tags")
    assert not await store.read(datasets.takes_over, "cats", "main") and not await store.read(datasets.takes_over, "dogs", "tags")
    await store.write(datasets.put_caption, Caption("cats", "a.png", "main", "said", "generated"), 2.0)
    assert not await store.read(datasets.takes_over, "cats", "tags")
    await store.write(datasets.put_caption, Caption("cats", "a.png", "tags", "one, two", "generated"), 3.0)
    assert await store.read(datasets.active_name, "cats") == "main"
