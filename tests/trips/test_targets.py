"""The commands of deployment against the real daemon: plan, switch, deploy, problems, audit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from daemon_process import Daemon, Home, wait_for
from dropdock.daemon.cli import cli
from dropdock.daemon.samples import flux_lora


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.config.write_text(made.config.read_text() + f"  swarm: {{layout: swarmui, path: {tmp_path}/swarm, enabled: false}}\n")
    (tmp_path / "swarm").mkdir()
    return made


def call(home: Home, *args: str, code: int = 0) -> Result:
    env = {"DROPDOCK_CONFIG": str(home.config), "HOME": str(home.root), "DROPDOCK_API_KEY": None}
    result = CliRunner().invoke(cli, args, env=env, prog_name="dropdock")
    assert result.exit_code == code, result.output
    return result


def lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def until(daemon: Daemon, true: Callable[[], bool]) -> None:
    wait_for(true, 20, daemon.said, 0.05)


def test_the_day_of_a_target(home: Home) -> None:
    """Dropped and linked -> planned for a disabled target -> enabled -> undeployed from one -> a conflict shown -> all gone."""
    daemon = Daemon(home).wait_ready()
    try:
        flux_lora(home.root / "style.safetensors").rename(home.inbox / "style.safetensors")
        comfy, swarm = home.root / "ComfyUI/models/loras/style.safetensors", home.root / "swarm/Models/Lora/style.safetensors"
        until(daemon, comfy.is_symlink)
        assert [(s["do"], s["at"]) for s in lines(call(home, "targets", "plan", "swarm", "--json"))] == [("link", str(swarm))]
        assert not swarm.parent.exists()
        assert "swarm is enabled" in call(home, "targets", "enable", "swarm").stdout
        until(daemon, swarm.is_symlink)
        assert "(switched)" in call(home, "targets").stdout
        assert "comfyui, forge" not in call(home, "undeploy", "style.safetensors", "--target", "comfyui").stdout
        until(daemon, lambda: not os.path.lexists(comfy))
        comfy.write_bytes(b"a person's own")
        assert "every target" in call(home, "deploy", "style.safetensors").stdout
        until(daemon, lambda: "conflict" in call(home, "links", "list", "--problems").stdout)
        call(home, "links", "audit")
        assert comfy.read_bytes() == b"a person's own"
        call(home, "undeploy", "--all")
        until(daemon, lambda: not os.path.lexists(swarm))
        assert call(home, "links", "list", "--problems").stdout.strip() == "no problems"
        assert "There is no target" in call(home, "targets", "enable", "nobody", code=1).stderr
        assert "--all" in call(home, "deploy", code=2).stderr
    finally:
        assert daemon.stop() == 0
