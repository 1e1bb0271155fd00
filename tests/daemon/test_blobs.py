"""Blobs that were changed, moved or touched behind our back, on a real hub: found, told, kept as what they are, never written over."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.daemon.blobs import Blobs
from dropdock.handlers import disk
from dropdock.handlers.blobs import find, fingerprint
from dropdock.rules.terms import Facts, Job, Kind, Lane, Model, ModelFacts, Outcome, Status
from dropdock.store import blobs, jobs, links, models
from dropdock.store.blobs import BlobState
from dropdock.store.store import Entry
from house_made import Home, Opened, opened
from model_files import write_safetensors


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@asynccontextmanager
async def watched(home: Home) -> AsyncIterator[Opened]:
    """A house whose projection checks blobs, as app.py puts them together."""
    async with opened(home) as o:
        keeper = Blobs(o.house, o.projection.ask, o.projection.targets)
        o.projection.check = keeper.check
        plain = o.lanes._run

        async def run(job: Job, tick) -> None:  # type: ignore[no-untyped-def]
            await (keeper.readopt(job, tick) if "blob" in job.payload else plain(job, tick))

        o.lanes._run = run  # type: ignore[assignment]
        yield o


async def kept(o: Opened, name: str = "a.safetensors", size: int = 64) -> Model:
    """A LoRA in the hub with a preview, wanted by all, linked."""
    made = write_safetensors(o.home.root / name, {"lora_unet_x.lora_down.weight": ("F16", (4, size))})
    digest = sha(made)
    blob = o.home.hub / digest[:2] / digest / name
    blob.parent.mkdir(parents=True)
    made.rename(blob)
    (blob.parent / "a.png").write_bytes(b"preview")
    old(o, blob)
    facts = Facts(blob, Kind.MODEL, blob.stat().st_size, model=ModelFacts("safetensors", "lora", "sdxl"))
    model = Model(digest, digest[:32], blob.stat().st_size, name, blob, facts)
    await o.store.record(Entry("store", Outcome(Status.DONE, models=(model,), deploy=(digest,)), quiet=True))
    await o.projection.project()
    return model


def old(o: Opened, path: Path, seconds: float = 3600) -> None:
    """Last written that long before the house's clock."""
    at = o.home.clock.at - seconds
    os.utime(path, (at, at))


async def look(o: Opened) -> None:
    """An audit, and the jobs that it queued."""
    await o.projection.project()
    o.home.clock.at += 60
    await o.work(Lane.HASH)
    await o.projection.project()


async def told(o: Opened) -> list[str | None]:
    return [row.status for row in await o.told() if row.event == "changed"]


def edited(o: Opened, link: Path) -> bytes:
    """An app rewrites the header in place, through the link; returns what the file is then."""
    with link.open("r+b") as file:
        file.seek(8)
        file.write(b"\x20{")
    old(o, link, 1800)
    return link.read_bytes()


async def test_a_blob_edited_through_its_link_is_kept_as_what_it_is(tmp_path: Path) -> None:
    """before: linked -> an app edits it in place -> audited: under its new digest, with preview, wish, tags and the person's word."""
    home = Home(tmp_path)
    async with watched(home) as o:
        model = await kept(o)
        await o.store.write(models.override, model.sha256, "vae", None, 1.0)
        await o.projection.project()
        link = home.app / "models/vae/a.safetensors"
        link.resolve().write_bytes(
            write_safetensors(tmp_path / "new", {"lora_unet_x.lora_down.weight": ("F16", (8, 64))}).read_bytes()
        )
        old(o, link, 1800)
        content = link.read_bytes()
        await look(o)
        digest = hashlib.sha256(content).hexdigest()
        assert link.resolve() == home.hub / digest[:2] / digest / "a.safetensors"
        assert link.read_bytes() == content and (link.resolve().parent / "a.png").read_bytes() == b"preview"
        assert not model.blob.parent.exists()
        was, now = await o.store.read(models.get, model.sha256), await o.store.read(models.get, digest)
        assert was is not None and now is not None
        assert (was.wanted, now.wanted, now.type) == (None, "*", "vae")
        assert await told(o) == ["changed"]
        assert [r.status for r in await o.told() if r.verb == "readopt" and r.event == "performed"] == ["done"]
        assert await o.store.read(blobs.counts) == {"ok": 1, "replaced": 1}
        assert await o.store.read(blobs.became, [model.blob, link]) == {model.blob: link.resolve()}
        await look(o)
        assert await told(o) == ["changed"]


async def test_a_damaged_blob_is_kept_and_linked_no_more(tmp_path: Path) -> None:
    """What an app broke is kept, bytes and all, but no app is given it."""
    home = Home(tmp_path)
    async with watched(home) as o:
        await kept(o)
        link = home.app / "models/loras/a.safetensors"
        content = edited(o, link)
        await look(o)
        assert content in [p.read_bytes() for p in home.hub.rglob("*.safetensors")]
        assert not os.path.lexists(link)


ADOPTING = "pipelines:\n  library:\n    - {name: take in, when: {kind: model}, do: [adopt]}\n"


