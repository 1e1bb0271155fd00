"""The caption lane: every picture ends with its text, a poisonous one fails alone, a person's text stays."""

import asyncio

import pytest
from captions_made import home_of, odd_engine, take, texts
from dropdock.handlers import disk
from dropdock.rules.terms import Lane
from dropdock.store import datasets, history, jobs, runs
from dropdock.store.jobs import NewJob
from dropdock.store.runs import NewRun
from house_made import Killed, opened
from odd import use_odd_workers
from pictures_made import picture


async def test_every_picture_ends_with_its_text(tmp_path):
    """Ten pictures, two with texts of their own: eight are written, all twelve files are there, and nothing comes back."""
    home = home_of(tmp_path)
    members = {f"{n}.png": picture(n, (64, 64)) for n in range(10)} | {"0.txt": b"mine", "1.txt": b"mine too"}
    async with opened(home) as house:
        await take(house, members)
        await house.work(Lane.CAPTION)
        assert texts(home) == {"0.txt": "mine", "1.txt": "mine too"} | {f"{n}.txt": "a text\n" for n in range(2, 10)}
        items = await house.store.read(datasets.items, "cats")
        assert {i.source for i in items} == {"imported", "generated"} and all(i.caption for i in items)
        assert set((await house.jobs()).values()) == {"done"} and home.staging_left() == []
        assert await house.store.read(history.intents) == [] and house.house.mine == set()
        before = await house.told()
        for path in sorted((home.datasets / "cats").glob("*.txt")):  # what the watcher would bring back
            await house.arrive(path)
        assert await house.told() == before


async def test_a_poisonous_picture_fails_alone(tmp_path, monkeypatch):
    """One picture kills the worker: the batch is asked again one by one, and only that one's attempt fails."""
    use_odd_workers(monkeypatch, tmp_path)
    home = home_of(tmp_path, "odd")
    async with opened(home) as house:
        odd_engine(house)
        await take(house, {f"{name}.png": picture(n, (64, 64)) for n, name in enumerate(("a", "crash", "ugly", "z"))})
        await house.work(Lane.CAPTION)
        assert texts(home) == {"a.txt": "a picture of a\n", "z.txt": "a picture of z\n"}
        waiting = {str(j.payload["rel"]): j for j in await house.store.read(jobs.listing, state="open")}
        assert {rel: (j.attempts, j.error) for rel, j in waiting.items()} == {
            "crash.png": (1, "captioner odd ended with code 7"), "ugly.png": (1, "too ugly")
        }  # fmt: skip
        for _ in range(2):
            home.clock.at = max(j.run_at for j in await house.store.read(jobs.listing, state="open"))
            await house.work(Lane.CAPTION)
        failed = await house.store.read(jobs.listing, state="failed")
        assert {str(j.payload["rel"]) for j in failed} == {"crash.png", "ugly.png"}
        assert sorted(p.name for p in (home.datasets / "cats").glob("*.png")) == ["a.png", "crash.png", "ugly.png", "z.png"]


async def test_a_hanging_picture_fails_alone(tmp_path, monkeypatch):
    """Its time runs out; the others of the batch get their texts."""
    use_odd_workers(monkeypatch, tmp_path)
    home = home_of(tmp_path, "odd")
    async with opened(home) as house:
        odd_engine(house, timeout=1.0)
        await take(house, {f"{name}.png": picture(n, (64, 64)) for n, name in enumerate(("a", "hang"))})
        await house.work(Lane.CAPTION)
        assert texts(home) == {"a.txt": "a picture of a\n"}
        (job,) = await house.store.read(jobs.listing, state="open")
        assert job.payload["rel"] == "hang.png" and "took too long" in str(job.error)


async def test_a_captioner_that_is_not_there_fails_at_once(tmp_path):
    """A job of a captioner that the config no longer has: failed with the reason, no attempts to come."""
    async with opened(home_of(tmp_path)) as house:
        await take(house, {"a.png": picture(1, (64, 64))})
        payload = {"dataset": "cats", "rel": "a.png", "captioner": "gone", "set": "main", "only": "all"}
        (job,) = await house.store.enqueue(NewJob("k", Lane.CAPTION, "caption", payload))
        await house.work(Lane.CAPTION)
        found = await house.store.read(jobs.get, job)
        assert (str(found.state), found.attempts, found.error) == ("failed", 1, "there is no captioner 'gone' in the config")
        assert texts(house.home) == {"a.txt": "a text\n"}, "the other captioner's job of that batch is done"


