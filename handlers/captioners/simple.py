"""simple: the same configured text for every picture, with what is known of it filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...rules.terms import Param
from .finish import finish
from .options import style_of, text
from .prompts import fill
from .protocol import Answer, Picture, Source


class Simple:
    """engine: simple, text: "..." with {tags}, {name}, {folder} and {trigger}."""

    ahead = 64
    device = "none"

    def __init__(self, options: Mapping[str, Param]) -> None:
        self._text, self._style = text(options, "text"), style_of(options)

    def captions(self, source: Source) -> Iterator[tuple[int, Answer]]:
        """The text, once for each picture."""
        while pictures := source.take(self.ahead, wait=True):
            yield from ((picture.id, self._answer(picture)) for picture in pictures)

    def _answer(self, picture: Picture) -> Answer:
        style = picture.style.over(self._style)
        said = finish(fill(self._text, picture, style.trigger), style, style.kind == "tags", picture.existing)
        return Answer(said) if said else Answer(error="the text of this captioner is empty for this picture")

    def close(self) -> None:
        """Nothing is held."""
