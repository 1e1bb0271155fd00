"""simple: the same configured text for every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...rules.terms import Param
from .protocol import Answer


class Simple:
    """engine: simple, text: "..."."""

    batch = 64

    def __init__(self, options: Mapping[str, Param]) -> None:
        self._text = str(options.get("text", ""))

    def caption(self, pictures: Sequence[Path]) -> Sequence[Answer]:
        """The text, once for each picture."""
        return [Answer(self._text) for _ in pictures]
