"""A worker process: makes one captioner and answers batches until its socket closes. `python -m dropdock.daemon.worker FD`.

Speaks the frames of frames.py over the inherited socket, whose file descriptor is its first argument and its parent's pid the second.
What must hold: it dies with its parent (PR_SET_PDEATHSIG on Linux, the closed socket everywhere), holds neither the daemon's lock nor
its listening socket, and imports a captioner's libraries only here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

from ..handlers.captioners.protocol import Answer, Captioner, Fixed, Picture
from ..handlers.captioners.table import make
from .frames import HEAD, Answers, Broken, Frame, Hello, Order, Ready, length, pack, unpack

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Serve the socket until it closes; the exit code."""
    _die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the whole group; the daemon decides
    with socket.socket(fileno=int(sys.argv[1])) as link:
        hello = _receive(link)
        if not isinstance(hello, Hello):
            return 0
        try:
            captioner = make(hello.engine, hello.options)
        except (ImportError, OSError, ValueError, RuntimeError, KeyError) as error:
            link.sendall(pack(Broken(f"{type(error).__name__}: {error}")))
            return 1
        link.sendall(pack(Ready(captioner.ahead)))
        while isinstance(order := _receive(link), Order):
            link.sendall(pack(Answers(order.id, _answers(captioner, order))))
    return 0


def _answers(captioner: Captioner, order: Order) -> tuple[Answer, ...]:
    said = dict(captioner.captions(Fixed([Picture(n, path) for n, path in enumerate(order.pictures)])))
    return tuple(said[n] for n in sorted(said))


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
