"""Have the daemon's workers run tests/odd_worker.py instead of the real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dropdock.daemon import workers

TESTS = Path(__file__).parent


def use_odd_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From now on `engine: odd` is known, and nothing else is different."""
    package = tmp_path / "odd_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "worker.py").write_text((TESTS / "odd_worker.py").read_text())
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setattr(workers, "__package__", "odd_package")
