"""The crew: as many workers as the configuration says, whatever they do while it changes."""

import asyncio

import pytest
from dropdock.daemon.captioning import Captioning
from dropdock.daemon.crew import Crew
from dropdock.daemon.lanes import Lanes
from dropdock.rules.terms import Job, Lane
from dropdock.store import jobs
from dropdock.store.jobs import NewJob
from house_made import Home, opened
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = dict.fromkeys(Lane, 1)


class Work:
    """A crew over a real queue, whose workers hold each job until they are let go."""

    def __init__(self, house) -> None:
        self.house, self.now, self.done = house, 0, []
        self.gate = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.lanes = Lanes(house.house, house.feed, self.perform)
        house.store.on_jobs = self.lanes.wake
        self.crew = Crew(
            self.lanes,
            Captioning(house.house, self.lanes),
            lambda work, name: self.tasks.append(asyncio.create_task(work, name=name)),
        )

    async def perform(self, job: Job, tick) -> None:
        self.now += 1
        await self.gate.wait()
        self.now -= 1
        self.done.append(job.key)
        await self.house.store.write(jobs.finish, job.id, self.house.house.owner, self.house.store.now())

    def alive(self, lane: Lane = Lane.CPU) -> int:
        return sum(not t.done() and t.get_name().startswith(f"lane {lane} ") for t in self.tasks)

    async def queue(self, *keys: str) -> None:
        await self.house.store.enqueue(*(NewJob(key, Lane.CPU, key, {}) for key in keys))

    async def until(self, condition) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def work(tmp_path):
    async with opened(Home(tmp_path)) as house:
        work = Work(house)
        yield work
        await work.end()


async def test_who_is_one_too_many_finishes_first(work):
    """Three workers hold three jobs; told to be one, all three jobs are done, two workers end, and the next jobs come one by one."""
    work.crew.resize({**SIZES, Lane.CPU: 3})
    await work.queue("a", "b", "c")
    await work.until(lambda: work.now == 3)
    work.crew.resize(SIZES)
    assert work.alive() == 3
    work.gate.set()
    await work.until(lambda: work.alive() == 1)
    assert sorted(work.done) == ["a", "b", "c"]
    work.gate.clear()
    await work.queue("d", "e")
    await work.until(lambda: work.now == 1)
    work.gate.set()
    await work.until(lambda: len(work.done) == 5)


async def test_idle_workers_end_at_once_and_new_ones_begin(work):
    """Nobody waits for a job that never comes: fewer while idle is fewer now, more is more now. The caption lane is one, however many
    captioners may work at once."""
    work.crew.resize({**SIZES, Lane.CPU: 4, Lane.CAPTION: 3})
    await work.until(lambda: work.alive() == 4)
    assert work.alive(Lane.CAPTION) == 1
    work.crew.resize(SIZES)
    await work.until(lambda: work.alive() == 1 and work.alive(Lane.CAPTION) == 1)
    work.crew.resize({**SIZES, Lane.CPU: 2})
    assert work.alive() == 2 and work.alive(Lane.HASH) == 1


async def test_who_was_told_to_end_may_stay(work):
    """Fewer and then more again while all are busy: the same workers go on, no new one is made."""
    work.crew.resize({**SIZES, Lane.CPU: 3})
    await work.queue("a", "b", "c")
    await work.until(lambda: work.now == 3)
    made = len(work.tasks)
    work.crew.resize(SIZES)
    work.crew.resize({**SIZES, Lane.CPU: 3})
    assert len(work.tasks) == made
    work.gate.set()
    await work.until(lambda: len(work.done) == 3)
    await asyncio.sleep(0)
    assert work.alive() == 3


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_any_changes_end_with_the_last_number(tmp_path_factory, sizes):
    """Whatever numbers follow each other, and however busy they are, all jobs are done once and the last number of workers stays."""

    async def go() -> None:
        async with opened(Home(tmp_path_factory.mktemp("crew"))) as house:
            work = Work(house)
            for n, size in enumerate(sizes):
                work.crew.resize({**SIZES, Lane.CPU: size})
                await work.queue(f"{n}a", f"{n}b")
            work.gate.set()
            await work.until(lambda: len(work.done) == 2 * len(sizes) and work.alive() == sizes[-1])
            assert len(set(work.done)) == len(work.done)
            await work.end()

    asyncio.run(go())
