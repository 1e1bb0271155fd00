"""A person's word on a model: it wins, held files are decided again, and the same content comes in right the next time."""

import pytest
from dropdock.daemon.overriding import set_type
from dropdock.store import jobs, models
from house_made import Home, opened, sha
from model_files import write_safetensors

ODD = {f"mystery.layers.{n}.weight": ("F16", (7, 9)) for n in range(6)}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


async def test_a_held_model_is_deployed_once_its_type_is_set(home):
    """Unsure: kept in the hub and held. Told what it is: wanted by the targets, no longer held, nothing is stored twice."""
    path = write_safetensors(home.inbox / "odd.safetensors", ODD)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        row = await house.file(path)
        assert (row.state, row.end) == ("held", "hub")
        await set_type(house.house, digest, "lora", "sdxl")
        await house.work()
        row, model = await house.file(path), await house.store.read(models.get, digest)
        assert (row.state, row.end, row.end_at) == ("done", "hub", model.blob)
        assert (model.type, model.base, model.confidence, model.wanted) == ("lora", "sdxl", 1.0, "*")
        assert set((await house.jobs()).values()) == {"done"}


async def test_the_word_is_kept_by_content(home):
    """The same bytes under another name come in as what the person said; half a word leaves the other axis unsure."""
    path = write_safetensors(home.inbox / "odd.safetensors", ODD)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        await set_type(house.house, digest, "lora", None)
        await house.work()
        row, model = await house.file(path), await house.store.read(models.get, digest)
        assert (row.state, model.type, model.wanted) == ("held", "lora", None)
        await set_type(house.house, digest, None, "flux1")
        await house.work()
        model = await house.store.read(models.get, digest)
        assert (model.type, model.base, model.wanted) == ("lora", "flux1", "*")
        again = write_safetensors(home.inbox / "again.safetensors", ODD)
        await house.arrive(again)
        await house.work()
        assert (await house.store.read(models.get, digest)).type == "lora"
        assert set(await house.store.read(models.names, digest)) == {"odd.safetensors", "again.safetensors"}
        assert not await house.store.read(jobs.listing, state="failed")
