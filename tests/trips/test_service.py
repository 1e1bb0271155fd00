"""The real daemon under a service manager: what it says on the notify socket, and how it takes a new configuration."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from daemon_process import Daemon, Home, wait_for
from model_files import write_safetensors
from pictures_made import picture

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sd_notify is Linux's")


class Manager:
    """The other end of $NOTIFY_SOCKET, as systemd holds it."""

    def __init__(self, address: str) -> None:
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.link.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.link.setblocking(False)
        self.heard: list[dict[str, str]] = []

    def has(self, **wanted: str) -> bool:
        """Whether a message with these variables came, by now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                text = self.link.recv(65536).decode()
                self.heard.append(dict(line.split("=", 1) for line in text.splitlines()))
        return any(wanted.items() <= message.items() for message in self.heard)


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    address = str(tmp_path / "notify") if request.param == "path" else f"@dropdock-test-{os.getpid()}"
    manager = Manager(address)
    manager.address = address
    yield manager
    manager.link.close()


@linux
def test_a_service_manager_hears_the_whole_life(tmp_path, manager):
    """READY comes with a status once the API answers, WATCHDOG while all is alive, RELOADING with the clock and READY again, STOPPING."""
    home = Home(tmp_path)
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    with Daemon(home, **env) as daemon:
        wait_for(lambda: manager.has(READY="1"), 10, daemon.said)
        assert "ready at http://127.0.0.1:" in manager.heard[0]["STATUS"]
        wait_for(lambda: manager.has(WATCHDOG="1"), 10, daemon.said)
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("RELOADING" in m for m in manager.heard) or manager.has(RELOADING="1"), 10, daemon.said)
        reloading = next(i for i, m in enumerate(manager.heard) if "RELOADING" in m)
        assert int(manager.heard[reloading]["MONOTONIC_USEC"]) > 0
        wait_for(lambda: manager.has() or any("READY" in m for m in manager.heard[reloading:]), 10, daemon.said)
        assert daemon.stop() == 0
    assert manager.has(STOPPING="1")


def refused(daemon: Daemon) -> list[str]:
    """The problems for which a reload was refused."""
    with pytest.raises(urllib.error.HTTPError) as error:
        daemon.post("config/reload")
    assert error.value.code == 422
    return json.load(error.value)["problems"]


def test_a_new_configuration_is_taken_over_while_it_runs(tmp_path):
    """A watch, a rule, a target and workers that are added work at once; what is removed ends; what was bad changed nothing."""
    home = Home(tmp_path)
    with Daemon(home) as daemon:
        assert daemon.post("config/reload") == {"changes": []}

        good = home.config.read_text()
        home.config.write_text(good.replace("mode: inbox", "mode: inbux"))
        assert "config.yaml:8:" in refused(daemon)[0] and "did you mean inbox?" in refused(daemon)[0]
        assert any("not taken" in notice for notice in daemon.get("status")["notices"])
        home.config.write_text(good.replace(f"hub: {tmp_path}/hub", f"hub: {tmp_path}/other").replace("port: 0", "port: 9"))
        assert sorted(line.split(":")[0] for line in refused(daemon)) == ["hub", "server.port"]
        assert not (tmp_path / "other").exists()

        more = f"  - {{path: {tmp_path}/second, mode: inbox, pipeline: mine, settle: 0.2 s}}\ntargets:"
        new = good.replace("targets:", more).replace("  - {path: " + f"{tmp_path}/library, mode: library, settle: 0.3 s}}\n", "")
        new = new.replace("  ai-toolkit:", "  third:") + "lanes: {caption: 2, cpu: 1}\n"
        new += "pipelines:\n  mine:\n    - {name: all, when: {kind: image}, do: [{dataset: gathered}]}\n"
        home.config.write_text(new)
        changes = daemon.post("config/reload")["changes"]
        assert {"watch.second: added", "watch.library: removed", "targets.ai-toolkit: removed", "targets.third: added"} <= set(
            changes
        )
        assert {"pipelines.mine: added", "lanes.caption: 1 -> 2", "lanes.cpu: 2 -> 1"} <= set(changes)
        assert daemon.get("status")["notices"] == []
        assert {w["name"] for w in daemon.get("watches")["watches"]} == {"inbox", "second", "datasets"}
        assert {row["lane"]: row["workers"] for row in daemon.get("status")["lanes"]}["caption"] == 2

        (tmp_path / "second/a.png").write_bytes(picture(64))
        wait_for(lambda: (tmp_path / "datasets/gathered/a.png").exists(), 30, daemon.said)
        (tmp_path / "library/never.png").write_bytes(picture(64))
        (tmp_path / "inbox/b.png").write_bytes(picture(60))
        wait_for(lambda: list((tmp_path / "datasets").glob("*/b.png")), 30, daemon.said)
        daemon.wait_idle()
        assert (tmp_path / "library/never.png").exists()
        assert daemon.get("files?name=never")["files"] == []
        assert daemon.stop() == 0


