"""Quality in the store: once for each content, measurements and opinions each replaced by their own kind only."""

import pytest
from dropdock.rules.captions import QUALITY_VERSION, Quality
from dropdock.rules.terms import Caption, ImageFacts, Item, Stamp
from dropdock.store import datasets, quality
from dropdock.store.database import Database
from dropdock.store.store import Store

SEEN = Quality({"sharpness": 0.7}, {}, ("blurry",), 0.6, "00ff" * 4)


@pytest.fixture
async def store(tmp_path):
    """A dataset `cats` with a and b, which are one content, and c."""
    async with Database(tmp_path / "dropdock.db") as database:
        store = Store(database, lambda: 1.0)
        held = await store.write(datasets.ensure, "cats", tmp_path / "cats", 1.0)
        for name, sha in (("a", "1"), ("b", "1"), ("c", "2")):
            item = Item("cats", f"{name}.png", sha * 64, "x", Stamp(1, 2, 3, 4), ImageFacts("png", 8, 8))
            await store.write(datasets.add_item, held, item, 1.0)
        yield store


async def test_what_is_known_of_a_content_is_known_of_each_picture_of_it(store):
    """Put once; both pictures of it have it, the other none; the mean is over pictures."""
    await store.write(quality.put, "1" * 64, SEEN, 1.0)
    assert await store.read(quality.of_items, [1, 2, 3]) == {1: SEEN, 2: SEEN}
    assert await store.read(quality.average, "CATS") == 0.6 and await store.read(quality.average, "dogs") is None
    assert quality.as_plain(SEEN)["measured"] == {"sharpness": 0.7}


async def test_an_opinion_leaves_what_was_measured(store):
    """A tagger measures, a language model says its scores: both stay, flags of both, the newer overall."""
    await store.write(quality.put, "1" * 64, SEEN, 1.0)
    await store.write(quality.put, "1" * 64, Quality(opinion={"composition": 0.9}, flags=("dark",), overall=0.8), 2.0)
    found = await store.read(quality.of, "1" * 64)
    assert (found.measured, found.opinion, found.flags) == (SEEN.measured, {"composition": 0.9}, ("blurry", "dark"))
    assert (found.overall, found.dhash) == (0.8, SEEN.dhash)
    await store.write(quality.put, "1" * 64, SEEN, 3.0)
    assert (await store.read(quality.of, "1" * 64)).opinion == {"composition": 0.9}


@pytest.mark.parametrize(
    "found, known",
    [
        (SEEN, True),
        (Quality({"sharpness": 0.7}, version=QUALITY_VERSION - 1), False),
        (Quality(opinion={"overall": 0.5}), False),
    ],
)
async def test_only_measurements_of_the_present_rule_count(store, found, known):
    """An older rule's, or an opinion alone: it is measured."""
    assert not await store.read(quality.measured, "2" * 64)
    await store.write(quality.put, "2" * 64, found, 1.0)
    assert await store.read(quality.measured, "2" * 64) is known


async def test_flags_go_with_the_text_they_are_about(store):
    """Kept with a generated text; gone with the next one, and with the picture."""
    await store.write(datasets.put_caption, Caption("cats", "a.png", "main", "x", "generated"), 1.0)
    await store.write(quality.flag_caption, "cats", "a.png", "main", ("cut",))
    await store.write(quality.flag_caption, "cats", "c.png", "main", ("cut",))  # it has no text
    assert await store.read(quality.flags_of_items, [1, 2, 3]) == {1: ("cut",)}
    await store.write(datasets.put_caption, Caption("cats", "a.png", "main", "y", "manual"), 1.0)
    assert await store.read(quality.flags_of_items, [1, 2, 3]) == {}
    await store.write(quality.flag_caption, "cats", "a.png", "main", ("refused", "cut"))
    assert await store.read(quality.flags_of_items, [1]) == {1: ("refused", "cut")}
    await store.db.write(lambda c: c.execute("DELETE FROM items WHERE id=1"))
    assert await store.read(quality.flags_of_items, [1]) == {}
