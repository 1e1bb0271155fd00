"""The conveyor: a unit that settled is identified, decided and recorded with its job at once, and what is known does nothing."""

import asyncio
import io
import json
import os
import tarfile

import pytest
from dropdock.daemon import conveyor as module
from dropdock.daemon.looking import look_many
from dropdock.daemon.rescan import rescan
from dropdock.handlers import disk
from dropdock.rules.ignores import Ignores
from dropdock.rules.terms import Arrival, Departure, Lane
from dropdock.store import datasets, files, jobs
from dropdock.store.index import Index
from house_made import Home, opened
from model_files import write_safetensors
from pictures_made import picture

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


async def test_a_unit_is_recorded_with_its_verdict_and_its_job(home):
    """A picture with its caption: both rows, the rule that fired, one job of both actions in the right lane."""
    lead, text = home.drop("cats/a.png", picture(1)), home.drop("cats/a.txt", b"a tabby")
    async with opened(home) as house:
        await house.arrive(lead, text)
        row, beside = await house.file(lead), await house.file(text)
        assert (row.state, row.kind, row.rule, row.present, beside.lead) == ("queued", "image", "pictures", True, row.id)
        (job,) = await house.store.read(jobs.listing)
        assert (job.lane, job.title, job.payload["file"]) == (Lane.CPU, "dataset, caption: a.png", row.id)


async def test_the_same_arrival_again_does_nothing(home):
    """Double events, rescans and own writes: no second row, job or line of history."""
    lead = home.drop("a.png", picture(1))
    async with opened(home) as house:
        await house.arrive(lead)
        before = await house.told()
        for _ in range(3):
            await house.arrive(lead)
        assert await house.told() == before and len(await house.store.read(jobs.listing)) == 1


async def test_what_no_rule_wants_is_left_and_said_so(home):
    """A text in the inbox stays, is listed as left with the reason, and no job is made."""
    path = home.drop("note.md", b"# words")
    async with opened(home) as house:
        await house.arrive(path)
        row = await house.file(path)
        assert (row.state, row.end, row.end_at, row.present) == ("left", "left", path, True) and "no rule" in row.why
        assert await house.store.read(jobs.listing) == []


async def test_what_would_run_code_is_quarantined_before_any_rule(home):
    """In an inbox it gets its job; in a library it is reported and nothing is planned."""
    evil = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."
    dropped, kept = home.drop("evil.pt", evil), home.library / "evil.pt"
    kept.write_bytes(evil)
    async with opened(home) as house:
        await house.arrive(dropped)
        await house.arrive(kept)
        assert [j.title for j in await house.store.read(jobs.listing)] == ["quarantine: evil.pt"]
        row = await house.file(kept)
        assert (row.condition, row.state, row.present) == ("unsafe", "done", True)


async def test_a_changed_file_is_walked_again(home):
    """Another content under the known name: decided anew, a second job beside the first one's key."""
    path = home.drop("a.bin", b"nothing known")
    async with opened(home) as house:
        await house.arrive(path)
        first = await house.file(path)
        path.write_bytes(picture(2))
        await house.arrive(path)
        row = await house.file(path)
        assert (row.id, first.state, row.state, row.kind) == (first.id, "left", "queued", "image")


async def test_a_unit_that_is_gone_again_or_being_moved_by_us_is_passed_over(home):
    """Neither a vanished file nor one of our own moves becomes a record."""
    gone, ours = home.drop("gone.png", picture(1)), home.drop("ours.png", picture(2))
    async with opened(home) as house:
        watch = house.house.watch_of(gone)
        stale = [Arrival(watch.name, path, disk.stamp(path)) for path in (gone, ours)]
        gone.unlink()
        house.house.mine.add(ours)
        await house.conveyor.take(stale)
        assert await house.told() == []


async def test_a_file_that_cannot_be_read_is_a_record_with_a_reason(home, monkeypatch):
    """EIO while identifying: listed, with the disk's own words."""
    path = home.drop("a.png", picture(1))

    def bad_disk(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "identify", bad_disk)
    async with opened(home) as house:
        await house.arrive(path)
        row = await house.file(path)
        assert row.reason == "unreadable: Input/output error" and row.state == "left"


