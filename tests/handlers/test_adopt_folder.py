"""adopt of a folder that is one model: the app finds every file at every instant, the hub gets the folder, nothing is lost."""

import os

import pytest
from dropdock.handlers import disk, swap
from dropdock.rules.terms import End, Mode, Status, Watch
from hands import Desk, other_volume, snapshot
from model_files import write_safetensors

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}
pytestmark = pytest.mark.skipif(swap._RENAME is None, reason="no renameat2 here")


def library(root, hub=None):
    desk = Desk(root, hub)
    desk.watch = Watch("library", desk.inbox, Mode.LIBRARY)
    return desk


@pytest.fixture
def desk(tmp_path):
    return library(tmp_path)


def pipe(desk, name="pipe"):
    folder = desk.inbox / "diffusers" / name
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    (folder / "unet/config.json").write_text("{}")
    write_safetensors(folder / "unet/diffusion_pytorch_model.safetensors", LORA)
    return folder


def test_the_same_inodes_are_in_the_hub_and_links_in_their_places(desk):
    """before: three files -> three links to the hub's three files, which are the very inodes; the old names lie in the trash."""
    folder = pipe(desk)
    before = snapshot(folder)
    inodes = {p.relative_to(folder): p.stat().st_ino for p in folder.rglob("*") if p.is_file()}
    outcome = desk.do(desk.task("adopt", folder))
    (ended,) = outcome.ended
    assert outcome.status is Status.DONE and ended.end is End.HUB and outcome.adopted == (folder,) and outcome.models[0].folder
    assert not folder.is_symlink() and snapshot(ended.at) == before
    for rel, ino in inodes.items():
        assert (folder / rel).readlink() == ended.at / rel and (ended.at / rel).stat().st_ino == ino
    assert snapshot(outcome.aside[0].path) == before and desk.staging_left() == []


def test_every_file_can_be_read_between_any_two_moves(desk):
    """Whatever step we are at, the app's paths give the bytes."""
    folder, seen = pipe(desk), []
    names = {p for p in folder.rglob("*") if p.is_file()}
    data = {p: p.read_bytes() for p in names}
    for move in desk.prepare(desk.task("adopt", folder)).moves:
        disk.carry_out([move])
        seen.append({p: p.read_bytes() for p in names} == data)
    assert len(seen) == 3 and all(seen)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", ["more", "other", "less"])
def test_a_folder_that_changed_after_it_was_hashed_stays(desk, when, change):
    """A file more, another one, one less, before or after the staging: Changed; the folder is the person's, the hub has nothing."""
    folder = pipe(desk)
    task = desk.task("adopt", folder)
    prepared = desk.prepare(task) if when == "after" else None
    index = folder / "model_index.json"
    if change == "more":
        (folder / "unet/new.bin").write_bytes(b"new")
    elif change == "other":
        index.unlink()
        index.write_text("{}")
    else:
        index.unlink()
    now = snapshot(folder)
    with pytest.raises((disk.Changed, FileNotFoundError)):
        disk.carry_out((prepared or desk.prepare(task)).moves)
    assert snapshot(folder) == now and not any(p.is_symlink() for p in folder.rglob("*"))
    assert not [p for p in desk.hub.rglob("*.safetensors") if disk.OWN not in p.parts]


def test_across_volumes_copies_are_checked_and_the_old_ones_are_in_the_trash(tmp_path):
    """The hub's disk has the copies, the trash of the library's own disk the originals."""
    with other_volume(tmp_path) as far:
        desk = library(tmp_path, hub=far / "hub")
        folder = pipe(desk)
        before = snapshot(folder)
        outcome = desk.do(desk.task("adopt", folder))
        assert snapshot(outcome.ended[0].at) == before == snapshot(outcome.aside[0].path)
        assert outcome.aside[0].path.is_relative_to(desk.inbox) and outcome.ended[0].at.is_relative_to(far)
        assert all((folder / rel).read_bytes() == data for rel, data in before.items())


def test_files_that_the_hub_has_are_not_kept_twice(desk):
    """A second app's copy becomes links to the one folder."""
    kept = desk.do(desk.task("adopt", pipe(desk))).ended[0].at
    two = pipe(desk, "again")
    outcome = desk.do(desk.task("adopt", two, kept=kept))
    assert (two / "model_index.json").readlink() == kept / "model_index.json" and outcome.ended[0].at == kept
    assert [p.parent.parent for p in desk.hub.rglob("diffusion_pytorch_model.safetensors")] == [kept]


@pytest.mark.parametrize("case", ["links", "disk"])
def test_a_folder_that_cannot_change_places_stays_with_the_reason(desk, monkeypatch, case):
    """It holds links itself, or its disk has no such rename: skipped, nothing is touched or left."""
    folder = pipe(desk)
    if case == "links":
        (folder / "vae").symlink_to(folder / "unet")
    else:
        monkeypatch.setattr(swap, "_RENAME", None)
    prepared = desk.prepare(desk.task("adopt", folder))
    assert prepared.outcome.status is Status.SKIPPED and ("links" if case == "links" else "one step") in prepared.outcome.note
    assert prepared.moves == () and desk.staging_left() == []


@pytest.mark.parametrize("steps", range(4))
def test_killed_after_any_move_the_next_start_finishes(desk, steps):
    """The list is carried out again: the same end, whatever was done before."""
    folder = pipe(desk)
    before = snapshot(folder)
    prepared = desk.prepare(desk.task("adopt", folder))
    for move in prepared.moves[:steps]:
        disk.carry_out([move])
    disk.carry_out(prepared.moves, again=True)
    assert snapshot(prepared.outcome.ended[0].at) == before == snapshot(prepared.outcome.aside[0].path)
    assert (folder / "model_index.json").is_symlink() and os.path.isdir(folder)
