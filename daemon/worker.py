"""A worker process: makes one captioner and answers batches until its socket closes. `python -m dropdock.daemon.worker FD`.

Speaks frames over the inherited socket: 4 bytes of length (big endian), then JSON in UTF-8.
    in   {"engine": ..., "options": {...}}          once
    out  {"ready": true, "batch": N} | {"broken": TEXT}
    in   {"id": N, "pictures": [PATH, ...]}
    out  {"id": N, "answers": [{"text": ..., "error": ...}, ...]}
What must hold: it dies with its parent (PR_SET_PDEATHSIG on Linux, the closed socket everywhere), holds neither the daemon's lock nor
its listening socket, and imports a captioner's libraries only here.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

from ..handlers.captioners.table import make

_LENGTH = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Serve the socket whose file descriptor is the first argument."""
    _die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the whole group; the daemon decides
    with socket.socket(fileno=int(sys.argv[1])) as link:
        hello = _receive(link)
        if hello is None:
            return 0
        try:
            captioner = make(hello["engine"], hello["options"])
        except (ImportError, OSError, ValueError, RuntimeError, KeyError) as error:
            _send(link, {"broken": f"{type(error).__name__}: {error}"})
            return 1
        _send(link, {"ready": True, "batch": captioner.batch})
        while (order := _receive(link)) is not None:
            answers = captioner.caption([Path(p) for p in order["pictures"]])
            _send(link, {"id": order["id"], "answers": [{"text": a.text, "error": a.error} for a in answers]})
    return 0


def _die_with_parent(parent: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(0)


def _receive(link: socket.socket) -> dict | None:  # type: ignore[type-arg]  # a frame of the protocol above
    head = _exactly(link, _LENGTH.size)
    if head is None:
        return None
    body = _exactly(link, _LENGTH.unpack(head)[0])
    return None if body is None else json.loads(body)


def _exactly(link: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = link.recv(min(1 << 16, size - len(parts)))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _send(link: socket.socket, frame: dict) -> None:  # type: ignore[type-arg]
    body = json.dumps(frame).encode()
    link.sendall(_LENGTH.pack(len(body)) + body)


if __name__ == "__main__":
    raise SystemExit(main())
