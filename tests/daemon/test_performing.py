"""Performing: the actions of a unit, one after another; killed at any point the next start ends where it would have ended."""

import asyncio
import itertools
import os
from pathlib import Path

import pytest
from dropdock.daemon import performing
from dropdock.handlers import disk, hashing
from dropdock.handlers.table import HANDLERS
from dropdock.rules.terms import Arrival, Lane
from dropdock.store import codec, datasets, files, history, jobs, models
from hands import other_volume
from house_made import Home, Killed, Opened, opened, sha
from model_files import write_safetensors
from pictures_made import picture, tree, zipped

LORA = {f"lora_unet_double_blocks_{n}_img_attn_proj.lora_{d}.weight": ("BF16", (4, 8)) for n in range(19) for d in ("down", "up")}
SURE = """
pipelines:
  inbox:
    - name: zips
      when: {kind: archive}
      do: [{unpack: {dataset: "{stem}"}}]
    - name: pictures
      when: {kind: image}
      do: [{dataset: "{parent}"}, {caption: {with: basic}}]
    - name: models
      when: {kind: model}
      do: [store, deploy]
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path, SURE)


def lora(path: Path, mark: str = "x") -> Path:
    return write_safetensors(path, LORA, {"mark": mark})


# ---------------------------------------------------------------- whole chains


async def test_store_and_deploy(home):
    """[store, deploy]: in the hub by its SHA-256, wanted by targets, one recorded end, each action once in the history."""
    path = lora(home.inbox / "sub/style.safetensors")
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        row = await house.file(path)
        kept = home.hub / digest[:2] / digest / "style.safetensors"
        assert (row.end, row.end_at, row.present, row.sha256, row.state) == ("hub", kept, False, digest, "done")
        assert sha(kept) == digest and not path.parent.exists(), "the folder that our taking emptied is gone"
        model = await house.store.read(models.get, digest)
        assert (model.blob, model.wanted, model.in_hub) == (kept, "*", True)
        assert [(r.verb, r.status) for r in await house.told() if r.event == "performed"] == [
            ("store", "done"),
            ("deploy", "done"),
        ]
        assert set((await house.jobs()).values()) == {"done"} and await house.store.read(history.intents) == []


async def test_dataset_and_caption(home):
    """[dataset, caption]: the picture lies in the dataset, its caption is a job that overtakes bulk ones."""
    path = home.drop("cats/a.png", picture(1))
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        row = await house.file(path)
        assert (row.end, row.end_at) == ("dataset", home.datasets / "cats/a.png")
        (caption,) = [j for j in await house.store.read(jobs.listing) if j.lane is Lane.CAPTION]
        assert (caption.payload["rel"], caption.priority, caption.state) == ("a.png", performing.NOW_PRIORITY, "queued")
        there = await house.file(home.datasets / "cats/a.png")
        assert (there.watch, there.state, there.present) == ("datasets", "done", True), (
            "our own writes are known before they are seen"
        )


async def test_a_picture_with_its_own_caption_wants_no_other(home):
    """`only: missing` skips it: no job of the caption lane."""
    path, text = home.drop("cats/a.png", picture(1)), home.drop("cats/a.txt", b"a tabby")
    async with opened(home) as house:
        await house.arrive(path, text)
        await house.work()
        assert list(await house.jobs()) == ["dataset, caption: a.png"]
        item = await house.store.read(datasets.item, "cats", "a.png")
        assert (item.caption, item.source) == ("a tabby", "imported")


async def test_a_zips_pictures_follow_its_pipeline(home):
    """unpack: items, imported captions, and one caption job for each picture that has none, once, by the ZIP's own rules."""
    members = {"a.png": picture(1), "b.png": picture(2), "a.txt": b"a tabby", "broken.png": picture(3)[:900]}
    path = zipped(home.inbox / "cats.zip", members)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        titles = await house.jobs()
        assert titles == {"unpack: cats.zip": "done", "caption cats/b.png with basic": "queued"}
        assert tree(home.datasets) == {"cats/a.png": len(picture(1)), "cats/a.txt": 7, "cats/b.png": len(picture(2))}
        row = await house.file(path)
        assert (row.end, row.end_at) == ("dataset", home.datasets / "cats")
        aside = {a.original.name: a for a in await house.store.read(history.kept_aside)}
        assert {n: (a.place, a.path.is_file()) for n, a in aside.items()} == {
            "cats.zip": ("trash", True), "broken.png": ("quarantine", True)
        }  # fmt: skip
        assert home.staging_left() == []


