"""Shared test setup: the tests folder is importable, so that makers such as model_files.py serve every test."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "trips")]
