"""The queue: a job is one worker's at a time, is open once a key, waits as long as it should and is never forgotten."""

import asyncio

import pytest
from dropdock.rules.terms import JobState, Lane
from dropdock.store import jobs
from dropdock.store.database import Database
from dropdock.store.jobs import BACKOFF, LEASE, NewJob
from dropdock.store.store import Store
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule


class Clock:
    """A wall clock that moves when told."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
async def store(tmp_path):
    async with Database(tmp_path / "dropdock.db") as database:
        yield Store(database, Clock())


def new(*keys: str, **more: object) -> list[NewJob]:
    return [NewJob(key, Lane.CPU, key, {"n": 1}, **more) for key in keys]  # type: ignore[arg-type]


async def state(store: Store, job: int) -> tuple[str, int]:
    found = await store.read(jobs.get, job)
    assert found is not None
    return str(found.state), found.attempts


async def test_two_claimers_never_get_the_same_job(store):
    """Many claims at once over two processes' connections: every job exactly once."""
    await store.enqueue(*new(*(f"k{n}" for n in range(40))))
    async with Database(store.db.path) as other:
        second = Store(other, store.now)
        claims = [s.claim(Lane.CPU, owner, 3) for _ in range(10) for s, owner in ((store, "a"), (second, "b"))]
        found = [job.key for batch in await asyncio.gather(*claims) for job in batch]
    assert len(found) == 40 and len(set(found)) == 40


async def test_a_key_is_open_once(store):
    """While it is queued, running or paused no second job is made; once it is done, failed or cancelled one is."""
    (first,) = await store.enqueue(*new("k"))
    assert await store.enqueue(*new("k")) == [None]
    await store.write(jobs.pause, first)
    assert await store.enqueue(*new("k")) == [None]
    await store.write(jobs.resume, first)
    await store.claim(Lane.CPU, "me", 1)
    assert await store.enqueue(*new("k")) == [None]
    await store.write(jobs.finish, first, "me", store.now())
    (second,) = await store.enqueue(*new("k"))
    assert second not in (None, first)
    await store.write(jobs.cancel, second, store.now())
    assert (await store.enqueue(*new("k")))[0] is not None
    assert not await store.write(jobs.retry, second, store.now()), "its key is open again"


async def test_releasing_costs_no_attempt_and_deferring_waits(store):
    """A stopping daemon gives back what it had; a full disk puts it off without blame."""
    (job,) = await store.enqueue(*new("k"))
    await store.claim(Lane.CPU, "me", 1)
    await store.write(jobs.release, job, "me")
    assert await state(store, job) == ("queued", 0)
    await store.claim(Lane.CPU, "me", 1)
    await store.write(jobs.defer, job, "me", "no room", store.now() + 60)
    assert await state(store, job) == ("queued", 0) and await store.claim(Lane.CPU, "me", 1) == []
    assert await store.read(jobs.next_due, Lane.CPU) == store.now() + 60
    store.now.at += 60
    (again,) = await store.claim(Lane.CPU, "me", 1)
    assert (again.attempts, again.error) == (1, None)


async def test_only_the_owner_ends_a_job(store):
    """Another owner's finish, fail, release and defer change nothing."""
    (job,) = await store.enqueue(*new("k"))
    await store.claim(Lane.CPU, "me", 1)
    assert not await store.write(jobs.finish, job, "you", store.now())
    assert await store.write(jobs.fail, job, "you", "x", store.now(), retry=True) is JobState.RUNNING
    await store.write(jobs.release, job, "you")
    await store.write(jobs.defer, job, "you", "x", 0.0)
    assert await state(store, job) == ("running", 1)
    assert await store.write(jobs.finish, job, "me", store.now()) and await state(store, job) == ("done", 1)


async def test_a_job_cancelled_while_it_runs_stays_cancelled(store):
    """Whatever its worker says afterwards: done, failed or given back."""
    (job,) = await store.enqueue(*new("k"))
    await store.claim(Lane.CPU, "me", 1)
    assert (await store.write(jobs.cancel, job, store.now())).state is JobState.RUNNING
    assert not await store.write(jobs.finish, job, "me", store.now())
    assert await store.write(jobs.fail, job, "me", "x", store.now(), retry=True) is JobState.CANCELLED
    await store.write(jobs.release, job, "me")
    assert await state(store, job) == ("cancelled", 1)
    assert await store.write(jobs.cancel, job, store.now()) is None


async def test_backoff_grows_with_every_attempt(store):
    """10 s, 60 s, 5 min: not a moment earlier."""
    (job,) = await store.enqueue(*new("k", max_attempts=4))
    for wait in BACKOFF[:3]:
        await store.claim(Lane.CPU, "me", 1)
        assert await store.write(jobs.fail, job, "me", "x", store.now(), retry=True) is JobState.QUEUED
        store.now.at += wait - 1
        assert await store.claim(Lane.CPU, "me", 1) == []
        store.now.at += 1
    await store.claim(Lane.CPU, "me", 1)
    assert await store.write(jobs.fail, job, "me", "x", store.now(), retry=True) is JobState.FAILED
    (other,) = await store.enqueue(*new("other"))
    await store.claim(Lane.CPU, "me", 1)
    assert await store.write(jobs.fail, other, "me", "hopeless", store.now(), retry=False) is JobState.FAILED