async def test_pictures_of_a_zip_take_the_other_actions_of_their_rule(tmp_path):
    """A rule that also tags: each produced picture is tagged where it lies, and does not enter by the watcher."""
    home = Home(
        tmp_path, SURE.replace('[{dataset: "{parent}"}, {caption: {with: basic}}]', '[{dataset: "{parent}"}, {tag: [new]}]')
    )
    path = zipped(home.inbox / "cats.zip", {"a.png": picture(1), "b.png": picture(2)})
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        for name in ("a.png", "b.png"):
            assert (await house.file(home.datasets / "cats" / name)).tags == ("new",)
        assert await house.performed("tag") == ["done", "done"] and set((await house.jobs()).values()) == {"done"}


async def test_the_same_model_twice_at_once_is_one_blob(home):
    """Two copies and two workers: one blob with two names, the other copy in the trash."""
    one, two = lora(home.inbox / "a.safetensors"), lora(home.inbox / "b.safetensors")
    digest = sha(one)
    async with opened(home) as house:
        await house.arrive(one)
        await house.arrive(two)
        await house.work(Lane.HASH, Lane.HASH)
        assert len([p for p in home.hub.rglob("*.safetensors") if ".dropdock" not in p.parts]) == 1
        assert await house.store.read(models.names, digest) == ["a.safetensors", "b.safetensors"]
        ends = [await house.file(p) for p in (one, two)]
        assert {r.end for r in ends} == {"hub"} and ends[0].end_at == ends[1].end_at
        assert len(await house.store.read(history.kept_aside)) == 1


async def test_pictures_that_enter_one_dataset_at_once_do_not_meet(home):
    """Two pictures of one name by two workers: two places, two records."""
    paths = [home.drop(f"cats/{n}/a.png", picture(n)) for n in range(2)] + [home.drop("cats/a.png", picture(2))]
    async with opened(home) as house:
        for path in paths:
            await house.arrive(path)
        await house.work(Lane.CPU, Lane.CPU, Lane.CPU)
        assert sorted(tree(home.datasets)) == ["cats/0/a.png", "cats/1/a.png", "cats/a.png"]
        assert {(await house.file(p)).end for p in paths} == {"dataset"}


async def test_across_volumes_everything_ends_as_it_should(tmp_path):
    """Hub and datasets on another disk: bytes there, originals in the inbox's trash, ends recorded, no staging left."""
    with other_volume(tmp_path) as far:
        home = Home(tmp_path, SURE, hub=far / "hub", datasets=far / "sets")
        model, shot = lora(home.inbox / "a.safetensors"), home.drop("cats/a.png", picture(1))
        contents = {path: sha(path) for path in (model, shot)}
        async with opened(home) as house:
            for path in (model, shot):
                await house.arrive(path)
            await house.work()
            for path, content in contents.items():
                row = await house.file(path)
                assert sha(row.end_at) == content and far in row.end_at.parents
            aside = await house.store.read(history.kept_aside)
            assert {a.original: sha(a.path) for a in aside} == contents
        assert home.staging_left() == []


