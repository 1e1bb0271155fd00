"""The service files are well formed and start the program that the README installs."""

import configparser
import plistlib
from pathlib import Path

CONTRIB = Path(__file__).parents[1] / "contrib"


def test_the_systemd_unit_runs_the_installed_program():
    """The unit parses, restarts after a crash and starts `dropdock run`."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # systemd's keys have capitals
    unit.read(CONTRIB / "systemd/dropdock.service")
    assert unit["Service"]["ExecStart"].endswith("/bin/dropdock run")
    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Install"]["WantedBy"] == "default.target"


def test_the_launchd_agent_runs_the_installed_program():
    """The property list parses, and starts `dropdock run` again only when it failed."""
    agent = plistlib.loads((CONTRIB / "launchd/dropdock.plist").read_bytes())
    assert agent["ProgramArguments"][0].endswith("/bin/dropdock")
    assert agent["ProgramArguments"][1:] == ["run"]
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
