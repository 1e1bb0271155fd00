"""The real daemon as a child process, on a scratch home, for tests that take the whole trip."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CONFIG = """
data_dir: {home}/data
hub: {home}/hub
datasets: {home}/datasets
free_space: 1 MB
server: {{port: 0{server}}}
watch:
  - {{path: {home}/inbox, mode: inbox, settle: {settle} s, patience: 3 s}}
  - {{path: {home}/library, mode: library, settle: {settle} s}}
targets:
  comfyui: {{layout: comfyui, path: {home}/ComfyUI}}
  forge: {{layout: forge, path: {home}/forge, relative: true}}
  ai-toolkit: {{layout: ai-toolkit, path: {home}/ai-toolkit}}
"""


class Home:
    """A scratch home with an inbox, a library, a hub, datasets and three apps."""

    def __init__(self, root: Path, settle: float = 0.3, server: str = "", more: str = "") -> None:
        self.root = root
        for name in ("inbox", "library/loras", "ComfyUI/models", "forge/models", "ai-toolkit"):
            (root / name).mkdir(parents=True, exist_ok=True)
        self.inbox, self.hub, self.datasets = root / "inbox", root / "hub", root / "datasets"
        self.config = root / "config.yaml"
        self.config.write_text(CONFIG.format(home=root, settle=settle, server=server) + more)
        self.database = root / "data" / "dropdock.db"


class Daemon:
    """`dropdock run` on a home. Its output goes to <home>/run.log."""

    def __init__(self, home: Home, **env: str) -> None:
        self.home = home
        (home.root / "data/daemon.json").unlink(missing_ok=True)
        self.log = (home.root / "run.log").open("ab")
        argv = [sys.executable, "-m", "dropdock.daemon", "run", "--config", str(home.config)]
        self.process = subprocess.Popen(
            argv, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True, env={**os.environ, **env}
        )

    @property
    def url(self) -> str:
        """Where it listens; empty until it does."""
        try:
            return json.loads((self.home.root / "data/daemon.json").read_text())["url"].rstrip("/")
        except (OSError, ValueError, KeyError):
            return ""

    def wait_ready(self, seconds: float = 30) -> Daemon:
        """Wait until the API answers."""
        wait_for(lambda: self._alive() and bool(self.url) and self._health(), seconds, self.said)
        return self

    def _alive(self) -> bool:
        assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}:\n{self.said()}"
        return True

    def _health(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/health", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def get(self, path: str) -> Any:
        """The JSON of an API route."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: object = None) -> Any:
        """POST JSON."""
        data = json.dumps(body).encode() if body is not None else b""
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", data, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def wait_idle(self, seconds: float = 60) -> None:
        """Wait until nothing settles and no job is open, twice in a row."""
        quiet = 0

        def idle() -> bool:
            nonlocal quiet
            self._alive()
            busy = self.get("status")["waiting"] or self.get("jobs?state=open&limit=5")["jobs"]
            quiet = 0 if busy else quiet + 1
            return quiet >= 3

        wait_for(idle, seconds, self.said, 0.3)

    def kill(self) -> None:
        """SIGKILL, to the daemon alone: its children must notice by themselves."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.log.close()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(12)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(5)
            self.log.close()

    def said(self) -> str:
        """The end of its output."""
        return (self.home.root / "run.log").read_text(errors="replace")[-6000:]

    def __enter__(self) -> Daemon:
        return self.wait_ready()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()


def wait_for(condition, seconds: float, why=lambda: "", beat: float = 0.05) -> None:
    """Wait for a condition of the real world, and say what was going on when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for nothing\n{why()}"
        time.sleep(beat)
