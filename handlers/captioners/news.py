"""News: what an engine says of itself while it loads or works, for people: `downloading model.onnx: 30 %`, `loading wd-vit-v3`.

What must hold: one captioner lives in a process, so that its news needs no name; telling never fails, is cheap, and is heard by nobody
where nobody listens. While a model loads, its news is what tells a long download from a hang: tell at least once a minute.
"""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[str], None]


def _nobody(text: str) -> None:
    pass


_listener: Listener = _nobody


def listen(listener: Listener | None) -> None:
    """Have somebody hear all news of this process from now on; None: nobody."""
    global _listener  # the process's one captioner and its one listener
    _listener = listener or _nobody


def tell(text: str) -> None:
    """Say something, from any thread."""
    _listener(text)
