"""A worker process with engines that misbehave: run in place of the real one, whose protocol and main function it uses.

crash: ends itself at a picture named crash*; hang: never answers at one named hang*; broken: cannot start; rude: answers nonsense.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dropdock.daemon import worker
from dropdock.handlers.captioners import table
from dropdock.handlers.captioners.protocol import Answer


class Odd:
    """Says the picture's name, unless the name says otherwise."""

    batch = 4

    def __init__(self, options: Mapping[str, object]) -> None:
        if options.get("broken"):
            raise RuntimeError("no such model")
        self._mark = options.get("starts")
        if self._mark:
            with Path(str(self._mark)).open("a") as file:
                file.write(f"{os.getpid()}\n")

    def caption(self, pictures: Sequence[Path]) -> Sequence[Answer]:
        """One Answer for each picture, if it comes to that."""
        for path in pictures:
            if path.name.startswith("crash"):
                os._exit(7)
            if path.name.startswith("hang"):
                time.sleep(3600)
        if any(path.name.startswith("rude") for path in pictures):
            return [Answer("one too many")] * (len(pictures) + 1)
        return [
            Answer(error="too ugly") if path.name.startswith("ugly") else Answer(f"a picture of {path.stem}") for path in pictures
        ]


if __name__ == "__main__":
    table.ENGINES = {**table.ENGINES, "odd": Odd}
    sys.exit(worker.main())
