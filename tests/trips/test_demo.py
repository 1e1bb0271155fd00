"""The demo, whole: a real daemon, real files, and its own judge, as a person would start it."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from dropdock.daemon import demo
from dropdock.daemon.demo_checks import Told, wrongs
from dropdock.daemon.demo_stage import Stage, build
from dropdock.daemon.instance import find

COMMAND = [sys.executable, "-m", "dropdock.daemon", "demo"]


def environment(tmp_path: Path) -> dict[str, str]:
    """A user whose temporary files are ours to look at, and whose own settings must not matter."""
    return {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "DROPDOCK_CONFIG": "/nowhere.yaml",
        "DROPDOCK_API_KEY": "not-asked-for",
        "COLUMNS": "240",
    }


def test_the_demo_shows_that_all_is_well_and_leaves_nothing(tmp_path: Path) -> None:
    """Exit code 0, every dropped file told with its end, every app with its links, and no scratch folder afterwards."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, env=environment(tmp_path), timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything is as it should be" in done.stdout and done.stderr == ""
    for word in (
        "lora flux1",
        "checkpoint sd15",
        "vae sd-vae",
        "itself in the trash",
        "left where it was",
        "(built in) quarantine",
    ):
        assert word in done.stdout, word
    assert done.stdout.count(" -> hub/") == 9
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["ended as unknown", "has no caption", "no link for", "not in quarantine", "near duplicate"])
def test_the_judge_sees_when_nothing_was_done(tmp_path: Path, word: str) -> None:
    """On a home where no daemon ever ran, every kind of promise is found broken."""
    stage = build(tmp_path)
    stage.dataset.mkdir(parents=True)
    (stage.dataset / "forest.jpg").write_bytes(stage.members["red fox/forest.jpg"])
    assert any(word in problem for problem in wrongs(stage, Told((), (), ())))


def test_kept_it_stays_until_it_is_stopped(tmp_path: Path) -> None:
    """With --keep the daemon lives on, and the commands that are printed end it and clear the home."""
    done = subprocess.run(
        [*COMMAND, "--keep"], capture_output=True, text=True, env=environment(tmp_path), timeout=110, check=False
    )
    (home,) = tmp_path.iterdir()
    running = find(home / "data")
    said = dict(re.findall(r"^(stop it|clear it) +(.*)$", done.stdout, re.MULTILINE))
    subprocess.run(shlex.split(said["stop it"]), check=True)
    until = time.monotonic() + 15
    while find(home / "data") and time.monotonic() < until:
        time.sleep(0.05)
    assert done.returncode == 0 and running is not None and running.url.rstrip("/") in done.stdout
    assert find(home / "data") is None and "stopping" in (home / "daemon.log").read_text()
    subprocess.run(shlex.split(said["clear it"]), check=True)
    assert not home.exists()


def test_a_daemon_that_does_not_start_is_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, the daemon's last words, and no scratch folder."""

    def start(stage: Stage, keep: bool) -> subprocess.Popen[bytes]:
        with (stage.home / "daemon.log").open("wb") as log:
            return subprocess.Popen([sys.executable, "-c", "print('the roof is leaking'); raise SystemExit(3)"], stdout=log)

    monkeypatch.setattr(demo, "_start", start)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert demo.play(keep=True) == 1
    said = capsys.readouterr().err
    assert "ended with code 3" in said and "the roof is leaking" in said and list(tmp_path.iterdir()) == []
