"""The table of handlers: every verb of a rule and the hand that does it. Nothing is found by magic.

`caption` and `webhook` are not here: they wait for others, as jobs of their own lanes.
"""

from __future__ import annotations

from collections.abc import Mapping

from .adopt import Adopt
from .aside import Quarantine, Trash
from .copy import Copy
from .dataset import Dataset
from .marks import Deploy, Hold, Tag
from .move import Move
from .run import Run
from .store import Store
from .task import Handler
from .unpack import Unpack

HANDLERS: Mapping[str, Handler] = {
    "unpack": Unpack(),
    "dataset": Dataset(),
    "store": Store(),
    "adopt": Adopt(),
    "deploy": Deploy(),
    "move": Move(),
    "copy": Copy(),
    "run": Run(),
    "hold": Hold(),
    "tag": Tag(),
    "quarantine": Quarantine(),
    "trash": Trash(),
}
