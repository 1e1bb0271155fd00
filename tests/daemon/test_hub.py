"""A hub whose disk is not there: nothing is called gone, linked, unlinked or written, and all goes on by itself when it is back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dropdock.daemon import hub as presence
from dropdock.daemon.blobs import Blobs
from dropdock.daemon.doctor import Finding, Level, examine
from dropdock.daemon.hash_orders import HashOrders
from dropdock.daemon.machine import Machine, Mount
from dropdock.daemon.projection import Projection
from dropdock.daemon.undoing import Undoer
from dropdock.daemon.upkeep import Upkeep
from dropdock.handlers import disk
from dropdock.rules.terms import Aside, End, Facts, JobState, Kind, Model, ModelFacts, Move, Outcome, Status
from dropdock.store import blobs, history, hub, jobs, models, standing
from dropdock.store import links as rows
from dropdock.store.standing import State
from dropdock.store.store import Entry
from house_made import Home, Opened, killed_at_its_moves, opened, sha
from model_files import write_safetensors

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}
WELL = Machine((Mount(Path("/"), "ext4"),), 100_000, {"onnxruntime": "1.31"}, ("CPUExecutionProvider",))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def put_together(o: Opened) -> None:
    """As app.py does it."""
    o.projection.check = Blobs(o.house, o.projection.ask, o.projection.targets).check
    o.house.on_hub = o.projection.ask


async def stored(o: Opened, name: str = "a.safetensors", width: int = 4) -> tuple[str, Path]:
    """A LoRA dropped, stored and linked; its SHA-256 and its blob."""
    tensors = {key: (kind, (width, 8)) for key, (kind, _) in LORA.items()}
    path = write_safetensors(o.home.inbox / name, tensors)
    digest = sha(path)
    await o.arrive(path)
    await o.work()
    await o.store.write(models.override, digest, "lora", "sdxl", 1.0)
    await o.store.write(rows.deploy, digest, (), True, ["comfyui"])
    await o.projection.project()
    assert links(o.home)
    row = await o.store.read(models.get, digest)
    assert row is not None and row.blob.exists()
    return digest, row.blob


def links(home: Home) -> list[Path]:
    return sorted(p for p in home.app.rglob("*") if p.is_symlink())


def unmount(home: Home, leave: bool) -> Path:
    """The hub is elsewhere; `leave`: its mount point stands there, with what a daemon may have left in it."""
    gone = home.hub.with_name("hub.away")
    home.hub.rename(gone)
    if leave:
        (home.hub / ".dropdock/staging").mkdir(parents=True)
        (home.hub / "lost+found").mkdir()
        (home.hub / "00").mkdir()
    return gone


def mount(home: Home, gone: Path) -> None:
    shutil.rmtree(home.hub, ignore_errors=True)
    gone.rename(home.hub)


async def state(o: Opened, digest: str) -> State:
    return (await o.store.read(standing.standings, [digest]))[digest].state


@pytest.mark.parametrize("leave", [False, True])
async def test_links_and_models_outlive_a_hub_that_is_away(home: Home, leave: bool) -> None:
    """Stored and linked -> unmounted, audited: away, links as they were, nothing told -> mounted: ok, the daemon is told."""
    async with opened(home) as o:
        put_together(o)
        digest, _ = await stored(o)
        linked = links(home)
        assert linked and await state(o, digest) is State.OK
        gone, told = unmount(home, leave), len(await o.told())
        asked: list[str] = []
        o.house.on_hub = lambda: asked.append("all")
        await o.projection.project()
        assert links(home) == linked and len(await o.told()) == told
        assert await state(o, digest) is State.AWAY and await o.store.read(blobs.counts) == {"ok": 1}
        assert o.house.hub_away.startswith(presence.AWAY) and not asked
        mount(home, gone)
        await o.projection.project()
        assert (links(home), await state(o, digest), o.house.hub_away, asked) == (linked, State.OK, "", ["all"])
        assert all(link.exists() for link in linked)


async def test_a_hub_that_goes_between_two_looks_loses_no_link(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """There when the projection begins, gone when the blobs are looked at: their look says nothing."""
    async with opened(home) as o:
        put_together(o)
        digest, _ = await stored(o)
        linked, real = links(home), Projection.look

        async def late(self, *args, **more):  # type: ignore[no-untyped-def]
            unmount(home, leave=True)
            return await real(self, *args, **more)

        monkeypatch.setattr(Projection, "look", late)
        await o.projection.project_some([digest])
        assert links(home) == linked and o.house.hub_away


@pytest.mark.parametrize("leave", [False, True])
async def test_a_drop_waits_for_the_hub(home: Home, leave: bool) -> None:
    """Unmounted -> dropped: hashed, and the job waits with the reason, nothing is written -> mounted: stored at once, no attempt lost."""
    async with opened(home) as o:
        put_together(o)
        await stored(o)
        gone = unmount(home, leave)
        path = write_safetensors(home.inbox / "b.safetensors", {key: (kind, (8, 8)) for key, (kind, _) in LORA.items()})
        await o.arrive(path)
        await o.work()
        (job,) = [job for job in await o.store.read(jobs.listing) if job.state is JobState.QUEUED]
        assert job.error == o.house.hub_away != "" and job.attempts == 0 and path.exists()
        assert not [p for p in home.hub.rglob("*") if p.is_file()]
        mount(home, gone)
        assert await presence.away(o.house) == ""  # the clock of the house stands still: it is due all the same
        await o.work()
        row = await o.file(path)
        assert row.end == "hub" and not path.exists() and len(list(home.hub.rglob("*.safetensors"))) == 2


async def test_a_start_without_the_hub_makes_none(home: Home) -> None:
    """First start: it is made. Started while it is away: it is not, and that is forgotten at a start with it."""
    home.hub.rmdir()
    async with opened(home) as o:
        await presence.find(o.house)
        assert home.hub.is_dir() and not o.house.hub_away
        digest, _ = await stored(o)
    gone = unmount(home, leave=False)
    async with opened(home) as o:
        await presence.find(o.house)
        assert not home.hub.exists() and o.house.hub_away and await state(o, digest) is State.AWAY
    mount(home, gone)
    async with opened(home) as o:
        await presence.find(o.house)
        assert not o.house.hub_away and await state(o, digest) is State.OK and await o.store.read(hub.away) == ""


async def test_a_hub_that_was_emptied_on_purpose_is_empty(home: Home) -> None:
    """All files deleted: away, until a person says that it is meant; then the models are gone and so are their links."""
    async with opened(home) as o:
        put_together(o)
        digest, _ = await stored(o)
        shutil.rmtree(home.hub)
        await o.projection.project()
        assert links(home) and await state(o, digest) is State.AWAY
        (home.hub / presence.EMPTY).mkdir(parents=True)
        assert presence.mend(home.hub).endswith(str(home.hub / presence.EMPTY))
        await o.projection.project()
        assert not links(home) and await state(o, digest) is State.GONE
        assert await presence.away(o.house) == "" and not (home.hub / presence.EMPTY).exists(), "said once"
        shutil.rmtree(home.hub)
        assert await presence.away(o.house) == "", "nothing is missed any more"


async def test_one_file_that_is_deleted_is_gone_as_ever(home: Home) -> None:
    """The only model's file removed by hand, its folders left: that is no unmounted disk."""
    async with opened(home) as o:
        put_together(o)
        digest, blob = await stored(o)
        blob.unlink()
        await o.projection.project()
        assert not links(home) and await state(o, digest) is State.GONE


