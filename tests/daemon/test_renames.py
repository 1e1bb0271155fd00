"""Renames: a file that only has another name keeps its row, its digests and its being held; nothing is hashed twice."""

import os

import pytest
from dropdock.rules.terms import Departure, Lane
from dropdock.store import files, jobs, models
from house_made import Home, opened
from model_files import write_safetensors
from pictures_made import picture

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


async def tracked(house, path):
    """A library's model, hashed."""
    await house.arrive(path)
    await house.work(Lane.HASH)
    return await house.file(path)


@pytest.mark.parametrize("departed_first", [True, False])
async def test_a_renamed_library_file_keeps_its_row_and_is_not_hashed_again(home, departed_first):
    """Same row id and digests at the new path, the model's bytes are named there, no job, and a line that says where from."""
    old, new = home.library / "loras/a.safetensors", home.library / "mine/b.safetensors"
    old.parent.mkdir()
    new.parent.mkdir()
    write_safetensors(old, LORA)
    async with opened(home) as house:
        before = await tracked(house, old)
        assert before.sha256
        old.rename(new)
        if departed_first:
            await house.conveyor.depart([Departure("library", old)])
        await house.arrive(new)
        after = await house.file(new)
        assert (after.id, after.sha256, after.state, after.present) == (before.id, before.sha256, "done", True)
        assert (await house.store.read(models.get, before.sha256)).blob == new
        assert [j.title for j in await house.store.read(jobs.listing)] == ["hash: a.safetensors"]
        assert (await house.told())[-1].note == f"renamed from {old}"
        await house.conveyor.depart([Departure("library", old)])
        assert (await house.file(new)).present


async def test_a_renamed_folder_takes_all_rows_along(home):
    """Every file below it, companions included, under its old row id."""
    folder = home.library / "loras"
    folder.mkdir()
    write_safetensors(folder / "a.safetensors", LORA)
    (folder / "a.preview.png").write_bytes(picture(1))
    (folder / "b.png").write_bytes(picture(2))
    async with opened(home) as house:
        await house.arrive(folder / "a.safetensors", folder / "a.preview.png")
        await house.arrive(folder / "b.png")
        await house.work(Lane.HASH)
        ids = {name: (await house.file(folder / name)).id for name in os.listdir(folder)}
        other = folder.rename(home.library / "other")
        await house.conveyor.depart([Departure("library", folder)])
        await house.arrive(other / "a.safetensors", other / "a.preview.png")
        await house.arrive(other / "b.png")
        assert {name: (await house.file(other / name)).id for name in os.listdir(other)} == ids
        assert len(await house.store.read(jobs.listing)) == 1


async def test_what_is_left_or_held_in_an_inbox_stays_so_under_its_new_name(home):
    """A left text is still left; a held file is not decided again."""
    note, kept = home.drop("note.md", b"# words"), home.drop("cat.png", picture(1))
    async with opened(home) as house:
        for path in (note, kept):
            await house.arrive(path)
        (job,) = await house.store.read(jobs.listing)
        await house.store.write(jobs.cancel, job.id, 1.0)
        row = await house.file(kept)
        await house.store.write(files.hold, row.id, "a person asked")
        left = await house.file(note)
        for path in (note, kept):
            path.rename(home.inbox / f"new-{path.name}")
            await house.arrive(home.inbox / f"new-{path.name}")
        there, held = await house.file(home.inbox / "new-note.md"), await house.file(home.inbox / "new-cat.png")
        assert (there.id, there.state, there.end, there.end_at) == (left.id, "left", "left", home.inbox / "new-note.md")
        assert (held.id, held.state, held.note) == (row.id, "held", "a person asked")
        assert [str(j.state) for j in await house.store.read(jobs.listing)] == ["cancelled"]


async def test_a_hard_link_is_no_rename(home):
    """The old name is still there: two rows."""
    old, new = home.library / "a.png", home.library / "b.png"
    old.write_bytes(picture(1))
    async with opened(home) as house:
        await house.arrive(old)
        os.link(old, new)
        await house.arrive(new)
        assert (await house.file(old)).id != (await house.file(new)).id and (await house.file(old)).present


async def test_a_file_that_is_put_back_has_its_row_again(home):
    """Moved out of every watch and back: present again, and nothing to hash."""
    path, outside = home.library / "a.safetensors", home.root / "a.safetensors"
    write_safetensors(path, LORA)
    async with opened(home) as house:
        before = await tracked(house, path)
        path.rename(outside)
        await house.conveyor.depart([Departure("library", path)])
        outside.rename(path)
        await house.arrive(path)
        after = await house.file(path)
        assert (after.id, after.present, after.sha256) == (before.id, True, before.sha256)
        assert (await house.told())[-1].note == "it is back" and len(await house.store.read(jobs.listing)) == 1


async def test_a_unit_whose_job_waits_follows_and_is_decided_anew(home):
    """One row, one line that says where from, and the job of the old name gives way to one of the new; the rule asks for the new path."""
    old, new = home.drop("a.png", picture(1)), home.inbox / "cats/b.png"
    new.parent.mkdir()
    async with opened(home) as house:
        await house.arrive(old)
        first = await house.file(old)
        old.rename(new)
        await house.arrive(new)
        await house.conveyor.depart([Departure("inbox", old)])
        row = await house.file(new)
        assert (row.id, row.state) == (first.id, "queued")
        assert [r.event for r in await house.told()] == ["arrived", "renamed", "arrived"]
        assert [str(j.state) for j in await house.store.read(jobs.listing)] == ["cancelled", "queued"]
        await house.work(Lane.CPU)
        assert (await house.file(new)).end_at == home.datasets / "cats/b.png"


@pytest.mark.parametrize("begun", ["running", "paused", "half done"])
async def test_a_unit_whose_job_was_begun_arrives_as_new(home, begun):
    """The job knows the old path and finds nothing there, or is a person's to resume; the new name gets its own row and job."""
    old, new = home.drop("a.png", picture(1)), home.inbox / "b.png"
    async with opened(home) as house:
        await house.arrive(old)
        first = await house.file(old)
        (job,) = await house.store.read(jobs.listing)
        if begun == "running":
            await house.store.write(jobs.claim, Lane.CPU, "somebody", house.store.now())
        elif begun == "paused":
            await house.store.write(jobs.pause, job.id)
        else:
            await house.store.write(jobs.step, job.id, {**job.payload, "step": 1})
        old.rename(new)
        await house.conveyor.depart([Departure("inbox", old)])
        await house.arrive(new)
        row = await house.file(new)
        assert row.id != first.id and row.state == "queued" and len(await house.store.read(jobs.listing, state="open")) == 2
