"""The interpreter, set up for a process of a few threads that goes through bursts of many small files.

What must hold: an answer does not wait long for a thread that is busy; cycles are still collected, but not all that is alive again and
again while a burst is on.
"""

from __future__ import annotations

import gc
import sys

SWITCH = 0.0005  # seconds that one thread may hold the interpreter while another waits: ten times rarer, and answers wait 30 ms in a burst
# Objects made before the young ones are gone through, and how many such rounds before the older ones are. With Python's own numbers
# (700, 10, 10) a seventh of a burst's time goes into finding that everything is still needed: what waits to settle is all alive.
COLLECT = (5_000, 20, 50)


def tune() -> None:
    """Set both for this process."""
    sys.setswitchinterval(SWITCH)
    gc.set_threshold(*COLLECT)
