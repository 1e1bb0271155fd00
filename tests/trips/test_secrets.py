"""The real daemon keeps its key to itself, also when a request makes it stumble."""

import json
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path

from daemon_process import Daemon, Home

KEY = "Zebra-4711-secret"


def test_a_request_that_fails_inside_leaves_no_key_in_the_log(tmp_path: Path) -> None:
    """A table is taken away under the running daemon: the answer is a bare 500, and the log has the trace without the key."""
    home = Home(tmp_path, server=f", api_key: {KEY}")
    with Daemon(home) as daemon:
        with sqlite3.connect(home.database) as other:
            other.execute("ALTER TABLE links RENAME TO elsewhere")
        request = urllib.request.Request(f"{daemon.url}/api/v1/links", headers={"X-API-Key": KEY})
        try:
            urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as refused:
            status, said = refused.code, refused.read().decode()
        assert status == 500 and json.loads(said)["type"] == "docs/api.md#internal" and KEY not in said
        other.execute("ALTER TABLE elsewhere RENAME TO links")
        other.close()
    log = (tmp_path / "run.log").read_text()
    assert "request failed" in log and "no such table: links" in log
    assert KEY not in log
