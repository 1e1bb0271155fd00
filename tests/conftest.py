"""Shared test setup: the tests folder is importable, so that makers such as model_files.py serve every test."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
