"""docs/targets.md and the table of layouts say the same."""

import re
from pathlib import Path

import dropdock
from dropdock.daemon.config import read
from dropdock.rules.conditions import TYPES
from dropdock.rules.layouts import built_in_layouts
from dropdock.rules.terms import LinkState

DOC = (Path(dropdock.__file__).parent / "docs" / "targets.md").read_text("utf-8")


def test_the_folder_table_is_the_layouts() -> None:
    """Every type that an app loads stands in the table with the app's folder, and nothing else does."""
    layouts = built_in_layouts()
    lines = [f"| type | {' | '.join(layouts)} |"]
    for kind in TYPES:
        if any(kind in layout.folders for layout in layouts.values()):
            cells = (f"`{layout.folders[kind].path}`" if kind in layout.folders else "" for layout in layouts.values())
            lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    table = re.search(r"^\| type \|.*?\n\n", DOC, re.MULTILINE | re.DOTALL)
    assert table is not None
    assert [line for line in table[0].splitlines() if line and not line.startswith("|---")] == lines


def test_every_state_is_told_and_the_example_reads() -> None:
    """Each word of a link's state has its row; the YAML is a valid configuration."""
    assert [s for s in LinkState if f"| `{s}` |" not in DOC] == []
    example = re.search(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    assert example is not None
    config = read(example[1], Path("/home/me/config.yaml"), {"HOME": "/home/me"})
    assert [t.name for t in config.targets] == ["comfyui", "wan", "mine"]
    assert config.apps["comfyui"].url == "http://127.0.0.1:8188"
