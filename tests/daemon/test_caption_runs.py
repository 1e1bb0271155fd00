"""Caption runs: a dataset captioned as one thing; what is by hand stays; paused, cancelled or killed, nothing is done twice or half."""

import asyncio

import pytest
from captions_made import home_of, odd_engine, take, texts
from dropdock.daemon.caption_runs import CaptionRuns
from dropdock.handlers import disk
from dropdock.rules.captions import Quality, Style
from dropdock.rules.terms import Caption, ImageFacts, Item, Lane, Stamp
from dropdock.store import datasets, history, jobs, quality, runs
from dropdock.store.runs import NewRun
from house_made import Home, Opened, opened
from odd import use_odd_workers
from pictures_made import picture


@pytest.fixture
async def house(tmp_path, monkeypatch):
    """A dataset `cats` of a, b, dull and e, of which none has a text; the captioner `odd` waits for jobs."""
    use_odd_workers(monkeypatch, tmp_path)
    async with opened(home_of(tmp_path, "odd")) as house:
        odd_engine(house)
        await filled(house, "a", "b", "dull", "e")
        yield house


async def filled(house: Opened, *names: str) -> None:
    await take(house, {f"{name}.png": picture(n, (64, 64)) for n, name in enumerate(names)})
    for job in await house.store.read(jobs.listing, lane="caption"):
        await house.store.write(jobs.cancel, job.id, house.store.now())


async def end_of(house: Opened, made: CaptionRuns, run_id: int) -> runs.RunRow:
    """Let a run go on until it is over."""
    feeding = asyncio.create_task(made.run())
    house.hire(Lane.CAPTION)
    try:
        async with asyncio.timeout(20):
            while (row := await house.store.read(runs.get, run_id)).state == "running":
                await asyncio.sleep(0.02)
    finally:
        feeding.cancel()
        await house.dismiss()
    return row


async def begun(house: Opened, **wish: object) -> tuple[CaptionRuns, runs.RunRow]:
    made = CaptionRuns(house.house, house.lanes)
    run = await made.begin(NewRun("cats", "odd", **wish))
    assert isinstance(run, runs.RunRow), run
    return made, run


async def test_a_dataset_is_captioned_and_the_run_is_done(house):
    """Each picture has its text, the run counts them, and one line of history says that it is over."""
    made, run = await begun(house, style=Style(trigger="ohwx"))
    assert (run.total, run.state) == (4, "running")
    end = await end_of(house, made, run.id)
    assert (end.state, end.total, end.done, end.failed, end.fed) == ("done", 4, 4, 0, 4)
    assert texts(house.home) == {f"{n}.txt": f"a picture of {n} after ohwx\n" for n in ("a", "b", "dull", "e")}
    (line,) = [h for h in await house.told() if h.event == "completed"]
    assert (line.status, line.note) == ("done", f"run {run.id}: 4 of 4 pictures with odd")
    assert [str(j.state) for j in await house.store.read(runs.items, run.id)] == ["done"] * 4


async def test_only_missing_leaves_what_is_there_and_all_takes_what_is_generated(house):
    """A second run has nothing to do; one for all has every generated text, and gives it to the captioner as what is there."""
    made, run = await begun(house)
    await end_of(house, made, run.id)
    made, run = await begun(house)
    assert (await end_of(house, made, run.id)).total == 0
    made, run = await begun(house, picks="all", style=Style(trigger="x"))
    assert (await end_of(house, made, run.id)).done == 4
    assert texts(house.home)["a.txt"] == "a picture of a after x a picture of a\n"


async def test_a_text_by_hand_stays_unless_it_is_asked_for(house):
    """`all` neither counts nor touches it; `overwrite` does both."""
    beside = house.home.datasets / "cats/a.txt"
    beside.write_text("my own")
    await house.arrive(beside)
    made, run = await begun(house, picks="all")
    assert run.total == 3
    await end_of(house, made, run.id)
    assert beside.read_text() == "my own"
    made, run = await begun(house, picks="all", overwrite=True)
    assert (await end_of(house, made, run.id)).done == 4
    assert beside.read_text() == "a picture of a after my own\n"


