import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from dropdock.daemon import rescan as module
from dropdock.daemon.rescan import RootId, rescan
from dropdock.rules.ignores import Ignores
from dropdock.rules.terms import Mode, Watch
from hypothesis import given
from hypothesis import strategies as st

from .remembered import Memory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """in/{top.png, a/x.png, a/b/y.png}"""
    root = tmp_path / "in"
    (root / "a/b").mkdir(parents=True)
    for rel in ("top.png", "a/x.png", "a/b/y.png"):
        (root / rel).write_text(rel)
    return root


def watch(root: Path) -> Watch:
    return Watch("in", root, Mode.LIBRARY)


def identity(root: Path) -> RootId:
    return root.stat().st_dev, root.stat().st_ino


def rels(root: Path, paths: list[Path]) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in paths)


def test_nothing_changed_nothing_named(root: Path) -> None:
    """A tree that the store knows yields no difference, and its files are counted."""
    found = rescan(watch(root), Memory(root), Ignores())
    assert (found.dirty, found.departed, found.files, found.root_ok, found.root) == ([], [], 3, True, identity(root))


def test_the_first_pass_names_everything(root: Path) -> None:
    """An empty store learns of every file."""
    found = rescan(watch(root), Memory(root / "nowhere"), Ignores())
    assert rels(root, found.dirty) == ["a/b/y.png", "a/x.png", "top.png"] and found.departed == []


def test_new_changed_replaced_and_deleted_files(root: Path) -> None:
    """A new size, a new time, a new inode and a new name are dirty; a missing name has departed."""
    memory = Memory(root)
    for rel in ("bigger.png", "later.png", "other.png"):
        (root / rel).write_text("1")
    memory = Memory(root)
    (root / "bigger.png").write_text("12")
    os.utime(root / "later.png", ns=(1, 1))
    old = (root / "other.png").stat()
    (root / "fresh").write_text("2")
    os.utime(root / "fresh", ns=(old.st_atime_ns, old.st_mtime_ns))
    (root / "fresh").rename(root / "other.png")
    (root / "a/new.png").write_text("")
    (root / "top.png").unlink()
    found = rescan(watch(root), memory, Ignores())
    assert rels(root, found.dirty) == ["a/new.png", "bigger.png", "later.png", "other.png"]
    assert rels(root, found.departed) == ["top.png"]


def test_a_deleted_folder_departs_with_all_its_files(root: Path) -> None:
    """Files of folders that are no longer there are named one by one."""
    memory = Memory(root)
    shutil.rmtree(root / "a")
    assert rels(root, rescan(watch(root), memory, Ignores()).departed) == ["a/b/y.png", "a/x.png"]


def test_a_missing_root_departs_nothing(root: Path) -> None:
    """An unmounted disk is not a deletion of all that was on it."""
    memory = Memory(root)
    shutil.rmtree(root)
    found = rescan(watch(root), memory, Ignores())
    assert (found.dirty, found.departed, found.root_ok) == ([], [], False)


def test_a_root_that_became_a_file_departs_nothing(root: Path) -> None:
    """Nor is a root that is no folder any more."""
    memory = Memory(root)
    shutil.rmtree(root)
    root.write_text("")
    assert not rescan(watch(root), memory, Ignores()).root_ok


def test_another_empty_root_departs_nothing(root: Path) -> None:
    """The empty mount point below an unmounted disk is another folder than before: nothing has departed."""
    memory, before = Memory(root), identity(root)
    root.rename(root.with_name("kept"))
    root.mkdir()
    for last in (before, None):
        found = rescan(watch(root), memory, Ignores(), last)
        assert (found.departed, found.root_ok, found.root) == ([], False, last)


def test_the_same_root_may_become_empty(root: Path) -> None:
    """When the very same folder was emptied, its files did depart."""
    memory, before = Memory(root), identity(root)
    shutil.rmtree(root / "a")
    (root / "top.png").unlink()
    found = rescan(watch(root), memory, Ignores(), before)
    assert found.root_ok and rels(root, found.departed) == ["a/b/y.png", "a/x.png", "top.png"]


def test_another_disk_departs_nothing(root: Path) -> None:
    """A root on another device that holds none of the known files is another disk; its own files are still news."""
    memory = Memory(root)
    shutil.rmtree(root / "a")
    (root / "top.png").rename(root / "else.png")
    dev, ino = identity(root)
    found = rescan(watch(root), memory, Ignores(), (dev + 1, ino))
    assert (rels(root, found.dirty), found.departed, found.root_ok) == (["else.png"], [], False)


def test_a_disk_that_got_a_new_number_is_the_same_disk(root: Path) -> None:
    """Device numbers change over a reboot: known files prove the disk, and a deletion counts."""
    memory = Memory(root)
    (root / "top.png").unlink()
    dev, ino = identity(root)
    found = rescan(watch(root), memory, Ignores(), (dev + 1, ino))
    assert found.root_ok and rels(root, found.departed) == ["top.png"] and found.root == (dev, ino)


