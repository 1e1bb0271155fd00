"""Notify: what the service manager hears of us, by sd_notify(3) datagrams, and when its watchdog is fed. Standard library only.

What must hold: without $NOTIFY_SOCKET nothing is sent and nothing fails; a manager that does not listen never disturbs the daemon;
the watchdog is fed only after everything that must live has answered (pulse.py), so that a daemon that is stuck is restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

LONGEST = 200  # characters of a STATUS line: `systemctl status` shows one line
_log = structlog.get_logger()


class Notifier:
    """Speaks to the manager behind `address`: a path, or `@name` for Linux's abstract sockets; "" is nobody."""

    def __init__(self, address: str = "", clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._address, self._clock = address, clock

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Notifier:
        """The manager that $NOTIFY_SOCKET names. Another form of address than the two (vsock, say) is nobody."""
        address = environ.get("NOTIFY_SOCKET", "")
        return cls(address if address[:1] in ("/", "@") else "")

    def ready(self, status: str) -> None:
        """Everything is started, or the reload is over."""
        self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """A line for `systemctl status`."""
        self._send(_status(text))

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` must follow. MONOTONIC_USEC is needed by systemd 253 and newer."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._clock() // 1000}")

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end begins."""
        self._send("STOPPING=1", "STATUS=stopping")

    def _send(self, *lines: str) -> None:
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        to = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)  # a manager that reads nothing must not hold the loop
            link.sendto("\n".join(lines).encode(), to)


def watchdog_beat(environ: Mapping[str, str], pid: int | None = None) -> float | None:
    """Seconds between two feedings, half of what $WATCHDOG_USEC allows; None when no watchdog waits for this process."""
    usec = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", "") or str(pid or os.getpid())
    if not (usec.isascii() and usec.isdigit()) or int(usec) == 0 or meant != str(pid or os.getpid()):
        return None
    return int(usec) / 2e6


async def feed(
    notifier: Notifier, beat: float, failing: Callable[[], Awaitable[tuple[str, ...]]], healthy: Callable[[], str]
) -> None:
    """Feed the watchdog every `beat` seconds while nothing is `failing`, for ever; what is failing stands in the status line.

    `failing` is answered by the loop, the database writer, the lanes and the watchers (pulse.py), and must end by itself.
    """
    said = ""
    while True:
        found = await failing()
        if found:
            _log.error("not alive as it should be", failing=list(found))
        else:
            notifier.watchdog()
        line = f"failing: {', '.join(found)}" if found else healthy()
        if line != said:
            notifier.status(line)
            said = line
        await asyncio.sleep(beat)


def _status(text: str) -> str:
    """One line: a line end in it would begin another message."""
    return f"STATUS={' '.join(text.split())[:LONGEST]}"
