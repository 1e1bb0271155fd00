"""A configuration that got mistakes while the daemon runs: the daemon is found all the same, and asked."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from dropdock.daemon.cli import cli
from dropdock.daemon.instance import Instance
from dropdock.daemon.mistaken import still_running

GOOD = """\
# mine
data_dir: ${PLACE}/data   # here

hub: hub
server:
  # only here
  host: 127.0.0.2

  api_key: abcdefghijklmnop
watch: []
"""
MISTAKES = [
    "nope: 1\n",
    "trash: never\n",
    "watch: [\n",
    "\ttrash: 1\n",
    "pipelines: {inbox: [{name: a, do: [explode]}]}\n",
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_running_daemon_is_found_in_spite_of_mistakes(tmp_path: Path, mistake: str) -> None:
    """By the data folder and with the key of the file; nobody runs: nothing is found, and no folder is made."""
    path, environ = tmp_path / "c.yaml", {"PLACE": str(tmp_path), "HOME": str(tmp_path)}
    path.write_text(GOOD + mistake)
    assert still_running(path, environ) is None and not (tmp_path / "data").exists()
    with Instance(tmp_path / "data"):
        found = still_running(path, environ)
        assert found is not None and found.data_dir == tmp_path / "data" and found.server.host == "127.0.0.2"
        assert found.server.api_key and found.server.api_key.reveal() == "abcdefghijklmnop"


@pytest.mark.parametrize("server", ["{port: x}", "[", "{}\nserver: {}"])
def test_a_server_with_mistakes_is_left_out(tmp_path: Path, server: str) -> None:
    """The daemon left its address in the data folder."""
    path = tmp_path / "c.yaml"
    path.write_text(f"data_dir: data\nserver: {server}\n")
    with Instance(tmp_path / "data"):
        found = still_running(path, {})
        assert found is not None and found.server.port == 8484


@pytest.mark.parametrize("text", ["data_dir: [x]\nnope: 1\n", "data_dir: ${NOT_SET}\n", "data_dir: {\n"])
def test_without_a_data_folder_nobody_is_found(tmp_path: Path, text: str) -> None:
    """Neither is one without a file, or with one that is no text."""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert still_running(path, {"HOME": str(tmp_path)}) is None
    path.write_bytes(b"\xff\xfe")
    assert still_running(path, {"HOME": str(tmp_path)}) is None
    assert still_running(tmp_path / "none.yaml", {"HOME": str(tmp_path)}) is None


def test_commands_say_so_and_ask_the_daemon(tmp_path: Path) -> None:
    """A daemon that only starts answers with that; without one the mistakes are told, as ever."""
    (tmp_path / "c.yaml").write_text("data_dir: data\nnope: 1\n")

    def status() -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["status"], env={"DROPDOCK_CONFIG": str(tmp_path / "c.yaml"), "HOME": str(tmp_path)})
        return result.exit_code, result.stderr

    code, said = status()
    assert code == 2 and "c.yaml:2:1: nope" in said
    with Instance(tmp_path / "data"):
        code, said = status()
    assert code == 3 and "dropdock check" in said and "still starting" in said
