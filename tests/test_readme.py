"""The README's first screen is true: its configuration loads, its commands exist, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

from dropdock.daemon import config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_configurations_of_the_readme_load():
    """Twelve lines, and every one of them is understood; the captioners too."""
    text, captioners = re.findall(r"```yaml\n(.*?)```", README, re.S)
    assert len(text.splitlines()) == 12
    loaded = config.read(text + captioners, None, {"HOME": "/home/somebody"})
    assert [w.mode for w in loaded.watches] == ["inbox", "library", "dataset"]
    assert [t.name for t in loaded.targets] == ["comfyui", "forge", "ai-toolkit"]
    assert {name: c.engine for name, c in loaded.captioners.items()} == {"basic": "basic", "tagger": "onnx", "prose": "ollama"}


def test_the_commands_of_the_readme_exist():
    """Every `dropdock WORD` of the README is a command of the program."""
    said = subprocess.run([sys.executable, "-m", "dropdock.daemon", "--help"], capture_output=True, text=True, check=True).stdout
    words = set(
        re.findall(r"dropdock (run|check|explain|status|history|jobs|rescan|add|caption|captioners|hash|plan|undo|why)\b", README)
    )
    assert words >= {"run", "check", "explain", "status"}
    assert all(re.search(rf"^  {word}\b", said, re.M) for word in words)


def test_the_links_of_the_readme_lead_somewhere():
    """Files that the README points to are there."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_top_level_is_the_one_we_agreed_on():
    """No other module at the root: it would be shipped as a part of the package."""
    assert [p.name for p in ROOT.glob("*.py")] == ["__init__.py"]