async def test_one_surprise_costs_one_unit(home, monkeypatch):
    """A bug in one unit of a batch: the others are taken all the same, it is listed as failed, and the conveyor goes on."""
    real = module.identify

    def surprising(lead, companions=()):
        if lead.name == "b.png":
            raise RuntimeError("a bug")
        return real(lead, companions)

    monkeypatch.setattr(module, "identify", surprising)
    paths = [home.drop(f"{name}.png", picture(n)) for n, name in enumerate("abcd")]
    async with opened(home) as house:
        watch = house.house.watch_of(paths[0])
        house.spawn(house.conveyor.run())
        house.conveyor.put([Arrival(watch.name, path, disk.stamp(path)) for path in paths])
        known: list[str] = []
        async with asyncio.timeout(10):
            while len(known) < 4:
                await house.committed.wait()
                house.committed.clear()
                known = sorted(row.path.name for row in await house.told() if row.event == "arrived")
        states = {row.path.name: row.state for row in await house.house.store.read(files.listing)}
        assert states == {"a.png": "queued", "b.png": "failed", "c.png": "queued", "d.png": "queued"}
        assert not house.tasks[0].done()


async def test_departures_are_recorded_and_datasets_forget_the_picture(home):
    """A picture that somebody deleted from a dataset is gone from its list; a folder goes with all that lay in it."""
    lead = home.drop("cats/a.png", picture(1))
    async with opened(home) as house:
        await house.arrive(lead)
        await house.work()
        there = home.datasets / "cats/a.png"
        there.unlink()
        await house.conveyor.depart([Departure("datasets", home.datasets / "cats")])
        assert await house.store.read(datasets.item, "cats", "a.png") is None
        assert (await house.file(there)).state == "gone"
        assert [row.path for row in await house.told() if row.event == "departed"] == [there]


async def test_a_known_unit_can_be_walked_again(home):
    """reenter: decided anew though nothing changed on disk; not when the unit is gone."""
    path = home.drop("note.md", b"# words")
    async with opened(home) as house:
        await house.arrive(path)
        row = await house.file(path)
        assert await house.conveyor.reenter(row.id) and len(house.conveyor) == 1
        assert not await house.conveyor.reenter(row.id + 99)


# ---------------------------------------------------------------- libraries


async def test_a_librarys_model_is_hashed_where_it_lies(home):
    """Tracked: a quiet job of the hash lane; afterwards its digest is known and the file was not touched."""
    path = write_safetensors(home.library / "loras/a.safetensors", LORA)
    before = disk.stamp(path)
    async with opened(home) as house:
        await house.arrive(path)
        (job,) = await house.store.read(jobs.listing)
        assert (job.lane, job.title, job.priority) == (Lane.HASH, "hash: a.safetensors", -5)
        await house.work()
        row = await house.file(path)
        assert row.sha256 and row.present and (row.state, row.end) == ("done", None) and disk.stamp(path) == before


def folder_model(root):
    """A folder that is one model, as diffusers writes it."""
    folder = root / "tiny-sd"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(
        '{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}'
    )
    (folder / "unet/config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    write_safetensors(folder / "unet/diffusion_pytorch_model.safetensors", {"conv_in.weight": ("F16", (4, 4))})
    return folder


async def test_a_folder_that_is_one_model_is_known_by_its_files(home):
    """A rescan finds nothing to do once it is recorded; a change inside it is a new digest, found where the old one was."""
    folder = folder_model(home.library)
    async with opened(home) as house:
        await house.arrive(folder)
        await house.work()
        first = await house.file(folder)
        assert first.sha256 and first.present
        watch = house.house.watch_of(folder)
        with Index(house.store.db.path, watch.path) as index:
            found = rescan(watch, index, Ignores(), None)
        assert (found.dirty, found.departed) == ([], [])
        before = await house.told()
        await house.arrive(folder)
        assert await house.told() == before
        (folder / "unet/config.json").write_text('{"_class_name": "UNet2DConditionModel", "x": 1}')
        with Index(house.store.db.path, watch.path) as index:
            assert rescan(watch, index, Ignores(), None).dirty == [folder / "unet/config.json"]
        await house.arrive(folder)
        await house.work()
        second = await house.file(folder)
        assert second.id == first.id and second.sha256 not in (None, first.sha256)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights are told by the error here")
async def test_a_file_that_cannot_be_read_is_listed_with_the_reason_and_looked_at_again(home, monkeypatch):
    """Unreadable is a reason, not an end: every comparison looks again, without a new line of history each time."""
    lead = home.drop("secret.png", picture(1))
    real, refuse = module.identify, True

    def refusing(path, companions=()):
        if refuse:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, companions)

    monkeypatch.setattr(module, "identify", refusing)
    async with opened(home) as house:
        await house.arrive(lead)
        row = await house.file(lead)
        assert (
            row.state == "left"
            and row.reason.startswith("unreadable: Permission denied (it belongs to uid")
            and "unreadable" in row.note
        )
        (line,) = [r for r in await house.told() if r.event == "arrived"]
        assert line.note.startswith("unreadable: Permission denied") and "no rule" not in line.note
        before = await house.told()
        await house.arrive(lead)
        assert await house.told() == before
        refuse = False
        await house.arrive(lead)
        assert (await house.file(lead)).state == "queued"


