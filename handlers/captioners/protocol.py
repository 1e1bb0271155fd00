"""The one protocol of all captioners.

What must hold: a captioner lives in a worker process and is made there; it gets paths of pictures and answers each on its own, so that
one poisonous picture fails alone. It never writes a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """What a captioner says of one picture: a text, or the reason there is none."""

    text: str = ""
    error: str = ""


class Captioner(Protocol):
    """`batch` is how many pictures it likes at once."""

    batch: int

    def caption(self, pictures: Sequence[Path]) -> Sequence[Answer]:
        """One Answer for each picture, in order. Raises nothing for a bad picture: that is an Answer with its error."""
        ...
