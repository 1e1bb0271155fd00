"""Polling hears what events hear and what a comparison would find; ignored names and depths are left out by all three."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dropdock.daemon.hints import WatchState
from dropdock.daemon.rescan import rescan
from dropdock.rules.ignores import Ignores
from dropdock.rules.terms import Mode, Watch

from .ears import Ears, inbox
from .remembered import Memory

SETTINGS = {"ignore": ("drafts/", "*.tmp"), "max_depth": 1}


def tree(root: Path) -> None:
    """before: three files, one of them one folder down."""
    (root / "a").mkdir(parents=True)
    for rel in ("keep.png", "old.png", "a/x.png"):
        (root / rel).write_text(rel)


def new(root: Path) -> None:
    (root / "b").mkdir()
    (root / "b/new.png").write_text("new")
    (root / "loose.png").write_text("new")


def changed(root: Path) -> None:
    (root / "old.png").write_text("longer than before")
    (root / "a/other").write_text("replaced")
    (root / "a/other").replace(root / "a/x.png")


def deleted(root: Path) -> None:
    (root / "old.png").unlink()
    shutil.rmtree(root / "a")


def renamed(root: Path) -> None:
    (root / "old.png").rename(root / "younger.png")
    (root / "a").rename(root / "c")


def left_out(root: Path) -> None:
    """What nobody asks for, and one file that tells when all of it was heard."""
    for rel in ("drafts/x.png", "a/deep/er/x.png", "a/x.tmp"):
        (root / rel).parent.mkdir(parents=True, exist_ok=True)
        (root / rel).write_text("x")
    (root / "zz-last.png").write_text("x")


@pytest.mark.parametrize("change", [new, changed, deleted, renamed, left_out])
@pytest.mark.parametrize("poll", [0.05, None], ids=["polling", "events"])
def test_what_is_heard_is_what_a_comparison_finds(tmp_path: Path, change: Callable[[Path], None], poll: float | None) -> None:
    """Every new, changed, renamed or deleted path of the comparison was heard of (or the folder that it was in); nothing ignored was."""
    root = tmp_path / "in"
    tree(root)
    memory, ignores = Memory(root), Ignores(SETTINGS["ignore"], SETTINGS["max_depth"])  # type: ignore[arg-type]
    with Ears(inbox(root, poll=poll, **SETTINGS)) as ears:
        ears.until_state("in", WatchState.WATCHING)
        change(root)
        found = rescan(Watch("in", root, Mode.INBOX), memory, ignores)
        wanted = {path.relative_to(root) for path in (*found.dirty, *found.departed)}
        assert wanted

        def heard() -> bool:
            return all(any(Path(at) in (path, *path.parents) for at in ears.heard) for path in wanted)

        ears.wait(heard)
        files = {rel for rel in ears.heard if (root / rel).is_file()}
    assert not [rel for rel in files if ignores.skip(rel, False)] and not [r for r in files if r.startswith("drafts")]
    assert {Path(rel) for rel in files} <= {path.relative_to(root) for path in found.dirty} | {Path(os.curdir)}
