"""Caption sets: counts by source, and styles that come back as they were kept."""

import pytest
from dropdock.rules.captions import Style
from dropdock.rules.terms import Caption, ImageFacts, Item, Stamp
from dropdock.store import datasets, sets
from dropdock.store.database import Database
from dropdock.store.store import Store
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.text(max_size=12)
STYLES = st.builds(
    Style,
    kind=st.sampled_from(["", "tags", "natural"]),
    prompt=WORDS,
    trigger=WORDS,
    max_length=st.integers(0, 900),
    exclude=st.lists(WORDS, max_size=3).map(tuple),
    replace=st.dictionaries(WORDS, WORDS, max_size=3),
    underscores=st.sampled_from([None, True, False]),
    escape=st.sampled_from([None, True, False]),
)


@pytest.fixture
async def store(tmp_path):
    async with Database(tmp_path / "dropdock.db") as database:
        yield Store(database, lambda: 1_000_000.0)


@given(STYLES)
def test_a_style_comes_back_as_it_was_kept(style):
    """Whatever it asks for, False included."""
    assert sets.style(sets.written(style)) == style


async def test_a_set_tells_its_texts_by_source(store, tmp_path):
    """Two sets of one dataset; the first is the active one, and only known sets have a style."""
    held = await store.write(datasets.ensure, "cats", tmp_path / "cats", 1.0)
    for name in "abc":
        item = Item("cats", f"{name}.png", f"sha-{name}", "x", Stamp(1, 2, 3, 4), ImageFacts("png", 8, 8), "00ff" * 4)
        await store.write(datasets.add_item, held, item, 1.0)
    tags = await store.write(datasets.set_id, held, "tags")
    await store.write(sets.describe, tags, "tagger", Style(trigger="ohwx"))
    for rel, name, source in [("a.png", "tags", "imported"), ("b.png", "tags", "generated"), ("b.png", "long", "manual")]:
        await store.write(datasets.put_caption, Caption("cats", rel, name, "text", source), 5.0)
    first, second = await store.read(sets.listing, "cats")
    assert (first.name, first.active, first.captioner, first.style) == ("tags", True, "tagger", Style(trigger="ohwx"))
    assert (first.pictures, first.imported, first.generated, first.manual, first.captions) == (3, 1, 1, 0, 2)
    assert (second.name, second.active, second.manual) == ("long", False, 1)
    assert await store.read(sets.style_of, "cats", "tags") == Style(trigger="ohwx")
    assert await store.read(sets.style_of, "cats", "nothing") == Style() and await store.read(sets.one, "dogs", "tags") is None
