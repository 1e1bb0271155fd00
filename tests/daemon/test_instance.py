"""One daemon a data folder, whatever happens to it."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from dropdock.daemon.instance import AlreadyRunning, Instance, Running, find

HOLD = """
import subprocess, sys
from pathlib import Path
from dropdock.daemon.instance import Instance
with Instance(Path(sys.argv[1])) as instance:
    instance.announce("http://127.0.0.1:7")
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], close_fds=False)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


def test_a_second_one_is_refused_and_told_where_the_first_is(tmp_path: Path) -> None:
    """While one holds the folder another is refused with its pid and URL; afterwards the folder is free."""
    with Instance(tmp_path / "data") as first:
        first.announce("http://127.0.0.1:1234")
        with pytest.raises(AlreadyRunning, match=r"already running: pid \d+ at http://127.0.0.1:1234") as refused:
            Instance(tmp_path / "data").__enter__()
        assert (refused.value.pid, refused.value.url) == (os.getpid(), "http://127.0.0.1:1234")
        assert find(tmp_path / "data") == Running(os.getpid(), "http://127.0.0.1:1234")
    assert find(tmp_path / "data") is None
    with Instance(tmp_path / "data"):
        assert find(tmp_path / "data") == Running(os.getpid(), "")


def test_the_note_is_for_the_user_alone(tmp_path: Path) -> None:
    """daemon.json has mode 0600 and the four fields, and is gone when the daemon is."""
    with Instance(tmp_path) as instance:
        instance.announce("http://127.0.0.1:1234")
        note = tmp_path / "daemon.json"
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        assert sorted(json.loads(note.read_text())) == ["pid", "started", "url", "version"]
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize("left", ["", "not json", "[]", '{"pid": 1, "url": "http://127.0.0.1:1"}', '{"pid": "x"}'])
def test_a_note_without_the_lock_is_no_daemon(tmp_path: Path, left: str) -> None:
    """What a dead daemon left behind is not taken for a living one, and hinders nobody."""
    (tmp_path / "daemon.json").write_text(left)
    assert find(tmp_path) is None
    (tmp_path / "lock").write_text("")
    assert find(tmp_path) is None
    with Instance(tmp_path):
        assert find(tmp_path) == Running(os.getpid(), "")


def test_looking_where_nothing_is_makes_nothing(tmp_path: Path) -> None:
    """`find` leaves a folder as it was."""
    assert find(tmp_path) is None and find(tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == []


def test_a_killed_daemon_leaves_the_folder_free_though_its_child_lives(tmp_path: Path) -> None:
    """SIGKILL frees the lock at once: a child that outlives its parent holds no copy of it."""
    daemon = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert daemon.stdin and daemon.stdout
    child = int(daemon.stdout.readline())
    try:
        assert find(tmp_path) == Running(daemon.pid, "http://127.0.0.1:7")
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(10)
        os.kill(child, 0)  # it lives
        assert find(tmp_path) is None
        with Instance(tmp_path):
            assert find(tmp_path) == Running(os.getpid(), "")
    finally:
        os.kill(child, signal.SIGKILL)
        daemon.stdin.close()
        daemon.stdout.close()
