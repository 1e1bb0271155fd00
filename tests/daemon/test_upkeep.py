"""Upkeep: what the clock does. Only what is ours and due goes from trash and quarantine; leases hold while we live."""

from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.daemon import upkeep as module
from dropdock.daemon.upkeep import Upkeep
from dropdock.rules.terms import Aside, End, Lane
from dropdock.store import history, jobs
from dropdock.store.jobs import LEASE, NewJob
from house_made import Home, Opened, opened
from pictures_made import picture, zipped

DAY = 86_400.0


class Ears:
    """Stands in for the intake: hears which watches are doubted."""

    def __init__(self) -> None:
        self.doubted: list[str] = []

    async def listen(self) -> None:
        """Nobody asks here."""

    def doubt(self, name: str, reason: str) -> None:
        self.doubted.append(name)


@pytest.fixture
async def house(tmp_path):
    async with opened(Home(tmp_path)) as house:
        yield house


def upkeep(house: Opened) -> Upkeep:
    return Upkeep(house.house, Ears(), house.lanes, house.projection, house.recovery)  # type: ignore[arg-type]


async def aside(house: Opened, path: Path, until: float, place: End = End.TRASH) -> None:
    await house.store.write(history.put_aside, Aside(place, path, Path("/was/here"), "why", until), house.store.now())


async def kept(house: Opened) -> list[str]:
    return [row.path.name for row in await house.store.read(history.kept_aside)]


async def test_what_was_kept_long_enough_goes_and_nothing_else(house):
    """A file and a folder that are due go with their emptied folders; what is not due, or is not recorded, stays."""
    trash = house.home.inbox / ".dropdock/trash"
    due, later, folder = trash / "d1/due.zip", trash / "d2/later.zip", trash / "d3/model"
    for path in (due, later, folder / "sub/x", due.with_name("nobody's record")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    now = house.home.clock.at
    for path, until in ((due, now), (later, now + 1), (folder, now - 1)):
        await aside(house, path, until)
    await upkeep(house)._retention()
    assert sorted(p.name for p in trash.rglob("*") if p.is_file()) == ["later.zip", "nobody's record"]
    assert not (trash / "d3").exists() and await kept(house) == ["later.zip"]
    house.home.clock.at += 1
    await upkeep(house)._retention()
    assert await kept(house) == [] and not later.exists()


async def test_retention_follows_the_recorded_time_of_a_real_drop(house):
    """An unpacked ZIP lies in the trash for 14 days, to the second."""
    path = zipped(house.home.inbox / "cats.zip", {"a.png": picture(1)})
    await house.arrive(path)
    await house.work()
    (row,) = await house.store.read(history.kept_aside)
    house.home.clock.at += 14 * DAY - 1
    await upkeep(house)._retention()
    assert row.path.is_file()
    house.home.clock.at += 1
    await upkeep(house)._retention()
    assert not row.path.exists() and (house.home.datasets / "cats/a.png").is_file()


@pytest.mark.parametrize("rel, place", [
    ("inbox/mine.zip", End.TRASH), ("inbox/.dropdock/staging/x", End.TRASH), ("inbox/.dropdock/trash/x", End.QUARANTINE),
])  # fmt: skip
async def test_what_lies_elsewhere_is_never_removed(house, rel, place):
    """Whatever a record says: only our own trash or quarantine, and the one it names. The others that are due still go."""
    path, other = house.home.root / rel, house.home.inbox / ".dropdock/trash/z/other"
    for one in (path, other):
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_bytes(b"mine")
    await aside(house, path, 0.0, place)
    await aside(house, other, 0.0)
    await upkeep(house)._retention()
    assert path.read_bytes() == b"mine" and not other.exists()
    assert await kept(house) == [path.name]


async def test_what_cannot_go_keeps_nothing_else_back(house, monkeypatch):
    """A disk that refuses one removal: it stays recorded and is tried again, the others go."""
    trash = house.home.inbox / ".dropdock/trash"
    paths = [trash / str(n) / "x" for n in range(3)]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
        await aside(house, path, 0.0)
    real = module._expire

    def refusing(row):
        if row.path == paths[0]:
            raise PermissionError(13, "no")
        real(row)

    monkeypatch.setattr(module, "_expire", refusing)
    await upkeep(house)._retention()
    assert [p.exists() for p in paths] == [True, False, False] and len(await kept(house)) == 1


async def test_a_link_in_the_trash_goes_alone(house):
    """What a trashed symlink leads to is not touched."""
    theirs = house.home.root / "theirs"
    theirs.mkdir()
    (theirs / "x").touch()
    link = house.home.inbox / ".dropdock/trash/d/link"
    link.parent.mkdir(parents=True)
    link.symlink_to(theirs)
    await aside(house, link, 0.0)
    await upkeep(house)._retention()
    assert not link.is_symlink() and (theirs / "x").exists()


async def test_leases_hold_while_we_work_and_fall_when_nobody_does(house):
    """A long job of ours is never taken away; one that nobody runs any more is queued again."""
    (job_id,) = await house.store.enqueue(NewJob("k", Lane.CPU, "k", {}))
    (job,) = await house.store.claim(Lane.CPU, house.house.owner, 1)
    house.lanes.running[job_id] = job
    for _ in range(5):
        house.home.clock.at += LEASE - 1
        await upkeep(house)._leases()
        assert str((await house.store.read(jobs.get, job_id)).state) == "running"
    house.lanes.running.clear()
    house.home.clock.at += LEASE + 1
    await upkeep(house)._leases()
    assert str((await house.store.read(jobs.get, job_id)).state) == "queued"


async def test_a_night_asleep_takes_nothing_from_a_running_job(house):
    """The machine slept for hours with a job in the middle: it is still ours when it wakes."""
    (job_id,) = await house.store.enqueue(NewJob("k", Lane.CPU, "k", {}))
    (house.lanes.running[job_id],) = await house.store.claim(Lane.CPU, house.house.owner, 1)
    house.home.clock.at += 8 * 3600
    await upkeep(house)._leases()
    assert str((await house.store.read(jobs.get, job_id)).state) == "running"


async def test_done_jobs_are_forgotten_after_a_week(house):
    """Listed until then."""
    (job_id,) = await house.store.enqueue(NewJob("k", Lane.CPU, "k", {}))
    await house.store.claim(Lane.CPU, "me", 1)
    await house.store.write(jobs.finish, job_id, "me", house.store.now())
    house.home.clock.at += module.JOBS_KEPT
    await upkeep(house)._retention()
    assert await house.store.read(jobs.get, job_id) is not None
    house.home.clock.at += 1
    await upkeep(house)._retention()
    assert await house.store.read(jobs.get, job_id) is None


async def test_each_enabled_watch_is_doubted_in_its_turn(house):
    """The clock has one beat a watch, of its own length; a watch that is switched off has none; the beat is a doubt."""
    config = house.house.config
    slow = replace(config.watches[0], rescan=900.0)
    house.house.config = replace(config, watches=(slow, replace(config.watches[1], enabled=False), *config.watches[2:]))
    kept = upkeep(house)
    kept.start()
    try:
        beats = {job.args[0]: job.trigger.interval.total_seconds() for job in kept._clock.get_jobs() if job.args}
        assert beats == {"inbox": 900.0, "datasets": 600.0}
        await kept._rescan("inbox")
        assert kept._intake.doubted == ["inbox"]  # type: ignore[attr-defined]
    finally:
        kept.stop()
    kept.stop()
