"""Caption jobs and runs in the store: claimed by captioner in order, looked up by index, fed in steps that cannot be taken twice."""

import pytest
from dropdock.rules.terms import ImageFacts, Item, Lane, Stamp
from dropdock.store import datasets, jobs, runs
from dropdock.store.database import Database
from dropdock.store.jobs import NewJob
from dropdock.store.runs import NewRun
from dropdock.store.store import Store


@pytest.fixture
async def store(tmp_path):
    """A dataset `cats` of five pictures."""
    async with Database(tmp_path / "dropdock.db") as database:
        store = Store(database, lambda: 1.0)
        held = await store.write(datasets.ensure, "cats", tmp_path / "cats", 1.0)
        for n in range(5):
            item = Item("cats", f"{n}.png", f"{n}" * 64, "x", Stamp(1, 2, 3, 4), ImageFacts("png", 8, 8))
            await store.write(datasets.add_item, held, item, 1.0)
        yield store


def job(key: str, captioner: str, priority: int = 0, lane: Lane = Lane.CAPTION) -> NewJob:
    return NewJob(key, lane, key, {"captioner": captioner}, priority)


async def test_each_captioner_claims_its_own_by_priority(store):
    """Others' jobs and other lanes stay; the highest priority first, then the oldest; a paused lane gives nothing."""
    await store.enqueue(job("a1", "a"), job("b1", "b"), job("a2", "a", 10), job("a3", "a"), job("h", "a", 99, Lane.CPU))
    assert await store.read(jobs.captioners_asked) == ["a", "b"]
    assert (await store.read(jobs.top_for, "a"), await store.read(jobs.waiting_for, "a")) == (10, 3)
    assert [j.key for j in await store.write(jobs.claim_for, "a", "me", 2.0, 2)] == ["a2", "a1"]
    await store.write(jobs.pause_lane, Lane.CAPTION, True)
    assert await store.write(jobs.claim_for, "a", "me", 2.0, 2) == []
    assert await store.read(jobs.next_due_for, "a") is None
    await store.write(jobs.pause_lane, Lane.CAPTION, False)
    assert await store.read(jobs.next_due_for, "a") == 1.0 and await store.read(jobs.next_due_for, "c") is None
    assert [j.key for j in await store.write(jobs.claim_for, "a", "me", 2.0, 9)] == ["a3"]
    assert await store.read(jobs.captioners_asked) == ["b"] and await store.read(jobs.top_for, "a") == 0


async def test_why_jobs_wait_is_said_without_costing_anything(store):
    """The next ones of a captioner bear the reason; the claim takes it away."""
    await store.enqueue(job("a1", "a"), job("a2", "a"), job("b1", "b"))
    await store.write(jobs.say_why, "a", "no model", 1)
    found = {j.key: (j.error, j.attempts) for j in await store.read(jobs.listing)}
    assert found == {"a1": ("no model", 0), "a2": (None, 0), "b1": (None, 0)}
    (claimed,) = await store.write(jobs.claim_for, "a", "me", 2.0, 1)
    assert (claimed.error, claimed.attempts) == (None, 1)
    await store.write(jobs.release_all, [claimed.id], "me")
    assert (await store.read(jobs.get, claimed.id)).attempts == 0


async def test_the_queries_use_their_indexes(store):
    """However many jobs there are: no plan scans the table of jobs or sorts it."""

    def plans(c):
        queries = (
            f"SELECT id FROM jobs WHERE {jobs._FOR}='a' AND run_at<=5 ORDER BY priority DESC, run_at, id LIMIT 4",
            "SELECT id FROM jobs WHERE json_extract(payload, '$.run')=3 AND state='running'",
            "SELECT id FROM caption_runs WHERE state IN ('running', 'paused')",
        )
        return [" ".join(row[3] for row in c.execute(f"EXPLAIN QUERY PLAN {q}")) for q in queries]

    first, second, third = await store.db.read(plans)
    assert "jobs_captioner" in first and "TEMP B-TREE" not in first
    assert "jobs_run" in second and "caption_runs_open" in third


async def test_a_step_is_taken_once(store):
    """Fed from where it was: the same step again makes nothing; a paused run takes none."""
    run_id = await store.write(runs.create, NewRun("cats", "basic"), 5, 1.0)
    run = await store.read(runs.get, run_id)
    pictures = await store.read(runs.next_pictures, run, 3)
    assert [rel for _, rel in pictures] == ["0.png", "1.png", "2.png"]
    assert await store.write(runs.feed, run, pictures, False, 1.0) == 3
    assert await store.write(runs.feed, run, pictures, False, 1.0) == 0
    run = await store.read(runs.get, run_id)
    assert (run.fed, run.waiting, run.total, run.exhausted) == (3, 3, 5, False)
    await store.write(runs.pause, run_id)
    rest = await store.read(runs.next_pictures, run, 3)
    assert await store.write(runs.feed, run, rest, True, 1.0) == 0
    await store.write(runs.resume, run_id)
    assert await store.write(runs.feed, run, rest, True, 1.0) == 2
    assert not await store.write(runs.finish, run_id, 2.0)


async def test_ends_are_counted_however_they_come(store):
    """Done, failed, tried again and done, cancelled: the counts follow the jobs."""
    run_id = await store.write(runs.create, NewRun("cats", "basic"), 5, 1.0)
    run = await store.read(runs.get, run_id)
    await store.write(runs.feed, run, await store.read(runs.next_pictures, run, 9), True, 1.0)
    a, b, c, d, e = await store.write(jobs.claim_for, "basic", "me", 2.0, 9)
    await store.write(jobs.finish, a.id, "me", 2.0)
    for failed in (b, c):
        await store.write(jobs.fail, failed.id, "me", "no", 2.0, retry=False)
    await store.write(jobs.cancel, d.id, 2.0)
    run = await store.read(runs.get, run_id)
    assert (run.done, run.failed, run.cancelled, run.waiting) == (1, 2, 1, 1)
    await store.write(jobs.retry, b.id, 2.0)
    assert (await store.read(runs.get, run_id)).failed == 1
    await store.write(jobs.claim_for, "basic", "me", 2.0, 9)
    for done in (b, e):
        await store.write(jobs.finish, done.id, "me", 2.0)
    assert await store.write(runs.finish, run_id, 3.0) and not await store.write(runs.finish, run_id, 3.0)
    run = await store.read(runs.get, run_id)
    assert (run.state, run.done, run.failed, run.cancelled, run.finished) == ("done", 3, 1, 1, 3.0)
    assert await store.write(runs.cancel, run_id, 4.0) is None and not await store.write(runs.prioritise, run_id, 5)


async def test_runs_are_listed(store):
    """Newest first, by dataset and state, a page at a time."""
    for n in range(3):
        await store.write(runs.create, NewRun("cats" if n else "dogs", "basic"), n, float(n))
    await store.write(runs.cancel, 3, 9.0)
    assert [r.id for r in await store.read(runs.listing)] == [3, 2, 1]
    assert [r.id for r in await store.read(runs.listing, dataset="CATS", state="open")] == [2]
    assert [r.id for r in await store.read(runs.listing, before=3, limit=1)] == [2]
    assert [r.id for r in await store.read(runs.open_runs)] == [1, 2]
