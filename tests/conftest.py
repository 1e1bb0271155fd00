"""Shared test setup: the tests folder is importable, so that makers such as model_files.py serve every test."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "trips")]

# a busy machine makes examples slow, not wrong; a run says the same today and tomorrow, and `--hypothesis-profile search`
# (with `-m hypothesis`) looks for what no run has seen
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=2000)
settings.load_profile("house")