@pytest.mark.parametrize("made", [False, True])
async def test_a_killed_process_is_not_judged_without_the_hub(home: Home, made: bool) -> None:
    """Killed before or behind the moves of a second model, the hub gone at the start: nothing moves, then it is finished."""
    async with opened(home) as o:
        await stored(o)
    path = write_safetensors(home.inbox / "b.safetensors", {key: (kind, (8, 8)) for key, (kind, _) in LORA.items()})
    digest = sha(path)
    await killed_at_its_moves(home, path, made)
    gone = unmount(home, leave=True)
    async with opened(home) as o:
        assert len(o.house.waiting) == 1 and len(await o.store.read(history.intents)) == 1 and path.exists() is not made
        assert not [p for p in home.hub.rglob("*") if p.is_file()]
        mount(home, gone)
        await o.recovery.again()
        assert not o.house.waiting
        await o.work()
        row = await o.file(path)
        assert row.end == "hub" and sha(row.end_at) == digest and not path.exists()
        assert set((await o.jobs()).values()) == {"done"}


async def test_what_was_taken_out_of_the_hub_is_told_by_where_it_is(home: Home) -> None:
    """The last model was taken back and the process died: an empty hub keeps nobody from recording that."""
    async with opened(home) as o:
        _, blob = await stored(o)
        back = home.inbox / "back.safetensors"
        move = Move(blob, back, disk.stamp(blob))
        disk.carry_out([move])
        shutil.rmtree(home.hub)
        assert await presence.away(o.house) and await presence.undecided(o.house, [move]) == ""
        assert await presence.undecided(o.house, [Move(back, blob, disk.stamp(back))]) == o.house.hub_away
        assert await presence.undecided(o.house, [Move(back, home.datasets / "x", None)]) == ""


async def test_an_undo_says_that_the_hub_is_away(home: Home) -> None:
    """Nothing is taken back out of a hub that is not there; the line can be undone when it is."""
    async with opened(home) as o:
        put_together(o)
        await stored(o)
        line = next(row.id for row in await o.told() if row.verb == "store" and row.event == "performed")
        undoer = Undoer(o.house, o.performer, o.projection, lambda path: None)
        gone, linked = unmount(home, leave=True), links(home)
        answer = await undoer.undo(line)
        assert answer is not None and not answer.done and answer.note.startswith(presence.AWAY) and links(home) == linked
        mount(home, gone)
        answer = await undoer.undo(line)
        assert answer is not None and answer.done and not links(home) and (home.inbox / "a.safetensors").exists()


