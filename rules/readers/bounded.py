"""A file that can be read only so far: what keeps a hostile length field from becoming memory.

What must hold: however large the number that a parser asks for, no more than `budget` bytes are read in all, and no single
read allocates more than what is left of the budget.
"""

from __future__ import annotations

import io
from typing import BinaryIO


class Bounded(io.RawIOBase):
    """A read-only view of an open binary file that behaves as if the file ended once `budget` bytes were read.

    `spent` tells whether that happened, so that "unreadable" can be told from "too large to look at".
    """

    def __init__(self, file: BinaryIO, budget: int) -> None:
        super().__init__()
        self._file = file
        self._left = budget
        self.spent = False

    def _allow(self, size: int | None) -> int:
        if size is None or size < 0 or size > self._left:
            size = self._left
        if self._left == 0:
            self.spent = True
        return size

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._file.read(self._allow(size))
        self._left -= len(data)
        return data

    def readline(self, size: int | None = -1, /) -> bytes:
        data = self._file.readline(self._allow(size))
        self._left -= len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