def test_jobs_outlive_a_reload(tmp_path):
    """Pictures that wait for captions while workers come and go and the captioner changes all get one, and no job is lost."""
    captioner = "captioners:\n  fixed: {engine: simple, text: TEXT}\npipelines:\n  inbox:\n"
    captioner += "    - {name: all, when: {kind: image}, do: [dataset: many, caption: {with: fixed}]}\n"
    home = Home(tmp_path, more=captioner.replace("TEXT", "before") + "lanes: {caption: 1}\n")
    with Daemon(home) as daemon:
        for n in range(40):
            (tmp_path / f"inbox/{n}.png").write_bytes(picture(n))
        base = home.config.read_text()
        for n in (4, 1, 3, 2):
            home.config.write_text(base.replace("caption: 1}", f"caption: {n}}}").replace("before", f"after{n}"))
            daemon.post("config/reload")
        daemon.wait_idle(90)
        texts = [path.read_text().strip() for path in (tmp_path / "datasets/many").glob("*.txt")]
        assert len(texts) == 40 and set(texts) <= {"before", "after4", "after1", "after3", "after2"}
        assert daemon.get("jobs?state=failed")["jobs"] == []
        home.config.write_text(home.config.read_text().replace("after2", "last"))
        assert daemon.post("config/reload")["changes"] == ["captioners.fixed.text: after2 -> last"]
        (tmp_path / "inbox/late.png").write_bytes(picture(99))
        wait_for(lambda: (tmp_path / "datasets/many/late.txt").exists(), 30, daemon.said)
        assert (tmp_path / "datasets/many/late.txt").read_text().strip() == "last"
        assert daemon.stop() == 0


def reload(home: Home, *options: str) -> subprocess.CompletedProcess[str]:
    """`dropdock reload` as a shell calls it."""
    argv = [sys.executable, "-m", "dropdock.daemon", "reload", "--config", str(home.config), *options]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30)


def test_the_reload_command_prints_changes_and_mistakes(tmp_path):
    """Without a daemon code 3; a change is printed, code 0; a mistake and what needs a restart on stderr, code 2."""
    home = Home(tmp_path)
    assert reload(home).returncode == 3
    with Daemon(home) as daemon:
        assert reload(home).stdout == "nothing differs\n"
        good = home.config.read_text()
        home.config.write_text(good + "trash: 3 days\n")
        assert json.loads(reload(home, "--json").stdout) == {"changes": ["trash: 1209600.0 -> 259200.0"]}
        home.config.write_text(good + "trash: soon\n")
        done = reload(home)
        assert done.returncode == 2 and "trash" in done.stderr
        home.config.write_text(good.replace(f"hub: {tmp_path}/hub", f"hub: {tmp_path}/hub2"))
        done = reload(home)
        assert done.returncode == 2 and "hub2: needs a restart" in done.stderr
        assert daemon.get("config")["trash"] == 259200 and daemon.get("config")["hub"] == f"{tmp_path}/hub"
        assert daemon.stop() == 0


def test_a_new_rule_of_a_library_takes_what_is_there_already(tmp_path):
    """Tracked and left alone -> a rule adopts models, a reload: taken in, a link in its place; deleted, the model is no longer listed."""
    home = Home(tmp_path, more="pipelines: {library: []}\n")
    tensors = {"a.lora_down.weight": ("F16", (4, 640)), "a.lora_up.weight": ("F16", (640, 4))}
    first, second = (write_safetensors(tmp_path / f"library/loras/{n}.safetensors", {**tensors, n: ("F16", (2,))}) for n in "ab")
    with Daemon(home) as daemon:
        wait_for(lambda: len(daemon.get("models")["models"]) == 2, 30, daemon.said)
        second.unlink()
        wait_for(lambda: len(daemon.get("models")["models"]) == 1, 30, daemon.said)
        assert daemon.get("status")["models"]["count"] == 1
        assert not first.is_symlink()
        rules = "pipelines: {library: [{name: take, when: {kind: model}, do: [adopt]}]}\n"
        home.config.write_text(home.config.read_text().replace("pipelines: {library: []}\n", rules))
        assert reload(home).returncode == 0
        wait_for(first.is_symlink, 30, daemon.said)
        assert home.hub in first.resolve().parents
        assert daemon.stop() == 0


def test_metrics_tell_of_the_work(tmp_path):
    """After a picture was taken in, the counts of files and jobs and the time jobs took are there, as a Prometheus parser reads them."""
    home = Home(tmp_path)
    with Daemon(home) as daemon:
        (tmp_path / "inbox/a.png").write_bytes(picture(64))
        wait_for(lambda: list((tmp_path / "datasets").glob("*/a.txt")), 30, daemon.said)
        daemon.wait_idle()
        text = urllib.request.urlopen(f"{daemon.url}/metrics", timeout=10).read().decode()
        assert daemon.stop() == 0
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed")
    found = {family.name: family for family in parser.text_string_to_metric_families(text)}
    done = {s.labels["lane"]: s.value for s in found["dropdock_job_seconds"].samples if s.name.endswith("_count")}
    assert done["cpu"] == 1 and done["caption"] == 1
    assert {s.labels["watch"] for s in found["dropdock_watch_alive"].samples if s.value == 1} == {"inbox", "library", "datasets"}
    assert {s.labels["folder"] for s in found["dropdock_disk_free_bytes"].samples} == {"data_dir", "hub", "datasets"}