async def test_a_folder_model_ends_with_all_its_files(home):
    """A diffusers folder in the inbox: kept whole, and every file that lay in it has its end inside the hub's folder."""
    folder = home.inbox / "tiny-sd"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(
        '{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}'
    )
    (folder / "unet/config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    write_safetensors(folder / "unet/diffusion_pytorch_model.safetensors", {"conv_in.weight": ("F16", (4, 4))})
    inside = {p: sha(p) for p in folder.rglob("*") if p.is_file()}
    async with opened(home) as house:
        await house.arrive(folder)
        await house.work()
        row = await house.file(folder)
        assert row.end == "hub" and row.end_at.is_dir() and not folder.exists()
        for path, content in inside.items():
            found = await house.file(path)
            assert (found.end, found.present) == ("hub", False) and sha(found.end_at) == content
        (model,) = await house.store.read(models.listing)
        assert model.folder and model.blob == row.end_at


# ---------------------------------------------------------------- what goes otherwise


async def test_a_name_that_somebody_takes_first_gets_another(home, monkeypatch):
    """Between preparing and moving a file appears at the destination: theirs stays, ours gets a number."""
    path = home.drop("cats/a.png", picture(1))
    real = disk.carry_out

    def late(moves, again=False):
        at = home.datasets / "cats/a.png"
        if not at.exists():
            at.parent.mkdir(exist_ok=True)
            at.write_bytes(b"somebody else's")
        real(moves, again)

    monkeypatch.setattr(disk, "carry_out", late)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        row = await house.file(path)
        assert row.end_at == home.datasets / "cats/a-2.png" and (home.datasets / "cats/a.png").read_bytes() == b"somebody else's"
        assert await house.store.read(history.intents) == []


@pytest.mark.parametrize("when", ["before", "between"])
async def test_a_file_replaced_between_look_and_move_is_left_alone(home, monkeypatch, when):
    """Another file stands there when the hand comes (or when it moves): it is not taken, and it is looked at anew."""
    path = lora(home.inbox / "a.safetensors")
    async with opened(home) as house:
        await house.arrive(path)
        if when == "before":
            path.write_bytes(b"something else")
        else:
            real = HANDLERS["store"].prepare

            def slow(task, tools):
                prepared = real(task, tools)
                path.write_bytes(b"something else")
                return prepared

            monkeypatch.setattr(type(HANDLERS["store"]), "prepare", lambda self, task, tools: slow(task, tools))
        await house.work()
        assert path.read_bytes() == b"something else" and house.changed == [path]
        assert not [p for p in home.hub.rglob("*") if p.is_file()] and await house.store.read(history.intents) == []
        assert house.house.mine == set()


async def test_a_file_that_went_away_is_only_said_so(home):
    """Deleted before its turn, and told: skipped; no attempt fails."""
    path = home.drop("cats/a.png", picture(1))
    async with opened(home) as house:
        await house.arrive(path)
        path.unlink()
        await house.store.depart([("inbox", path)])
        await house.work()
        assert set((await house.jobs()).values()) == {"done"} and tree(home.datasets) == {}
        assert [row.note for row in await house.told() if row.event == "performed"] == ["the file is gone"]


async def test_a_surprise_is_a_failed_attempt_with_backoff_and_then_failed_with_the_file_still_there(home, monkeypatch):
    """A bug in a hand: three attempts, each later, then the job and the file are `failed`, and the bytes lie where they lay."""
    path = home.drop("cats/a.png", picture(1))

    def bug(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(type(HANDLERS["dataset"]), "prepare", bug)
    async with opened(home) as house:
        await house.arrive(path)
        for wait in jobs.BACKOFF[:2]:
            await house.work()
            (job,) = await house.store.read(jobs.listing)
            assert (str(job.state), job.run_at) == ("queued", home.clock.at + wait) and path.exists()
            home.clock.at = job.run_at
        await house.work()
        (job,) = await house.store.read(jobs.listing)
        row = await house.file(path)
        assert (str(job.state), job.attempts, job.error) == ("failed", 3, "RuntimeError: a bug")
        assert (row.state, row.present, row.note) == ("failed", True, "RuntimeError: a bug") and path.read_bytes() == picture(1)
        assert [r.status for r in await house.told() if r.event == "job"] == ["queued", "queued", "failed"]


async def test_a_full_disk_waits_without_blame(home, monkeypatch):
    """NoRoom: put off, no attempt counted, done as soon as there is room."""
    path = zipped(home.inbox / "cats.zip", {"a.png": picture(1)})

    def full(*_):
        raise disk.NoRoom("the disk is full")

    async with opened(home) as house:
        await house.arrive(path)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "need_room", full)
            await house.work()
        (job,) = await house.store.read(jobs.listing)
        assert (str(job.state), job.attempts, job.error) == ("queued", 0, "the disk is full")
        assert home.staging_left() == [] and path.exists()
        home.clock.at = job.run_at
        await house.work(Lane.CPU)
        assert (await house.file(path)).end == "dataset"


async def test_a_cancelled_job_stops_where_it_is_and_leaves_nothing(home, monkeypatch):
    """Cancelled while it hashes: the read ends at its next tick, the file is held where it lies, no staging is left."""
    path = lora(home.inbox / "a.safetensors")
    async with opened(home) as house:
        loop = asyncio.get_running_loop()

        def slow(path, tick):
            (job,) = house.lanes.running
            asyncio.run_coroutine_threadsafe(house.store.write(jobs.cancel, job, house.store.now()), loop).result()
            loop.call_soon_threadsafe(house.lanes.cancel, job)
            for n in itertools.count():
                tick(n)

        monkeypatch.setattr(hashing, "digest", slow)
        await house.arrive(path)
        await house.work()
        async with asyncio.timeout(5):
            while house.lanes.running:
                await asyncio.sleep(0)
        assert set((await house.jobs()).values()) == {"cancelled"}


async def test_a_chain_cancelled_during_its_first_action_does_no_second(home, monkeypatch):
    """What moved has moved and is recorded; `deploy` is not done any more."""
    path = lora(home.inbox / "a.safetensors")
    async with opened(home) as house:
        loop = asyncio.get_running_loop()
        real = disk.carry_out

        def cancelling(moves, again=False):
            real(moves, again)
            (job,) = house.lanes.running
            asyncio.run_coroutine_threadsafe(house.store.write(jobs.cancel, job, house.store.now()), loop).result()
            loop.call_soon_threadsafe(house.lanes.cancel, job)

        monkeypatch.setattr(disk, "carry_out", cancelling)
        await house.arrive(path)
        house.hire(Lane.HASH)
        async with asyncio.timeout(10):
            while await house.performed("store") == [] or house.lanes.running:
                await asyncio.sleep(0)
        row = await house.file(path)
        assert row.end == "hub" and row.end_at.is_file()
        assert await house.performed("deploy") == [] and set((await house.jobs()).values()) == {"cancelled"}


async def test_a_stopping_daemon_gives_its_jobs_back(home, monkeypatch):
    """Stopped in the middle of a read: the job is queued as it was, with no attempt counted."""
    path = lora(home.inbox / "a.safetensors")
    async with opened(home) as house:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(path, tick):
            loop.call_soon_threadsafe(begun.set)
            for n in itertools.count():
                tick(n)

        monkeypatch.setattr(hashing, "digest", slow)
        await house.arrive(path)
        house.hire(Lane.HASH)
        await begun.wait()
        house.house.stopping = True
        async with asyncio.timeout(10):
            while (await house.store.read(jobs.listing))[0].state != "queued":
                await asyncio.sleep(0)
        (job,) = await house.store.read(jobs.listing)
        assert job.attempts == 0 and path.exists()
        await house.dismiss()


# ---------------------------------------------------------------- killed


async def _drop(home: Home, what: str) -> dict[Path, str]:
    """A drop of a kind; returns each path's content."""
    if what == "model":
        paths = [lora(home.inbox / "a.safetensors"), home.drop("a.json", b"{}")]
    elif what == "copy":
        lora(home.inbox / "first.safetensors")
        async with opened(home) as house:
            await house.arrive(home.inbox / "first.safetensors")
            await house.work()
        paths = [lora(home.inbox / "a.safetensors"), home.drop("a.json", b"{}")]
    elif what == "picture":
        paths = [home.drop("cats/a.png", picture(1)), home.drop("cats/a.txt", "une fenêtre".encode("cp1252"))]
    elif what == "added":
        zipped(home.inbox / "cats.zip", {"a.png": picture(1)})
        async with opened(home) as house:
            await house.arrive(home.inbox / "cats.zip")
            await house.work()
        paths = [zipped(home.inbox / "cats.zip", {"b.png": picture(2), "sub/c.png": picture(3), "bad.png": picture(4)[:900]})]
    else:
        paths = [zipped(home.inbox / "cats.zip", {"a.png": picture(1), "b.png": picture(2), "bad.png": picture(4)[:900]})]
    return {path: sha(path) for path in paths}


def kill_at(monkeypatch: pytest.MonkeyPatch, house: Opened, point: str) -> None:
    """Arrange that the house dies at a point of the first action with moves."""
    if point == "before the intent":

        async def no_intent(*_: object) -> int:
            raise Killed

        monkeypatch.setattr(house.store, "intend", no_intent)
    elif point.startswith("move"):
        real, count = disk.rename_new, itertools.count()

        def dying(source: Path, target: Path) -> None:
            if next(count) == int(point.split()[1]):
                raise Killed
            real(source, target)

        monkeypatch.setattr(disk, "rename_new", dying)
    elif point == "before the record":

        async def no_record(*_: object) -> None:
            raise Killed

        monkeypatch.setattr(house.store, "record", no_record)
    else:

        async def untidied(*_: object) -> None:
            raise Killed

        monkeypatch.setattr(house.performer, "tidy", untidied)


POINTS = ["before the intent", "move 0", "move 1", "move 2", "before the record", "after the record"]


WHATS = ["model", "copy", "picture", "zip", "added"]
DEATHS = [(point, what, False) for point in POINTS for what in WHATS]
DEATHS += [(point, what, True) for point in POINTS[2:5] for what in ("model", "copy", "picture")]


@pytest.mark.parametrize("point, what, far", DEATHS)
async def test_killed_at_any_point_the_next_start_ends_the_same(tmp_path, monkeypatch, point, what, far):
    """Each dropped path has its one end with its bytes, each action is recorded once, no half dataset, no staging, no open intent."""
    with other_volume(tmp_path) as elsewhere:
        home = Home(tmp_path, SURE, *((elsewhere / "hub", elsewhere / "sets") if far else ()))
        dropped = await _drop(home, what)
        before = home.bytes_below()
        async with opened(home) as house:
            seen = len(await house.told())
            with monkeypatch.context() as patch:
                await house.arrive(*dropped)
                kill_at(patch, house, point)
                try:
                    await house.work()
                except Killed:
                    pass
                else:
                    assert point.startswith("move"), "the house was to die"
        assert before <= home.bytes_below(), "every byte is on the disk when the process dies"
        if what == "zip":
            assert not (home.datasets / "cats").exists() or sorted(tree(home.datasets)) == ["cats/a.png", "cats/b.png"]
        async with opened(home) as house:
            await house.work()
            await _check(house, home, dropped, seen)


async def _check(house: Opened, home: Home, dropped: dict[Path, str], seen: int) -> None:
    assert await house.store.read(history.intents) == [] and home.staging_left() == []
    done = [j for j in await house.store.read(jobs.listing) if j.lane is not Lane.CAPTION]
    assert {str(j.state) for j in done} == {"done"}
    aside = {a.original: a for a in await house.store.read(history.kept_aside)}
    for path, content in dropped.items():
        row = await house.file(path)
        assert row.end is not None and not row.present and not path.exists()
        where = [at for at in (row.end_at, aside[path].path if path in aside else None) if at is not None and at.is_file()]
        assert content in {sha(at) for at in where}, f"{path.name} ended as {row.end} at {row.end_at}"
    verbs = [(r.verb, r.status) for r in (await house.told())[seen:] if r.event == "performed"]
    assert len(verbs) == len(set(verbs)), f"done twice: {verbs}"
    for item in await house.store.read(datasets.items, "cats"):
        assert sha(home.datasets / "cats" / item.rel) == item.sha256
    pictures = [p for p in home.datasets.rglob("*.png") if ".dropdock" not in p.parts]
    assert len(pictures) == len({sha(p) for p in pictures}) == len(await house.store.read(datasets.items, "cats"))
    captioned = [j.payload["rel"] for j in await house.store.read(jobs.listing) if j.lane is Lane.CAPTION]
    assert len(captioned) == len(set(captioned))


async def test_a_new_file_under_the_old_name_after_the_crash_is_a_file_of_its_own(home, monkeypatch):
    """Moved, died before the record, then another file is saved there: the first has its end, the second lies untouched."""
    path = lora(home.inbox / "a.safetensors")
    first = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        with monkeypatch.context() as patch:
            kill_at(patch, house, "before the record")
            with pytest.raises(Killed):
                await house.work()
    lora(path, mark="another")
    second = sha(path)
    async with opened(home) as house:
        row = await house.file(path)
        assert row.end == "hub" and sha(row.end_at) == first and sha(path) == second
        await house.arrive(path)
        await house.work()
        assert sha((await house.file(path)).end_at) == second
        assert {row.sha256 for row in await house.store.read(models.listing)} == {first, second}


async def test_an_intent_that_cannot_be_finished_is_taken_back(home, monkeypatch):
    """The dataset's place was taken by somebody while we were dead: nothing of theirs is touched, and the drop is done anew."""
    path = zipped(home.inbox / "cats.zip", {"a.png": picture(1)})
    async with opened(home) as house:
        await house.arrive(path)
        with monkeypatch.context() as patch:
            kill_at(patch, house, "move 0")
            with pytest.raises(Killed):
                await house.work()
        assert len(await house.store.read(history.intents)) == 1
    (home.datasets / "cats").mkdir()
    (home.datasets / "cats/a.png").write_bytes(b"somebody else's")
    async with opened(home) as house:
        assert await house.store.read(history.intents) == [] and path.exists()
        await house.work()
        assert (home.datasets / "cats/a.png").read_bytes() == b"somebody else's"
        assert (home.datasets / "cats/a-2.png").read_bytes() == picture(1)


async def test_a_disk_that_is_away_does_not_keep_the_daemon_from_starting(home, monkeypatch):
    """An intent whose moves end in an error of the disk stays open and its job waits; the next start finishes it."""
    path = lora(home.inbox / "a.safetensors")
    async with opened(home) as house:
        await house.arrive(path)
        with monkeypatch.context() as patch:
            kill_at(patch, house, "move 0")
            with pytest.raises(Killed):
                await house.work()

    def away(*_):
        raise OSError(5, os.strerror(5))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "rename_new", away)
        async with opened(home) as house:
            assert len(await house.store.read(history.intents)) == 1 and path.exists()
            assert list((await house.jobs()).values()) == ["paused"]
    async with opened(home) as house:
        await house.work()
        assert (await house.file(path)).end == "hub"


