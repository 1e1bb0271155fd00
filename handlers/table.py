"""The table of handlers: every verb of a rule and the hand that does it. Nothing is found by magic."""

from __future__ import annotations

from collections.abc import Mapping

from .adopt import Adopt
from .aside import Quarantine, Trash
from .dataset import Dataset
from .marks import Deploy, Hold, Tag
from .store import Store
from .task import Handler
from .unpack import Unpack

HANDLERS: Mapping[str, Handler] = {
    "unpack": Unpack(),
    "dataset": Dataset(),
    "store": Store(),
    "adopt": Adopt(),
    "deploy": Deploy(),
    "hold": Hold(),
    "tag": Tag(),
    "quarantine": Quarantine(),
    "trash": Trash(),
}
