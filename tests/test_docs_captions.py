"""docs/captions.md says what there is: every engine and style has its row, every example loads, every flag is told."""

import re
from pathlib import Path

import dropdock
from dropdock.daemon.config import read
from dropdock.daemon.engines import ENGINES
from dropdock.handlers.captioners.answers import CUT, LOOP, PROSE, REFUSED
from dropdock.rules.captions import KINDS

PAGE = (Path(dropdock.__file__).parent / "docs" / "captions.md").read_text("utf-8")


def test_every_engine_and_style_has_its_row() -> None:
    """What the configuration takes stands on the page, and nothing else does."""
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE))
    assert rows >= {*ENGINES, *KINDS}


def test_every_example_loads() -> None:
    """Each block of YAML is a configuration without a mistake."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        assert len(read(block, None, {"HOME": "/home/me"}).captioners) > 1


def test_every_note_of_a_text_is_told() -> None:
    """The flags that a caption may carry are explained."""
    assert all(f"`{flag}`" in PAGE for flag in (CUT, LOOP, PROSE, REFUSED))