def test_symlinks_are_neither_followed_nor_named(root: Path, tmp_path: Path) -> None:
    """A link to a file or a folder, a dangling one and a circle add nothing."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/z.png").write_text("z")
    memory = Memory(root)
    (root / "l1").symlink_to(tmp_path / "outside")
    (root / "l2.png").symlink_to(tmp_path / "outside/z.png")
    (root / "l3").symlink_to("nowhere")
    (root / "a/up").symlink_to(root)
    found = rescan(watch(root), memory, Ignores())
    assert (found.dirty, found.departed, found.files) == ([], [], 3)


def test_what_an_inbox_does_not_take_is_told_with_the_reason(root: Path) -> None:
    """Links, FIFOs, sockets, hidden and ignored names: each counted, the first few named; our own folder is none of them."""
    (root / "a/link.png").symlink_to(root / "top.png")
    os.mkfifo(root / "pipe")
    (root / ".hidden").write_text("x")
    (root / ".git/sub").mkdir(parents=True)
    (root / ".dropdock/trash").mkdir(parents=True)
    (root / "old.bak").write_text("x")
    told = {
        "a/link.png (a symbolic link)",
        "pipe (a FIFO)",
        ".hidden (hidden name)",
        ".git/ (hidden name)",
        "old.bak (ignore: *.bak)",
    }
    found = rescan(Watch("in", root, Mode.INBOX), Memory(root / "nothing"), Ignores(["*.bak"]))
    assert set(found.skipped) == told and found.skips == 5
    assert rescan(watch(root), Memory(root / "nothing"), Ignores()).skips == 0


def test_many_that_are_not_taken_are_counted_and_few_are_named(root: Path) -> None:
    """A folder of a thousand dot files is one short line."""
    for n in range(30):
        (root / f".x{n}").write_text("x")
    found = rescan(Watch("in", root, Mode.INBOX), Memory(root / "nothing"), Ignores())
    assert (found.skips, len(found.skipped)) == (30, 5)


def test_a_known_file_that_became_a_link_departed(root: Path) -> None:
    """Its bytes are no longer there."""
    memory = Memory(root)
    (root / "top.png").unlink()
    (root / "top.png").symlink_to(root / "a/x.png")
    assert rels(root, rescan(watch(root), memory, Ignores()).departed) == ["top.png"]


def test_ignored_names_are_not_news_and_did_not_depart(root: Path) -> None:
    """Temporary names and the watch's own globs are passed over; a known folder that is ignored by now is still there."""
    memory = Memory(root)
    (root / "x.safetensors.part").write_text("")
    (root / ".dropdock").mkdir()
    (root / ".dropdock/z.png").write_text("")
    found = rescan(watch(root), memory, Ignores(["a/"]))
    assert (found.dirty, found.departed, found.files) == ([], [], 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_departs_nothing(root: Path) -> None:
    """What cannot be read is not gone."""
    memory = Memory(root)
    (root / "a").chmod(0)
    try:
        found = rescan(watch(root), memory, Ignores())
        assert (found.departed, found.closed) == ([], ("a",))
    finally:
        (root / "a").chmod(0o700)


def test_a_folder_that_may_not_be_listed_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for somebody who is not root: its files did not depart, the others are compared."""
    memory, real = Memory(root), module._listing

    def refusing(path: str, follow: bool) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        if path.endswith("/a"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, follow)

    monkeypatch.setattr(module, "_listing", refusing)
    (root / "new.png").write_text("x")
    found = rescan(watch(root), memory, Ignores())
    assert (rels(root, found.dirty), found.departed, found.closed) == (["new.png"], [], ("a",))


def test_a_stopped_pass_departs_nothing(root: Path) -> None:
    """At shutdown the pass ends at the next folder, and half a walk proves no deletion."""
    memory = Memory(root)
    (root / "top.png").unlink()
    found = rescan(watch(root), memory, Ignores(), stopped=lambda: True)
    assert found.departed == [] and found.files == 0


def test_names_that_are_no_text(root: Path) -> None:
    """A name in no encoding is found like any other, and its path opens the file."""
    with open(os.fsencode(root) + b"/\xff\xfe.png", "w") as file:
        file.write("x")
    (path,) = rescan(watch(root), Memory(root / "none"), Ignores(["*[a-z].png"])).dirty
    assert path.read_text() == "x"


TREE = st.dictionaries(st.sampled_from(["x", "y", "a/x", "a/b/x", "c/x", "c/y"]), st.integers(0, 3))


@given(before=TREE, after=TREE)
def test_the_difference_is_exactly_the_difference(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, int], after: dict[str, int]
) -> None:
    """Over any two trees: dirty is what is new or of another size, departed what is gone, and nothing else."""
    root = tmp_path_factory.mktemp("in")
    try:
        write(root, before)
        memory, last = Memory(root), identity(root)
        for rel in before.keys() - after.keys():
            (root / rel).unlink()
        write(root, {rel: size for rel, size in after.items() if before.get(rel) != size})
        found = rescan(watch(root), memory, Ignores(), last)
        assert set(rels(root, found.dirty)) == {rel for rel, size in after.items() if before.get(rel) != size}
        assert set(rels(root, found.departed)) == before.keys() - after.keys()
        assert found.files == len(after) and found.root_ok
    finally:
        shutil.rmtree(root)


def write(root: Path, tree: dict[str, int]) -> None:
    for rel, size in tree.items():
        (root / rel).parent.mkdir(parents=True, exist_ok=True)
        (root / rel).write_bytes(b"x" * size)
