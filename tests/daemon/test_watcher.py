import os
import shutil
import threading
from pathlib import Path

import pytest
from dropdock.daemon.hints import WatchState
from dropdock.daemon.watcher import Watcher, _Ear
from dropdock.rules.ignores import Ignores
from dropdock.rules.terms import FileEvent, Mode, Watch
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
)

from .ears import Ears, inbox


def silent() -> Watcher:
    return Watcher([], lambda: None, lambda name, reason: None)


def test_a_burst_is_one_wake_up() -> None:
    """However many paths are heard, the drainer is woken once, and again only after it drained."""
    wakes: list[int] = []
    watcher = Watcher([], lambda: wakes.append(1), lambda name, reason: None)
    for n in range(1000):
        watcher.hear("in", [(f"/in/{n % 100}", False)])
    assert len(wakes) == 1 and len(watcher.drain()) == 100 and watcher.drain() == []
    watcher.hear("in", [])
    assert len(wakes) == 1
    watcher.hear("in", [("/in/x", True)])
    assert len(wakes) == 2 and watcher.drain() == [FileEvent("in", Path("/in/x"), True)]


def test_the_last_hint_of_a_path_counts() -> None:
    """A file that was closed and is written again is no longer closed."""
    watcher = silent()
    watcher.hear("in", [("/in/x", True), ("/in/y", False)])
    watcher.hear("in", [("/in/x", False)])
    assert watcher.drain() == [FileEvent("in", Path("/in/x"), False), FileEvent("in", Path("/in/y"), False)]


def test_a_closed_loop_does_not_end_the_watch(tmp_path: Path) -> None:
    """A callback that raises as a closed event loop does leaves the observer's thread alive: later callbacks come."""
    calls: list[str] = []
    heard = threading.Event()

    def wake() -> None:
        calls.append("wake")
        if len(calls) == 1:
            watcher.drain()
            started.set()
            raise RuntimeError("Event loop is closed")
        heard.set()

    started = threading.Event()
    ready = threading.Event()
    watcher = Watcher([inbox(tmp_path / "in")], wake, lambda name, reason: ready.set())
    watcher.start()
    try:
        assert ready.wait(20)
        (tmp_path / "in/x.png").write_text("x")
        assert started.wait(20)
        (tmp_path / "in/y.png").write_text("x")
        assert heard.wait(20)
    finally:
        watcher.stop()


