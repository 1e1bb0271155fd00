"""Datasets in the store: what a dataset holds, as the hand that adds to it is told."""

from dataclasses import replace

import pytest
from dropdock.rules.terms import Caption, ImageFacts, Item, Stamp
from dropdock.store import datasets, files, history
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


async def test_a_text_in_one_set_is_none_in_another(store, tmp_path):
    """A picture that came with its tags has no prose yet."""
    held = await store.write(datasets.ensure, "cats", tmp_path / "cats", 1.0)
    for name in ("a.png", "b.png"):
        item = Item("cats", name, name[0] * 64, name[0] * 32, Stamp(1, 1, 1, 1), ImageFacts("png", 64, 48))
        await store.write(datasets.add_item, held, item, 1.0)
    await store.write(datasets.put_caption, Caption("cats", "a.png", "", "mine", "imported"), 1.0)
    assert await store.read(datasets.has_caption, "cats", "a.png", "tags"), "it will be in that set"
    await store.write(datasets.put_caption, Caption("cats", "b.png", "tags", "said", "generated"), 2.0)
    assert await store.read(datasets.has_caption, "cats", "a.png", "tags")
    assert not await store.read(datasets.has_caption, "cats", "a.png", "prose")


async def test_a_picture_keeps_when_it_was_last_seen_as_recorded(store, tmp_path):
    """Added, then looked at on its own, then met by the comparison of its folder; another file of that name is not it."""
    held = await store.write(datasets.ensure, "cats", tmp_path / "cats", 1.0)
    item = Item("cats", "a.png", "a" * 64, "b" * 32, Stamp(1, 2, 3, 4), ImageFacts("png", 64, 48))
    found = await store.write(datasets.add_item, held, item, 5.0)

    async def seen() -> float:
        (row,) = await store.read(datasets.items, "cats")
        return row.verified

    assert await seen() == 5.0
    await store.write(datasets.verify, [found], 6.0)
    assert await seen() == 6.0
    await store.write(history.put_watch, "datasets", tmp_path, "dataset")
    await store.write(files.track_all, "datasets", {tmp_path / "cats/a.png": Stamp(1, 2, 3, 4)}, 7.0)
    await store.write(history.set_scanned, "datasets", 8.0, 1, None)
    assert await seen() == 8.0
    await store.write(files.track_all, "datasets", {tmp_path / "cats/a.png": Stamp(1, 9, 3, 4)}, 9.0)
    assert await seen() == 6.0
