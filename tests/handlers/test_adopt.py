"""adopt: the app always finds its file, the hub gets the bytes, and nothing that a person has is ever lost."""

import os

import pytest
from dropdock.handlers import disk
from dropdock.rules.terms import End, Mode, Status, Watch
from hands import Desk, other_volume
from model_files import write_safetensors

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}


class Library(Desk):
    """A desk whose watched folder is an app's library."""

    def __init__(self, root, hub=None):
        super().__init__(root, hub)
        self.watch = Watch("library", self.inbox, Mode.LIBRARY)


@pytest.fixture
def desk(tmp_path):
    return Library(tmp_path)


def lora(desk, name="loras/a.safetensors"):
    path = desk.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_safetensors(path, LORA)


def test_the_same_inode_is_in_the_hub_and_a_link_in_its_place(desk):
    """Nothing is copied on one volume; the companion stays, and the hub has a copy of it."""
    path, preview = lora(desk), desk.put("loras/a.preview.png", b"picture")
    before, data = path.stat().st_ino, path.read_bytes()
    outcome = desk.do(desk.task("adopt", path, preview))
    (ended,) = outcome.ended
    assert outcome.status is Status.DONE and ended.end is End.HUB and outcome.adopted == (path,)
    assert path.is_symlink() and path.readlink() == ended.at and path.read_bytes() == data
    assert ended.at.stat().st_ino == before and ended.at.stat().st_nlink == 1
    assert preview.read_bytes() == b"picture" and (ended.at.parent / preview.name).read_bytes() == b"picture"
    assert outcome.aside == () and desk.staging_left() == []


def test_the_file_can_be_read_between_any_two_moves(desk, monkeypatch):
    """Law 6: whatever step we are at, the app's path gives the bytes."""
    path = lora(desk)
    data, seen = path.read_bytes(), []
    prepared = desk.prepare(desk.task("adopt", path))
    for move in prepared.moves:
        seen.append(path.read_bytes() == data)
        disk.carry_out([move])
        seen.append(path.read_bytes() == data)
    assert len(seen) >= 4 and all(seen)


def test_what_changed_after_it_was_hashed_is_left_with_its_bytes(desk):
    """The last step finds another file: all of it is taken back, the person's file stands."""
    path = lora(desk)
    prepared = desk.prepare(desk.task("adopt", path))
    path.unlink()
    path.write_bytes(b"somebody's new file")
    with pytest.raises(disk.Changed):
        disk.carry_out(prepared.moves)
    assert path.read_bytes() == b"somebody's new file" and not [p for p in desk.hub.rglob("*.safetensors") if p.name == path.name]


def test_across_volumes_the_old_bytes_go_to_the_trash(tmp_path):
    """A checked copy is in the hub, the original in the trash of its own disk, the link in its place."""
    with other_volume(tmp_path) as far:
        desk = Library(tmp_path, hub=far / "hub")
        path = lora(desk)
        data = path.read_bytes()
        outcome = desk.do(desk.task("adopt", path))
        (aside,) = outcome.aside
        assert path.is_symlink() and path.read_bytes() == data and path.resolve().is_relative_to(far)
        assert aside.path.read_bytes() == data and aside.path.is_relative_to(desk.inbox)


def test_bytes_that_the_hub_has_are_not_kept_twice(desk):
    """A second app's copy becomes a link to the one blob; its own bytes are in the trash."""
    one, two = lora(desk), lora(desk, "other/b.safetensors")
    kept = desk.do(desk.task("adopt", one)).ended[0].at
    outcome = desk.do(desk.task("adopt", two, kept=kept))
    assert two.readlink() == kept and [a.original for a in outcome.aside] == [two]
    assert [p for p in desk.hub.rglob("*.safetensors")] == [kept]


@pytest.mark.parametrize("case", ["inbox", "link"])
def test_what_cannot_be_adopted_says_why(desk, case):
    """An inbox's file, a link of ours: skipped, nothing is touched."""
    path = lora(desk)
    if case == "inbox":
        desk.watch = Watch("inbox", desk.inbox, Mode.INBOX)
        task = desk.task("adopt", path)
    else:
        desk.do(desk.task("adopt", path))
        task = desk.task("adopt", path)
    prepared = desk.prepare(task)
    assert prepared.outcome.status is Status.SKIPPED and prepared.moves == ()


def test_a_disk_without_hard_links_is_not_risked(desk, monkeypatch):
    """Where the old bytes cannot get a second name before the link takes their place, nothing is done."""
    path = lora(desk)

    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="no hard links"):
        desk.prepare(desk.task("adopt", path))
    assert not path.is_symlink() and desk.staging_left() == []
