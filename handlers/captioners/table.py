"""The table of captioner engines: the word of the config and the class behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...rules.terms import Param
from .basic import Basic
from .protocol import Captioner
from .simple import Simple

ENGINES: Mapping[str, Callable[[Mapping[str, Param]], Captioner]] = {"basic": Basic, "simple": Simple}


def make(engine: str, options: Mapping[str, Param]) -> Captioner:
    """A captioner of an engine. Raises KeyError for an unknown engine (the config check has refused it before)."""
    return ENGINES[engine](options)
