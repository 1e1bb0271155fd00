"""The disk: renames that never replace, copies that are checked, moves that are finished or taken back whatever happens."""

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dropdock.handlers import disk, hashing
from dropdock.rules.terms import Move
from hands import contents, other_volume
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(params=["renameat2", "fallback"])
def way(request, monkeypatch):
    """Both ways of renaming: the kernel's own, and the one for file systems that have none."""
    if request.param == "fallback":
        monkeypatch.setattr(disk, "_RENAME", None)
    elif disk._RENAME is None:
        pytest.skip("this system has no renameat2")
    return request.param


# ---------------------------------------------------------------- renaming


def test_a_file_is_renamed_and_never_replaces(way, tmp_path):
    """a -> b moves the bytes; onto a file, a folder or a dangling link it is refused and both sides stay as they were."""
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"mine")
    disk.rename_new(a, b)
    assert not a.exists() and b.read_bytes() == b"mine"
    other, folder, link = tmp_path / "other", tmp_path / "folder", tmp_path / "link"
    other.write_bytes(b"yours")
    folder.mkdir()
    link.symlink_to("nowhere")
    for there in (other, folder, link):
        with pytest.raises(FileExistsError):
            disk.rename_new(b, there)
    assert (b.read_bytes(), other.read_bytes(), os.readlink(link)) == (b"mine", b"yours", "nowhere")


def test_a_folder_is_renamed_and_never_replaces(way, tmp_path):
    """A folder moves whole; even an empty folder at the destination is not replaced."""
    a, empty = tmp_path / "a", tmp_path / "empty"
    (a / "sub").mkdir(parents=True)
    (a / "sub/x").write_bytes(b"x")
    empty.mkdir()
    with pytest.raises(FileExistsError):
        disk.rename_new(a, empty)
    disk.rename_new(a, tmp_path / "b")
    assert (tmp_path / "b/sub/x").read_bytes() == b"x" and not a.exists() and not list(empty.iterdir())