async def adopted(o: Opened) -> Path:
    """A library's LoRA that was adopted: the link at its place."""
    path = write_safetensors(o.home.library / "mine.safetensors", {"lora_unet_x.lora_down.weight": ("F16", (4, 64))})
    old(o, path)
    await o.arrive(path)
    await o.work(Lane.HASH)
    await o.projection.project()
    assert path.is_symlink()
    return path


def rewritten(o: Opened, link: Path) -> bytes:
    """An app writes another model through the link; returns its bytes."""
    link.resolve().write_bytes(
        write_safetensors(o.home.root / "new", {"lora_unet_x.lora_down.weight": ("F16", (8, 64))}).read_bytes()
    )
    old(o, link, 1800)
    return link.read_bytes()


@pytest.mark.parametrize("ours", [True, False])
async def test_an_adopted_file_that_an_app_writes_opens_at_its_place(tmp_path: Path, ours: bool) -> None:
    """adopted -> written through the link -> kept as what it is: the link follows, also where it was recorded as somebody's."""
    async with watched(Home(tmp_path, ADOPTING)) as o:
        path = await adopted(o)
        (row,) = [r for r in await o.store.read(links.listing) if r.at == path]
        assert row.ours and row.state == "ok" and row.points_to == path.resolve()
        if not ours:  # as an older database has it
            await o.store.write(links.put, [replace(row, ours=False)])
        content = rewritten(o, path)
        await look(o)
        digest = hashlib.sha256(content).hexdigest()
        assert path.read_bytes() == content and path.resolve().parent.name == digest
        assert [(r.sha256, r.ours, r.state) for r in await o.store.read(links.listing) if r.at == path] == [(digest, True, "ok")]


async def test_an_adopted_link_that_was_found_foreign_is_mended(tmp_path: Path) -> None:
    """A link into the hub at an adopted place that points to a content of before; a link to elsewhere stays a person's."""
    async with watched(Home(tmp_path, ADOPTING)) as o:
        path = await adopted(o)
        (row,) = [r for r in await o.store.read(links.listing) if r.at == path]
        blob = path.resolve()
        for there, to in ((o.home.hub / "00" / "0000" / "mine.safetensors", blob), (tmp_path / "theirs", tmp_path / "theirs")):
            path.unlink()
            path.symlink_to(there)
            await o.store.write(links.put, [replace(row, ours=False, state="foreign")])
            await o.projection.project()
            assert path.readlink() == to


async def test_an_adopted_blob_that_went_and_is_dropped_again_opens_at_its_place(tmp_path: Path) -> None:
    """The link to nothing goes, and comes again with the content, under whatever name that is dropped."""
    home = Home(tmp_path, ADOPTING + "  inbox:\n    - {name: models, when: {kind: model}, do: [store]}\n")
    async with watched(home) as o:
        path = await adopted(o)
        content = path.read_bytes()
        path.resolve().rename(tmp_path / "away")
        await look(o)
        assert not os.path.lexists(path)
        again = home.drop("another.safetensors", content)
        old(o, again)
        await o.arrive(again)
        await look(o)
        assert path.read_bytes() == content and path.resolve().name == "another.safetensors"


async def test_a_blob_that_is_being_written_waits(tmp_path: Path) -> None:
    """No byte is read while somebody wrote seconds ago; the job is put off and costs no attempt."""
    home = Home(tmp_path)
    async with watched(home) as o:
        model = await kept(o)
        edited(o, model.blob)
        await o.projection.project()
        o.home.clock.at += 60
        old(o, model.blob, 1)
        await o.work(Lane.HASH)
        job = (await o.store.read(jobs.listing, state="open"))[0]
        assert (job.attempts, job.error) == (0, "somebody is writing it") and job.run_at > o.home.clock.at
        assert model.blob.exists()


async def test_another_time_is_no_other_content(tmp_path: Path) -> None:
    """A blob that was put back from a backup is hashed once, found the same, and left where it is."""
    async with watched(Home(tmp_path)) as o:
        model = await kept(o)
        old(o, model.blob, 7200)
        await look(o)
        await look(o)
        assert await told(o) == ["changed", "done"]
        assert await o.store.read(blobs.counts) == {"ok": 1}
        assert [b.left for b in await o.store.read(blobs.blobs, [model.sha256])] == [fingerprint(model.blob)]


async def test_a_blob_that_an_app_moved_is_found_in_the_apps_folders(tmp_path: Path) -> None:
    """before: linked -> an app moves what the link points to -> told once with the place; our link goes -> put back: linked again."""
    home = Home(tmp_path)
    async with watched(home) as o:
        model = await kept(o)
        away = home.app / "models/loras/sub/moved.safetensors"
        away.parent.mkdir()
        model.blob.rename(away)
        await look(o)
        await look(o)
        link = home.app / "models/loras/a.safetensors"
        assert await told(o) == ["gone"] and str(away) in next(r.note for r in await o.told() if r.event == "changed")
        assert not os.path.lexists(link) and away.exists()
        assert next(r.state for r in await o.store.read(links.listing, problems=True)) == "broken"
        away.rename(model.blob)
        await look(o)
        assert link.resolve() == model.blob and await o.store.read(blobs.counts) == {"ok": 1}


