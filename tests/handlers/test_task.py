"""Places: which root a path belongs to, so that its trash and quarantine are a rename away."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dropdock.handlers.task import Places


def test_the_deepest_root_counts(tmp_path):
    """A hub inside the inbox is a root of its own; what lies under no root is alone with its folder."""
    inbox, hub = tmp_path / "inbox", tmp_path / "inbox/hub"
    places = Places(hub, tmp_path / "datasets", (inbox, hub, tmp_path / "datasets"))
    assert places.root_of(inbox / "a/x.png") == inbox and places.root_of(hub / "aa/x") == hub and places.root_of(hub) == hub
    assert places.root_of(tmp_path / "else/x.png") == tmp_path / "else"


def test_a_mount_point_below_a_root_is_the_root_of_what_lies_on_it():
    """Seen from `/`, a file in shared memory has its trash there; so has one in a folder that is not made yet."""
    shm = Path("/dev/shm")
    if not os.path.ismount(shm):
        pytest.skip("no second volume on this machine")
    places = Places(Path("/"), Path("/"), (Path("/"),))
    assert places.root_of(shm / "x.png") == shm and places.root_of(shm / "no-such-folder/deep/x.png") == shm


MOUNTED = """
import json, subprocess, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from hands import Desk
from pictures_made import picture
desk = Desk(Path(sys.argv[1]))
usb = desk.inbox / "usb"
usb.mkdir()
other = desk.inbox.parent / "other"
other.mkdir()
if subprocess.run(["mount", "--bind", other, usb] if sys.argv[3] == "bind" else ["mount", "-t", "tmpfs", "tmpfs", usb]).returncode:
    sys.exit(77)
before = {name: desk.put(f"usb/sub/{name}", data) for name, data in
          {"a.png": picture(1), "half.png": picture(2)[:1500], "m.bin": b"some bytes"}.items()}
ends = {}
for name, verb in {"a.png": "dataset", "half.png": "dataset", "m.bin": "store"}.items():
    outcome = desk.do(desk.task(verb, before[name], params={"name": "cats"}))
    assert not before[name].exists()
    ends[name] = [str(outcome.ended[0].at.relative_to(desk.inbox.parent)), [str(a.path.relative_to(usb)) for a in outcome.aside]]
    assert all(a.path.is_file() for a in outcome.aside) and outcome.ended[0].at.is_file()
print(json.dumps([ends, [str(p) for p in desk.staging_left()]]))
"""


@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_what_is_dropped_onto_a_volume_mounted_in_the_inbox_is_taken_in(tmp_path, kind):
    """inbox/usb is another volume, or another folder of the same disk that is bound there (rename refuses that too): pictures and models
    are copied, their originals and what is broken lie in the volume's own trash and quarantine."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("mounting needs root and unshare")
    made = subprocess.run(
        [unshare, "-m", sys.executable, "-c", MOUNTED, str(tmp_path), str(Path(__file__).parents[1]), kind],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if made.returncode == 77 or "unshare failed" in made.stderr:
        pytest.skip("this machine does not let us mount")
    assert made.returncode == 0, made.stderr
    ends, staged = json.loads(made.stdout)
    trash = ends["a.png"][1][0]
    assert ends["a.png"][0] == "datasets/cats/sub/a.png" and trash.startswith(".dropdock/trash/") and trash.endswith("/a.png")
    assert ends["half.png"][0].startswith("inbox/usb/.dropdock/quarantine/")
    assert ends["m.bin"][0].startswith("hub/") and ends["m.bin"][1][0].startswith(".dropdock/trash/") and staged == []
