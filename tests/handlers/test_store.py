"""store: every model once in the hub, by its SHA-256, with its companions; nothing is ever copied over or lost."""

import errno
import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.handlers import disk, hashing
from dropdock.handlers.store import blob_folder
from dropdock.rules.terms import End, Outcome, Status
from hands import DAY, NOW, Desk, contents, other_volume, snapshot
from model_files import write_safetensors
from pictures_made import tree

WEIGHTS = {"lora_unet_x.lora_down.weight": ("F16", (4, 8)), "lora_unet_x.lora_up.weight": ("F16", (8, 4))}


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def lora(desk: Desk, name: str = "style.safetensors", mark: str = "x") -> Path:
    return write_safetensors(desk.inbox / name, WEIGHTS, {"mark": mark})


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def at_ends(outcome: Outcome) -> dict[str, tuple[End, Path]]:
    return {e.path.name: (e.end, e.at) for e in outcome.ended}


def test_a_model_comes_into_the_hub_with_its_companions(desk):
    """inbox: model, preview, json, yaml -> hub: aa/sha256/ with all four, byte for byte; the inbox is empty; undo leads back."""
    lead = lora(desk)
    names = ("style.preview.png", "style.json", "style.yaml")
    beside = [desk.put(name, name.encode()) for name in names]
    digest, before = sha(lead), lead.read_bytes()
    outcome = desk.do(desk.task("store", lead, *beside))
    home = blob_folder(desk.hub, digest)
    assert home == desk.hub / digest[:2] / digest
    assert snapshot(home) == {"style.safetensors": before} | {name: name.encode() for name in names}
    assert at_ends(outcome) == {p.name: (End.HUB, home / p.name) for p in (lead, *beside)}
    (model,) = outcome.models
    assert (model.sha256, model.blob, model.size, model.in_hub) == (digest, home / "style.safetensors", len(before), True)
    assert tree(desk.inbox) == {}
    disk.carry_out(outcome.undo)
    assert lead.read_bytes() == before and all(p.exists() for p in beside)


def test_a_second_copy_adds_a_name_and_brings_what_the_hub_lacks(desk):
    """The same bytes again: they go to the trash, one blob stays; a new companion joins the blob, one the hub has goes to the trash."""
    first = lora(desk)
    desk.do(desk.task("store", first, desk.put("style.json", b"old notes")))
    kept = next(desk.hub.glob("*/*/style.safetensors"))
    again = lora(desk, "copy.safetensors")
    unit = (again, desk.put("copy.preview.png", b"look"), desk.put("style.json", b"new notes"))
    data = again.read_bytes()
    outcome = desk.do(desk.task("store", *unit, kept=kept))
    assert snapshot(kept.parent) == {"style.safetensors": data, "style.json": b"old notes", "copy.preview.png": b"look"}
    ends = at_ends(outcome)
    assert ends["copy.safetensors"] == (End.HUB, kept) and ends["copy.preview.png"] == (End.HUB, kept.parent / "copy.preview.png")
    end, at = ends["style.json"]
    assert end is End.TRASH and at.read_bytes() == b"new notes"
    assert {a.original.name: a.path.read_bytes() for a in outcome.aside} == {"copy.safetensors": data, "style.json": b"new notes"}
    assert all(a.place is End.TRASH and a.until == NOW + 14 * DAY for a in outcome.aside)
    assert outcome.models[0].name == "copy.safetensors" and outcome.models[0].blob == kept
    assert tree(desk.inbox) == {}


def test_across_volumes_a_checked_copy_is_kept_and_the_original_trashed(tmp_path):
    """Hub on another disk: bytes and mtime arrive there, the originals lie in the inbox's own trash, no staging is left."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, hub=elsewhere / "hub")
        lead = lora(desk)
        beside = desk.put("style.json", b"{}")
        data, mtime = lead.read_bytes(), lead.stat().st_mtime_ns
        outcome = desk.do(desk.task("store", lead, beside))
        kept = outcome.models[0].blob
        assert desk.hub in kept.parents and kept.read_bytes() == data and kept.stat().st_mtime_ns == mtime
        assert (kept.parent / "style.json").read_bytes() == b"{}"
        trash = desk.inbox / ".dropdock/trash"
        assert {p.name: p.read_bytes() for p in trash.rglob("*.*")} == {"style.safetensors": data, "style.json": b"{}"}
        assert at_ends(outcome)["style.safetensors"] == (End.HUB, kept) and not desk.staging_left()


def test_a_duplicate_across_volumes_brings_its_companions_too(tmp_path):
    """The bytes are in the hub on another disk: only the new companion is copied there, both originals end in the trash."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, hub=elsewhere / "hub")
        kept = desk.do(desk.task("store", lora(desk))).models[0].blob
        again = lora(desk, "b.safetensors")
        outcome = desk.do(desk.task("store", again, desk.put("b.json", b"{}"), kept=kept))
        assert sorted(p.name for p in kept.parent.iterdir()) == ["b.json", "style.safetensors"]
        assert at_ends(outcome)["b.json"] == (End.HUB, kept.parent / "b.json")
        assert sorted(a.original.name for a in outcome.aside) == ["b.json", "b.safetensors"]
        assert all(a.path.is_file() for a in outcome.aside) and not desk.staging_left()