async def test_a_lease_that_runs_out_gives_the_job_back_and_counts(store):
    """Renewed it holds; not renewed the job is queued again, and after its last attempt it has failed."""
    (job,) = await store.enqueue(*new("k", max_attempts=2))
    for attempt, expected in ((1, "queued"), (2, "failed")):
        await store.claim(Lane.CPU, "me", 1)
        store.now.at += LEASE - 1
        await store.write(jobs.renew, "me", store.now())
        store.now.at += LEASE - 1
        assert not await store.read(jobs.overdue, store.now()) and await store.write(jobs.sweep, store.now()) == 0
        store.now.at += 2
        assert await store.read(jobs.overdue, store.now()) and await store.write(jobs.sweep, store.now()) == 1
        assert await state(store, job) == (expected, attempt)


async def test_recovery_finishes_what_a_dead_process_ran(store):
    """After a crash the job is still `running` in the dead owner's name: without an owner it is finished; a cancelled one is not."""
    running, cancelled = await store.enqueue(*new("a", "b"))
    await store.claim(Lane.CPU, "dead", 2)
    await store.write(jobs.cancel, cancelled, store.now())
    assert await store.write(jobs.finish, running, None, store.now())
    assert not await store.write(jobs.finish, cancelled, None, store.now())
    assert await store.write(jobs.void_leases) == 0


async def test_pruning_forgets_what_ended_long_ago_and_keeps_failures(store):
    """Done and cancelled jobs go after their time, failed and open ones stay."""
    done, failed, cancelled, _ = await store.enqueue(*new("done", "failed", "cancelled", "open"))
    await store.claim(Lane.CPU, "me", 3)
    await store.write(jobs.finish, done, "me", store.now())
    await store.write(jobs.fail, failed, "me", "x", store.now(), retry=False)
    await store.write(jobs.cancel, cancelled, store.now())
    assert await store.write(jobs.prune, store.now()) == 0
    assert await store.write(jobs.prune, store.now() + 1) == 2
    assert [j.key for j in await store.read(jobs.listing)] == ["failed", "open"]


async def test_lanes_are_queues_of_their_own(store):
    """A claim takes of its lane only, and of paused lanes nothing; counts and listings tell them apart."""
    await store.enqueue(NewJob("h", Lane.HASH, "h", {}), NewJob("c", Lane.CPU, "c", {}))
    await store.write(jobs.pause_lane, Lane.HASH, True)
    assert await store.claim(Lane.HASH, "me", 9) == [] and await store.read(jobs.paused_lanes) == ["hash"]
    assert [j.key for j in await store.claim(Lane.CPU, "me", 9)] == ["c"]
    assert await store.read(jobs.counts) == {"hash": {"queued": 1}, "cpu": {"running": 1}}
    assert [j.key for j in await store.read(jobs.listing, state="open", lane="hash")] == ["h"]


class Queue(RuleBasedStateMachine):
    """Any order of the queue's verbs, against what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        import sqlite3

        from dropdock.store.database import migrations

        self.c = sqlite3.connect(":memory:", isolation_level=None)
        for _, script in migrations():
            self.c.executescript(script)
        self.now = 0.0
        self.held: dict[int, str] = {}

    def teardown(self) -> None:
        self.c.close()

    @rule(key=st.sampled_from("abc"), priority=st.integers(0, 2), delay=st.sampled_from([0.0, 5.0]))
    def enqueue(self, key: str, priority: int, delay: float) -> None:
        jobs.enqueue(self.c, NewJob(key, Lane.CPU, key, {}, priority, 2, delay), self.now)

    @rule(owner=st.sampled_from("xy"), limit=st.integers(1, 2))
    def claim(self, owner: str, limit: int) -> None:
        for job in jobs.claim(self.c, Lane.CPU, owner, self.now, limit):
            assert job.id not in self.held, "claimed while somebody has it"
            assert job.run_at <= self.now
            self.held[job.id] = owner

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["finish", "fail", "release", "defer", "cancel"]))
    def end(self, data: st.DataObject, how: str) -> None:
        job = data.draw(st.sampled_from(sorted(self.held)))
        owner = self.held.pop(job)
        if how == "finish":
            assert jobs.finish(self.c, job, owner, self.now)
        elif how == "fail":
            jobs.fail(self.c, job, owner, "x", self.now, retry=True)
        elif how == "release":
            jobs.release(self.c, job, owner)
        elif how == "defer":
            jobs.defer(self.c, job, owner, "x", self.now + 3)
        else:
            assert jobs.cancel(self.c, job, self.now)

    @rule(job=st.integers(1, 8))
    def retry(self, job: int) -> None:
        jobs.retry(self.c, job, self.now)

    @rule()
    def crash(self) -> None:
        jobs.void_leases(self.c)
        self.held.clear()

    @rule(by=st.sampled_from([1.0, 20.0]))
    def wait(self, by: float) -> None:
        self.now += by

    @invariant()
    def holds(self) -> None:
        rows = self.c.execute("SELECT id, key, state, attempts, max_attempts, owner FROM jobs").fetchall()
        open_keys = [key for _, key, state, *_ in rows if state in ("queued", "running", "paused")]
        assert len(open_keys) == len(set(open_keys)), "two open jobs of one key"
        assert {r[0]: r[5] for r in rows if r[2] == "running"} == self.held
        assert all(0 <= attempts <= most for _, _, _, attempts, most, _ in rows)


Queue.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestQueue = Queue.TestCase
