"""The real daemon while the disk of its hub is not there."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner
from daemon_process import Daemon, Home, wait_for
from dropdock.daemon.cli import cli
from dropdock.daemon.samples import flux_lora


def call(home: Home, *args: str, code: int = 0) -> str:
    env = {"DROPDOCK_CONFIG": str(home.config), "HOME": str(home.root), "DROPDOCK_API_KEY": None}
    result = CliRunner().invoke(cli, args, env=env, prog_name="dropdock")
    assert result.exit_code == code, result.output
    return result.output


def test_a_start_without_the_hubs_disk_and_its_return(tmp_path: Path) -> None:
    """Stored and linked -> stopped, unmounted, started: links and models stay, a drop waits -> mounted: the drop is stored and linked."""
    home = Home(tmp_path)
    loras = tmp_path / "ComfyUI/models/loras"
    one, two = loras / "one.safetensors", loras / "two.safetensors"
    with Daemon(home) as daemon:
        flux_lora(tmp_path / "one.safetensors").rename(home.inbox / "one.safetensors")
        wait_for(one.is_symlink, 20, daemon.said)
        daemon.wait_idle()
    away = home.hub.rename(tmp_path / "hub.away")
    with Daemon(home) as daemon:
        assert any("the hub is away" in notice for notice in daemon.get("status")["notices"])
        flux_lora(tmp_path / "two.safetensors", rank=2).rename(home.inbox / "two.safetensors")
        wait_for(lambda: any("away" in (job["error"] or "") for job in daemon.get("jobs?state=open")["jobs"]), 20, daemon.said)
        call(home, "links", "audit")
        assert "mount its disk" in call(home, "doctor", code=1)
        assert [model["state"] for model in daemon.get("models")["models"]] == ["away"]
        assert one.is_symlink() and not home.hub.exists() and (home.inbox / "two.safetensors").exists()
        away.rename(home.hub)
        call(home, "links", "audit")
        wait_for(two.is_symlink, 20, daemon.said)
        assert one.exists() and two.exists() and not daemon.get("status")["notices"]
        assert {model["state"] for model in daemon.get("models")["models"]} == {"ok"}
