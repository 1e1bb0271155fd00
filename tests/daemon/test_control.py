"""Control: what the face may order. Every order is done by the parts, recorded, and answered truly."""

import asyncio
import json
import os

import pytest
from dropdock.daemon.control import Control
from dropdock.daemon.intake import Intake
from dropdock.handlers import disk
from dropdock.handlers.dataset import Dataset
from dropdock.rules.terms import Lane
from dropdock.store import history, jobs
from house_made import Home, Opened, opened
from model_files import write_safetensors
from pictures_made import picture


class Nothing:
    """Stands in for the parts that these orders do not need."""

    def notices(self) -> tuple[str, ...]:
        return ("a notice",)


@pytest.fixture
async def house(tmp_path):
    async with opened(Home(tmp_path)) as house:
        yield house


def control(house: Opened) -> Control:
    intake = Intake(house.house, house.conveyor)
    return Control(house.house, intake, house.conveyor, house.lanes, 1.0, Nothing(), Nothing())  # type: ignore[arg-type]


async def waiting_job(house: Opened) -> tuple[int, object]:
    path = house.home.drop("cats/a.png", picture(1))
    await house.arrive(path)
    (job,) = await house.store.read(jobs.listing)
    return job.id, path


async def test_cancelling_a_waiting_job_holds_its_file(house):
    """Cancelled: never run, told, the file listed as held; retried: queued again, and done."""
    face = control(house)
    job, path = await waiting_job(house)
    assert await face.cancel_job(job) and not await face.cancel_job(job) and not await face.cancel_job(999)
    await house.work()
    row = await house.file(path)
    assert (row.state, row.present, row.note) == ("held", True, "cancelled") and path.exists()
    assert [r.status for r in await house.told() if r.event == "job"] == ["cancelled"]
    assert await face.retry_job(job) and (await house.file(path)).state == "queued"
    await house.work()
    assert (await house.file(path)).end == "dataset"
    assert not await face.retry_job(job), "a done job is not done again"


async def test_cancelling_a_running_job_stops_it_at_its_next_step(house, monkeypatch):
    """Cancelled while its hand works: the hand stops at its next tick, nothing has moved, the file is held."""
    face = control(house)
    job, path = await waiting_job(house)
    loop = asyncio.get_running_loop()
    real = Dataset.prepare

    def ticking(self, task, tools):
        asyncio.run_coroutine_threadsafe(face.cancel_job(job), loop).result()
        tools.tick(0.5)
        return real(self, task, tools)

    monkeypatch.setattr(Dataset, "prepare", ticking)
    await house.work()
    assert str((await house.store.read(jobs.get, job)).state) == "cancelled"
    row = await house.file(path)
    assert (row.state, row.note) == ("held", "cancelled") and path.exists() and not list(house.home.datasets.glob("*/*.png"))


async def test_a_paused_job_waits_for_its_resumption(house):
    """Held back while others go on."""
    face = control(house)
    job, path = await waiting_job(house)
    assert await face.pause_job(job) and not await face.pause_job(job)
    await house.arrive(house.home.drop("cats/b.png", picture(2)))
    house.hire(Lane.CPU)
    async with asyncio.timeout(10):
        while not (house.home.datasets / "cats/b.png").exists():
            await asyncio.sleep(0)
    assert path.exists()
    assert await face.resume_job(job)
    async with asyncio.timeout(10):
        while not (house.home.datasets / "cats/a.png").exists():
            await asyncio.sleep(0)
    assert not await face.resume_job(job)


async def test_a_paused_lane_is_resumed_with_its_workers_awake(house):
    """Nothing runs while it is paused; resumed, the sleeping worker goes on by itself."""
    face = control(house)
    await face.pause_lane(Lane.CPU, True)
    _, path = await waiting_job(house)
    house.hire(Lane.CPU)
    for _ in range(50):
        await asyncio.sleep(0)
    assert path.exists()
    await face.pause_lane(Lane.CPU, False)
    await house.settled(Lane.CPU)
    assert (await house.file(path)).end == "dataset"


async def test_explaining_is_the_same_decision_and_touches_nothing(house):
    """What would be done is what is done; a path outside our folders, a missing one and an odd one are answered with nothing."""
    face = control(house)
    path = write_safetensors(
        house.home.inbox / "style.safetensors",
        {
            f"lora_unet_double_blocks_{n}_img_attn_proj.lora_{d}.weight": ("BF16", (4, 8))
            for n in range(19)
            for d in ("down", "up")
        },
    )
    before = disk.stamp(path)
    said = json.loads(await face.explain(path))
    assert said["facts"]["type"] == "lora" and disk.stamp(path) == before and await house.told() == []
    await house.arrive(path)
    row = await house.file(path)
    (job,) = await house.store.read(jobs.listing)
    assert said["rule"] == row.rule and [a["verb"] for a in said["actions"]] == [a["verb"] for a in job.payload["actions"]]
    outside = house.home.root / "secret.txt"
    outside.write_text("x")
    (house.home.inbox / "loop").symlink_to("loop")
    (house.home.inbox / "out").symlink_to(outside)
    for wrong in (outside, house.home.inbox / "../secret.txt", house.home.inbox / "gone", house.home.inbox / "loop",
                  house.home.inbox / "out", house.home.inbox / ("x" * 300), house.home.inbox / "nul\0"):  # fmt: skip
        assert await face.explain(wrong) is None, wrong


async def test_uploads_go_to_the_inbox_that_was_named_or_to_the_first(house):
    """Only to inboxes."""
    face = control(house)
    assert face.inbox(None) == face.inbox("inbox") == house.home.inbox
    assert face.inbox("library") is None and face.inbox("nowhere") is None


async def test_rescans_name_what_they_compare(house):
    """All enabled watches, or the one that was asked for; another name is a KeyError."""
    face = control(house)
    assert await face.rescan(None) == ["inbox", "library", "datasets"] and await face.rescan("library") == ["library"]
    with pytest.raises(KeyError):
        await face.rescan("nowhere")


async def test_a_pause_of_a_watch_is_remembered(house):
    """Recorded, and said in the status of the watch; another name is answered with False."""
    face = control(house)
    assert await face.pause_watch("inbox", True) and not await face.pause_watch("nowhere", True)
    rows = {w.name: w for w in await house.store.read(history.watches)}
    assert rows["inbox"].paused and rows["inbox"].state == "paused" and not rows["library"].paused
    assert await face.pause_watch("inbox", False)
    assert not any(w.paused for w in await house.store.read(history.watches))


async def test_the_status_is_that_of_this_process(house):
    """Pid, version, whether it is ready, what waits, how many workers, and what a person should know."""
    face = control(house)
    assert not face.status().ready
    face.ready = True
    found = face.status()
    assert (found.pid, found.ready, found.waiting, found.started) == (os.getpid(), True, 0, 1.0)
    assert found.workers["hash"] >= 1 and "a notice" in found.notices
