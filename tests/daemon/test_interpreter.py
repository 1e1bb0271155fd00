"""The interpreter's settings."""

import gc
import sys

from dropdock.daemon.interpreter import COLLECT, SWITCH, tune


def test_tune_sets_both() -> None:
    """Threads change places quickly, and cycles are looked for less often, but still looked for."""
    before = sys.getswitchinterval(), gc.get_threshold()
    try:
        tune()
        assert abs(sys.getswitchinterval() - SWITCH) < 1e-6 and gc.get_threshold() == COLLECT and gc.isenabled()
    finally:
        sys.setswitchinterval(before[0])
        gc.set_threshold(*before[1])
