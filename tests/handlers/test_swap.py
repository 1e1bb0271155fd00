"""Swaps: no instant without a file, nobody's last-moment save is lost, and what a dead process left half done is finished or given back."""

from __future__ import annotations

import os

import pytest
from dropdock.handlers import disk, swap
from dropdock.rules.terms import Move

KERNEL = swap._RENAME
needs_kernel = pytest.mark.skipif(KERNEL is None, reason="no renameat2 here")


class Killed(BaseException):
    """Nothing of ours runs after it."""


def scene(tmp_path):
    """An app's file, our link in staging that is to take its place, and the move that does."""
    at, hub, link = tmp_path / "app/a.bin", tmp_path / "hub/a.bin", tmp_path / "staging/link"
    for path in (at, hub, link):
        path.parent.mkdir()
    at.write_bytes(b"old")
    os.link(at, hub)
    link.symlink_to(hub)
    return at, hub, link, Move(link, at, disk.stamp(link), over=True, replaces=disk.stamp(at))


def save(path, data: bytes):
    """As apps save: a new file is renamed over the old one."""
    new = path.with_name("new")
    new.write_bytes(data)
    new.replace(path)


@pytest.mark.parametrize("fallback", [False, True])
def test_the_place_changes_hands_and_the_old_name_goes(tmp_path, monkeypatch, fallback):
    """before: a file -> a link to the same bytes; nothing is left in staging."""
    if fallback:
        monkeypatch.setattr(swap, "_RENAME", None)
    at, hub, link, move = scene(tmp_path)
    disk.carry_out([move])
    assert at.is_symlink() and at.read_bytes() == b"old" and hub.stat().st_nlink == 1 and not os.path.lexists(link)


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("change", ["saved", "gone"])
def test_a_place_that_changed_is_left_as_it_is(tmp_path, monkeypatch, fallback, change):
    """Another file, or none: Changed, and ours stays in staging."""
    if fallback:
        monkeypatch.setattr(swap, "_RENAME", None)
    at, _, link, move = scene(tmp_path)
    save(at, b"new") if change == "saved" else at.unlink()
    with pytest.raises(disk.Changed):
        disk.carry_out([move])
    assert link.is_symlink() and (at.read_bytes() == b"new" if change == "saved" else not os.path.lexists(at))


@needs_kernel
@pytest.mark.parametrize("saves", [1, 2, 5])
def test_what_an_app_saves_in_the_very_instant_is_what_stands_there(tmp_path, monkeypatch, saves):
    """The app saves just before each of the first swaps: its newest bytes are at their place, never ours, never older ones."""
    at, _, _, move = scene(tmp_path)
    left = iter(range(1, saves + 1))

    def racing(a, b, flags):
        if (n := next(left, None)) is not None:
            save(at, f"save {n}".encode())
        return KERNEL(a, b, flags)

    monkeypatch.setattr(swap, "_RENAME", racing)
    with pytest.raises(disk.Changed):
        disk.carry_out([move])
    assert not at.is_symlink() and at.read_bytes() == f"save {saves}".encode()


@needs_kernel
def test_what_came_out_returns_when_ours_was_taken_away_meanwhile(tmp_path, monkeypatch):
    """Somebody saved, then deleted the link that stood there for an instant: the save is there again."""
    at, _, _, move = scene(tmp_path)
    calls = []

    def racing(a, b, flags):
        calls.append(flags)
        if len(calls) == 1:
            save(at, b"new")
        elif len(calls) == 2:
            at.unlink()
        return KERNEL(a, b, flags)

    monkeypatch.setattr(swap, "_RENAME", racing)
    with pytest.raises(disk.Changed):
        disk.carry_out([move])
    assert at.read_bytes() == b"new" and not at.is_symlink()


@needs_kernel
@pytest.mark.parametrize("late_save", [False, True])
def test_killed_between_the_swap_and_the_look_at_what_came_out(tmp_path, monkeypatch, late_save):
    """The next start drops the old name, or puts what an app had saved back and takes the rest back."""
    at, hub, link, move = scene(tmp_path)
    staged = link.with_name("blob")
    hub.rename(staged)
    moves = [Move(staged, hub), move]

    def dying(move, placed):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(swap, "_look_again", dying)
        if late_save:
            save(at, b"new")
        with pytest.raises(Killed):
            disk.carry_out(moves)
    assert at.is_symlink()
    if late_save:
        with pytest.raises(disk.Changed):
            disk.carry_out(moves, again=True)
        assert at.read_bytes() == b"new" and staged.exists() and not hub.exists()
    else:
        disk.carry_out(moves, again=True)
        assert at.is_symlink() and at.read_bytes() == b"old" and hub.stat().st_nlink == 1 and not os.path.lexists(link)


@needs_kernel
@pytest.mark.parametrize("extra", ["", "more.bin", "sub/more.bin"])
def test_a_folder_gives_way_only_with_the_files_that_were_meant(tmp_path, extra):
    """A folder of links takes its place, and its files come out whole; one file more in it, and it is back with that file."""
    at, ours = tmp_path / "model", tmp_path / "ours"
    (at / "sub").mkdir(parents=True)
    (at / "sub/w.bin").write_bytes(b"w")
    ours.mkdir()
    (ours / "w.bin").symlink_to("/nowhere")
    holds = (("sub/w.bin", disk.stamp(at / "sub/w.bin")),)
    move = Move(ours, at, disk.stamp(ours), over=True, replaces=disk.stamp(at), holds=holds)
    if extra:
        (at / extra).write_bytes(b"x")
        with pytest.raises(disk.Changed):
            disk.carry_out([move])
        assert (at / extra).read_bytes() == b"x" and (at / "sub/w.bin").read_bytes() == b"w" and (ours / "w.bin").is_symlink()
        return
    disk.carry_out([move])
    assert (at / "w.bin").is_symlink() and (ours / "sub/w.bin").read_bytes() == b"w"
    back = Move(ours, at, disk.stamp(ours), over=True, replaces=disk.stamp(at))
    disk.carry_out([back])
    assert (at / "sub/w.bin").read_bytes() == b"w" and not ours.exists()


@needs_kernel
def test_a_folder_that_cannot_be_finished_with_is_back(tmp_path, monkeypatch):
    """The move behind the swap fails: the person's folder stands in its place again."""
    at, ours = tmp_path / "model", tmp_path / "ours"
    at.mkdir()
    (at / "w.bin").write_bytes(b"w")
    ours.mkdir()
    holds = (("w.bin", disk.stamp(at / "w.bin")),)
    (tmp_path / "there").write_bytes(b"taken")
    old = disk.stamp(at)
    with pytest.raises(disk.Taken):
        disk.carry_out(
            [Move(ours, at, disk.stamp(ours), over=True, replaces=old, holds=holds), Move(ours, tmp_path / "there", old)]
        )
    assert (at / "w.bin").read_bytes() == b"w" and list(ours.iterdir()) == []


@needs_kernel
def test_whether_it_is_possible_is_asked_without_a_trace(tmp_path, monkeypatch):
    """A real folder says yes here; without the call it is no; nothing is left in it."""
    assert swap.possible(tmp_path)
    monkeypatch.setattr(swap, "_RENAME", None)
    assert not swap.possible(tmp_path) and list(tmp_path.iterdir()) == []
