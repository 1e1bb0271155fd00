"""The one protocol of all captioners.

What must hold: a captioner lives in a worker process and is made there; it draws pictures from a Source as it has room for them, so
that decoding, inference and writing overlap, and answers each on its own, so that one poisonous picture fails alone. It never writes a
file. A picture it cannot read is an Answer with its error; a service that is down or busy is an Answer that says `later`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ...rules.captions import Quality, Style


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture to caption. `id` is the asker's; `tags` and `existing` are captions that it has already, for prompts and merging."""

    id: int
    path: Path
    style: Style = field(default_factory=Style)
    tags: str = ""
    existing: str = ""
    quality: bool = True  # measure it too: its pixels are decoded anyway


@dataclass(frozen=True, slots=True)
class Answer:
    """What a captioner says of one picture: a finished text, or the reason there is none.

    `later`: seconds to wait because the service was down, busy or still loading: the picture stays queued and this costs no attempt.
    `flags`: what a person should know of the text (`text instead of json`, `cut`, `refused`). `votes`: of several taggers, which ones
    took each tag.
    """

    text: str = ""
    error: str = ""
    later: float = 0.0
    flags: tuple[str, ...] = ()
    quality: Quality | None = None
    votes: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Source(Protocol):
    """Where pictures come from."""

    def take(self, most: int, wait: bool) -> Sequence[Picture]:
        """Up to `most` pictures that are there now. None there: with `wait` it waits for one; an empty answer then means the end."""
        ...

    def dropped(self, id: int) -> bool:
        """Whether nobody wants this picture's answer any more (cancelled): long work on it may be broken off."""
        ...


class Captioner(Protocol):
    """`ahead`: how many pictures it likes to hold at once. `device` says where it runs, for people ("cpu", "CUDA 0", an address)."""

    ahead: int
    device: str

    def captions(self, source: Source) -> Iterator[tuple[int, Answer]]:
        """The picture's id and its Answer, as they are ready, in any order, until the source ends. One for each picture taken."""
        ...

    def close(self) -> None:
        """Give back what it holds (memory of a card, connections)."""
        ...


class Fixed:
    """A Source of pictures that are all there from the start."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._left = list(pictures)

    def take(self, most: int, wait: bool) -> Sequence[Picture]:
        """The next ones."""
        taken, self._left = self._left[:most], self._left[most:]
        return taken

    def dropped(self, id: int) -> bool:
        """Never."""
        return False