def test_no_room_on_the_hubs_disk_writes_nothing(tmp_path, monkeypatch):
    """The free-space guard speaks before the copy: the inbox is as it was, nothing lies in any staging folder."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, hub=elsewhere / "hub")
        task = desk.task("store", lora(desk), desk.put("style.json", bytes(5000)))
        before = snapshot(desk.inbox)
        size = sum(stamp.size for stamp in task.unit.values())
        free = size + disk.COPY_MARGIN - 1  # the companions count
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, free))
        with pytest.raises(disk.NoRoom):
            desk.prepare(task)
        assert snapshot(desk.inbox) == before and not list(desk.hub.rglob("*.safetensors")) and not desk.staging_left()


def test_a_cancelled_copy_leaves_nothing_behind(tmp_path):
    """Progress is told during the copy; when it answers "cancelled" the staging is cleared and the original lies where it lay."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, hub=elsewhere / "hub")
        lead = lora(desk)
        task = desk.task("store", lead)

        def cancel(fraction: float) -> None:
            raise hashing.Cancelled("enough")

        desk.tools = replace(desk.tools, tick=cancel)
        with pytest.raises(hashing.Cancelled):
            desk.prepare(task)
        assert lead.exists() and not desk.staging_left()


def test_a_file_replaced_between_look_and_move_is_left_alone(desk):
    """Another file of the same name stands there when the move comes: Changed, and it stays, the hub gets nothing."""
    lead = lora(desk)
    prepared = desk.prepare(desk.task("store", lead))
    lead.unlink()
    lead.write_bytes(b"something else")
    with pytest.raises(disk.Changed):
        disk.carry_out(prepared.moves)
    assert lead.read_bytes() == b"something else" and not list(desk.hub.glob("*/*/*"))


def test_a_copy_of_what_changed_since_it_was_hashed_is_refused(tmp_path):
    """Across volumes the digest of the copy must be the address it is kept under."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, hub=elsewhere / "hub")
        lead = lora(desk)
        task = desk.task("store", lead)
        lora(desk, mark="y")
        with pytest.raises(disk.Changed):
            desk.prepare(task)
        assert not list(desk.hub.rglob("*.safetensors")) and not desk.staging_left()


def test_a_library_file_is_never_moved(desk):
    """In a library `store` is skipped with its reason."""
    lead = lora(desk)
    prepared = desk.prepare(desk.library(desk.task("store", lead)))
    assert prepared.moves == () and prepared.outcome.status is Status.SKIPPED and "library" in prepared.outcome.note


def test_a_unit_that_was_taken_already_is_skipped(desk):
    """The same chain again, after the file has moved: nothing is done twice."""
    lead = lora(desk)
    task = desk.task("store", lead)
    assert desk.do(task).status is Status.DONE
    again = desk.prepare(replace(task, unit={}))
    assert again.outcome.status is Status.SKIPPED and again.moves == ()


def test_what_a_lost_database_left_in_the_hub_is_found_by_its_bytes(desk):
    """The hub has the content under another name and nobody remembers: no second blob, the dropped copy goes to the trash."""
    kept = desk.do(desk.task("store", lora(desk))).models[0].blob
    again = lora(desk, "other name.safetensors")
    outcome = desk.do(desk.task("store", again))
    assert [p.name for p in kept.parent.iterdir()] == ["style.safetensors"] and outcome.models[0].blob == kept
    assert [a.original for a in outcome.aside] == [again]


def test_a_damaged_blob_of_that_name_is_not_taken_for_the_content(desk):
    """Other bytes stand under the very name in the content's folder: the good file gets a number beside them."""
    lead = lora(desk)
    good = lead.read_bytes()
    home = blob_folder(desk.hub, sha(lead))
    home.mkdir(parents=True)
    (home / lead.name).write_bytes(bytes(len(good)))
    outcome = desk.do(desk.task("store", lead))
    assert outcome.models[0].blob.name == "style (2).safetensors" and outcome.models[0].blob.read_bytes() == good


