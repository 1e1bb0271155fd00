"""Logs: where the daemon's own words go and in what form. Console lines, JSON lines, or the systemd journal.

What must hold: no secret leaves here, neither under a key that names one nor inside any text; a reader that goes away never disturbs the
daemon; under journald each line carries its priority (`<N>`, sd-daemon(3)), or with the extra `systemd` its fields. Everything goes to
stderr: stdout belongs to commands.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "***"
SECRET_KEY = re.compile(r"api[_-]?key|passw|secret|authorization|cookie|credential|(?:^|_)token$", re.IGNORECASE)
PRIORITY = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog(3)
Send = Callable[..., object]


def set_up(format: str, level: str, secrets: Collection[str] = (), stream: TextIO | None = None) -> None:
    """Send every word of the daemon and of its libraries to `stream` (stderr), from `level` on.

    `auto` is the journal's form under systemd, else the console's. May be called again: a reload changes both.
    """
    out = stream or sys.stderr
    final = _renderer(format, out, os.environ)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=False),
            _hiding(secrets),
            *final,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *args: _Lines(out),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Foreign()], force=True)


def in_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` goes to journald: $JOURNAL_STREAM is `device:inode` of what we were given (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"


def journal_fields(event: Mapping[str, object]) -> dict[str, str]:
    """The fields of one journal entry. Ours are DROPDOCK_NAME: letters, digits and underscores are all that journald takes."""
    fields = {"SYSLOG_IDENTIFIER": "dropdock", "PRIORITY": str(PRIORITY.get(str(event.get("level")), 6))}
    for name, value in event.items():
        if name not in ("event", "level", "timestamp"):
            fields[f"DROPDOCK_{re.sub(r'[^A-Z0-9_]', '_', name.upper())}"] = str(value)
    return fields


# ---------------------------------------------------------------- forms


def _renderer(format: str, out: TextIO, environ: Mapping[str, str]) -> list[Processor]:
    """The last steps of a line's way."""
    if format == "json":
        return [_told_errors, structlog.processors.JSONRenderer(lambda value, **_: orjson.dumps(value, str).decode())]
    if format == "auto" and in_journal(out, environ):
        send = _journal()
        return [_told_errors, _prefixed if send is None else _sent(send)]
    # rich's tracebacks would show local variables, so secrets too
    return [_told_errors, _visible, structlog.dev.ConsoleRenderer(colors=out.isatty())]


def _visible(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Names of files may hold orders to a terminal: what cannot be seen is shown as an escape, line ends stay."""
    return {
        name: "".join(c if c == "\n" or c.isprintable() else ascii(c)[1:-1] for c in value) if isinstance(value, str) else value
        for name, value in event.items()
    }


def _journal() -> Send | None:
    """systemd-python's `send`, when the extra `systemd` is installed."""
    try:
        from systemd import journal
    except ImportError:
        return None
    send: Send = journal.send
    return send


def _sent(send: Send) -> Processor:
    def processor(logger: WrappedLogger, method: str, event: EventDict) -> str:
        with contextlib.suppress(OSError):
            send(_sentence(event), **journal_fields(event))
        raise structlog.DropEvent

    return processor


def _prefixed(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """`<N>` before every line, which journald takes for its priority and does not show."""
    mark = f"<{PRIORITY.get(str(event.get('level')), 6)}>"
    return "\n".join(f"{mark}{line}" for line in _sentence(event).splitlines() or [""])


def _sentence(event: Mapping[str, object]) -> str:
    """What happened, then the fields; a traceback below. Time and level are the journal's own."""
    skipped = ("event", "level", "timestamp", "exception")
    words = [str(event.get("event", "")), *(f"{k}={_word(v)}" for k, v in event.items() if k not in skipped)]
    return "\n".join(filter(None, (" ".join(words), str(event.get("exception", "")))))


def _word(value: object) -> str:
    text = str(value)
    return text if re.fullmatch(r"[\w./:@+,-]+", text) else repr(text)


def _told_errors(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A traceback as text under `exception`."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = "".join(traceback.format_exception(error)).rstrip()
    return event


# ---------------------------------------------------------------- secrets


def _hiding(secrets: Collection[str]) -> Processor:
    """Replaces the values of keys that name a secret, and every known secret wherever it stands."""
    known = [s for s in secrets if len(s) >= 4]  # a shorter one would eat harmless text

    def hide(value: object, depth: int = 0) -> object:
        if isinstance(value, str):
            for secret in known:
                value = value.replace(secret, HIDDEN)
            return value
        if depth > 5 or isinstance(value, (int, float, type(None), BaseException)):
            return value
        if isinstance(value, Mapping):
            return {k: HIDDEN if v and SECRET_KEY.search(str(k)) else hide(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [hide(v, depth + 1) for v in value]
        return hide(str(value))

    def processor(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if known and event.get("exc_info"):  # an exception's message may hold one: as text it can be hidden too
            event = _told_errors(logger, method, event)
        return {k: v if k == "exc_info" else HIDDEN if v and SECRET_KEY.search(k) else hide(v) for k, v in event.items()}

    return processor


# ---------------------------------------------------------------- ends


class _Lines:
    """Writes whole lines; a reader that went away, or a closed stream, is nobody's fault here."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def msg(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._out.write(f"{text}\n")
            self._out.flush()

    debug = info = warning = error = critical = exception = log = msg


class _Foreign(logging.Handler):
    """What libraries say through `logging`, in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        say = getattr(structlog.get_logger(), level if level in PRIORITY else "info")
        say(record.getMessage(), logger=record.name, exc_info=record.exc_info)