def test_watches_come_and_go(tmp_path: Path) -> None:
    """A watch can be added to and removed from a running watcher; a disabled one is never started; what was heard is dropped."""
    with Ears(inbox(tmp_path / "in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        (tmp_path / "more").mkdir()
        ears._roots["more"] = tmp_path / "more"
        ears.watcher.add(Watch("more", tmp_path / "more", Mode.LIBRARY))
        ears.until_state("more", WatchState.WATCHING, 2)
        (tmp_path / "more/x.png").write_text("x")
        ears.until("x.png")
        ears.watcher.hear("more", [])
        ears.watcher.remove("more")
        assert ears.watcher.state("more").state is WatchState.STOPPED
        ears.watcher.add(Watch("more", tmp_path / "more", Mode.LIBRARY, enabled=False))
        assert ears.watcher.state("more").state is WatchState.STOPPED
        (tmp_path / "more/unheard.png").write_text("x")
        (tmp_path / "in/last.png").write_text("x")
        ears.until("last.png")
        assert "unheard.png" not in ears.heard


def test_what_was_heard_of_a_removed_watch_is_forgotten() -> None:
    """No event comes of a watch that is no more."""
    watcher = silent()
    watcher.hear("a", [("/a/x", False)])
    watcher.hear("b", [("/b/x", False)])
    watcher.remove("a")
    assert [e.watch for e in watcher.drain()] == ["b"]


def test_stop_ends_every_thread(tmp_path: Path) -> None:
    """After stop() no thread of ours is left."""
    before = threading.active_count()
    with Ears(inbox(tmp_path / "in"), Watch("poll", tmp_path / "in", Mode.INBOX, poll=0.05)) as ears:
        ears.wait(lambda: len(ears.doubts) == 2)
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_a_polled_watch(tmp_path: Path) -> None:
    """A share is polled: new files are heard, links and ignored names are not, and what was there before is left to the rescan."""
    os.makedirs(tmp_path / "in/.git")
    (tmp_path / "in/before.png").write_text("x")
    with Ears(inbox(tmp_path / "in", poll=0.05)) as ears:
        ears.until_state("in", WatchState.WATCHING)
        (tmp_path / "in/.git/x.png").write_text("x")
        (tmp_path / "in/x.part").write_text("x")
        (tmp_path / "in/circle").symlink_to(tmp_path / "in")
        (tmp_path / "in/new").mkdir()
        (tmp_path / "in/new/x.png").write_text("x")
        ears.until("new/x.png")
        assert not {"before.png", ".git/x.png", "x.part", "circle/before.png"} & ears.heard.keys()


def test_a_polled_share_that_goes_and_comes(tmp_path: Path) -> None:
    """A share that is away deletes nothing; its going and its return are doubts, and it is heard again."""
    with Ears(inbox(tmp_path / "in", poll=0.05)) as ears:
        (tmp_path / "in/x.png").write_text("x")
        ears.until_state("in", WatchState.WATCHING)
        (tmp_path / "in").rename(tmp_path / "away")
        ears.until_state("in", WatchState.MISSING, 2)
        assert not ears.heard.keys() - {"x.png"}
        (tmp_path / "away").rename(tmp_path / "in")
        ears.until_state("in", WatchState.WATCHING, 3)
        (tmp_path / "in/y.png").write_text("x")
        ears.until("y.png")


@pytest.mark.parametrize("held", ["", "other.png"], ids=["an empty folder", "other files"])
def test_another_folder_in_the_place_of_a_polled_share_deletes_nothing(tmp_path: Path, held: str) -> None:
    """As when a share is unmounted and its mount point is left: a doubt, no deletion; what comes later is heard, and so it is on return."""
    root, other = tmp_path / "in", tmp_path / "point"
    root.mkdir()
    (root / "x.png").write_text("x")
    other.mkdir()
    if held:
        (other / held).write_text("x")
    with Ears(inbox(root, poll=0.05)) as ears:
        ears.until_state("in", WatchState.WATCHING)
        root.rename(tmp_path / "away")
        other.rename(root)
        ears.wait(lambda: ears.watcher.state("in").reason in ("another folder stands there than before", "the folder is back"))
        ears.until_state("in", WatchState.WATCHING, 2)
        assert not ears.heard
        (root / "new.png").write_text("x")
        ears.until("new.png")
        told = len(ears.doubts)
        root.rename(other)
        (tmp_path / "away").rename(root)
        ears.until_state("in", WatchState.WATCHING, told + 1)
        (root / "y.png").write_text("x")
        ears.until("y.png")
        assert ears.heard.keys() == {"new.png", "y.png"}


def test_a_polled_share_that_is_away_at_the_start(tmp_path: Path) -> None:
    """The poller waits for its root."""
    watch = inbox(tmp_path / "in", poll=0.05)
    (tmp_path / "in").rmdir()
    with Ears(watch) as ears:
        ears.until_state("in", WatchState.MISSING)
        (tmp_path / "in").mkdir()
        ears.until_state("in", WatchState.WATCHING, 2)


def ear(root: Path, *events: FileSystemEvent) -> set[tuple[str, bool]]:
    watcher = silent()
    one = _Ear(watcher, "in", str(root), Ignores())
    for event in events:
        one.dispatch(event)
    return {(e.path.relative_to(root).as_posix(), e.closed) for e in watcher.drain()}


def test_watchdogs_own_events(tmp_path: Path) -> None:
    """On systems with watchdog's own back end: files, the two ends of a rename, ignored names, and what lies outside."""
    at = str(tmp_path)
    assert ear(tmp_path, FileCreatedEvent(f"{at}/x.png"), FileClosedEvent(f"{at}/y.png")) == {("x.png", False), ("y.png", True)}
    assert ear(tmp_path, FileMovedEvent(f"{at}/x.part", f"{at}/x.png")) == {("x.png", True)}
    assert ear(tmp_path, FileMovedEvent(f"{at}/x.png", "/elsewhere/x.png")) == {("x.png", False)}
    assert ear(tmp_path, FileCreatedEvent(f"{at}/.git/x")) == set()


def test_watchdogs_folder_events(tmp_path: Path) -> None:
    """All files of a new or moved folder are dirty, its old name too; ignored folders in it are not entered."""
    os.makedirs(tmp_path / "new/.git")
    os.makedirs(tmp_path / "new/deep")
    for rel in ("new/x.png", "new/.git/x", "new/deep/y.png"):
        (tmp_path / rel).write_text("x")
    at = str(tmp_path)
    assert ear(tmp_path, DirCreatedEvent(f"{at}/new")) == {("new/x.png", False), ("new/deep/y.png", False)}
    assert ear(tmp_path, DirMovedEvent(f"{at}/old", f"{at}/new")) == {
        ("old", False),
        ("new/x.png", False),
        ("new/deep/y.png", False),
    }
    shutil.rmtree(tmp_path / "new")
    assert ear(tmp_path, DirDeletedEvent(f"{at}/new")) == {("new", False)}
    assert ear(tmp_path, DirDeletedEvent(at)) == set()
