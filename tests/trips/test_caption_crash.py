"""Law 3 for captions: a run over a dataset, killed at any moment, ends as if nothing had happened, and does nothing twice."""

import os
import random
import sqlite3
import time
from collections import Counter

import pytest
from daemon_process import Daemon, Home, wait_for
from pictures_made import picture, zipped

PICTURES = 60
KILLS = int(os.environ.get("DROPDOCK_CAPTION_KILLS", "5"))
NO_RULE = """
pipelines:
  inbox:
    - {name: zips, when: {kind: archive}, do: [{unpack: {dataset: "{stem}"}}]}
"""


@pytest.mark.timeout(180)
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    """Killed again and again, at random moments: each picture has its text once, whole, and the run counts them all."""
    rng = random.Random(int(os.environ.get("DROPDOCK_SEED", "7")))
    home = Home(tmp_path, settle=0.2, more=NO_RULE)
    with Daemon(home) as daemon:
        zipped(tmp_path / "x.zip", {f"{n}.png": picture(n, (300, 260)) for n in range(PICTURES)}).rename(home.inbox / "cats.zip")
        wait_for(lambda: daemon.get("datasets")["datasets"], 30, daemon.said)
        daemon.wait_idle()
        run = daemon.post("datasets/cats/caption", {"trigger": "ohwx"})
        assert run["total"] == PICTURES
        daemon.kill()
    for _ in range(KILLS):
        daemon = Daemon(home).wait_ready()
        time.sleep(rng.uniform(0.1, 0.9))
        daemon.kill()
    with Daemon(home) as daemon:
        wait_for(lambda: daemon.get(f"captioning/{run['id']}")["state"] == "done", 60, daemon.said)
        end = daemon.get(f"captioning/{run['id']}")
        assert (end["done"], end["failed"], end["total"], end["progress"]) == (PICTURES, 0, PICTURES, 1.0)
        assert daemon.stop() == 0, daemon.said()
    check(home)


def check(home: Home) -> None:
    """What lies on the disk and what is remembered."""
    found = {p.stem: p.read_text() for p in (home.datasets / "cats").glob("*.txt")}
    assert set(found) == {str(n) for n in range(PICTURES)}
    assert all(text.startswith("ohwx") and text.endswith("\n") for text in found.values())
    staging = home.datasets / ".dropdock/staging"
    assert not staging.exists() or not list(staging.iterdir()), "staging is left over"
    with sqlite3.connect(home.database) as db:
        assert db.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        told = Counter(r[0] for r in db.execute("SELECT path FROM history WHERE verb='caption' AND event='performed'"))
        assert len(told) == PICTURES and set(told.values()) == {1}, f"told more than once: {told.most_common(3)}"
        assert db.execute("SELECT count(*) FROM history WHERE event='completed'").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM quality").fetchone() == (PICTURES,)
