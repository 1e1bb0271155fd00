"""The store: one transaction a record, one open job a key, one present row a path, and ends that are never lost."""

from pathlib import Path

import pytest
from dropdock.rules.terms import (
    Action,
    ArchiveFacts,
    ArchiveMember,
    Caption,
    End,
    Ended,
    Facts,
    ImageFacts,
    Item,
    Kind,
    Lane,
    Mode,
    Model,
    ModelFacts,
    Move,
    Outcome,
    Prepared,
    Stamp,
    Status,
    Verdict,
    Watch,
)
from dropdock.store import codec, datasets, files, history, jobs, models
from dropdock.store.database import Corrupt, Database
from dropdock.store.index import Index
from dropdock.store.store import Entry, NewJob, Store

STAMP = Stamp(10, 123_456_789, 7, 1)
LORA = ModelFacts("safetensors", "lora", "sdxl", confidences={"type": 0.97, "base": 0.8})


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


async def arrived(store: Store, path: Path, stamp: Stamp = STAMP, kind: Kind = Kind.MODEL) -> tuple[int, int | None]:
    facts = Facts(path, kind, stamp.size, model=LORA if kind is Kind.MODEL else None)
    job = NewJob(f"perform:{path}:{stamp.mtime_ns}", Lane.HASH, f"store {path.name}", {"step": 0})
    unit = files.Unit("inbox", path, {path: stamp}, facts, Verdict("models", (Action("store"),)), job, "queued")
    return (await store.take([unit]))[0]


async def test_the_same_arrival_twice_is_one_row_and_one_job(store):
    """A double event or a rescan changes nothing: the path keeps its row and its open job."""
    first, job = await arrived(store, Path("/in/a.safetensors"))
    again, none = await arrived(store, Path("/in/a.safetensors"))
    assert job is not None
    assert (again, none) == (first, None)


async def test_a_second_file_of_a_name_has_its_own_row(store):
    """What was dropped first keeps its recorded end when another file of that name comes later."""
    path = Path("/in/a.safetensors")
    first, _ = await arrived(store, path)
    await store.record(Entry("store", Outcome(Status.DONE, ended=(Ended(path, End.HUB, Path("/hub/a")),)), path, file_id=first))
    second, _ = await arrived(store, path, Stamp(11, 5, 8, 1))
    assert second != first
    old = await store.read(files.get, first)
    assert (old.end, old.end_at, old.present) == ("hub", Path("/hub/a"), False)


async def test_what_is_remembered_of_a_unit_is_one_question(store, tmp_path):
    """Known and unchanged; known and changed; new; of the stamp of a row elsewhere; and a dataset's, of which no more is asked."""
    for name, mode in (("inbox", Mode.INBOX), ("sets", Mode.DATASET)):
        await store.write(history.put_watch, name, tmp_path / name, str(mode))
    inbox, sets = (Watch(n, tmp_path / n, m) for n, m in (("inbox", Mode.INBOX), ("sets", Mode.DATASET)))
    old, other = tmp_path / "inbox" / "a.safetensors", Stamp(11, 5, 8, 1)
    file_id, job_id = await arrived(store, old)
    await store.write(files.tag, file_id, ["keep"])
    await store.write(jobs.cancel, job_id, store.now())
    asked = [(old, STAMP, inbox), (old, other, inbox), (old.with_name("b"), other, inbox), (old.with_name("c"), STAMP, inbox)]
    found = await store.recall([(path, {path: stamp}, watch) for path, stamp, watch in (*asked, (old, other, sets))])
    assert [(r.unchanged, r.twins, sorted(r.known.tags)) for r in found] == [
        (True, False, []),
        (False, False, ["keep"]),
        (False, False, []),
        (False, True, []),
        (False, False, []),
    ]
    assert [r.known.watch for r in found] == [None, inbox, inbox, inbox, None]