async def test_names_in_an_archive_that_are_not_utf8_are_recorded(home):
    """What the conveyor quotes of an archive is shown with escapes; the unit arrives like any other."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", encoding="utf-8", errors="surrogateescape") as tar:
        info = tarfile.TarInfo("b\udcffse.png")
        info.size = len(picture(1))
        tar.addfile(info, io.BytesIO(picture(1)))
    lead = home.drop("odd.tar", out.getvalue())
    async with opened(home) as house:
        await house.arrive(lead)
        row = await house.file(lead)
        assert (row.state, row.rule) == ("queued", "zipped pictures")
        await house.work()
        assert len(list((home.datasets / "odd").glob("*.png"))) == 1


SHARDS = ("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors")


def shard(path, n):
    names = sorted(LORA)
    return write_safetensors(path, {k: LORA[k] for k in names[n * 3 : n * 3 + 3]})


async def test_a_folder_with_parts_missing_is_held_until_they_come(home):
    """Index and one of two shards: nothing is stored. With the second the folder arrives anew and is stored whole, once."""
    folder = home.inbox / "m"
    home.drop("m/m.safetensors.index.json", json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))}).encode())
    shard(folder / SHARDS[0], 0)
    async with opened(home) as house:
        await house.arrive(folder)
        await house.work()
        row = await house.file(folder)
        assert (row.state, row.condition) == ("held", "incomplete") and "parts of the model are missing" in row.note
        before = await house.told()
        await house.arrive(folder)
        assert await house.told() == before and not any(home.hub.rglob("*.safetensors"))
        late = shard(folder / SHARDS[1], 1)
        looks = look_many([late], home.inbox)
        assert looks[0].folder == folder, "what is added waits with its folder, and is no unit of its own"
        await house.arrive(folder)
        await house.work()
        (blob,) = (p for p in home.hub.glob("??/*/*"))
        assert blob.name == "m" and {p.name for p in blob.iterdir()} == {*SHARDS, "m.safetensors.index.json"}
        assert not folder.exists() and await house.performed("store") == ["done"]


async def test_loose_shards_are_held_until_the_last_one_comes(home):
    """Without an index each shard is a file; the last one takes those along that waited for it."""
    first = shard(home.inbox / SHARDS[0], 0)
    async with opened(home) as house:
        await house.arrive(first)
        await house.work()
        assert (await house.file(first)).state == "held" and first.is_file()
        last = shard(home.inbox / SHARDS[1], 1)
        await house.arrive(last)
        await house.work()
        assert sorted(p.name for p in home.hub.rglob("*.safetensors")) == sorted(SHARDS)
        assert (await house.file(first)).end == (await house.file(last)).end == "hub"


def counted(monkeypatch):
    """The leads that are identified from now on."""
    real, asked = module.identify, []

    def identify(lead, companions=()):
        asked.append(lead.name)
        return real(lead, companions)

    monkeypatch.setattr(module, "identify", identify)
    return asked


def likely(house, lead, *companions):
    return Arrival(house.house.watch_of(lead).name, lead, disk.stamp(lead), companions)


async def test_what_was_looked_at_ahead_is_only_recorded_when_it_settles(home, monkeypatch):
    """The header is read once; the row and the job are those of a unit that nobody looked at ahead."""
    asked = counted(monkeypatch)
    lead, text = home.drop("cats/a.png", picture(1)), home.drop("cats/a.txt", b"a tabby")
    other = home.drop("cats/b.png", picture(1))
    async with opened(home) as house:
        await house.conveyor.foresee([likely(house, lead, text)])
        assert asked == ["a.png"] and await house.told() == [] and await house.jobs() == {}
        await house.arrive(lead, text)
        assert asked == ["a.png"]
        await house.arrive(other)
        one, two = await house.file(lead), await house.file(other)
        assert (one.state, one.rule, one.why, one.kind) == (two.state, two.rule, two.why, two.kind)
        assert one.facts.replace("a.png", "b.png") == two.facts and (await house.file(text)).lead == one.id
        a, b = await house.store.read(jobs.listing)
        assert {**a.payload, "file": 0, "stamp": 0} == {**b.payload, "file": 0, "stamp": 0} and a.payload["file"] == one.id


async def test_what_changed_since_is_read_again(home, monkeypatch):
    """Another content of the same size and time behind the same inode: the change time tells, and the row is right."""
    asked = counted(monkeypatch)
    path = home.drop("a.png", picture(1))
    async with opened(home) as house:
        await house.conveyor.foresee([likely(house, path)])
        before = path.stat()
        path.write_bytes(b"no picture any more".ljust(before.st_size, b"."))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert disk.stamp(path) == disk.stamp_of(before)
        await house.arrive(path)
        assert asked == ["a.png"] * 2 and (await house.file(path)).condition == "invalid"


async def test_rules_and_memory_that_changed_since_are_asked_again(home, monkeypatch):
    """A configuration that was read anew decides what has not settled; so does what is remembered of a path by then."""
    path = home.drop("a.png", picture(1))
    async with opened(home) as house:
        await house.conveyor.foresee([likely(house, path)])
        home.text += "pipelines:\n  inbox:\n    - {name: all that comes, do: [{move: {to: sorted}}]}\n"
        house.house.config = home.config
        await house.arrive(path)
        assert (await house.file(path)).rule == "all that comes"
        path.write_bytes(picture(2))
        await house.conveyor.foresee([likely(house, path)])
        await house.store.write(files.tag, (await house.file(path)).id, ["keep"])
        asked = counted(monkeypatch)
        await house.arrive(path)
        assert asked == ["a.png"]


async def test_shards_and_datasets_are_not_looked_at_ahead(home, monkeypatch):
    """What a shard is depends on the files beside it, and a dataset's pictures are only read back."""
    asked = counted(monkeypatch)
    first, edited = shard(home.inbox / SHARDS[0], 0), home.datasets / "cats" / "a.png"
    edited.parent.mkdir(parents=True)
    edited.write_bytes(picture(1))
    async with opened(home) as house:
        await house.conveyor.foresee([likely(house, first), likely(house, edited)])
        assert asked == []


