"""simple: the same configured text for every picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...rules.terms import Param
from .protocol import Answer, Source


class Simple:
    """engine: simple, text: "..."."""

    ahead = 64
    device = "none"

    def __init__(self, options: Mapping[str, Param]) -> None:
        self._text = str(options.get("text", ""))

    def captions(self, source: Source) -> Iterator[tuple[int, Answer]]:
        """The text, once for each picture."""
        while pictures := source.take(self.ahead, wait=True):
            yield from ((picture.id, Answer(self._text)) for picture in pictures)

    def close(self) -> None:
        """Nothing is held."""
