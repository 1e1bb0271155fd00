"""The interpreter's settings."""

import gc
import subprocess
import sys

from dropdock.daemon.interpreter import COLLECT, SWITCH, give_back, tune


def test_tune_sets_both() -> None:
    """Threads change places quickly, and cycles are looked for less often, but still looked for."""
    before = sys.getswitchinterval(), gc.get_threshold()
    try:
        tune()
        assert abs(sys.getswitchinterval() - SWITCH) < 1e-6 and gc.get_threshold() == COLLECT and gc.isenabled()
    finally:
        sys.setswitchinterval(before[0])
        gc.set_threshold(*before[1])


def test_the_daemon_does_not_load_rich_and_commands_still_can() -> None:
    """structlog comes without it, and a later import of rich finds it."""
    code = (
        "import sys; from dropdock.daemon.interpreter import load_lean; load_lean(); import dropdock.daemon.app; "
        "assert 'structlog' in sys.modules; assert 'rich' not in sys.modules; import rich.console"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_giving_back_answers_on_every_system() -> None:
    """Whether there is something to give back or not, and where no such call exists."""
    blocks = [bytes(100_000) for _ in range(200)]
    del blocks
    assert give_back() in (True, False)
