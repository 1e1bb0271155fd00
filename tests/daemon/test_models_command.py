"""`dropdock models` against a running daemon: what is kept, how sure it is, told again, and the hashes that were asked for."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from dropdock.daemon.cli import cli
from dropdock.daemon.client import connect
from dropdock.daemon.commands.model_page import shown
from dropdock.daemon.config import load
from dropdock.daemon.instance import find
from model_files import write_safetensors

CONFIG = """\
data_dir: data
hub: hub
datasets: datasets
free_space: 1 MB
server: {port: 0}
watch: [{path: in, mode: inbox, settle: 50 ms}]
"""
SURE = {
    f"lora_unet_down_blocks_{i}_attentions_0_transformer_blocks_0_attn2_to_k.{part}": ("F16", shape)
    for i in (1, 2)
    for part, shape in (("lora_down.weight", (8, 2048)), ("lora_up.weight", (640, 8)), ("alpha", ()))
}
VAGUE = {"a.lora_down.weight": ("F16", (4, 640)), "a.lora_up.weight": ("F16", (640, 4))}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    """The home of a daemon that keeps a LoRA that is sure and one that is not."""
    home = tmp_path_factory.mktemp("models")
    (home / "c.yaml").write_text(CONFIG)
    (home / "in").mkdir()
    write_safetensors(home / "in" / "sure.safetensors", SURE)
    write_safetensors(home / "in" / "vague.safetensors", VAGUE)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("DROPDOCK_")}
    command = [sys.executable, "-m", "dropdock.daemon", "run", "--config", str(home / "c.yaml")]
    with (home / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, env=environ) as daemon:
        try:
            until(lambda: (at := find(home / "data")) and at.url, daemon)
            until(lambda: call(home, "models", "list", "--json").stdout.count("\n") == 2, daemon)
            yield home
        finally:
            daemon.terminate()
            assert daemon.wait(15) == 0


def until(good, daemon: subprocess.Popen[bytes]) -> None:
    """Wait for the daemon to get somewhere, as long as it lives."""
    end = time.monotonic() + 30
    while not good():
        assert daemon.poll() is None and time.monotonic() < end
        time.sleep(0.02)


def call(home: Path, *args: str):
    given = {"DROPDOCK_CONFIG": str(home / "c.yaml"), "HOME": str(home), "DROPDOCK_API_KEY": None}
    return CliRunner().invoke(cli, list(args), env=given, prog_name="dropdock")


def test_the_list_shows_the_word_and_takes_filters(running):
    """Every model with its confidence and its word; --unsure leaves the sure one out, --sort puts the least sure first."""
    text = call(running, "models").stdout
    assert "sure.safetensors" in text and " sure" in text and "guess" in text
    unsure = call(running, "models", "list", "--unsure", "--json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in unsure] == ["vague.safetensors"]
    names = [json.loads(x)["name"] for x in call(running, "models", "list", "--sort", "confidence", "--json").stdout.splitlines()]
    assert names == ["vague.safetensors", "sure.safetensors"]


def test_one_model_is_shown_with_all_that_is_known(running):
    """Confidence of each axis, the rules' own verdict, evidence with weights and, once asked for, hashes."""
    text = call(running, "models", "show", "sure.safetensors").stdout
    assert "(type 0.97, base 0." in text and "by the rules lora sdxl" in text and "(0.97, structure)" in text
    assert "crc32" not in text
    environ = {"DROPDOCK_CONFIG": str(running / "c.yaml"), "HOME": str(running)}
    client = connect(load(running / "c.yaml", environ), environ)
    client.post("/models/sure.safetensors/hashes", {})
    end = time.monotonic() + 30
    while not client.get("/models/sure.safetensors/hashes")["crc32"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "crc32" in call(running, "models", "show", "sure.safetensors").stdout


def test_told_again(running):
    """What is as it was is said to be so; all of them is a job, a dry run of all is not; a call that names nothing is a mistake."""
    assert call(running, "models", "reclassify", "sure.safetensors", "vague.safetensors").stdout == "nothing changes\n"
    assert call(running, "models", "reclassify", "--all", "--dry-run").stdout == "nothing changes\n"
    assert "queued" in call(running, "models", "reclassify", "--all").stdout
    assert call(running, "models", "reclassify").exit_code == 2
    assert call(running, "models", "reclassify", "--all", "x").exit_code == 2
    assert call(running, "models", "reclassify", "nothing.bin").exit_code == 1


def test_what_is_shown_of_little():
    """An answer without names, hashes, facts and links is shown all the same; conflicts are told."""
    row = {"sha256": "ab", "name": "x", "size": 5, "type": "lora", "base": "sdxl", "confidence": 0.5, "band": "guess"}
    assert list(shown(row)) == [
        "sha256       ab", "name         x", "size         5 B", "type         lora", "base         sdxl", "confidence   0.50 guess",
    ]  # fmt: skip
    assert "  but it says flux" in list(shown({**row, "facts": {"conflicts": ["it says flux"]}}))


def test_a_file_that_is_not_there_is_said_so():
    """Away and gone are words of their own; of what is there nothing is said."""
    row = {"sha256": "ab", "name": "x", "size": 5, "type": "lora", "base": "sdxl", "confidence": 0.5, "band": "guess"}
    for state in ("away", "gone", "replaced", "changed"):
        assert any(line.startswith(f"file         {state}") for line in shown({**row, "state": state}))
    assert not any(line.startswith("file ") for line in shown({**row, "state": "ok"}))
