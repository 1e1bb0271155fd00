import os
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from dropdock.daemon.hints import Dirt, Doubt, WatchState
from dropdock.daemon.inotify import InotifyEmitter
from dropdock.rules.ignores import Ignores
from watchdog.events import FileSystemEvent
from watchdog.observers.api import EventQueue, ObservedWatch

from .ears import Ears, inbox

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


def test_created_closed_renamed_and_deleted(tmp_path: Path) -> None:
    """Every way in which a file changes makes its path dirty; a close and a rename into place are told as closed."""
    with Ears(inbox(tmp_path / "in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        (tmp_path / "in/written.png").write_text("x")
        (tmp_path / "outside").write_text("x")
        (tmp_path / "outside").rename(tmp_path / "in/moved.png")
        with open(tmp_path / "in/open.png", "w"):
            ears.until("written.png", "moved.png", "open.png")
            assert ears.heard["moved.png"] and not ears.heard["open.png"]
        ears.wait(lambda: ears.heard["written.png"] and ears.heard["open.png"])
        ears.heard.clear()
        (tmp_path / "in/written.png").unlink()
        (tmp_path / "in/moved.png").rename(tmp_path / "gone.png")
        ears.until("written.png", "moved.png")
        assert not ears.heard["moved.png"]
        assert [reason for _, reason in ears.doubts] == ["started"]


def test_fresh_folders_at_full_speed(tmp_path: Path) -> None:
    """`mkdir -p a/b/c` and a file in it, 100 times without a pause: every file is heard."""
    with Ears(inbox(tmp_path / "in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        for n in range(100):
            os.makedirs(tmp_path / f"in/{n}/b/c")
            (tmp_path / f"in/{n}/b/c/x.png").write_text("x")
        ears.until(*(f"{n}/b/c/x.png" for n in range(100)))


def test_a_tree_moved_in(tmp_path: Path) -> None:
    """A rename of a whole tree into the watch raises one event; all its files are heard, and later changes in it too."""
    for n in range(50):
        os.makedirs(tmp_path / f"tree/{n}")
        (tmp_path / f"tree/{n}/x.png").write_text("x")
    with Ears(inbox(tmp_path / "in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        (tmp_path / "tree").rename(tmp_path / "in/tree")
        ears.until(*(f"tree/{n}/x.png" for n in range(50)))
        (tmp_path / "in/tree/7/later.png").write_text("x")
        ears.until("tree/7/later.png")


def test_a_folder_renamed_within(tmp_path: Path) -> None:
    """The old folder and every file under the new name are dirty; the old name's watch is gone, the new one lives."""
    os.makedirs(tmp_path / "in/old/deep")
    (tmp_path / "in/old/deep/x.png").write_text("x")
    with Ears(inbox(tmp_path / "in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        (tmp_path / "in/old").rename(tmp_path / "in/new")
        ears.until("old", "new/deep/x.png")
        (tmp_path / "in/new/deep/y.png").write_text("x")
        ears.until("new/deep/y.png")


def test_a_folder_moved_out_is_no_longer_heard(tmp_path: Path) -> None:
    """What happens in a folder after it left the watch is not ours."""
    os.makedirs(tmp_path / "in/a/deep")
    with Ears(inbox(tmp_path / "in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        (tmp_path / "in/a").rename(tmp_path / "a")
        ears.until("a")
        (tmp_path / "a/deep/x.png").write_text("x")
        (tmp_path / "in/last.png").write_text("x")
        ears.until("last.png")
        assert set(ears.heard) == {"a", "last.png"}


def test_ignored_names_and_symlinked_folders_are_not_watched(tmp_path: Path) -> None:
    """Ignores apply before a folder is watched, links are not followed, and max_depth bounds the watches."""
    os.makedirs(tmp_path / "in/.git/objects")
    os.makedirs(tmp_path / "in/a/b/c")
    (tmp_path / "else").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path / "else")
    with Ears(inbox(tmp_path / "in", ignore=("*.bak",), max_depth=2)) as ears:
        ears.until_state("in", WatchState.WATCHING)
        assert ears.watcher.state("in").folders == 3  # in, a, a/b
        for rel in (".git/x.png", "a/b/c/x.png", "link/x.png", "x.png.part", "x.bak", "last.png"):
            (tmp_path / "in" / rel).write_text("x")
        ears.until("last.png")
        assert set(ears.heard) == {"last.png"}


def test_the_root_comes_back(tmp_path: Path) -> None:
    """A root that is deleted and made again is missed, told twice, and heard again."""
    with Ears(inbox(tmp_path / "in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        shutil.rmtree(tmp_path / "in")
        ears.until_state("in", WatchState.MISSING, 2)
        (tmp_path / "in").mkdir()
        ears.until_state("in", WatchState.WATCHING, 3)
        assert ears.doubts[-1] == ("in", "the folder is back")
        (tmp_path / "in/x.png").write_text("x")
        ears.until("x.png")


def test_a_root_that_is_not_there_yet(tmp_path: Path) -> None:
    """A watch may begin before its folder exists."""
    watch = inbox(tmp_path / "in")
    (tmp_path / "in").rmdir()
    with Ears(watch) as ears:
        ears.until_state("in", WatchState.MISSING)
        (tmp_path / "in").mkdir()
        ears.until_state("in", WatchState.WATCHING, 2)


def test_a_root_replaced_behind_our_back(tmp_path: Path) -> None:
    """A renamed parent raises no event; check() finds that another folder stands there now."""
    os.makedirs(tmp_path / "p/in")
    with Ears(inbox(tmp_path / "p/in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        (tmp_path / "p").rename(tmp_path / "q")
        os.makedirs(tmp_path / "p/in")
        ears.watcher.check("in")
        ears.until_state("in", WatchState.WATCHING, 2)
        (tmp_path / "p/in/x.png").write_text("x")
        ears.until("x.png")
        assert ears.doubts[1:] == [("in", "the folder was replaced")]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A name in no encoding is heard, as a file and as a folder, and its path opens the file."""
    with Ears(inbox(tmp_path / "in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        folder = os.fsencode(tmp_path) + b"/in/\xff\xfe"
        os.mkdir(folder)
        with open(folder + b"/\xfd.png", "w") as file:
            file.write("x")
        rel = os.fsdecode(b"\xff\xfe/\xfd.png")
        ears.until(rel)
        assert (tmp_path / "in" / rel).read_text() == "x"


class Told(EventQueue):
    """An event queue that nobody reads, for an emitter that is driven by hand."""

    def events(self) -> list[FileSystemEvent]:
        return [self.get()[0] for _ in range(self.qsize())]


def test_an_overflow_is_told_and_the_watch_made_anew(tmp_path: Path) -> None:
    """When the kernel's queue overflows while nobody reads, a doubt says so and new folders are heard again."""
    queue = Told()
    emitter = InotifyEmitter(queue, ObservedWatch(str(tmp_path), recursive=True), ignores={str(tmp_path): Ignores()})
    assert emitter._attach() is None
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    path, other = tmp_path / "x", tmp_path / "y"
    for _ in range(limit // 6 + 10):  # two creates, two closes, two deletes, none equal to the one before it
        for one in (path, other):
            one.touch()
        for one in (path, other):
            one.unlink()
    (tmp_path / "fresh").mkdir()
    assert emitter._follow() == "the kernel's event queue overflowed"
    emitter._detach()
    assert emitter._attach() is None and len(emitter._folders) == 2
    emitter._detach()
    emitter.stop()
    assert set(queue.events()[0].paths) == {str(path), str(other)}  # type: ignore[attr-defined]


def test_no_instance_left(tmp_path: Path) -> None:
    """Without a file descriptor for inotify the watch is told as missing, with what to raise, and nothing is thrown."""
    emitter = InotifyEmitter(Told(), ObservedWatch(str(tmp_path), recursive=True), ignores={str(tmp_path): Ignores()})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        problem = emitter._attach()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        emitter.stop()
    assert problem is not None and "max_user_instances" in problem


LIMITED = """
import os, subprocess, sys
from pathlib import Path
Path("/proc/sys/user/max_inotify_watches").write_text("5")
from watchdog.observers.api import EventQueue, ObservedWatch
from dropdock.daemon.inotify import InotifyEmitter
from dropdock.rules.ignores import Ignores
root = sys.argv[1]
queue = EventQueue()
emitter = InotifyEmitter(queue, ObservedWatch(root, recursive=True), ignores={root: Ignores()})
emitter.start()
doubt = queue.get()[0]
print(doubt.state, doubt.folders, doubt.unwatched, doubt.reason)
emitter.stop()
emitter.join()
"""


def test_the_watch_limit_is_told(tmp_path: Path) -> None:
    """Past the kernel's limit the state is limited, with the number of folders that only a rescan will see."""
    for n in range(10):
        (tmp_path / str(n)).mkdir()
    script = textwrap.dedent(LIMITED)
    command = ["unshare", "-U", "-r", sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"no user namespace here: {done.stderr[-200:]}")
    assert done.stdout.startswith("limited 5 6 6 of 11 folders cannot be watched")


def test_two_reads_are_never_equal() -> None:
    """watchdog's queue drops an event that equals the last one; ours never do."""
    queue = Told()
    for event in (Dirt("r", {}), Dirt("r", {}), Doubt("r", WatchState.WATCHING, ""), Doubt("r", WatchState.WATCHING, "")):
        queue.put((event, None))
    assert len(queue.events()) == 4
