"""Recovery where a disk is away: nothing is given up, nothing is lost, and it goes on when the disk is back."""

import pytest
from dropdock.handlers import disk
from dropdock.rules.terms import JobState
from dropdock.store import history, jobs
from house_made import Home, killed_at_its_moves, opened, sha
from model_files import write_safetensors

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


async def test_an_intent_whose_disk_is_away_waits_for_it(home, monkeypatch):
    """Killed behind the intent, the hub's disk gone at the next start: the job waits, and is finished once the disk is back."""
    path = write_safetensors(home.inbox / "a.safetensors", LORA)
    digest = sha(path)
    real = disk.carry_out

    await killed_at_its_moves(home, path, made=False)

    def away(moves, again=False, **more):
        raise disk.Away(home.hub)

    monkeypatch.setattr(disk, "carry_out", away)
    async with opened(home) as house:
        await house.begin()
        (job,) = await house.store.read(jobs.listing)
        assert (job.state, len(house.house.waiting)) == (JobState.PAUSED, 1) and "away" in job.error
        assert len(await house.store.read(history.intents)) == 1 and path.exists()
        await house.recovery.again()
        assert len(house.house.waiting) == 1
        monkeypatch.setattr(disk, "carry_out", real)
        await house.recovery.again()
        assert not house.house.waiting and await house.store.read(history.intents) == []
        await house.work()
        row = await house.file(path)
        assert row.end == "hub" and sha(row.end_at) == digest and not path.exists()
        assert set((await house.jobs()).values()) == {"done"}
