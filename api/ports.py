"""What the face asks of the daemon: two small Protocols, and the values they speak in.

What must hold: the daemon implements these and the face knows nothing else of it; the values are frozen and hold no secret but the
key, which is never printed. Every question that memory can answer goes to the Store and not through here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..rules.terms import Lane

TURN = "waits for its turn"  # what a captioner says while another one works


@dataclass(frozen=True, slots=True)
class CaptionerState:
    """How a captioner is that has something to do, or had lately. `state`: idle, waits, loading, working, ready, broken."""

    name: str
    engine: str
    device: str = ""
    state: str = "idle"
    note: str = ""  # what it waits for, loads, or lacks
    in_hand: int = 0  # pictures it has, from being claimed to being written
    per_second: float = 0.0  # pictures a second, over the last half minute
    last_per_second: float = 0.0  # the same when it last worked

    @property
    def stuck(self) -> bool:
        """Whether a person should know that it does nothing: something is missing, down, or needs the card more."""
        return self.state == "broken" or (self.state == "waits" and self.note != TURN)


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """What only the living process knows of itself. `started` is epoch seconds, `waiting` counts units that are settling."""

    version: str
    pid: int
    started: float
    ready: bool
    waiting: int = 0
    workers: Mapping[str, int] = field(default_factory=dict)  # lane -> how many jobs of it may run at once
    notices: tuple[str, ...] = ()  # what a person should know: a watch limit reached, a config that was not taken
    captioners: tuple[CaptionerState, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One happening on its way to a listener. `id` is its history line; None marks a passing one (progress) that is never resumed."""

    id: int | None
    type: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class FaceSettings:
    """How the face answers. Sizes are bytes, times seconds."""

    host: str = "127.0.0.1"  # the name or address it is bound to
    allowed_hosts: tuple[str, ...] = ()  # further names that requests may be addressed to
    api_key: str | None = field(default=None, repr=False)
    min_free: int = 512 * 2**20  # what an upload must leave free on the inbox's volume
    floor: Callable[[], int] | None = field(default=None, repr=False)  # asks for min_free anew: a reload may change it
    ping: float = 15.0  # between two signs of life on an idle event stream
    send_timeout: float = 30.0  # a listener that takes nothing for so long is dropped

    def least_free(self) -> int:
        """What an upload must leave free now."""
        return self.floor() if self.floor is not None else self.min_free


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of a Family: labels, and what is added to the family's name (`_sum`, `_bucket`, ...)."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without the prefix, kind (counter, gauge, histogram), meaning and samples. Base units: seconds, bytes."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload did: the changes it made, or the problems for which it made none. A line each, without secrets."""

    changes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Control(Protocol):
    """What the face may ask the daemon to do. A name or id that does not exist is answered, not raised, unless said otherwise."""

    def status(self) -> DaemonStatus:
        """The process's own state; answers at once."""
        ...

    async def rescan(self, watch: str | None, force: bool = False) -> list[str]:
        """Compare one watch, or all, with the disk; the names of those being compared. Raises KeyError for an unknown name.

        `force`: and let the rules decide again about what is held, left or failed there.
        """
        ...

    async def pause_watch(self, name: str, paused: bool) -> bool:
        """Pause or resume a watch; False when there is none of that name."""
        ...

    async def cancel_job(self, job_id: int) -> bool:
        """Cancel an open job; False when it is not open."""
        ...

    async def pause_job(self, job_id: int) -> bool:
        """Hold back a queued job; False when it is not queued."""
        ...

    async def resume_job(self, job_id: int) -> bool:
        """Queue a paused job again; False when it is not paused."""
        ...

    async def retry_job(self, job_id: int) -> bool:
        """Queue a failed or cancelled job again; False when it is neither, or its key is open again."""
        ...

    async def pause_lane(self, lane: Lane, paused: bool) -> None:
        """Pause or resume a whole lane."""
        ...

    async def explain(self, path: Path) -> str | None:
        """The JSON of rules/explain.py for what lies at `path`.

        None when the path, once resolved, is in no folder we serve, or nothing is there: the two look alike from outside (law 9).
        """
        ...

    async def set_type(self, sha256: str, type: str | None, base: str | None) -> None:
        """Keep a person's word on what a content is; links and held files follow."""
        ...

    def inbox(self, watch: str | None) -> Path | None:
        """The folder that uploads go to: the first inbox, or the named one; None when there is none."""
        ...

    async def failing(self) -> tuple[str, ...]:
        """What must live and does not; answers within seconds whatever hangs."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Every setting in force as plain values; secrets are replaced."""
        ...

    async def reload(self) -> Reload:
        """Take over the configuration as it is on disk now, or nothing of it when there are problems."""
        ...

    def meters(self) -> Sequence[Family]:
        """What the process counted and measured since its start."""
        ...


class Feed(Protocol):
    """The stream of happenings."""

    def subscribe(self, after: int | None) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Everything behind history line `after`, then what happens; from now on when it is None.

        The iterator ends when the listener fell too far behind to be kept.
        """
        ...