def test_a_refused_folder_rename_leaves_no_empty_folder(monkeypatch, tmp_path):
    """Without renameat2 the place is made first; when the rename then fails, the place is gone again."""
    monkeypatch.setattr(disk, "_RENAME", None)
    (tmp_path / "a").mkdir()

    def refuse(*_):
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="another disk"):
        disk.rename_new(tmp_path / "a", tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_a_file_system_without_the_kernels_rename_is_served_too(monkeypatch, tmp_path, code):
    """EINVAL or ENOSYS from renameat2 means "not here": the fallback does it."""
    import ctypes

    def refuse(a, b):
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(disk, "_RENAME", refuse)
    (tmp_path / "a").write_bytes(b"x")
    disk.rename_new(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"x" and not (tmp_path / "a").exists()


def test_where_links_are_refused_a_plain_rename_still_never_replaces(monkeypatch, tmp_path):
    """FAT knows no hard links: the destination is looked at first."""
    monkeypatch.setattr(disk, "_RENAME", None)

    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"y")
    with pytest.raises(FileExistsError):
        disk.rename_new(tmp_path / "a", tmp_path / "b")
    disk.rename_new(tmp_path / "a", tmp_path / "c")
    assert [(p.name, p.read_bytes()) for p in sorted(tmp_path.iterdir())] == [("b", b"y"), ("c", b"x")]


# ---------------------------------------------------------------- lists of moves


def three(root: Path) -> list[Move]:
    """Three moves of a drop: a file of the person, one from our staging, a folder."""
    (root / "in/folder/deep").mkdir(parents=True)
    (root / "in/a").write_bytes(b"a")
    (root / "in/staged").write_bytes(b"s")
    (root / "in/folder/deep/f").write_bytes(b"f")
    a, folder = root / "in/a", root / "in/folder"
    return [
        Move(a, root / "out/sub/a", disk.stamp(a)),
        Move(root / "in/staged", root / "out/s"),
        Move(folder, root / "out/folder", disk.stamp(folder)),
    ]


def laid(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


DONE = {"out/sub/a": b"a", "out/s": b"s", "out/folder/deep/f": b"f"}
BEFORE = {"in/a": b"a", "in/staged": b"s", "in/folder/deep/f": b"f"}


def test_moves_are_made_in_order_and_again_changes_nothing(way, tmp_path):
    """All three stand at their destination; told that a dead process may have made them, a second run finds them made."""
    moves = three(tmp_path)
    disk.carry_out(moves)
    assert laid(tmp_path) == DONE
    disk.carry_out(moves, again=True)
    assert laid(tmp_path) == DONE


@pytest.mark.parametrize("blocked", ["out/sub/a", "out/s", "out/folder/x"])
def test_a_taken_destination_takes_everything_back(way, tmp_path, blocked):
    """Somebody stands in the way of any one move: Taken, theirs stays, and all of ours lies where it lay."""
    moves = three(tmp_path)
    at = tmp_path / blocked
    at.parent.mkdir(parents=True)
    at.write_bytes(b"theirs")
    with pytest.raises(disk.Taken):
        disk.carry_out(moves)
    assert laid(tmp_path) == BEFORE | {blocked: b"theirs"}


def test_a_file_that_changed_after_the_look_stays(way, tmp_path):
    """The last file of the list was replaced: Changed, and the ones before it are back."""
    moves = three(tmp_path)
    late = tmp_path / "in/late"
    late.write_bytes(b"old")
    moves.append(Move(late, tmp_path / "out/late", disk.stamp(late)))
    late.unlink()
    late.write_bytes(b"new content")
    with pytest.raises(disk.Changed):
        disk.carry_out(moves)
    assert laid(tmp_path) == BEFORE | {"in/late": b"new content"}


def test_a_file_that_is_gone_is_changed_even_when_something_stands_at_its_destination(tmp_path):
    """On a first run a missing source was taken by somebody: nobody's file at the destination is mistaken for it."""
    a = tmp_path / "a"
    a.write_bytes(b"mine")
    move = Move(a, tmp_path / "b", disk.stamp(a))
    a.unlink()
    (tmp_path / "b").write_bytes(b"theirs")
    with pytest.raises(disk.Changed):
        disk.carry_out([move])
    assert (tmp_path / "b").read_bytes() == b"theirs"


def test_taking_back_goes_beside_what_came_meanwhile(tmp_path):
    """A person saved a new file under the old name while the list failed: ours comes back under a number, theirs stays."""
    moves = three(tmp_path)
    disk.carry_out(moves[:1])
    (tmp_path / "in/a").write_bytes(b"new one")
    disk.take_back(moves[:1])
    assert laid(tmp_path) == {**BEFORE, "in/a": b"new one", "in/a (2)": b"a"}


def test_an_error_of_the_disk_takes_back_too(monkeypatch, tmp_path):
    """EIO in the third move: the first two are where they were."""
    moves = three(tmp_path)
    real: Callable[[Path, Path], None] = disk.rename_new

    def failing(source: Path, target: Path) -> None:
        if source.name == "folder":
            raise OSError(errno.EIO, "bad disk")
        real(source, target)

    monkeypatch.setattr(disk, "rename_new", failing)
    with pytest.raises(OSError, match="bad disk"):
        disk.carry_out(moves)
    assert laid(tmp_path) == BEFORE


def test_a_sidecar_of_ours_is_written_anew(tmp_path):
    """`over` replaces what stands there in one step."""
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "x.txt").write_bytes(b"old")
    disk.carry_out([Move(tmp_path / "new", tmp_path / "x.txt", over=True)])
    assert laid(tmp_path) == {"x.txt": b"new"}


# ---------------------------------------------------------------- killed in between


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing runs after it."""


def test_a_file_that_came_under_the_old_name_after_the_crash_is_not_taken_for_the_old_one(tmp_path):
    """The move was made, then we died, then a person saved another file there: ours stands, theirs is not touched."""
    a = tmp_path / "a"
    a.write_bytes(b"first")
    move = Move(a, tmp_path / "hub/a", disk.stamp(a))
    disk.carry_out([move])
    a.write_bytes(b"the second one")
    disk.carry_out([move], again=True)
    assert laid(tmp_path) == {"a": b"the second one", "hub/a": b"first"}


def test_a_link_and_unlink_that_was_cut_in_two_is_finished(monkeypatch, tmp_path):
    """Without renameat2 a file has both names for a moment; killed there, the next start takes the old name away."""
    monkeypatch.setattr(disk, "_RENAME", None)
    a = tmp_path / "a"
    a.write_bytes(b"a")
    move = Move(a, tmp_path / "b", disk.stamp(a))
    os.link(a, tmp_path / "b")
    disk.carry_out([move], again=True)
    assert laid(tmp_path) == {"b": b"a"}


def test_a_folder_whose_place_was_only_made_is_finished(monkeypatch, tmp_path):
    """Without renameat2 an empty folder stands at the destination for a moment; killed there, the next start goes on."""
    monkeypatch.setattr(disk, "_RENAME", None)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").write_bytes(b"f")
    (tmp_path / "b").mkdir()
    disk.carry_out([Move(tmp_path / "a", tmp_path / "b", disk.stamp(tmp_path / "a"))], again=True)
    assert laid(tmp_path) == {"b/f": b"f"} and not (tmp_path / "a").exists()


def test_what_the_dead_process_did_behind_a_move_that_fails_is_taken_back_too(way, tmp_path):
    """The dataset was renamed by a person after the crash: the archive, moved after it, lies in the inbox again, not in a trash
    that nobody remembers; a stranger's file at the destination of a move that was never begun stays."""
    archive, unseen = tmp_path / "in/a.zip", tmp_path / "in/b"
    for path in (tmp_path / "stage/tree/x.png", archive, unseen):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    moves = [
        Move(tmp_path / "stage/tree", tmp_path / "sets/foxes"),
        Move(archive, tmp_path / "trash/a.zip", disk.stamp(archive)),
        Move(unseen, tmp_path / "trash/b", disk.stamp(unseen)),
    ]
    disk.carry_out(moves)
    (tmp_path / "sets/foxes").rename(tmp_path / "sets/renamed")
    (tmp_path / "trash/b").unlink()
    (tmp_path / "trash/b").write_bytes(b"a stranger's")
    with pytest.raises(disk.Changed):
        disk.carry_out(moves, again=True)
    assert laid(tmp_path) == {"sets/renamed/x.png": b"x.png", "in/a.zip": b"a.zip", "trash/b": b"a stranger's"}


def test_a_disk_that_is_away_is_told_from_a_file_that_is_gone(tmp_path):
    """Half of the list was made, then the disk with the rest went: Away, nothing is taken back, and the same call finishes it later.
    A file that a person took away from a disk that is there is Changed, and what was made is back."""
    mount = tmp_path / "mount"
    for path in (tmp_path / "stage/x.png", mount / "inbox/a.zip", mount / "inbox/.dropdock/trash/old"):
        path.parent.mkdir(parents=True)
        path.write_bytes(path.name.encode())
    archive = mount / "inbox/a.zip"
    moves = [
        Move(tmp_path / "stage/x.png", tmp_path / "sets/x.png"),
        Move(archive, mount / "inbox/.dropdock/trash/day/a.zip"),
    ]
    disk.carry_out(moves[:1])
    mount.rename(tmp_path / "unplugged")
    for inbox in (False, True):  # the mount point is gone; or it is there, empty
        if inbox:
            (mount / "inbox").mkdir(parents=True)
        with pytest.raises(disk.Away) as told:
            disk.carry_out(moves, again=True)
        assert told.value.path == archive and (tmp_path / "sets/x.png").exists()
    shutil.rmtree(mount)
    (tmp_path / "unplugged").rename(mount)
    disk.carry_out(moves, again=True)
    assert (mount / "inbox/.dropdock/trash/day/a.zip").read_bytes() == b"a.zip"
    (mount / "inbox/.dropdock/trash/day/a.zip").unlink()
    with pytest.raises(disk.Changed):
        disk.carry_out(moves, again=True)
    assert (tmp_path / "stage/x.png").exists() and not (tmp_path / "sets/x.png").exists()


def test_another_disk_where_the_files_was_is_away(tmp_path):
    """Folders of the same names on another disk (the mount point's own) do not make a file gone."""
    with other_volume(tmp_path) as elsewhere:
        if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("this machine has one volume only")
        (elsewhere / "a").write_bytes(b"a")
        stamp = disk.stamp(elsewhere / "a")
        with pytest.raises(disk.Away):
            disk.carry_out([Move(tmp_path / "a", tmp_path / "b", stamp)], again=True)
        with pytest.raises(disk.Changed):
            disk.carry_out([Move(elsewhere / "gone/x", elsewhere / "new/b", stamp)], again=True)


def test_a_disk_that_fails_while_finishing_is_away(monkeypatch, tmp_path):
    """EIO at the second move of a recovery: Away, the first stays made, and a disk that answers again finishes the list."""
    moves = three(tmp_path)
    real: Callable[[Path, Path], None] = disk.rename_new

    def failing(source: Path, target: Path) -> None:
        if source.name == "staged":
            raise OSError(errno.EIO, "bad disk")
        real(source, target)

    monkeypatch.setattr(disk, "rename_new", failing)
    with pytest.raises(disk.Away, match="bad disk"):
        disk.carry_out(moves, again=True)
    assert (tmp_path / "out/sub/a").exists()
    monkeypatch.setattr(disk, "rename_new", real)
    disk.carry_out(moves, again=True)
    assert laid(tmp_path) == DONE


STEPS = st.lists(st.sampled_from(["file", "staged", "folder"]), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(kinds=STEPS, cut=st.integers(0, 14), blocked=st.none() | st.integers(0, 5), fallback=st.booleans())
def test_killed_at_any_step_the_next_start_finishes_or_takes_back(kinds, cut, blocked, fallback):
    """Killed before any system call that changes a name, `again` ends with all moves made, or with none; no byte is ever lost."""
    calls = 0
    real = {name: getattr(os, name) for name in ("rename", "link", "unlink")}
    kernel = disk._RENAME

    def counting(work):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == cut + 1:
                raise Killed
            return work(*args, **kwargs)

        return call

    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        root = Path(name)
        moves = []
        for n, kind in enumerate(kinds):
            at = root / f"in/{n}"
            at.mkdir(parents=True) if kind == "folder" else at.parent.mkdir(exist_ok=True)
            (at / "f" if kind == "folder" else at).write_bytes(b"%d" % n)
            moves.append(Move(at, root / f"out/{n}", None if kind == "staged" else disk.stamp(at)))
        if blocked is not None and blocked < len(moves):
            (root / "out").mkdir()
            moves[blocked].dst.write_bytes(b"theirs")
        before = contents([root])
        patch.setattr(disk, "_RENAME", None if fallback else counting(kernel) if kernel else None)
        for call, work in real.items():
            patch.setattr(os, call, counting(work))
        with contextlib.suppress(Killed, disk.Taken):
            disk.carry_out(moves)
        patch.undo()
        patch.setattr(disk, "_RENAME", None if fallback else kernel)
        assert sorted({*contents([root])}) == sorted({*before}), "every content is on the disk at the moment of the crash"
        try:
            disk.carry_out(moves, again=True)
        except disk.Taken:
            assert blocked is not None and all(os.path.lexists(m.src) for m in moves)
        else:
            assert all(os.path.lexists(m.dst) and not os.path.lexists(m.src) for m in moves)
        assert contents([root]) == before


# ---------------------------------------------------------------- copies, volumes and room


def test_a_copy_is_equal_in_bytes_and_time_and_told_as_it_goes(tmp_path):
    """Digests are those of the content, mtime is kept, tick hears of every byte."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(3 << 20))
    os.utime(source, ns=(1, 1_600_000_000_123_456_789))
    told: list[int] = []
    found = disk.copy_checked(source, target, hashing.digest(source), told.append)
    assert target.read_bytes() == source.read_bytes() and target.stat().st_mtime_ns == 1_600_000_000_123_456_789
    assert found == hashing.digest(source) and sum(told) == 3 << 20


def test_a_source_that_is_not_what_was_hashed_is_changed(tmp_path):
    """The digest of what was copied is not the expected one: Changed, and nothing is taken for a good copy."""
    source = tmp_path / "a"
    source.write_bytes(b"then")
    expected = hashing.digest(source)
    source.write_bytes(b"now!")
    with pytest.raises(disk.Changed):
        disk.copy_checked(source, tmp_path / "b", expected)


def test_a_copy_that_reads_back_differently_is_an_error(monkeypatch, tmp_path):
    """A disk that keeps other bytes than it was given is found out before the original goes anywhere."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"x" * 5000)
    real = os.fsync

    def corrupting(fd):
        real(fd)
        with target.open("r+b") as file:
            file.seek(100)
            file.write(b"?")

    monkeypatch.setattr(os, "fsync", corrupting)
    with pytest.raises(OSError, match="reads back differently"):
        disk.copy_checked(source, target)


def test_a_copy_never_overwrites(tmp_path):
    """The target must be new."""
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    with pytest.raises(FileExistsError):
        disk.copy_checked(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"b"


def test_one_volume_is_told_by_renaming(tmp_path, monkeypatch):
    """Below one folder: yes. On another file system, and where the kernel refuses although st_dev is equal: no. Nothing is left."""
    for name in "ab":
        (tmp_path / name).mkdir()
    assert disk.one_volume(tmp_path / "a", tmp_path / "b")
    with other_volume(tmp_path) as elsewhere:
        assert not disk.one_volume(tmp_path / "a", elsewhere)

    def bind_mount(*_):
        raise OSError(errno.EXDEV, "cross-device")

    monkeypatch.setattr(os, "rename", bind_mount)
    assert not disk.one_volume(tmp_path / "a", tmp_path / "b")
    assert not [p for p in tmp_path.rglob("probe-*")]


def test_many_threads_may_ask_for_the_volume_at_once(tmp_path):
    """Probes have names of their own: no thread takes another's away."""
    for name in "ab":
        (tmp_path / name).mkdir()
    answers: list[object] = []

    def ask() -> None:
        for _ in range(60):
            try:
                answers.append(disk.one_volume(tmp_path / "a", tmp_path / "b"))
            except OSError as error:
                answers.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 240


def test_room_is_asked_for_before_anything_is_written(tmp_path, monkeypatch):
    """Free space less the floor is what may be written; the message says what is missing."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100 << 20, 60 << 20, 40 << 20))
    disk.need_room(tmp_path, 30 << 20, 10 << 20)
    with pytest.raises(disk.NoRoom, match="40 MiB free; 1 MiB more"):
        disk.need_room(tmp_path, 31 << 20, 10 << 20)


# ---------------------------------------------------------------- small things


def test_stamps_tell_a_replaced_file(tmp_path):
    """Another content, another inode or another time is another stamp; a folder's stamp does not change with its entries."""
    path = tmp_path / "a"
    path.write_bytes(b"a")
    first = disk.stamp(path)
    assert disk.stamp(path) == first
    os.utime(path, ns=(1, 1))
    assert disk.stamp(path) == replace(first, mtime_ns=1)
    folder = disk.stamp(tmp_path)
    (tmp_path / "b").write_bytes(b"b")
    assert disk.stamp(tmp_path) == folder


def test_free_names_count_up(tmp_path):
    """x.png, x (2).png, x (3).png; a dangling link is taken too."""
    (tmp_path / "x.png").touch()
    (tmp_path / "x (2).png").symlink_to("nowhere")
    assert disk.free_name(tmp_path, "x.png").name == "x (3).png"
    assert disk.free_name(tmp_path, "y.png").name == "y.png"


def test_only_staging_is_ever_cleared(tmp_path):
    """`clear` refuses whatever is not below a staging folder of ours."""
    precious = tmp_path / "staging" / "x"
    precious.mkdir(parents=True)
    with pytest.raises(ValueError, match="no staging folder"):
        disk.clear(precious)
    assert precious.is_dir()
    ours = disk.own_folder(tmp_path, "staging", "t1")
    (ours / "x").write_bytes(b"x")
    disk.clear(ours)
    assert not ours.exists()


def test_emptied_folders_go_up_to_the_root(tmp_path):
    """inbox/a/b/c emptied: c and b go, a holds something and stays; the root itself never goes."""
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/kept").touch()
    assert [p.name for p in disk.prune_empty(tmp_path / "a/b/c", tmp_path)] == ["c", "b"]
    (tmp_path / "a/kept").unlink()
    assert disk.prune_empty(tmp_path / "a", tmp_path) == [tmp_path / "a"] and tmp_path.is_dir()
