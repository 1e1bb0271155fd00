"""Cookies and mounts: a watch that went deaf is found out and made anew; a volume that comes or goes below a watch is noticed."""

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from dropdock.daemon import cookies, mounts
from dropdock.daemon.hints import WatchState
from dropdock.daemon.intake import Intake
from dropdock.daemon.watcher import WatchHealth
from dropdock.rules.terms import Mode, Watch
from house_made import Home, opened

from .ears import Ears, inbox


def test_only_folders_of_ours_are_asked(tmp_path: Path) -> None:
    """Inboxes and datasets that are heard by events; never a library, a polled or a disabled watch."""
    modes = {mode: cookies.may_ask(Watch("w", tmp_path, mode)) for mode in Mode}
    assert modes == {Mode.INBOX: True, Mode.DATASET: True, Mode.LIBRARY: False}
    assert not cookies.may_ask(Watch("w", tmp_path, Mode.INBOX, poll=5.0))
    assert not cookies.may_ask(Watch("w", tmp_path, Mode.INBOX, enabled=False))


def test_a_cookie_leaves_nothing(tmp_path: Path) -> None:
    """The first call makes our folder, which nobody can listen to yet; the next ones lay; a root that is not there is not made."""
    assert [cookies.lay(tmp_path) for _ in range(3)] == [False, True, True]
    assert os.listdir(tmp_path / ".dropdock") == [] and not cookies.lay(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_symlink_in_the_cookies_place_is_not_followed(tmp_path: Path) -> None:
    """Nobody can have us make a file elsewhere."""
    (tmp_path / ".dropdock").mkdir()
    (tmp_path / ".dropdock/alive").symlink_to(tmp_path / "victim")
    assert not cookies.lay(tmp_path) and not (tmp_path / "victim").exists()


@pytest.mark.parametrize("before", [True, False])
def test_a_watch_hears_of_its_cookie_and_of_nothing_else_there(tmp_path: Path, before: bool) -> None:
    """Whether our folder was there at the start or comes later; staging and trash stay unheard."""
    own = tmp_path / "in/.dropdock"
    if before:
        own.mkdir(parents=True)
    with Ears(inbox(tmp_path / "in")) as ears:
        ears.until_state("in", WatchState.WATCHING)
        own.mkdir(exist_ok=True)
        (tmp_path / "in/first.png").write_text("x")
        ears.until("first.png")
        (own / "staging").mkdir()
        (own / "staging/x.png").write_text("x")
        assert cookies.lay(tmp_path / "in")
        (tmp_path / "in/last.png").write_text("x")
        ears.until("last.png")
        assert ears.watcher.cookies("in") == 1 and ears.heard.keys() == {"first.png", "last.png"}


async def test_a_deaf_watch_is_made_anew_and_says_so_until_it_hears(tmp_path: Path) -> None:
    """No answer: reopened, with a notice; an answer takes the notice away."""
    home = Home(tmp_path)
    (home.inbox / ".dropdock").mkdir()
    async with opened(home) as house:
        intake = Intake(house.house, house.conveyor, pause=lambda seconds: asyncio.sleep(0))
        watcher = Silent()
        intake._watcher = watcher  # type: ignore[assignment]  # one whose hearing the test decides
        await intake.listen()
        assert "inbox" in watcher.reopened and "library" not in watcher.reopened
        assert any(n.startswith("inbox: it did not hear") for n in intake.notices())
        watcher.hears, watcher.reopened = True, []
        await intake.listen()
        assert intake.notices() == () and watcher.reopened == []


async def test_a_limited_watch_is_compared_every_time(tmp_path: Path) -> None:
    """What has no watch is found by looking."""
    home = Home(tmp_path)
    async with opened(home) as house:
        intake = Intake(house.house, house.conveyor, pause=lambda seconds: asyncio.sleep(0))
        intake._watcher = Silent(WatchState.LIMITED)  # type: ignore[assignment]
        await intake.listen()
        assert {"inbox", "library"} <= intake._doubts.keys()


class Silent:
    """A watcher that hears of no cookie until it is told to."""

    def __init__(self, state: WatchState = WatchState.WATCHING) -> None:
        self._state, self.hears, self.reopened, self._count = state, False, list[str](), 0

    def state(self, name: str) -> WatchHealth:
        return WatchHealth(self._state, "limited")

    def cookies(self, name: str) -> int:
        self._count += self.hears
        return self._count

    def reopen(self, name: str) -> None:
        self.reopened.append(name)


# ---------------------------------------------------------------- mounts

TABLE = rb"""25 1 254:0 / / rw - ext4 /dev/vda rw
31 25 0:44 / /data/in/a\040disk rw shared:1 - tmpfs tmpfs rw
32 25 0:45 / /data/inner rw - tmpfs tmpfs rw
33 25 0:46 / /data/in rw - tmpfs tmpfs rw
"""


def test_what_is_mounted_below_a_folder(tmp_path: Path) -> None:
    """The folder's own mount and its neighbours are not below it; escapes are read; no table, no mounts."""
    (tmp_path / "mountinfo").write_bytes(TABLE)
    assert mounts.below("/data/in", tmp_path / "mountinfo") == {(b"31", b"/data/in/a disk")}
    assert mounts.below("/data/in", tmp_path / "none") == frozenset()


MOUNTED = """
import queue, subprocess, sys
from pathlib import Path
from watchdog.observers.api import ObservedWatch
from dropdock.daemon.inotify import InotifyEmitter
from dropdock.rules.ignores import Ignores
root = Path(sys.argv[1])
told = queue.Queue()
emitter = InotifyEmitter(told, ObservedWatch(str(root), recursive=True), ignores={str(root): Ignores()})
emitter.start()
print(told.get(timeout=20)[0].reason)
disk = str(root / "disk")
for command in (["mount", "-t", "tmpfs", "none", disk], ["umount", disk], ["mount", "-t", "tmpfs", "none", str(root)]):
    subprocess.run(command, check=True)
    print(told.get(timeout=20)[0].reason)
emitter.stop()
emitter.join()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mount tables are Linux's")
def test_a_volume_that_comes_or_goes_below_a_watch_is_noticed(tmp_path: Path) -> None:
    """All is told, and the watch is made anew, so that what lies on it is heard: below the folder, or over the folder itself."""
    (tmp_path / "disk").mkdir()
    command = ["unshare", "-U", "-r", "-m", sys.executable, "-c", textwrap.dedent(MOUNTED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "Operation not permitted" in done.stderr or "permission denied" in done.stderr.lower():
        pytest.skip(f"no user namespace here: {done.stderr[-200:]}")
    below = "a volume was mounted or unmounted below it"
    assert done.stdout.splitlines() == ["started", below, below, "the folder was replaced"], done.stderr
