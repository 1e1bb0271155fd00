"""Answers about headers whose tensors were seen lately: a library holds hundreds of files with the same tensors, of a few families.

What must hold: an answer is given again only for the very same names, dtypes and shapes in the same order; it is small (no header is
kept), and at most MOST of them are, the least used going first. Any thread may ask. The key is Python's own hash, whose seed is new in
every process: nobody can prepare a file that passes for another.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from .header import Tensor

T = TypeVar("T")
MOST = 256
Key = tuple[int, int, int, str]


class Recent(Generic[T]):
    """The last answers, by what they are about."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._found: OrderedDict[Key, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tensors: Mapping[str, Tensor], beside: str, make: Callable[[], T]) -> T:
        """The answer about these tensors (and a text that matters as well), made only when it is not there."""
        key = (len(tensors), hash(tuple(tensors)), hash(tuple(tensors.values())), beside)
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        made = make()
        with self._lock:
            self._found[key] = made
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return made
