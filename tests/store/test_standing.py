"""Standing: what is listed is there or away; what was deleted or overwritten is neither listed nor counted, and is told to be gone."""

from __future__ import annotations

import pytest
from dropdock.daemon import absence
from dropdock.store import blobs, models, standing
from dropdock.store.standing import State
from house_made import Home, opened, sha
from kept_models import keep
from model_files import write_safetensors

TENSORS = {"a.lora_down.weight": ("F16", (4, 640)), "a.lora_up.weight": ("F16", (640, 4))}
OTHER = {"a.lora_down.weight": ("F16", (8, 640)), "a.lora_up.weight": ("F16", (640, 8))}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


async def tracked(house, *names, tensors=TENSORS):
    """Library files that the daemon has hashed where they lie; their digest."""
    for name in names:
        path = house.home.library / name
        write_safetensors(path, tensors)
        await house.arrive(path)
    await house.work()
    return sha(path)


async def seen(house):
    """What is listed, and what is counted."""
    return [m.sha256 for m in await house.store.read(models.listing)], (await house.store.read(standing.count))[0]


async def state(house, sha256):
    """How one model stands, and where."""
    found = (await house.store.read(standing.standings, [sha256]))[sha256]
    return found.state, found.at.name


async def test_a_tracked_file_that_is_deleted_is_listed_no_more_until_it_is_back(home):
    """There, gone, there again: list and count agree each time, and the record says so."""
    async with opened(home) as house:
        it = await tracked(house, "a.safetensors")
        assert (await seen(house), await state(house, it)) == (([it], 1), (State.OK, "a.safetensors"))
        (home.library / "a.safetensors").unlink()
        await house.store.depart([("library", home.library / "a.safetensors")])
        assert (await seen(house), await state(house, it)) == (([], 0), (State.GONE, "a.safetensors"))
        assert await tracked(house, "b.safetensors") == it
        assert (await seen(house), await state(house, it)) == (([it], 1), (State.OK, "b.safetensors"))


async def test_an_overwritten_file_is_its_new_content(home):
    """Only the new content is listed and meant by the name; the old one is found by its digest, and is gone."""
    async with opened(home) as house:
        old = await tracked(house, "a.safetensors")
        new = await tracked(house, "a.safetensors", tensors=OTHER)
        assert old != new
        assert await seen(house) == ([new], 1)
        assert [m.sha256 for m in await house.store.read(models.find, "a.safetensors")] == [new]
        assert [m.sha256 for m in await house.store.read(models.find, old[:12])] == [old]
        assert (await state(house, old))[0] is State.GONE


async def test_of_two_copies_the_other_one_stands_for_it(home):
    """The copy that was recorded first is deleted: the model is listed, and lies where the second is."""
    async with opened(home) as house:
        it = await tracked(house, "a.safetensors", "b.safetensors")
        await house.store.depart([("library", home.library / "a.safetensors")])
        assert (await seen(house), await state(house, it)) == (([it], 1), (State.OK, "b.safetensors"))


async def test_what_is_on_an_unmounted_disk_stays_listed_and_is_away(home):
    """A disk that is not there takes nothing off the list."""
    async with opened(home) as house:
        it = await tracked(house, "a.safetensors")
        watch = house.house.watch_of(home.library / "a.safetensors")
        await absence.root_away(house.house, watch)
        assert (await seen(house), await state(house, it)) == (([it], 1), (State.AWAY, "a.safetensors"))


async def test_the_hubs_models_stand_as_their_blobs_do(home):
    """Changed and gone stay listed; what another content has replaced does not, and is not meant by its name."""
    async with opened(home) as house:
        kept = [(await keep(house, f"{name}.safetensors")).sha256 for name in "abc"]
        await house.store.write(blobs.mark, kept[:1], blobs.BlobState.CHANGED)
        await house.store.write(blobs.mark, kept[1:2], blobs.BlobState.GONE)
        assert await seen(house) == (kept, 3)
        assert [(await state(house, it))[0] for it in kept] == [State.CHANGED, State.GONE, State.OK]
        await house.store.write(blobs.succeed, kept[0], kept[2])
        await house.store.write(blobs.pass_on)
        assert await seen(house) == (kept[1:], 2)
        assert (await state(house, kept[0]))[0] is State.REPLACED


async def test_pages_and_filters_leave_the_gone_out(home):
    """The filter holds behind the first page and for every order."""
    async with opened(home) as house:
        await tracked(house, "gone.safetensors")
        await house.store.depart([("library", home.library / "gone.safetensors")])
        kept = [(await keep(house, f"{name}.safetensors")).sha256 for name in "ab"]
        for sort in models.SORTS:
            first = await house.store.read(models.listing, sort=sort, limit=1)
            rest = await house.store.read(models.listing, sort=sort, after=first[0].id)
            assert sorted(m.sha256 for m in (*first, *rest)) == sorted(kept), sort