async def test_an_intent_is_durable_before_its_first_move(home, monkeypatch):
    """When a move is made, the journal holds it, with the whole Outcome it will make true."""
    path = lora(home.inbox / "a.safetensors")
    async with opened(home) as house:
        loop = asyncio.get_running_loop()
        real, found = disk.rename_new, []

        def looking(source, target):
            rows = asyncio.run_coroutine_threadsafe(house.store.read(history.intents), loop).result()
            found.append([codec.loads(performing.Prepared, row.prepared) for row in rows])
            real(source, target)

        monkeypatch.setattr(disk, "rename_new", looking)
        await house.arrive(path)
        await house.work()
        (((prepared,),)) = found
        assert prepared.moves[0].src == path and prepared.outcome.models[0].name == "a.safetensors"
        assert await house.store.read(files.counts) == {"done": 1}


async def test_a_verdict_on_an_older_file_is_not_performed_on_the_new_one(home):
    """A half picture is queued for the quarantine, then replaced by the whole one: that one is taken as what it is."""
    lead = home.drop("cats/p.png", picture(1)[:300])
    async with opened(home) as house:
        watch = house.house.watch_of(lead)
        await house.conveyor.take([Arrival(watch.name, lead, disk.stamp(lead), whole=False)])
        (job,) = await house.store.read(jobs.listing)
        assert job.title.startswith("quarantine")
        fresh = home.drop("cats/q.png", picture(2))
        fresh.replace(lead)
        await house.arrive(lead)
        await house.work()
        assert (home.datasets / "cats/p.png").read_bytes() == picture(2)
        assert (await house.file(lead)).end == "dataset"


async def test_a_read_only_source_folder_is_said_and_held_at_once(home, monkeypatch):
    """No attempt is repeated: the folder, its owner and who we are stand in the history, and the file waits where it lies."""
    path = home.drop("theirs/a.png", picture(1))
    real, can = disk.carry_out, os.access

    def refused(moves, again=False):
        if any(m.src == path for m in moves):
            raise PermissionError(13, "Permission denied", str(path))
        real(moves, again)

    monkeypatch.setattr(disk, "carry_out", refused)
    monkeypatch.setattr(os, "access", lambda p, mode, **more: p != path.parent and can(p, mode, **more))
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        row = await house.file(path)
        assert row.state == "held" and path.is_file()
        assert f"the folder {path.parent} is read-only to dropdock (it belongs to uid" in row.note
        assert await house.performed("dataset") == ["failed"]
        assert [j.attempts for j in await house.store.read(jobs.listing)] == [1]