# ---------------------------------------------------------------- folders


def pipeline(root: Path) -> Path:
    """A folder that is one model, as diffusers writes it."""
    folder = root / "tiny-sd"
    parts = {
        "model_index.json": b'{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}',
        "unet/config.json": b'{"_class_name": "UNet2DConditionModel"}',
    }
    for rel, data in parts.items():
        (folder / rel).parent.mkdir(parents=True, exist_ok=True)
        (folder / rel).write_bytes(data)
    write_safetensors(folder / "unet/diffusion_pytorch_model.safetensors", {"conv_in.weight": ("F16", (4, 4))})
    return folder


def folder_sha(folder: Path) -> str:
    lines = [f"{p.relative_to(folder).as_posix()}  {sha(p)}\n" for p in folder.rglob("*") if p.is_file()]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


@pytest.mark.parametrize("far", [False, True])
def test_a_folder_that_is_one_model_is_kept_as_a_folder(tmp_path, far):
    """Its address is the SHA-256 of its sorted lines; it lies in the hub whole, by a rename or by a checked copy."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, hub=elsewhere / "hub" if far else None)
        folder = pipeline(desk.inbox)
        address, before = folder_sha(folder), snapshot(folder)
        task = desk.task("store", folder)
        assert task.facts.folder
        outcome = desk.do(task)
        (model,) = outcome.models
        assert model.folder and model.sha256 == address and model.blob == blob_folder(desk.hub, address) / "tiny-sd"
        assert snapshot(model.blob) == before and not folder.exists() and not desk.staging_left()
        assert [snapshot(a.path) for a in outcome.aside] == ([before] if far else [])
        again = desk.do(desk.task("store", pipeline(desk.inbox), kept=model.blob))
        assert snapshot(again.aside[0].path) == before and again.models[0].blob == model.blob


def test_a_folder_that_changes_while_it_is_copied_is_refused(tmp_path):
    """One file of it is another than when it was hashed: Changed, nothing in the hub."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, hub=elsewhere / "hub")
        folder = pipeline(desk.inbox)
        task = desk.task("store", folder)
        (folder / "unet/config.json").write_bytes(b"{}")
        with pytest.raises(disk.Changed):
            desk.prepare(task)
        assert not list(desk.hub.rglob("*.json")) and not desk.staging_left()


def test_no_bytes_are_lost_whatever_comes_in_whatever_order(tmp_path):
    """Two contents, each dropped three times with companions of equal and of different names: every byte is still somewhere."""
    desk = Desk(tmp_path)
    dropped: list[bytes] = []
    kept: dict[str, Path] = {}
    for n in range(6):
        lead = lora(desk, f"m{n % 4}.safetensors", mark="ab"[n % 2])
        beside = desk.put(f"m{n % 4}.json", b"note %d" % n)
        dropped += [lead.read_bytes(), beside.read_bytes()]
        digest = sha(lead)
        outcome = desk.do(desk.task("store", lead, beside, kept=kept.get(digest)))
        kept[digest] = outcome.models[0].blob
        for ended in outcome.ended:
            assert ended.at.read_bytes() == dropped[-2 if ended.path == lead else -1]
    assert contents([desk.inbox, desk.hub]) == sorted(dropped)
    assert len(list(desk.hub.rglob("*.safetensors"))) == 2


def test_looking_at_what_lies_in_the_hub_can_be_cancelled(desk, monkeypatch):
    """The hub holds a file of that size that nobody remembers: reading it tells how far it is, and stops when the daemon does."""
    lead = lora(desk)
    task = desk.task("store", lead)
    lying = blob_folder(desk.hub, sha(lead)) / "lying.safetensors"
    lying.parent.mkdir(parents=True)
    lying.write_bytes(b"?" * lead.stat().st_size)
    monkeypatch.setattr(hashing, "TICK", 1)

    def stopping(fraction: float) -> None:
        raise hashing.Cancelled(f"at {fraction:.0%}")

    desk.tools = replace(desk.tools, tick=stopping)
    with pytest.raises(hashing.Cancelled, match="at 100%"):
        desk.prepare(task)
    assert lead.exists() and not desk.staging_left()


def test_a_hub_that_turns_out_full_waits_for_room(tmp_path, monkeypatch):
    """The copy fills the disk although there seemed to be room: NoRoom, the half copy is gone, the original is untouched."""
    with other_volume(tmp_path) as elsewhere:
        desk = Desk(tmp_path, hub=elsewhere / "hub")
        lead = lora(desk)
        task = desk.task("store", lead)

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(disk.NoRoom):
            desk.prepare(task)
        assert lead.exists() and not desk.staging_left()