async def test_a_record_is_all_or_nothing(store):
    """When one part of an Outcome cannot be recorded, no part of it is, and the job is still ours to finish."""
    path = Path("/in/a.safetensors")
    file_id, _ = await arrived(store, path)
    (job,) = await store.claim(Lane.HASH, "me", 1)
    model = Model("ab" * 32, "cd" * 16, 10, "a.safetensors", Path("/hub/a"), Facts(path, Kind.MODEL, 10, model=LORA))
    broken = Item("cats", "a.png", "s", "x", STAMP, None)  # an item without its image facts cannot be recorded
    outcome = Outcome(Status.DONE, models=(model,), ended=(Ended(path, End.HUB, Path("/hub/a")),), items=(broken,))
    with pytest.raises(AttributeError):
        await store.record(Entry("store", outcome, path, file_id=file_id, job_id=job.id, owner="me", datasets_root=Path("/d")))
    assert await store.read(models.get, "ab" * 32) is None
    assert (await store.read(files.get, file_id)).present
    assert await store.write(jobs.finish, job.id, "me", store.now())


async def test_jobs_are_claimed_by_priority_then_age_and_once(store):
    """The highest priority first, then the oldest; a claimed job is nobody else's."""
    await store.enqueue(
        NewJob("a", Lane.CAPTION, "a", {}), NewJob("b", Lane.CAPTION, "b", {}, priority=5), NewJob("c", Lane.CAPTION, "c", {})
    )
    assert [j.key for j in await store.claim(Lane.CAPTION, "me", 2)] == ["b", "a"]
    assert [j.key for j in await store.claim(Lane.CAPTION, "you", 9)] == ["c"]


async def test_failed_attempts_wait_longer_each_time_and_end_as_failed(store):
    """Backoff between attempts; after the last one the job stays, failed, with its reason, until it is retried."""
    await store.enqueue(NewJob("a", Lane.CPU, "a", {}, max_attempts=2))
    (job,) = await store.claim(Lane.CPU, "me", 1)
    assert await store.write(jobs.fail, job.id, "me", "boom", store.now(), retry=True) == "queued"
    assert await store.claim(Lane.CPU, "me", 1) == []
    store.now.at += jobs.BACKOFF[0]
    (job,) = await store.claim(Lane.CPU, "me", 1)
    assert await store.write(jobs.fail, job.id, "me", "boom", store.now(), retry=True) == "failed"
    assert (await store.read(jobs.get, job.id)).error == "boom"
    assert await store.write(jobs.retry, job.id, store.now())
    assert len(await store.claim(Lane.CPU, "me", 1)) == 1


async def test_leases_of_a_dead_process_are_void_and_cost_no_attempt(store):
    """After kill -9 every running job is queued again as it was."""
    await store.enqueue(NewJob("a", Lane.CPU, "a", {}))
    for _ in range(20):
        (job,) = await store.claim(Lane.CPU, "dead", 1)
        await store.write(jobs.void_leases)
    assert job.attempts == 1


async def test_a_paused_lane_and_a_cancelled_job_are_not_claimed(store):
    """Pause holds a lane back until it is resumed; cancel ends a job for good."""
    a, b = await store.enqueue(NewJob("a", Lane.CPU, "a", {}), NewJob("b", Lane.CPU, "b", {}))
    await store.write(jobs.pause_lane, Lane.CPU, True)
    assert await store.claim(Lane.CPU, "me", 9) == []
    await store.write(jobs.pause_lane, Lane.CPU, False)
    await store.write(jobs.cancel, a, store.now())
    assert [j.id for j in await store.claim(Lane.CPU, "me", 9)] == [b]


async def test_a_second_copy_adds_a_name_not_a_model(store):
    """The same content under two names is one model with both names."""
    facts = Facts(Path("/in/a"), Kind.MODEL, 10, model=LORA)
    for name in ("a.safetensors", "b.safetensors"):
        model = Model("ab" * 32, "cd" * 16, 10, name, Path("/hub/ab/x/a.safetensors"), facts)
        await store.record(Entry("store", Outcome(Status.DONE, models=(model,)), Path("/in") / name))
    assert await store.read(models.names, "ab" * 32) == ["a.safetensors", "b.safetensors"]
    assert [m.name for m in await store.read(models.listing)] == ["a.safetensors"]