async def test_a_text_edited_while_its_picture_is_looked_at_stays(house, tmp_path):
    """It was generated when the run began; saved by hand before the new one is written, it wins."""
    made, run = await begun(house)
    await end_of(house, made, run.id)
    (tmp_path / "gate").touch()
    odd_engine(house, gate=str(tmp_path / "gate"))
    made, run = await begun(house, picks="all", pictures=(1,))
    feeding = asyncio.create_task(made.run())
    house.hire(Lane.CAPTION)
    async with asyncio.timeout(20):
        while not any(w.flight for w in house.captioning.workers):
            await asyncio.sleep(0.01)
        (house.home.datasets / "cats/a.txt").write_text("saved meanwhile")
        (tmp_path / "gate").unlink()
        while (await house.store.read(runs.get, run.id)).state == "running":
            await asyncio.sleep(0.02)
    feeding.cancel()
    assert (house.home.datasets / "cats/a.txt").read_text() == "saved meanwhile"
    item = await house.store.read(datasets.item, "cats", "a.png")
    assert (item.caption, item.source) == ("saved meanwhile", "manual")


async def test_one_text_that_is_saved_in_between_costs_the_others_nothing(house, monkeypatch):
    """All four are ours and written anew; one is saved by hand at the very moment: that one stays, the three others are new."""
    made, run = await begun(house)
    await end_of(house, made, run.id)
    saved, real = house.home.datasets / "cats/b.txt", disk.carry_out

    def late(moves, *args):
        if any(move.dst == saved for move in moves) and saved.read_text() != "mine":
            saved.write_text("mine")
        real(moves, *args)

    monkeypatch.setattr(disk, "carry_out", late)
    made, run = await begun(house, picks="all", style=Style(trigger="x"))
    end = await end_of(house, made, run.id)
    assert (end.done, end.failed) == (4, 0) and saved.read_text() == "mine"
    new = {name: text for name, text in texts(house.home).items() if text.startswith("a picture of")}
    assert set(new) == {"a.txt", "dull.txt", "e.txt"} and all("after x" in text for text in new.values())
    assert house.home.staging_left() == [] and await house.store.read(history.intents) == []


async def test_below_measures_first_and_then_takes_what_is_bad(house):
    """Nothing is known of four pictures: all are measured, the one below 0.6 is captioned, the others keep what they have."""
    config = house.house.config
    house.house.config.captioners["basic"] = config.captioners["odd"].__class__("basic", "odd", {})  # type: ignore[index]
    made, run = await begun(house, picks="below", below=0.6)
    assert (run.total, run.phase) == (4, "measure")
    end = await end_of(house, made, run.id)
    assert (end.done, end.total, end.phase, end.state) == (5, 5, "caption", "done")
    assert texts(house.home) == {"dull.txt": "a picture of dull\n"}
    item = await house.store.read(datasets.item, "cats", "dull.png")
    known = await house.store.read(quality.of, item.sha256)
    assert (known.overall, known.flags, known.measured) == (0.4, ("dull",), {"sharpness": 0.5})


async def test_some_pictures_only_and_flags_of_their_texts(house):
    """A list of ids; what a person should know of a text is kept with it."""
    made, run = await begun(house, pictures=(2, 4, 999))
    assert (await end_of(house, made, run.id)).done == 2
    assert sorted(texts(house.home)) == ["b.txt", "e.txt"]
    assert await house.store.read(quality.flags_of_items, [1, 2, 4]) == {2: ("short",), 4: ("short",)}
    caption = Caption("cats", "b.png", "main", "another", "manual")
    await house.store.write(datasets.put_caption, caption, 1.0)
    assert await house.store.read(quality.flags_of_items, [1, 2, 4]) == {4: ("short",)}


async def test_what_cannot_be_begun_says_why(house):
    """No such captioner, no such dataset."""
    made = CaptionRuns(house.house, house.lanes)
    assert "no captioner `nobody`" in await made.begin(NewRun("cats", "nobody"))
    assert "no dataset `dogs`" in await made.begin(NewRun("dogs", "odd"))


async def test_a_paused_run_waits_and_goes_on_where_it_was(house):
    """Paused before its first picture: nothing is claimed, whatever restarts; resumed, it ends."""
    made, run = await begun(house)
    await house.store.write(runs.feed, run, await house.store.read(runs.next_pictures, run, 2), False, 1.0)
    assert await made.order(run.id, "pause") and not await made.order(run.id, "pause")
    assert await house.store.write(jobs.claim_for, "odd", "x", 9e9, 10) == []
    await house.store.write(runs.mend)
    assert await house.store.write(jobs.claim_for, "odd", "x", 9e9, 10) == []
    assert await made.order(run.id, "resume")
    end = await end_of(house, made, run.id)
    assert (end.done, end.fed) == (4, 4) and len(texts(house.home)) == 4


