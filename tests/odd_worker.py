"""A worker process with engines that misbehave: run in place of the real one, whose protocol and main function it uses.

crash: ends itself at a picture named crash*; hang: never answers at one named hang*; broken: cannot start; rude: answers nonsense;
later: its service is down until the file named by `down` is gone; stop: stops with a reason at a picture named stop*.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from dropdock.daemon import worker
from dropdock.handlers.captioners import news, table
from dropdock.handlers.captioners.protocol import Answer, Picture, Source
from dropdock.rules.captions import Quality


class Odd:
    """Says the picture's name, unless the name says otherwise."""

    ahead = 4
    device = "here"

    def __init__(self, options: Mapping[str, object]) -> None:
        news.tell("loading nothing")
        missing = options.get("missing")
        if options.get("broken") or (missing and not Path(str(missing)).exists()):
            raise RuntimeError("no such model")
        self._options = options
        self.device = str(options.get("device", "here"))
        self.ahead = int(str(options.get("ahead", 4)))
        if options.get("starts"):
            with Path(str(options["starts"])).open("a") as file:
                file.write(f"{os.getpid()}\n")

    def captions(self, source: Source) -> Iterator[tuple[int, Answer]]:
        """One Answer for each picture, if it comes to that."""
        while pictures := source.take(self.ahead, wait=True):
            for name in (picture.path.name for picture in pictures):
                if name.startswith("crash"):
                    os._exit(7)
                if name.startswith("stop"):
                    raise RuntimeError("the card went away")
                if name.startswith("hang"):
                    time.sleep(3600)
                if name.startswith("rude"):
                    yield -1, Answer("one too many")
            for picture in pictures:
                self._gate()
                yield picture.id, self._answer(picture)

    def _gate(self) -> None:
        """Wait as long as the file named by `gate` is there."""
        while "gate" in self._options and Path(str(self._options["gate"])).exists():
            time.sleep(0.005)

    def _answer(self, picture: Picture) -> Answer:
        if "down" in self._options and Path(str(self._options["down"])).exists():
            return Answer(error="connection refused", later=30.0)
        if picture.path.name.startswith("ugly"):
            return Answer(error="too ugly")
        quality = Quality({"sharpness": 0.5}, {}, ("dull",), 0.4 if "dull" in picture.path.name else 0.8, "00" * 8)
        said = f"{picture.style.trigger} {picture.existing}".strip()
        words = f"a picture of {picture.path.stem}{' after ' + said if said else ''}"
        return Answer(words, flags=("short",), quality=quality if picture.quality else None)

    def close(self) -> None:
        """Nothing is held."""


if __name__ == "__main__":
    table.ENGINES = {**table.ENGINES, "odd": Odd}
    sys.exit(worker.main())