async def test_imported_captions_share_the_set_of_the_first_captioner(store, tmp_path):
    """An imported caption counts in the active set, also once a captioner gives that set its name."""
    image = ImageFacts("png", 8, 8)
    items = tuple(Item("cats", f"{n}.png", n, n, STAMP, image) for n in "ab")
    imported = Caption("cats", "a.png", "", "a real caption", "imported", stamp=STAMP)
    await store.record(Entry("unpack", Outcome(Status.DONE, items=items, captions=(imported,)), datasets_root=tmp_path))
    made = Caption("cats", "b.png", "tags", "1girl", "generated", "wd", STAMP)
    await store.record(Entry("caption", Outcome(Status.DONE, captions=(made,)), datasets_root=tmp_path))
    (row,) = await store.read(datasets.listing)
    assert (row.pictures, row.captioned) == (2, 2)
    assert await store.read(datasets.has_caption, "cats", "a.png", "tags")
    assert [i.caption for i in await store.read(datasets.items, "cats")] == ["a real caption", "1girl"]


async def test_the_index_tells_a_rescan_what_lies_where(store, tmp_path):
    """Names and signatures folder by folder, undecodable names included; an ended file is not there any more."""
    odd = Path("/in/sub/\udcff.bin")
    await arrived(store, Path("/in/a.safetensors"))
    await arrived(store, odd, kind=Kind.OTHER)
    gone, _ = await arrived(store, Path("/in/gone.bin"))
    await store.record(
        Entry("x", Outcome(Status.DONE, ended=(Ended(Path("/in/gone.bin"), End.TRASH, Path("/t")),)), file_id=gone)
    )
    with Index(store.db.path, Path("/in")) as index:
        assert sorted(index.folders("inbox")) == ["", "sub"]
        assert index.folder("inbox", "") == {"a.safetensors": (10, 123_456_789, 7)}
        assert index.folder("inbox", "sub") == {"\udcff.bin": (10, 123_456_789, 7)}


async def test_the_journal_survives_a_restart_with_every_value(tmp_path):
    """What was intended before a crash reads back equal after it, undecodable paths included."""
    odd = Path("/in/\udcff.zip")
    facts = Facts(odd, Kind.ARCHIVE, 3, archive=ArchiveFacts("zip", (ArchiveMember("a.png", 3, Kind.IMAGE),), 3))
    model = Model("ab" * 32, "cd" * 16, 10, "a", Path("/hub/a"), facts)
    prepared = Prepared(Outcome(Status.DONE, "x", models=(model,)), (Move(odd, Path("/b"), STAMP),), (Path("/st"),))
    async with Database(tmp_path / "d.db") as database:
        await Store(database).intend("store", prepared, 1, None, 0)
    async with Database(tmp_path / "d.db") as database:
        (row,) = await Store(database).read(history.intents)
    assert codec.loads(Prepared, row.prepared) == prepared


async def test_a_damaged_database_is_refused_with_its_backups(tmp_path):
    """A broken file is never written to: the start ends with its name and what to do."""
    path = tmp_path / "d.db"
    async with Database(path) as database:
        await Store(database).enqueue(*(NewJob(str(n), Lane.CPU, "x" * 500, {}) for n in range(200)))
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 12] = b"\xa5" * (4096 * 9)
    path.write_bytes(data)
    with pytest.raises(Corrupt, match="damaged"):
        async with Database(path):
            pass


async def test_one_bad_write_does_not_spoil_its_group(store):
    """Writes that wait are committed together; the one that raises is rolled back alone and told so."""

    def bad(c):
        c.execute("INSERT INTO meta VALUES ('k', 'v')")
        raise ValueError("no")

    import asyncio

    results = await asyncio.gather(
        store.db.write(bad),
        store.db.write(lambda c: c.execute("INSERT INTO meta VALUES ('good', '1')").rowcount),
        return_exceptions=True,
    )
    assert isinstance(results[0], ValueError) and results[1] == 1
    assert await store.db.read(lambda c: c.execute("SELECT key FROM meta").fetchall()) == [("good",)]