async def test_a_cancelled_run_leaves_nothing_behind(house, tmp_path):
    """Cancelled while a picture is looked at: its answer is thrown away, no text, no open job."""
    (tmp_path / "gate").touch()
    odd_engine(house, gate=str(tmp_path / "gate"))
    made, run = await begun(house)
    feeding = asyncio.create_task(made.run())
    house.hire(Lane.CAPTION)
    async with asyncio.timeout(20):
        while not any(w.flight for w in house.captioning.workers):
            await asyncio.sleep(0.01)
    assert await made.order(run.id, "cancel") and not await made.order(run.id, "resume")
    (tmp_path / "gate").unlink()
    async with asyncio.timeout(20):
        while any(w.flight for w in house.captioning.workers):
            await asyncio.sleep(0.01)
    feeding.cancel()
    await house.dismiss()
    assert texts(house.home) == {} and house.home.staging_left() == []
    row = await house.store.read(runs.get, run.id)
    assert (row.state, row.cancelled, row.waiting) == ("cancelled", 4, 0)
    assert await house.store.read(history.intents) == []


async def test_a_killed_daemon_goes_on_exactly_where_it_was(house):
    """Two of four are fed and one of them done; a new process makes the jobs of the other two only."""
    made, run = await begun(house)
    await house.store.write(runs.feed, run, await house.store.read(runs.next_pictures, run, 2), False, 1.0)
    (job,) = await house.store.write(jobs.claim_for, "odd", "dead", house.store.now(), 1)
    await house.store.write(jobs.finish, job.id, "dead", 1.0)
    await house.store.write(jobs.claim_for, "odd", "dead", house.store.now(), 1)
    await house.store.write(jobs.void_leases)
    made = CaptionRuns(house.house, house.lanes)
    await made.start()
    end = await end_of(house, made, run.id)
    assert (end.fed, end.done, end.total) == (4, 4, 4)
    assert [j.payload["rel"] for j in await house.store.read(runs.items, run.id)] == ["a.png", "b.png", "dull.png", "e.png"]


async def test_a_large_run_is_fed_in_portions(tmp_path, monkeypatch):
    """3000 pictures: never more than a few hundred jobs wait, and every one is counted."""
    use_odd_workers(monkeypatch, tmp_path)
    async with opened(Home(tmp_path)) as house:
        folder = await house.store.write(datasets.ensure, "many", tmp_path / "datasets/many", 1.0)

        def add(c):
            for n in range(3000):
                facts = ImageFacts("png", 8, 8)
                datasets.add_item(c, folder, Item("many", f"{n}.png", f"{n:064}", "x", Stamp(1, 1, 1, 1), facts), 1.0)

        await house.store.db.write(add)
        made = CaptionRuns(house.house, house.lanes)
        run = await made.begin(NewRun("many", "basic"))
        feeding, most, done = asyncio.create_task(made.run()), 0, 0
        async with asyncio.timeout(30):
            while done < 3000:
                most = max(most, await house.store.read(jobs.waiting_for, "basic"))
                claimed = await house.store.write(jobs.claim_for, "basic", "me", 9e9, 200)
                for job in claimed:
                    done += await house.store.write(jobs.finish, job.id, "me", 1.0)
                await asyncio.sleep(0 if claimed else 0.01)
            while (row := await house.store.read(runs.get, run.id)).state == "running":
                await asyncio.sleep(0.01)
        feeding.cancel()
        assert (row.fed, row.done, row.total) == (3000, 3000, 3000) and most <= 256 + 256


async def test_progress_says_how_fast_and_how_long(house):
    """With a known speed the time left follows; without one nothing is guessed."""
    made, run = await begun(house)
    assert made.progress(run) == type(made.progress(run))(0, 0.0, None)
    heard = []
    async with house.feed.subscribe(None) as events:
        feeding = asyncio.create_task(made.run())  # until the end was told, which is a moment after it is recorded
        house.hire(Lane.CAPTION)
        async with asyncio.timeout(20):
            while not any(e.data.get("state") == "done" for e in heard):
                heard.append(await anext(events))
        feeding.cancel()
        await house.dismiss()
    last = heard[-1]
    assert (last.type, last.id, last.data["progress"], last.data["done"]) == ("progress", None, 1.0, 4)
    assert {e.data["rel"] for e in heard if e.type == "caption_generated"} == {"a.png", "b.png", "dull.png", "e.png"}


async def test_quality_is_measured_once_for_each_content(house):
    """What a captioner measured of a picture is asked of no other one."""
    made, run = await begun(house)
    await end_of(house, made, run.id)
    item = await house.store.read(datasets.item, "cats", "a.png")
    assert await house.store.read(quality.measured, item.sha256)
    await house.store.write(quality.put, item.sha256, Quality(opinion={"overall": 0.9}), 1.0)
    known = await house.store.read(quality.of, item.sha256)
    assert (known.measured, known.opinion, known.overall) == ({"sharpness": 0.5}, {"overall": 0.9}, 0.8)
