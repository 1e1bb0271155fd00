"""The doctor finds what is wrong, says the mend, and changes nothing."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.daemon import doctor, machine
from dropdock.daemon.cli import cli
from dropdock.daemon.config import Config, read
from dropdock.daemon.doctor import Finding, Level, examine
from dropdock.daemon.machine import Machine, Mount
from dropdock.store.database import Database
from pictures_made import tree

WELL = Machine((Mount(Path("/"), "ext4"),), 100_000, {"onnxruntime": "1.31"}, ("CPUExecutionProvider",))
TEXT = """\
data_dir: data
hub: hub
datasets: datasets
free_space: 1 kB
server: {port: 0}
watch:
  - {path: in, mode: inbox}
  - {path: lib, mode: library}
targets:
  comfy: {layout: comfyui, path: app}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home where all is well."""
    for name in ("data", "in", "lib", "app/comfy"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("folder_paths.py", "nodes.py"):
        (tmp_path / "app" / name).touch()
    (tmp_path / "data").chmod(0o700)
    return tmp_path


def config(home: Path, text: str = TEXT) -> Config:
    return read(text, home / "c.yaml", {"HOME": str(home)})


def bad(found: Iterator[Finding]) -> list[Finding]:
    """What is not well; every one of it says what to do."""
    rest = [f for f in found if f.level is not Level.OK]
    assert all(f.mend for f in rest)
    return rest


def only(found: Iterator[Finding]) -> Finding:
    (one,) = bad(found)
    return one


def test_where_all_is_well_nothing_is_found(home):
    """Every check answers ok, and not a file is made or touched."""
    before = tree(home)
    found = list(examine(config(home), WELL))
    assert bad(iter(found)) == [] and tree(home) == before
    assert {f.check for f in found} == {
        *("daemon", "database", "folders", "disks", "watch limit", "targets", "onnxruntime", "pictures"),
    }


@pytest.mark.parametrize(
    ("kind", "level"), [("nfs4", Level.FAIL), ("cifs", Level.FAIL), ("fuse.sshfs", Level.FAIL), ("btrfs", None)]
)
def test_the_database_must_not_lie_on_a_network_disk(home, kind, level):
    """SQLite's log needs shared memory, which a network disk has not."""
    well = replace(WELL, mounts=(*WELL.mounts, Mount(home.resolve() / "data", kind)))
    found = bad(examine(config(home), well))
    assert [f.level for f in found] == ([level] if level else []) and all("data_dir" in f.text for f in found)


def test_a_watched_network_share_wants_polling(home):
    """It sends no events; with `poll` it is well."""
    well = replace(WELL, mounts=(*WELL.mounts, Mount(home.resolve() / "in", "nfs")))
    assert "poll" in only(examine(config(home), well)).mend
    assert bad(examine(config(home, TEXT.replace("mode: inbox", "mode: inbox, poll: 1 min")), well)) == []


def test_few_watches_are_said_before_they_run_out(home):
    """More folders than the limit fail, more than half of it warn, with the line that raises it; ignored folders do not count."""
    for n in range(20):
        (home / f"lib/{n}").mkdir()
        (home / f"lib/.hidden/{n}").mkdir(parents=True)
    found = [only(examine(config(home), replace(WELL, watch_limit=limit))) for limit in (10, 30)]
    assert [f.level for f in found] == [Level.FAIL, Level.WARN] and all("sysctl" in f.mend for f in found)
    assert "22 folders" in found[0].text
    assert bad(examine(config(home), replace(WELL, watch_limit=None))) == []


def test_a_full_disk_fails_and_a_nearly_full_one_warns(home, monkeypatch):
    """Below `free_space` nothing is written; below five times that it is said."""
    usage = type(shutil.disk_usage("/"))
    found = []
    for free in (999, 1001, 5001):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path, free=free: usage(10**6, 0, free))
        found.append([f.level for f in examine(config(home), WELL) if f.check == "disks"])
    assert found == [[Level.FAIL], [Level.WARN], [Level.OK]]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_folders_that_we_may_not_use_are_found(home):
    """An inbox that cannot be written fails; a library that cannot be written only warns."""
    (home / "in").chmod(0o500)
    (home / "lib").chmod(0o500)
    assert [f.level for f in bad(examine(config(home), WELL))] == [Level.FAIL, Level.WARN]