async def test_what_has_settled_goes_before_what_has_not(home, monkeypatch):
    """A burst that still settles holds nothing up, and a unit that settled meanwhile is not looked at ahead any more."""
    asked = counted(monkeypatch)
    early, late = home.drop("early.png", picture(1)), home.drop("late.png", picture(2))
    async with opened(home) as house:
        house.conveyor.look_ahead(
            [likely(house, late), likely(house, early), Arrival("in", home.inbox / "gone.png", disk.stamp(late))]
        )
        house.conveyor.put([likely(house, early)])
        house.spawn(house.conveyor.run())
        async with asyncio.timeout(10):
            while await house.store.read(files.at, early) is None or "late.png" not in asked:
                await asyncio.sleep(0)
            house.conveyor.put([likely(house, late)])
            while await house.store.read(files.at, late) is None:
                await asyncio.sleep(0)
        assert asked == ["early.png", "late.png"] and not house.tasks[0].done()


async def test_a_surprise_in_looking_ahead_costs_nothing(home, monkeypatch):
    """The unit is taken as ever when it settles, and the conveyor goes on."""
    path, asked, real = home.drop("a.png", picture(1)), [], module.identify

    def surprising(lead, companions=()):
        asked.append(lead)
        if len(asked) == 1:
            raise RuntimeError("a bug")
        return real(lead, companions)

    monkeypatch.setattr(module, "identify", surprising)
    async with opened(home) as house:
        house.spawn(house.conveyor.run())
        house.conveyor.look_ahead([likely(house, path)])
        async with asyncio.timeout(10):
            while not asked:
                await asyncio.sleep(0)
            house.conveyor.put([likely(house, path)])
            while await house.store.read(files.at, path) is None:
                await asyncio.sleep(0)
        assert (await house.file(path)).state == "queued" and not house.tasks[0].done()
