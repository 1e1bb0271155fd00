"""Orders: what a caption job asks for, with what is known of its picture at that moment."""

import pytest
from dropdock.rules.captions import Quality, Style
from dropdock.rules.terms import Caption, ImageFacts, Item, Lane, Stamp
from dropdock.store import datasets, jobs, orders, quality, runs, sets
from dropdock.store.database import Database
from dropdock.store.jobs import NewJob
from dropdock.store.runs import NewRun
from dropdock.store.store import Store


@pytest.fixture
async def store(tmp_path):
    """A dataset `cats` with a picture a."""
    async with Database(tmp_path / "dropdock.db") as database:
        store = Store(database, lambda: 1.0)
        held = await store.write(datasets.ensure, "cats", tmp_path / "cats", 1.0)
        item = Item("cats", "a.png", "1" * 64, "x", Stamp(1, 2, 3, 4), ImageFacts("png", 8, 8))
        await store.write(datasets.add_item, held, item, 1.0)
        yield store


async def claimed(store: Store, rel: str = "a.png", name: str = "main", **more: object):
    payload = {"dataset": "cats", "rel": rel, "captioner": "basic", "set": name, "only": "missing", **more}
    await store.enqueue(NewJob(f"{rel}{name}{more}", Lane.CAPTION, "t", payload))
    return await store.write(jobs.claim_for, "basic", "me", 9.0, 1)


async def asked(store: Store, *args: str, **more: object):
    (found,) = await store.read(orders.asked, await claimed(store, *args, **more))
    return found


async def test_a_picture_without_anything(store):
    """It is there, nothing is known of it, and its text would lie beside it."""
    found = await asked(store)
    assert found.item.rel == "a.png" and found.running and found.beside
    assert (found.existing, found.captioned, found.edited, found.measured, found.ours) == ("", False, False, False, None)


@pytest.mark.parametrize("source, edited", [("generated", False), ("manual", True), ("imported", True)])
async def test_a_text_that_is_there(store, source, edited):
    """It is what exists, whoever wrote it; by hand or imported it is edited; a blank one is none."""
    await store.write(datasets.put_caption, Caption("cats", "a.png", "main", "old", source, stamp=Stamp(9, 9, 9, 9)), 1.0)
    found = await asked(store)
    assert (found.existing, found.captioned, found.edited, found.ours) == ("old", True, edited, Stamp(9, 9, 9, 9))
    await store.write(datasets.put_caption, Caption("cats", "a.png", "main", "", source), 1.0)
    found = await asked(store, x=1)
    assert (found.existing, found.captioned, found.edited) == ("", False, False)


async def test_another_set_gives_its_tags_and_keeps_its_texts(store):
    """Prose beside tags: the tags are handed over; a set that is not active lies in the store alone."""
    await store.write(datasets.put_caption, Caption("cats", "a.png", "tags", "1girl, solo", "generated"), 1.0)
    found = await asked(store, "a.png", "prose")
    assert (found.tags, found.existing, found.captioned, found.beside) == ("1girl, solo", "", False, False)


async def test_imported_texts_take_the_name_of_the_first_generated_set(store):
    """`main` holds only what came along: for the set `tags` that is the text that exists."""
    await store.write(datasets.put_caption, Caption("cats", "a.png", "", "mine", "imported"), 1.0)
    found = await asked(store, "a.png", "tags")
    assert (found.existing, found.edited, found.captioned, found.beside) == ("mine", True, True, True)


async def test_a_run_lays_its_style_over_the_sets(store):
    """The trigger of the request, the length of the set; texts by hand only when it says so."""
    set_id = await store.write(datasets.set_id, 1, "main")
    await store.write(sets.describe, set_id, "basic", Style(trigger="set", max_length=50))
    run = await store.write(runs.create, NewRun("cats", "basic", style=Style(trigger="run"), overwrite=True), 1, 1.0)
    found = await asked(store, run=run)
    assert (found.style, found.overwrite) == (Style(trigger="run", max_length=50), True)
    found = await asked(store, y=1)
    assert (found.style, found.overwrite) == (Style(trigger="set", max_length=50), False)


async def test_what_is_gone_cancelled_or_measured(store):
    """A picture that went, a job that was cancelled, a content that is known."""
    found = await asked(store, "gone.png")
    assert found.item is None
    (job,) = await claimed(store)
    await store.write(jobs.cancel, job.id, 2.0)
    await store.write(quality.put, "1" * 64, Quality({"sharpness": 1.0}, overall=0.7), 1.0)
    (found,) = await store.read(orders.asked, [job])
    assert (found.running, found.measured, found.overall) == (False, True, 0.7)
