"""Reading headers that may hurt in a process of their own: `identify(path)` is rules.identify.identify, behind a wall where one is wanted.

What must hold: small headers of plain formats are read here, for a process would cost more than they do; pickles, compressed tars and big
headers are read by a child that has limits (memory, processor time, wall time, no files written), which dies alone; what it died of is
data ("refused"), never a dead daemon; it ends when nobody has asked for IDLE seconds, so that idle memory stays as it was.
The child: `python -m dropdock.daemon.header_worker`, one JSON request a line on its standard input, one answer a line on its output.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..rules import identify as inline
from ..rules.readers import gguf, safetensors
from ..rules.terms import Condition, Evidence, Facts, Kind, ModelFacts

COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
PICKLES = inline.PICKLED
IDLE = 5.0  # seconds that the child waits for another request
MOST_ANSWER = 64 << 20  # bytes of one answer: the member list of the largest archive takes half of that


@dataclass(frozen=True, slots=True)
class Limits:
    """What one reading may use: bytes of address space, seconds of the processor, seconds on the clock."""

    memory: int = 1 << 30
    cpu: int = 20
    wall: float = 60.0


class Refused(Exception):
    """The child died of a header; args hold why, in words."""


def identify(path: Path, companions: tuple[Path, ...] = ()) -> Facts:
    """What `path` is, as rules.identify.identify says it. Raises OSError when it cannot be opened, or its disk does not answer."""
    return _KEEPER.identify(path, companions) if is_risky(path) else inline.identify(path, companions)


def is_risky(path: Path) -> bool:
    """Is this a header that a child should read? Raises OSError when the path cannot be opened."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        return any(name.lower().endswith(tuple(PICKLES)) for name in os.listdir(path))
    with path.open("rb") as file:
        head = file.read(256)
    if safetensors.announced(head):
        return int.from_bytes(head[:8], "little") > safetensors.BIG
    if head[:4] == b"GGUF":
        return max(gguf.announced_counts(head)) > gguf.MANY
    if head.startswith(b"PK\x03\x04"):
        return path.suffix.lower() in PICKLES or b"data.pkl" in head.lower()
    return (
        head.startswith(COMPRESSED) or head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or _old_pickle(path, head)
    )


def _old_pickle(path: Path, head: bytes) -> bool:
    return path.suffix.lower() in PICKLES and head.startswith(inline.PICKLE_STARTS)


# ---------------------------------------------------------------- the daemon's side


class Keeper:
    """One child at most, made when it is wanted. Any thread may ask; one reading goes on at a time."""

    def __init__(self, limits: Limits | None = None, idle: float = IDLE) -> None:
        self._limits, self._idle = limits or Limits(), idle
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def identify(self, path: Path, companions: tuple[Path, ...] = ()) -> Facts:
        """What `path` is, read by the child. A header that kills it is `refused`. Raises OSError as identify does."""
        request = json.dumps([os.fspath(p) for p in (path, *companions)]).encode() + b"\n"
        with self._lock:
            self._rest()
            try:
                answer = self._asked(request) or self._asked(request)  # a child may have ended just now, for want of work
                return _facts(answer or self._why_dead(), path)
            except Refused as error:
                self._end()
                return refused(path, str(error))
            finally:
                self._timer = threading.Timer(self._idle, self.close)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """End the child; the next request makes another."""
        with self._lock:
            self._rest()
            self._end()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _asked(self, request: bytes) -> bytes | None:
        """The child's answer; None when it died. Raises OSError when it took too long, for then it is the disk that does not answer."""
        if self._child is None or self._child.poll() is not None:
            self._end()
            self._child = _start(self._limits)
        child, late = self._child, threading.Event()
        assert child.stdin is not None
        assert child.stdout is not None
        watchdog = threading.Timer(self._limits.wall, _kill, (child, late))
        watchdog.daemon = True
        watchdog.start()
        try:
            child.stdin.write(request)
            child.stdin.flush()
            answer = child.stdout.readline(MOST_ANSWER)
        except OSError:  # the pipe is closed: it died before it could read
            answer = b""
        finally:
            watchdog.cancel()
        if late.is_set():
            self._end()
            raise OSError(errno.ETIMEDOUT, f"reading its header took more than {self._limits.wall:g} seconds")
        if answer.endswith(b"\n"):
            return answer
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)  # its pipe closes a moment before it is gone
        return None

    def _why_dead(self) -> bytes:
        """Raises Refused for a header that ended it, OSError for somebody who did."""
        code = self._child.wait() if self._child is not None else 0
        if code == -getattr(signal, "SIGXCPU", 0):
            raise Refused(f"reading it took more than {self._limits.cpu} seconds of the processor")
        if code in (
            -getattr(signal, "SIGKILL", 0),
            -signal.SIGTERM,
        ):  # none of its limits ends it so: it was not the file's fault
            raise OSError(errno.EINTR, "the process that read its header was killed from outside")
        raise Refused(f"the process that read it died of it (exit code {code})")

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(OSError):
            child.kill()  # it holds nothing that could be lost
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):  # what was not sent yet finds nobody
                assert pipe is not None
                pipe.close()
        child.wait()