def test_folders_are_what_they_should_be(home, monkeypatch):
    """What may not be read fails, a file in a folder's place fails, a library that is away warns, and so does a data folder for all."""
    shutil.rmtree(home / "lib")
    (home / "hub").write_text("a file")
    (home / "data").chmod(0o755)
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: Path(path) != home / "in")
    found = {f.text.split(":")[0]: f.level for f in bad(examine(config(home), WELL))}
    assert found == {
        "hub": Level.FAIL,
        "watch in": Level.FAIL,
        "watch lib": Level.WARN,
        f"others can look into {home / 'data'}": Level.WARN,
    }


def test_targets_are_there_and_what_they_are_said_to_be(home):
    """A folder that is away fails, one of another app warns with the right layout, a disabled one is nobody's worry."""
    (home / "app/nodes.py").unlink()
    (home / "app/webui.py").touch()
    (home / "app/modules_forge").mkdir()
    assert only(examine(config(home), WELL)).mend.startswith("set `layout: forge`")
    shutil.rmtree(home / "app")
    assert only(examine(config(home), WELL)).level is Level.FAIL
    assert bad(examine(config(home, TEXT.replace("path: app", "path: app, enabled: false")), WELL)) == []


@pytest.mark.parametrize(
    ("packages", "providers", "level"),
    [
        ({"onnxruntime": "1", "onnxruntime-gpu": "1"}, ("CUDAExecutionProvider",), Level.FAIL),
        ({"onnxruntime-gpu": "1"}, ("CPUExecutionProvider",), Level.WARN),
        ({"onnxruntime-gpu": "1"}, ("CUDAExecutionProvider", "CPUExecutionProvider"), None),
        ({"onnxruntime": "1"}, None, Level.FAIL),
        ({}, None, None),
    ],
)
def test_onnxruntime_is_there_once_and_finds_its_gpu(home, packages, providers, level):
    """Both packages overwrite each other; a GPU package without CUDA is slow; none is well as long as nobody needs it."""
    found = bad(examine(config(home), replace(WELL, packages=packages, providers=providers)))
    assert [f.level for f in found] == ([level] if level else [])


async def test_the_database_is_checked_without_being_touched(home):
    """A whole one is well; a damaged one fails and names the backups; one of a newer version fails; nothing beside it is made."""
    path = home / "data/dropdock.db"
    async with Database(path):
        pass
    assert bad(examine(config(home), WELL)) == []
    whole = path.read_bytes()
    async with Database(path) as database:
        await database.write(lambda c: c.execute("PRAGMA user_version=9999"))
    assert "newer" in only(examine(config(home), WELL)).text
    (home / "data/dropdock.db.before-0002").touch()
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    before = tree(home)
    found = only(examine(config(home), WELL))
    assert found.level is Level.FAIL and "dropdock.db.before-0002" in found.mend
    assert tree(home) == before


def test_a_port_that_somebody_else_has_fails(home):
    """Without a daemon of ours, whoever listens at our address is in the way."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"127.0.0.1:{port}" in only(examine(config(home, TEXT.replace("port: 0", f"port: {port}")), WELL)).text


def test_the_command_fails_when_something_fails(home, runner, monkeypatch):
    """Code 0 and one object a finding where all is well; code 1 with the mend; a bad configuration is a finding too."""
    monkeypatch.setattr(machine, "look", lambda: WELL)
    (home / "c.yaml").write_text(TEXT)
    done = runner.invoke(cli, ["doctor", "--json", "--config", str(home / "c.yaml")])
    lines = [json.loads(line) for line in done.output.splitlines()]
    assert done.exit_code == 0 and {line["level"] for line in lines} == {"ok"}
    shutil.rmtree(home / "app")
    done = runner.invoke(cli, ["doctor", "--config", str(home / "c.yaml")])
    assert done.exit_code == 1 and "mend: correct `targets.comfy.path`" in done.output
    (home / "c.yaml").write_text("hub: [")
    done = runner.invoke(cli, ["doctor", "--config", str(home / "c.yaml")])
    assert done.exit_code == 1 and "c.yaml:1" in done.output


def test_this_machine_can_be_looked_at():
    """The root is mounted, the folder of this test lies on a known disk, and asking takes no package for granted."""
    here = machine.look()
    assert here.mount_of(Path(__file__)).point.is_dir()
    assert Machine().mount_of(Path("/x")).kind == "unknown"
    assert Mount(Path("/n"), "nfs4").network and not Mount(Path("/n"), "tmpfs").network
    nested = Machine((Mount(Path("/"), "a"), Mount(Path("/mnt"), "b"), Mount(Path("/mnt/x"), "c")))
    assert [nested.mount_of(Path(p)).kind for p in ("/etc", "/mnt/y", "/mnt/x/z", "/mntz")] == ["a", "b", "c", "a"]