async def test_a_hub_that_is_away_says_nothing_of_its_blobs(tmp_path: Path) -> None:
    """An unmounted disk is not a thousand lost files."""
    home = Home(tmp_path)
    async with watched(home) as o:
        await kept(o)
        home.hub.rename(tmp_path / "elsewhere")
        await o.projection.project()
        assert await told(o) == [] and await o.store.read(blobs.counts) == {"ok": 1}


async def test_content_that_the_hub_has_already_is_not_kept_twice(tmp_path: Path) -> None:
    """A blob that was made equal to another one: its bytes go to the trash of the hub, the wish passes to the other."""
    home = Home(tmp_path)
    async with watched(home) as o:
        one, two = await kept(o), await kept(o, "b.safetensors", 32)
        one.blob.write_bytes(two.blob.read_bytes())
        old(o, one.blob, 1800)
        await look(o)
        assert [p.name for p in home.hub.glob("??/*/*.safetensors")] == ["b.safetensors"]
        assert list(home.hub.glob(".dropdock/trash/*/a.safetensors"))
        assert {p.name for p in (home.app / "models/loras").glob("*.safetensors")} == {"b.safetensors"}


@pytest.mark.parametrize("moves", [0, 1, 2])
async def test_a_crash_in_the_middle_is_finished(tmp_path: Path, moves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after any of the moves: the next start finishes them, and the wish of the old content reaches the new."""
    home = Home(tmp_path)

    def part(all_moves, again: bool = False) -> None:  # type: ignore[no-untyped-def]
        carry_out(all_moves[:moves])
        raise KeyboardInterrupt

    carry_out = disk.carry_out
    async with watched(home) as o:
        model = await kept(o)
        model.blob.write_bytes(
            write_safetensors(tmp_path / "new", {"lora_unet_x.lora_down.weight": ("F16", (8, 64))}).read_bytes()
        )
        old(o, model.blob, 1800)
        content = model.blob.read_bytes()
        await o.projection.project()
        o.home.clock.at += 60
        job = (await o.store.claim(Lane.HASH, o.house.owner, 1))[0]
        keeper = Blobs(o.house, o.projection.ask, o.projection.targets)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "carry_out", part)
            with pytest.raises(KeyboardInterrupt):
                await keeper.readopt(job, lambda fraction: None)
    async with watched(home) as o:
        await look(o)
        link = home.app / "models/loras/a.safetensors"
        digest = hashlib.sha256(content).hexdigest()
        assert link.read_bytes() == content and link.resolve().parent.name == digest
        assert (await o.store.read(blobs.counts))[BlobState.REPLACED] == 1


def test_a_fingerprint_of_a_folder_sees_its_files(tmp_path: Path) -> None:
    """Size and time of what lies in it; nothing there is None."""
    folder = tmp_path / "model"
    (folder / "vae").mkdir(parents=True)
    (folder / "vae" / "x").write_bytes(b"12345")
    before = fingerprint(folder)
    assert before is not None and before.size == 5
    (folder / "vae" / "x").write_bytes(b"123456")
    assert fingerprint(folder) != before and fingerprint(tmp_path / "gone") is None


def test_looking_for_a_lost_file_prefers_the_very_one(tmp_path: Path) -> None:
    """Same size and time may be a copy; the same inode is the file itself. Links are not followed."""
    one, copy = tmp_path / "b" / "one", tmp_path / "a" / "copy"
    for path in (one, copy):
        path.parent.mkdir()
        path.write_bytes(b"x")
        os.utime(path, (5, 5))
    left = fingerprint(one)
    assert left is not None
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "way").symlink_to(tmp_path / "b")
    (tmp_path / "c" / "file").symlink_to(one)
    assert find(left, [tmp_path / "a", tmp_path / "b"]) == one
    assert find(left, [tmp_path / "a", tmp_path / "gone"]) == copy
    assert find(left, [tmp_path / "c"]) is None


async def test_the_same_file_dropped_again_is_not_thrown_away_for_a_changed_blob(tmp_path: Path) -> None:
    """before: the hub's blob was changed -> its original is dropped again -> both contents are in the hub, neither in the trash."""
    home = Home(tmp_path)
    async with watched(home) as o:
        model = await kept(o)
        again = home.drop("again.safetensors", model.blob.read_bytes())
        model.blob.write_bytes(
            write_safetensors(tmp_path / "new", {"lora_unet_x.lora_down.weight": ("F16", (8, 64))}).read_bytes()
        )
        old(o, model.blob, 1800)
        changed = sha(model.blob)
        await o.arrive(again)
        await o.work(Lane.HASH)
        assert again.exists()
        await look(o)
        o.home.clock.at += 120
        await o.work(Lane.HASH)
        await look(o)
        assert {p.parent.name for p in home.hub.glob("??/*/*.safetensors")} == {model.sha256, changed}
        assert not list(tmp_path.glob("*/.dropdock/trash/*/*.safetensors"))
