"""Lanes: each worker takes the next due job, sleeps while there is none, and never misses one; progress is told and can be stopped."""

import asyncio
import threading

import pytest
from dropdock.daemon import lanes as module
from dropdock.daemon.lanes import Lanes
from dropdock.handlers import disk, hashing
from dropdock.rules.terms import Job, Lane
from dropdock.store import jobs
from dropdock.store.jobs import NewJob
from house_made import Home, Opened, opened


@pytest.fixture
async def house(tmp_path):
    async with opened(Home(tmp_path)) as house:
        yield house


class Hands:
    """Stands in for the performer: notes what it is given and does what a test says."""

    def __init__(self, house: Opened) -> None:
        self.house, self.done = house, []
        self.error: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.now = self.most = 0
        house.lanes = Lanes(house.house, house.feed, self.perform)
        house.store.on_jobs = house.lanes.wake

    async def perform(self, job: Job, tick) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            self.done.append(job.key)
            await self.house.store.write(jobs.finish, job.id, self.house.house.owner, self.house.store.now())
        finally:
            self.now -= 1


def new(*keys: str, **more) -> list[NewJob]:
    return [NewJob(key, Lane.CPU, key, {}, **more) for key in keys]


async def until(condition, seconds: float = 10) -> None:
    """Go on once a condition holds; nothing is waited for but the loop itself."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0)


async def test_a_sleeping_worker_hears_of_a_new_job(house):
    """Queued after the worker went to sleep: done, by priority and then by age."""
    hands = Hands(house)
    house.hire(Lane.CPU)
    await asyncio.sleep(0)
    await house.store.enqueue(*new("a", "b"), *new("urgent", priority=9))
    await house.settled()
    assert hands.done == ["urgent", "a", "b"]


async def test_one_wake_for_many_jobs_brings_all_workers(house):
    """Three sleeping workers and three jobs queued at once: all three run beside each other."""
    hands = Hands(house)
    hands.gate.clear()
    house.hire(Lane.CPU, Lane.CPU, Lane.CPU)
    await asyncio.sleep(0)
    await house.store.enqueue(*new("a", "b", "c"))
    await until(lambda: hands.now == 3)
    hands.gate.set()
    await house.settled()
    assert hands.most == 3 and sorted(hands.done) == ["a", "b", "c"]


async def test_a_worker_that_was_too_late_does_not_sleep_over_what_is_due_next(house):
    """A busy worker beside: a job that becomes due is done by the idle one, though nothing new was queued."""
    hands = Hands(house)
    hands.gate.clear()
    house.hire(Lane.CPU, Lane.CPU)
    await house.store.enqueue(*new("long"), *new("later", delay=0.05))
    await until(lambda: hands.now == 1)
    house.home.clock.at += 1  # the sleeper's own timer is 0.05 s of the real clock
    await until(lambda: hands.now == 2)
    hands.gate.set()
    await house.settled()


async def test_a_paused_lane_waits_and_goes_on(house):
    """Nothing is claimed while it is paused; resuming wakes it."""
    hands = Hands(house)
    await house.store.write(jobs.pause_lane, Lane.CPU, True)
    house.hire(Lane.CPU)
    await house.store.enqueue(*new("a"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert hands.done == []
    await house.store.write(jobs.pause_lane, Lane.CPU, False)
    house.lanes.wake()
    await house.settled()
    assert hands.done == ["a"]


async def test_a_surprise_is_this_jobs_failed_attempt_and_the_worker_goes_on(house):
    """Recorded with its text and a line of history; the next job is done."""
    hands = Hands(house)
    hands.error = ValueError("odd")
    (job,) = await house.store.enqueue(*new("a", max_attempts=1))
    await house.work(Lane.CPU)
    found = await house.store.read(jobs.get, job)
    assert (str(found.state), found.error) == ("failed", "ValueError: odd")
    assert [(r.event, r.status, r.job_id) for r in await house.told()] == [("job", "failed", job)]
    hands.error = None
    await house.store.enqueue(*new("b"))
    await house.work(Lane.CPU)
    assert hands.done == ["b"] and house.lanes.running == {}


async def test_a_full_disk_puts_the_job_off(house):
    """No attempt is counted, and it is due again after its wait."""
    hands = Hands(house)
    hands.error = disk.NoRoom("full")
    (job,) = await house.store.enqueue(*new("a"))
    await house.work(Lane.CPU)
    found = await house.store.read(jobs.get, job)
    assert (str(found.state), found.attempts, found.run_at) == ("queued", 0, house.store.now() + module.NO_ROOM_WAIT)


async def test_a_job_cancelled_before_its_surprise_stays_cancelled(house):
    """The error of a job that nobody wants any more is not told as a failure of it."""
    hands = Hands(house)
    hands.error = ValueError("odd")
    hands.gate.clear()
    (job,) = await house.store.enqueue(*new("a"))
    house.hire(Lane.CPU)
    await until(lambda: hands.now == 1)
    await house.store.write(jobs.cancel, job, house.store.now())
    hands.gate.set()
    await until(lambda: not house.lanes.running)
    assert str((await house.store.read(jobs.get, job)).state) == "cancelled"


async def test_a_worker_that_is_dismissed_gives_its_job_back(house):
    """Cancelled in the middle: queued as it was, no attempt counted."""
    hands = Hands(house)
    hands.gate.clear()
    (job,) = await house.store.enqueue(*new("a"))
    house.hire(Lane.CPU)
    await until(lambda: hands.now == 1)
    await house.dismiss()
    found = await house.store.read(jobs.get, job)
    assert (str(found.state), found.attempts) == ("queued", 0) and hands.done == []


async def test_progress_is_told_from_a_thread_and_stops_a_cancelled_job(house, monkeypatch):
    """tick: listeners hear of it, the store keeps it, and it raises once the job is cancelled or the house is stopping."""
    monkeypatch.setattr(module, "TELL_EVERY", 0.0)
    monkeypatch.setattr(module, "KEEP_EVERY", 0.0)
    (job_id,) = await house.store.enqueue(*new("a"))
    (job,) = await house.store.claim(Lane.CPU, house.house.owner, 1)
    tick = house.lanes._ticker(job)
    async with house.feed.subscribe(None) as events:
        worker = threading.Thread(target=tick, args=(0.25,))
        worker.start()
        event = await asyncio.wait_for(anext(events), 5)
        worker.join()
    assert (event.id, event.type, event.data["job"], event.data["progress"]) == (None, "progress", job_id, 0.25)
    async with asyncio.timeout(5):
        while (await house.store.read(jobs.get, job_id)).progress is None:
            await asyncio.sleep(0)
    house.lanes.running[job_id] = job
    house.lanes.cancel(job_id)
    with pytest.raises(hashing.Cancelled):
        tick(0.5)
    house.lanes._cancelled.clear()
    house.house.stopping = True
    with pytest.raises(hashing.Cancelled):
        tick(0.5)
