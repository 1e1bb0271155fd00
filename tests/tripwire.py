"""A tripwire for blocking calls: while it is armed, every file call made in one thread is kept with its stack.

Python tells audit hooks of each `open`, rename, listing, process start and sleep (PEP 578). What the import machinery reads is
excused, and so is what asyncio itself does to start a process.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

BLOCKING = frozenset(
    """open os.rename os.mkdir os.scandir os.listdir os.remove os.rmdir os.link os.symlink os.truncate os.utime os.chmod os.chown
    shutil.copyfile shutil.copytree shutil.move shutil.rmtree shutil.copymode shutil.copystat subprocess.Popen sqlite3.connect
    time.sleep os.walk os.fwalk tempfile.mkstemp tempfile.mkdtemp""".split()  # noqa: SIM905
)
EXCUSED = ("<frozen importlib", "asyncio/unix_events.py", "asyncio/windows_utils.py", "/linecache.py")
_armed: list[tuple[int, list[str]]] = []  # the thread that is watched, and what it did


def _hook(event: str, args: tuple[object, ...]) -> None:
    if not _armed or event not in BLOCKING:
        return
    thread, caught = _armed[-1]
    if threading.get_ident() != thread:
        return
    if event == "open" and isinstance(args[0], int):  # a file object around a descriptor that is open already
        return
    frames, frame = [], sys._getframe(1)
    while frame is not None:  # without source lines: reading those would open files again
        name = frame.f_code.co_filename.replace("\\", "/")
        if any(excuse in name for excuse in EXCUSED):
            return
        if "/asyncio/" not in name and "_pytest" not in name:
            frames.append(f"  {name}:{frame.f_lineno} in {frame.f_code.co_name}")
        frame = frame.f_back
    caught.append(f"{event}{args!r}\n" + "\n".join(frames[:9]))


sys.addaudithook(_hook)  # for good: a hook cannot be taken away, so it looks at `_armed`


@contextmanager
def tripwire() -> Iterator[list[str]]:
    """Arm it for the thread that asks, which is the event loop's; yields what was caught so far."""
    caught: list[str] = []
    sleep = time.sleep

    def sleeping(seconds: float) -> None:
        _hook("time.sleep", (seconds,))
        sleep(seconds)

    if sys.version_info < (3, 13):  # which tells of it by itself
        time.sleep = sleeping
    _armed.append((threading.get_ident(), caught))
    try:
        yield caught
    finally:
        _armed.pop()
        time.sleep = sleep
