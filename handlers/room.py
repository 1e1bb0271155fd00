"""Room on the disk: asked for while bytes are written, and what a disk that turns out full means.

What must hold: the floor that stays free is never written into by a hand that asks here; a full disk is never taken for damage.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import disk

FULL = (errno.ENOSPC, errno.EDQUOT)


class Room:
    """The room for what is being written below a folder, asked for piece by piece: what was granted counts as gone until `done`.

    For callers that cannot know a total in advance. May be used from many threads.
    """

    def __init__(self, folder: Path, floor: int) -> None:
        self._folder, self._floor = folder, floor
        self._granted = 0
        self._lock = threading.Lock()

    def ask(self, size: int) -> None:
        """Be granted `size` bytes. Raises NoRoom when they, what is granted already and the floor are more than is free."""
        with self._lock:
            disk.need_room(self._folder, self._granted + size, self._floor)
            self._granted += size

    def done(self, size: int) -> None:
        """They are written, or will never be."""
        with self._lock:
            self._granted -= size


@contextmanager
def full_is_no_room() -> Iterator[None]:
    """While something is prepared: a disk that turns out to be full (or a quota that is used up) raises NoRoom: it is tried later."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk.NoRoom(f"{error.filename or 'the disk'}: {error.strerror}") from error