async def test_a_picture_that_is_gone_or_has_a_caption_costs_nothing(tmp_path):
    """Such jobs end as done without a worker process being started."""
    home = home_of(tmp_path)
    async with opened(home) as house:
        await take(house, {"a.png": picture(1, (64, 64)), "a.txt": b"mine"})
        payload = {"dataset": "cats", "captioner": "text", "set": "main", "only": "missing"}
        await house.store.enqueue(*(NewJob(r, Lane.CAPTION, r, {**payload, "rel": r}) for r in ("a.png", "gone.png")))
        await house.work(Lane.CAPTION)
        assert set((await house.jobs()).values()) == {"done"} and house.captioning.workers == []


async def test_a_text_that_a_person_saved_meanwhile_stays(tmp_path):
    """Between unpacking and captioning they write their own: it stays, and it is the caption."""
    home = home_of(tmp_path)
    async with opened(home) as house:
        await take(house, {"a.png": picture(1, (64, 64))})
        (home.datasets / "cats/a.txt").write_text("my own words")
        await house.work(Lane.CAPTION)
        assert texts(home) == {"a.txt": "my own words"}
        item = await house.store.read(datasets.item, "cats", "a.png")
        assert (item.caption, item.source) == ("my own words", "manual")


async def test_a_text_that_cannot_be_written_is_a_failed_attempt_of_that_picture(tmp_path, monkeypatch):
    """The disk refuses one of three: two are there, one waits for its next attempt, no intent stays open."""
    home = home_of(tmp_path)
    real = disk.rename_new

    def refuse(source, target):
        if target.name == "b.txt":
            raise OSError(28, "No space left on device")
        real(source, target)

    async with opened(home) as house:
        await take(house, {f"{name}.png": picture(n, (64, 64)) for n, name in enumerate("abc")})
        with monkeypatch.context() as patch:
            patch.setattr(disk, "rename_new", refuse)
            await house.work(Lane.CAPTION)
        assert sorted(texts(home)) == ["a.txt", "c.txt"] and await house.store.read(history.intents) == []
        (job,) = await house.store.read(jobs.listing, state="open")
        assert "No space left" in str(job.error)
        home.clock.at = job.run_at
        await house.work(Lane.CAPTION)
        assert texts(home)["b.txt"] == "a text\n"
        item = await house.store.read(datasets.item, "cats", "b.png")
        assert item.source == "generated"


async def test_a_set_that_is_not_the_active_one_lies_in_the_store_only(tmp_path):
    """Texts of the first set lie beside the pictures; those of a second one are recorded and write no file."""
    home = home_of(tmp_path)
    async with opened(home) as house:
        await take(house, {"a.png": picture(1, (64, 64))})
        await house.work(Lane.CAPTION)
        payload = {"dataset": "cats", "rel": "a.png", "captioner": "text", "set": "other", "only": "all"}
        await house.store.enqueue(NewJob("k", Lane.CAPTION, "caption", payload))
        await house.work(Lane.CAPTION)
        assert texts(home) == {"a.txt": "a text\n"}
        assert await house.store.read(datasets.has_caption, "cats", "a.png", "other")
        assert await house.store.read(datasets.active_name, "cats") == "main"


@pytest.mark.parametrize("moved", [False, True])
async def test_killed_while_texts_are_written_the_next_start_ends_the_same(tmp_path, monkeypatch, moved):
    """Before the moves or after them: each picture has its text once, told once, and its job is done."""
    home = home_of(tmp_path)
    async with opened(home) as house:
        await take(house, {f"{name}.png": picture(n, (64, 64)) for n, name in enumerate("ab")})
        real = disk.carry_out

        def dying(moves, again=False):
            if moved:
                real(moves, again)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(disk, "carry_out", dying)
            with pytest.raises(Killed):
                await house.work(Lane.CAPTION)
        assert len(await house.store.read(history.intents)) == 2
    async with opened(home) as house:
        await house.work(Lane.CAPTION)
        assert texts(home) == {"a.txt": "a text\n", "b.txt": "a text\n"} and home.staging_left() == []
        assert await house.performed("caption") == ["done", "done"] and await house.store.read(history.intents) == []
        assert set((await house.jobs()).values()) == {"done"}
        items = await house.store.read(datasets.items, "cats")
        assert {i.source for i in items} == {"generated"}


