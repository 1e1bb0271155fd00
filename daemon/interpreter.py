"""The interpreter, set up for a process of a few threads that goes through bursts of many small files.

What must hold: nothing is loaded that a daemon never uses; an answer does not wait long for a thread that is busy; cycles are still
collected, but not all that is alive again and again while a burst is on; memory that a burst needed goes back.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import sys

SWITCH = 0.0005  # seconds that one thread may hold the interpreter while another waits: ten times rarer, and answers wait 30 ms in a burst
# Objects made before the young ones are gone through, and how many such rounds before the older ones are. With Python's own numbers
# (700, 10, 10) a seventh of a burst's time goes into finding that everything is still needed: what waits to settle is all alive.
COLLECT = (5_000, 20, 50)


def tune() -> None:
    """Set both for this process."""
    sys.setswitchinterval(SWITCH)
    gc.set_threshold(*COLLECT)


def load_lean() -> None:
    """Load structlog without rich, which it takes along for coloured tracebacks that our logs never print: 4 MB, and a tenth of a second
    of every start. Commands that print tables load rich themselves. To be called before anything of ours imports structlog."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it is refused, as where it is not installed
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]


def give_back() -> bool:
    """Return memory that is free to the system; whether there was any. A tenth of an idle daemon's would stay with it otherwise.

    malloc_trim(3) of the GNU library, which keeps free pieces for later; others return them by themselves. Milliseconds: not on the loop.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return trim is not None and trim(0) == 1