def _kill(child: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    child.kill()


def _start(limits: Limits) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"{__package__}.header_worker", str(limits.memory), str(limits.cpu)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _facts(answer: bytes, path: Path) -> Facts:
    """The child's answer as Facts. Raises OSError that the child met, Refused for what it says of itself or cannot be read."""
    from ..store import codec  # here, because the child and a scan of plain files need none of it

    try:
        kind, body = json.loads(answer)
        if kind == "facts":
            return dataclasses.replace(codec.loads(Facts, json.dumps(body)), path=path)
        if kind == "error":
            raise OSError(int(body[0]), str(body[1]), os.fspath(path))
    except ValueError as error:  # pydantic's ValidationError is one
        raise Refused("the process that read it gave no proper answer") from error
    raise Refused(str(body))


def refused(path: Path, why: str) -> Facts:
    """The facts of a header that may not be read: damaged as far as anybody may know."""
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    model = None if path.suffix.lower() in inline.STRICT_ARCHIVES | {".gz", ".bz2", ".xz"} else ModelFacts(_container(path))
    kind = Kind.ARCHIVE if model is None else Kind.MODEL
    said = Evidence("structure", "damage=refused", 1.0, f"refused: {why}")
    return Facts(path, kind, size, Condition.INVALID, "refused", model=model, evidence=(said,))


def _container(path: Path) -> str:
    return {".gguf": "gguf", ".safetensors": "safetensors", ".sft": "safetensors"}.get(path.suffix.lower(), "torch-zip")


_KEEPER = Keeper()
atexit.register(_KEEPER.close)


# ---------------------------------------------------------------- the child's side


def main() -> int:
    """Answer requests until the input ends; the exit code."""
    memory, cpu = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the whole group; the daemon decides
    _limit("RLIMIT_AS", memory)
    _limit("RLIMIT_FSIZE", 0)
    _limit("RLIMIT_CORE", 0)
    for request in sys.stdin.buffer:
        _limit_cpu(cpu)
        for part in (*_answer(request), b"\n"):
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    return 0


def _answer(request: bytes) -> Iterator[bytes]:
    path, *companions = map(Path, json.loads(request))
    try:
        facts = inline.identify(path, tuple(companions))
        yield json.dumps(["facts", facts], default=_plain).encode()
    except MemoryError:
        yield b'["refused", "reading it took more memory than it may"]'
    except RecursionError:
        yield b'["refused", "it is nested too deeply"]'
    except OSError as error:
        yield json.dumps(["error", [error.errno or 0, error.strerror or str(error)]]).encode()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return os.fspath(value) if isinstance(value, Path) else list(value)  # type: ignore[call-overload]


def _limit(name: str, most: int) -> None:
    """Set one limit, soft and hard, as far as this system has it."""
    with contextlib.suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        resource.setrlimit(getattr(resource, name), (most, most))


def _limit_cpu(seconds: int) -> None:
    """So many more seconds of the processor; with the last of them SIGXCPU ends the process."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        most = int(used.ru_utime + used.ru_stime) + 1 + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    raise SystemExit(main())
