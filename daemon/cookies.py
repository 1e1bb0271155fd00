"""Cookies: a small file made and removed in the `.dropdock` of a watched folder. A watch that does not hear of it is deaf.

What must hold: only folders of ours are written to (inboxes and datasets; a library is its owner's); where nothing can be written, nothing
is asked, and nobody is called deaf.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..handlers.disk import OWN
from ..rules.terms import Mode, Watch

NAME = "alive"
WAIT = 5.0  # seconds in which a watch must have heard


def may_ask(watch: Watch) -> bool:
    """Whether a cookie may be laid for this watch. A polled watch would hear of it with its next poll, or not at all."""
    return watch.enabled and watch.poll is None and watch.mode in (Mode.INBOX, Mode.DATASET)


def lay(root: Path) -> bool:
    """Make and remove the cookie; False when it could not be, or when the folder for it had to be made first (ask again later)."""
    folder = root / OWN
    try:
        if not root.is_dir():
            return False
        if not folder.is_dir():
            folder.mkdir()
            return False
        os.close(os.open(folder / NAME, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        (folder / NAME).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def is_cookie(path: str) -> bool:
    """Whether a path is that of a cookie."""
    return path.endswith(f"{os.sep}{OWN}{os.sep}{NAME}")
