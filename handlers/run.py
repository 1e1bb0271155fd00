"""run: a program of the user's, from the local configuration, with the file's path among its arguments.

What must hold: no shell is ever involved, so no file's name can become a command; the environment holds no secret of ours; what runs too
long, or is cancelled, is killed with its children; its last words are kept. After a crash it may be run once more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO

from ..rules.actions import PATH_MARK
from ..rules.terms import Lane, Outcome, Prepared, Status
from .task import Failure, Simple, Task, Tools, skipped

OUTPUT = 4096  # bytes of what it said last that are kept
BEAT = 0.2  # seconds between two looks whether it should end
KEPT_VARIABLES = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT", "DISPLAY", "XDG_RUNTIME_DIR")


class Run(Simple):
    """run: {argv: [...], timeout: SECONDS}."""

    lane = Lane.CPU

    def prepare(self, task: Task, tools: Tools) -> Prepared:
        path = task.lead if task.lead in task.unit else task.at
        if path is None:
            return skipped("the file is nowhere that a program could be told")
        given = task.action.params.get("argv")
        argv = [part.replace(PATH_MARK, os.fspath(path)) for part in given] if isinstance(given, tuple) else []
        timeout = task.action.params.get("timeout")
        said = call(argv, float(timeout) if isinstance(timeout, (int, float)) else 60.0, tools)
        return Prepared(Outcome(Status.DONE, said or f"{os.path.basename(argv[0])} ended well"))  # noqa: PTH119


def call(argv: Sequence[str], timeout: float, tools: Tools, environ: Mapping[str, str] = os.environ) -> str:
    """Run a program to its end and return what it said last, stdout and stderr together.

    Raises Failure when it cannot be started, fails, or takes longer than `timeout` seconds; hashing.Cancelled from `tools.tick`.
    """
    env = {name: environ[name] for name in KEPT_VARIABLES if name in environ}
    with tempfile.TemporaryFile() as out:
        try:
            process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=os.path.abspath(os.sep),  # noqa: PTH100
                start_new_session=os.name != "nt", shell=False,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise Failure(f"{argv[0]} cannot be started: {error}") from None
        try:
            code = _wait(process, timeout, tools)
        finally:
            _kill(process)
        said = _last(out)
    if code is None:
        raise Failure(f"{argv[0]} took longer than {timeout:g} s and was ended; it said: {said}")
    if code != 0:
        raise Failure(f"{argv[0]} failed with {code}; it said: {said}")
    return said


def _wait(process: subprocess.Popen[bytes], timeout: float, tools: Tools) -> int | None:
    """The exit code; None when the time is up."""
    end = time.monotonic() + timeout
    while True:
        try:
            return process.wait(max(0.0, min(BEAT, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= end:
                return None
            tools.tick(0.0)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it with all its children, which are one group, unless it ended by itself."""
    if process.returncode is not None:
        return
    if os.name == "nt":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left; macOS says EPERM then
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last(out: IO[bytes]) -> str:
    size = out.seek(0, os.SEEK_END)
    out.seek(max(0, size - OUTPUT))
    return out.read().decode("utf-8", "replace").strip()