async def test_a_stopping_daemon_gives_its_pictures_back(tmp_path, monkeypatch):
    """Stopped while a picture is looked at: every claimed job is queued as it was."""
    use_odd_workers(monkeypatch, tmp_path)
    home = home_of(tmp_path, "odd")
    async with opened(home) as house:
        odd_engine(house)
        await take(house, {f"{name}.png": picture(n, (64, 64)) for n, name in enumerate(("a", "hang"))})
        house.hire(Lane.CAPTION)
        async with asyncio.timeout(10):
            while not any(w.flight for w in house.captioning.workers):
                await asyncio.sleep(0)
        await house.dismiss()
        found = await house.store.read(jobs.listing, lane="caption")
        assert [(str(j.state), j.attempts) for j in found] == [("queued", 0)] * 2


async def test_a_surprise_while_a_text_is_replaced_leaves_what_recovery_needs(tmp_path, monkeypatch):
    """The new text waits in staging: the next start puts it there, and the stamp that is kept is the file's."""
    home = home_of(tmp_path)

    def surprised(moves, again=False):
        raise Killed

    async with opened(home) as house:
        await take(house, {"a.png": picture(1, (64, 64))})
        await house.work(Lane.CAPTION)
        payload = {"dataset": "cats", "rel": "a.png", "captioner": "text", "set": "main", "only": "all"}
        await house.store.enqueue(NewJob("k", Lane.CAPTION, "caption", payload))
        with monkeypatch.context() as patch:
            patch.setattr(disk, "carry_out", surprised)
            with pytest.raises(Killed):
                await house.work(Lane.CAPTION)
    async with opened(home) as house:
        await house.work(Lane.CAPTION)
        kept = await house.store.read(datasets.sidecar, "cats", "a.png")
        assert kept == disk.stamp(home.datasets / "cats/a.txt") and home.staging_left() == []


async def test_a_text_by_hand_that_is_replaced_is_kept_in_the_trash(tmp_path):
    """Somebody asked for just that; what they wrote is not lost for it."""
    home = home_of(tmp_path)
    async with opened(home) as house:
        await take(house, {"a.png": picture(1, (64, 64)), "a.txt": b"my own words", "b.png": picture(2, (64, 64))})
        await house.work(Lane.CAPTION)
        wish = NewRun("cats", "text", "main", "all", overwrite=True)
        run = await house.store.read(runs.get, await house.store.write(runs.create, wish, 2, 1.0))
        await house.store.write(runs.feed, run, await house.store.read(runs.next_pictures, run, 10), True, 1.0)
        await house.work(Lane.CAPTION)
        assert texts(home) == {"a.txt": "a text\n", "b.txt": "a text\n"}
        (kept,) = [row for row in await house.store.read(history.kept_aside) if row.path.suffix == ".txt"]
        assert kept.path.read_text() == "my own words" and home.staging_left() == []


@pytest.mark.parametrize("way", ["a ZIP", "a picture"])
async def test_of_several_sets_the_first_of_the_rules_lies_beside_the_pictures(tmp_path, way):
    """Whichever captioner is the faster one: what trainers read is no matter of luck."""
    home = home_of(tmp_path, "text, set: tags}}, {caption: {with: odd", "prose")
    async with opened(home) as house:
        if way == "a ZIP":
            await take(house, {"a.png": picture(1, (64, 64))})
        else:
            (home.inbox / "cats").mkdir()
            (home.inbox / "cats/a.png").write_bytes(picture(1, (64, 64)))
            await house.arrive(home.inbox / "cats/a.png")
            await house.work()
        quick = datasets.Caption("cats", "a.png", "prose", "The faster one.", "generated", "odd")
        assert await house.store.write(datasets.put_caption, quick, 1.0)
        assert await house.store.read(datasets.active_name, "cats") == "tags"
        await house.work(Lane.CAPTION)
        assert texts(home) == {"a.txt": "a text\n"}
