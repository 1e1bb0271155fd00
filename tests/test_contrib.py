"""The service files are well formed, start what the README installs, and leave a GPU usable."""

import configparser
import os
import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CONTRIB = Path(__file__).parents[1] / "contrib"
UNITS = {"dropdock.service": "%h/.local/bin/dropdock run", "dropdock@.service": "/usr/local/bin/dropdock run"}


def unit(name: str) -> configparser.ConfigParser:
    """A unit as its sections; systemd's keys have capitals, and some stand twice."""
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str
    found.read(CONTRIB / "systemd" / name)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_the_units_run_the_installed_program(name):
    """Each starts `dropdock run`, is told of readiness, feeds a watchdog, reloads by SIGHUP and starts again after a crash."""
    service = unit(name)["Service"]
    assert service["ExecStart"] == UNITS[name]
    assert (service["Type"], service["WatchdogSec"], service["Restart"]) == ("notify", "60", "on-failure")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["RestartPreventExitStatus"] == "2", "a mistake in the configuration does not go away by starting again"
    assert int(service["TimeoutStopSec"]) > 10, "stopping may take ten seconds"


@pytest.mark.parametrize("name", UNITS)
def test_the_units_are_hardened_as_far_as_a_gpu_allows(name):
    """What CUDA, llama.cpp and models in a home need is not taken away; what nobody needs is."""
    service = unit(name)["Service"]
    assert service["NoNewPrivileges"] == "true" and service["RestrictSUIDSGID"] == "true"
    assert {"MemoryDenyWriteExecute", "PrivateDevices", "ProtectHome", "PrivateTmp", "DevicePolicy"}.isdisjoint(service)


def test_who_wants_the_units():
    """The user's unit starts with their session, the system's with the machine, as the user that is named."""
    assert unit("dropdock.service")["Install"]["WantedBy"] == "default.target"
    assert unit("dropdock@.service")["Install"]["WantedBy"] == "multi-user.target"
    assert unit("dropdock@.service")["Service"]["User"] == "%i"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize(("name", "mode"), [("dropdock.service", "--user"), ("dropdock@.service", "--system")])
def test_systemd_finds_no_fault_in_the_units(tmp_path, name, mode):
    """systemd's own verifier says nothing, once the program is a file that is there."""
    program = tmp_path / "dropdock"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = (CONTRIB / "systemd" / name).read_text().replace(UNITS[name].split()[0], str(program)).replace("User=%i", "User=root")
    copy = tmp_path / name.replace("@", "@ana")
    copy.write_text(text)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", mode, str(copy)], capture_output=True, text=True, env=env)
    said = [line for line in done.stderr.splitlines() if "dropdock" in line]
    assert done.returncode == 0 and said == [], done.stderr


def test_the_launchd_agent_runs_the_installed_program():
    """The property list parses, starts `dropdock run` again only when it failed, and gives it time to stop."""
    agent = plistlib.loads((CONTRIB / "launchd/dropdock.plist").read_bytes())
    assert agent["ProgramArguments"][0].endswith("/.local/bin/dropdock")
    assert agent["ProgramArguments"][1:] == ["run"]
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ExitTimeOut"] > 10 and agent["ProcessType"] == "Background"


@pytest.mark.skipif(not shutil.which("sed"), reason="there is no sed")
def test_the_commands_of_the_launchd_readme_make_an_agent(tmp_path):
    """Both sed lines, run as they stand, give a property list with no placeholder in it, for pipx and for a virtual environment."""
    text = (CONTRIB / "launchd/README.md").read_text().replace("\\\n", "")
    lines = [line.replace("~/Library/LaunchAgents/dropdock.plist", "out.plist") for line in re.findall(r"^sed .*$", text, re.M)]
    starts = []
    for line in lines:
        shell = f"cp -r {CONTRIB} . && {line}"
        env = {**os.environ, "HOME": "/Users/ana"}
        subprocess.run(["sh", "-ec", shell], cwd=tmp_path, env=env, check=True)
        made = (tmp_path / "out.plist").read_bytes()
        assert b"HOME_FOLDER" not in made
        agent = plistlib.loads(made)
        assert agent["StandardErrorPath"] == "/Users/ana/Library/Logs/dropdock.log"
        starts.append(agent["ProgramArguments"][0])
    assert starts == ["/Users/ana/.local/bin/dropdock", "/path/to/venv/bin/dropdock"]


@pytest.mark.parametrize("folder", ["systemd", "launchd"])
def test_the_readmes_name_files_that_are_there(folder):
    """Every file of ours that a README names exists."""
    text = (CONTRIB / folder / "README.md").read_text()
    named = set(re.findall(r"contrib/[\w./@-]+", text))
    assert named and all((CONTRIB.parent / name).is_file() for name in named)
