"""Hashes on demand: one job reads the file, what was found is kept by content, and only of that content."""

import zlib

import pytest
from dropdock.daemon.hash_orders import HashOrders
from dropdock.handlers import hashes
from dropdock.rules.terms import Lane
from dropdock.store import jobs
from house_made import Home, opened, sha
from model_files import write_safetensors

LORA = {f"lora_unet_double_blocks_{n}_img_attn_proj.lora_{d}.weight": ("BF16", (4, 8)) for n in range(19) for d in ("down", "up")}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


async def kept(house, path):
    await house.arrive(path)
    await house.work()
    return sha(path)


async def test_asked_for_once_they_are_known(home):
    """Nothing but SHA-256's own digits before; after the job all of them; asked twice while it waits it is one job."""
    path = write_safetensors(home.library / "x.safetensors", LORA)
    async with opened(home) as house:
        digest, orders = await kept(house, path), HashOrders(house.house)
        before, whole = await orders.known(digest)
        assert (before.autov2, before.crc32, whole) == (digest[:10], None, False)
        job = await orders.want(digest)
        assert job is not None and await orders.want(digest) is None
        await house.work()
        found, whole = await orders.known(digest)
        assert found.crc32 == f"{zlib.crc32(path.read_bytes()):08x}" and found.autov3 and whole
        assert (found.blake3 is not None) is hashes.has_blake3()
        assert await orders.want("0" * 64) is None


async def test_another_content_is_not_kept_for_it(home):
    """The file was changed, or is gone: the job fails with the reason, and nothing is kept."""
    path = write_safetensors(home.library / "x.safetensors", LORA)
    async with opened(home) as house:
        digest, orders = await kept(house, path), HashOrders(house.house)
        write_safetensors(path, LORA, {"a": "b"})
        await orders.want(digest)
        await house.work(Lane.HASH)
        path.unlink()
        house.home.clock.at += 10_000
        await house.work(Lane.HASH)
        (job,) = [j for j in await house.store.read(jobs.listing) if "hashes" in j.payload]
        assert "cannot be read" in job.error
        assert (await orders.known(digest))[1] is False
        notes = [r.note for r in await house.told() if r.event == "job"]
        assert any("another content by now" in note for note in notes)