async def test_the_trash_of_a_hub_that_is_away_is_not_forgotten(home: Home) -> None:
    """What is due there goes when it can go, not when nobody can see it."""
    async with opened(home) as o:
        await stored(o)
        due = home.hub / ".dropdock/trash/d1/old.safetensors"
        due.parent.mkdir(parents=True)
        due.write_bytes(b"x")
        await o.store.write(history.put_aside, Aside(End.TRASH, due, Path("/was/here"), "why", home.clock.at), home.clock.at)
        upkeep = Upkeep(o.house, None, o.lanes, o.projection, o.recovery)  # type: ignore[arg-type]
        gone = unmount(home, leave=False)
        await upkeep._retention()
        assert len(await o.store.read(history.kept_aside)) == 1
        mount(home, gone)
        await upkeep._retention()
        assert await o.store.read(history.kept_aside) == [] and not due.exists()


async def test_hashes_that_were_asked_for_wait(home: Home) -> None:
    """An order to read a file of the hub is no failed job while its disk is away."""
    async with opened(home) as o:
        digest, _ = await stored(o)
        gone = unmount(home, leave=False)
        await HashOrders(o.house).want(digest)
        await o.work()
        (job,) = [job for job in await o.store.read(jobs.listing) if job.state is JobState.QUEUED]
        assert job.error == o.house.hub_away and job.attempts == 0
        mount(home, gone)
        await presence.away(o.house)
        await o.work()
        assert set((await o.jobs()).values()) == {"done"}


def only(found: list[Finding], begin: str) -> Finding:
    (one,) = [f for f in found if f.check == "folders" and begin in f.text]
    return one


async def test_the_doctor_tells_a_missing_hub_from_one_that_was_never_made(home: Home) -> None:
    """Before the first start it will be made; behind it a hub that is away fails with its mend, and a missing inbox warns."""
    home.hub.rmdir()
    home.inbox.rmdir()
    found = list(examine(home.config, WELL))
    assert only(found, "hub:").text.endswith("(made at the first start)") and only(found, "watch inbox:").level is Level.OK
    home.inbox.mkdir()
    async with opened(home) as o:
        await presence.find(o.house)
        await stored(o)
        inbox = home.inbox.stat()
        await o.store.write(history.set_scanned, "inbox", 1.0, 0, (inbox.st_dev, inbox.st_ino))
    shutil.rmtree(home.inbox)
    unmount(home, leave=True)
    found = list(examine(home.config, WELL))
    missing, inbox_gone = only(found, "the hub is away"), only(found, "watch inbox:")
    assert missing.level is Level.FAIL and "mount" in missing.mend and str(home.hub / presence.EMPTY) in missing.mend
    assert inbox_gone.level is Level.WARN and "not there any more" in inbox_gone.text and "mkdir" in inbox_gone.mend


def test_what_looks_like_a_hub(tmp_path: Path) -> None:
    """One content's folder is enough, or half of those that hold some; other people's folders do not make one."""
    blobs = [tmp_path / two / (two * 32) / "a.safetensors" for two in ("ab", "cd", "ef")]
    assert presence.absent(tmp_path / "nothing", []) == ""
    assert "is not there" in presence.absent(tmp_path / "nothing", [tmp_path / "nothing/ab/abab/a.pt"])
    (tmp_path / "file").write_text("")
    assert "cannot be read" in presence.absent(tmp_path / "file", [tmp_path / "file/ab/abab/a.pt"])
    (tmp_path / "loras").mkdir()
    (tmp_path / "00").mkdir()
    (tmp_path / "ab").mkdir()
    assert "none of its models" in presence.absent(tmp_path, blobs)
    (tmp_path / "ef").mkdir()
    assert presence.absent(tmp_path, blobs) == ""
    (tmp_path / "ef").rmdir()
    blobs[0].parent.mkdir()
    assert presence.absent(tmp_path, blobs) == ""


async def test_models_of_another_hub_are_not_missed_here(home: Home, tmp_path: Path) -> None:
    """The configuration names another hub now: that the new one is empty says nothing of the old one."""
    async with opened(home) as o:
        blob = tmp_path / "former" / "aa" / ("a" * 64) / "a.safetensors"
        facts = Facts(blob, Kind.MODEL, 1, model=ModelFacts("safetensors", "lora", "sdxl"))
        model = Model("a" * 64, "a" * 32, 1, blob.name, blob, facts)
        await o.store.record(Entry("store", Outcome(Status.DONE, models=(model,)), quiet=True))
        assert await presence.away(o.house) == ""
