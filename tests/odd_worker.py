"""A worker process with engines that misbehave: run in place of the real one, whose protocol and main function it uses.

crash: ends itself at a picture named crash*; hang: never answers at one named hang*; broken: cannot start; rude: answers nonsense.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from dropdock.daemon import worker
from dropdock.handlers.captioners import table
from dropdock.handlers.captioners.protocol import Answer, Source


class Odd:
    """Says the picture's name, unless the name says otherwise."""

    ahead = 4
    device = "here"

    def __init__(self, options: Mapping[str, object]) -> None:
        if options.get("broken"):
            raise RuntimeError("no such model")
        self._mark = options.get("starts")
        if self._mark:
            with Path(str(self._mark)).open("a") as file:
                file.write(f"{os.getpid()}\n")

    def captions(self, source: Source) -> Iterator[tuple[int, Answer]]:
        """One Answer for each picture, if it comes to that."""
        while pictures := source.take(self.ahead, wait=True):
            for name in (picture.path.name for picture in pictures):
                if name.startswith("crash"):
                    os._exit(7)
                if name.startswith("hang"):
                    time.sleep(3600)
                if name.startswith("rude"):
                    yield -1, Answer("one too many")
            for picture in pictures:
                ugly = picture.path.name.startswith("ugly")
                yield picture.id, Answer(error="too ugly") if ugly else Answer(f"a picture of {picture.path.stem}")

    def close(self) -> None:
        """Nothing is held."""


if __name__ == "__main__":
    table.ENGINES = {**table.ENGINES, "odd": Odd}
    sys.exit(worker.main())
