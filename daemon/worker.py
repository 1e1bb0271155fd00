"""A worker process: makes one captioner and answers pictures until its socket closes. `python -m dropdock.daemon.worker FD PARENT`.

Speaks the frames of frames.py over the inherited socket, whose file descriptor is its first argument and its parent's pid the second.
One thread reads what is asked, the main thread runs the captioner, another writes the answers, so that decoding, inference and the
daemon's writing overlap.
What must hold: it dies with its parent (PR_SET_PDEATHSIG on Linux, the closed socket everywhere), holds neither the daemon's lock nor
its listening socket, and imports a captioner's libraries only here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence

from ..handlers.captioners import news
from ..handlers.captioners.protocol import Answer, Captioner, Picture
from ..handlers.captioners.table import make
from .frames import HEAD, Answers, BadFrame, Broken, Drop, Frame, Hello, News, Order, Ready, length, pack, unpack

GATHER = 0.01  # seconds that an answer waits for others to go with it, while more pictures are worked on
MOST_GATHER = 0.05  # seconds that the first of them waits at most
GROUP = 64  # answers sent together at most
UNFIT = (ImportError, OSError, ValueError, RuntimeError, KeyError)  # how a captioner says that it cannot be made
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Serve the socket until it closes; the exit code."""
    _die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the whole group; the daemon decides
    with socket.socket(fileno=int(sys.argv[1])) as link:
        hello = _receive(link)
        if not isinstance(hello, Hello):
            return 0
        mouth = Mouth(link)
        news.listen(lambda text: mouth.say(News(text)))
        try:
            captioner = make(hello.engine, hello.options)
        except UNFIT as error:
            mouth.say(Broken(_reason(error)))
            mouth.close()
            return 1
        mouth.say(Ready(captioner.ahead, captioner.device))
        return _serve(link, captioner, mouth)


def _serve(link: socket.socket, captioner: Captioner, mouth: Mouth) -> int:
    asked = Asked()
    threading.Thread(target=_listen, args=(link, asked), name="asked", daemon=True).start()
    device = captioner.device
    try:
        for id, answer in captioner.captions(asked):
            if captioner.device != device:  # it fell back to another one
                device = captioner.device
                mouth.say(News("", device))
            mouth.answer(id, answer, asked.answered(id))
    except UNFIT as error:
        mouth.say(Broken(_reason(error), isinstance(error, ImportError)))
        mouth.close()
        return 1
    mouth.close()
    captioner.close()
    return 0


def _reason(error: Exception) -> str:
    """An engine's own sentence as it stands, else the error's kind with it."""
    said = str(error)
    plain = isinstance(error, (ImportError, RuntimeError, ValueError)) and " " in said
    return said if plain else f"{type(error).__name__}: {said}"


class Asked:
    """The Source of a worker: what came over the socket. `take` and `dropped` are safe from any thread."""

    def __init__(self) -> None:
        self._there: deque[Picture] = deque()
        self._changed = threading.Condition()
        self._dropped: set[int] = set()
        self._open = 0  # pictures that came and are not answered
        self._ended = False

    def take(self, most: int, wait: bool) -> Sequence[Picture]:
        """Up to `most` pictures that are there now; with `wait` at least one, or none at the end."""
        with self._changed:
            while wait and not self._there and not self._ended:
                self._changed.wait()
            return [self._there.popleft() for _ in range(min(most, len(self._there)))]

    def dropped(self, id: int) -> bool:
        """Whether nobody wants this answer any more."""
        return id in self._dropped

    def put(self, pictures: Sequence[Picture]) -> None:
        """More pictures."""
        with self._changed:
            self._there.extend(pictures)
            self._open += len(pictures)
            self._changed.notify_all()

    def drop(self, ids: Sequence[int]) -> None:
        """Nobody wants these any more."""
        self._dropped.update(ids)

    def answered(self, id: int) -> int:
        """One picture is answered; how many are not."""
        with self._changed:
            self._dropped.discard(id)
            self._open -= 1
            return self._open

    def end(self) -> None:
        """No more pictures will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Mouth:
    """Sends frames from a thread of its own: an engine never waits for the daemon to read."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._queue: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._alone = threading.Event()  # nothing is worked on: what is there goes at once
        self._thread = threading.Thread(target=self._run, name="mouth", daemon=True)
        self._thread.start()

    def say(self, frame: Frame) -> None:
        """Send a frame, soon."""
        self._queue.put(frame)

    def answer(self, id: int, answer: Answer, left: int) -> None:
        """Send an answer; `left` pictures are still worked on, so that others may go with it."""
        (self._alone.clear if left > 0 else self._alone.set)()
        self._queue.put(Answers(((id, answer),)))

    def close(self) -> None:
        """Send what is left, and end."""
        self._queue.put(None)
        self._thread.join(10)

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the daemon is gone: the reading thread hears of it
            while (frame := self._queue.get()) is not None:
                if not isinstance(frame, Answers):
                    self._link.sendall(pack(frame))
                    continue
                found, behind = self._gathered(frame)
                self._link.sendall(pack(found))
                if behind is None:
                    return
                if not isinstance(behind, Answers):
                    self._link.sendall(pack(behind))

    def _gathered(self, first: Answers) -> tuple[Answers, Frame | None]:
        """An answer with those that follow within GATHER, and the frame of another kind that ended this (an Answers: none did)."""
        found = list(first.answers)
        until = time.monotonic() + MOST_GATHER
        while len(found) < GROUP:
            try:
                more = self._queue.get(timeout=0 if self._alone.is_set() or time.monotonic() > until else GATHER)
            except queue.Empty:
                break
            if not isinstance(more, Answers):
                return Answers(tuple(found)), more
            found += more.answers
        return Answers(tuple(found)), first


def _listen(link: socket.socket, asked: Asked) -> None:
    with contextlib.suppress(OSError, BadFrame):
        while (frame := _receive(link)) is not None:
            if isinstance(frame, Order):
                asked.put(frame.pictures)
            elif isinstance(frame, Drop):
                asked.drop(frame.ids)
    asked.end()


def _die_with_parent(parent: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(0)


def _receive(link: socket.socket) -> Frame | None:
    head = _exactly(link, HEAD)
    body = None if head is None else _exactly(link, length(head))
    return None if body is None else unpack(body)


def _exactly(link: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = link.recv(min(1 << 16, size - len(parts)))
        if not part:
            return None
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    raise SystemExit(main())
