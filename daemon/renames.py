"""Renames: rows follow their files before anything is decided, so that a name that changed costs neither a record nor a hash.

What must hold: a hard link is no rename (the old name is still there); a held unit stays held under its new name until a person says
more, and what our own action put there stays so in that watch; any other is decided again, since a rule may ask for its path.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..rules.terms import Stamp
from ..store import renames
from ..store.renames import Twin
from .house import House


async def follow(house: House, units: Sequence[tuple[str, Path, Mapping[Path, Stamp]]]) -> dict[Path, Twin]:
    """Lead's new path -> the row that followed it, for each unit (watch, lead, stamps) that only has another name now."""
    arrived = [(watch, path, stamp) for watch, _, stamps in units for path, stamp in stamps.items()]
    found = await house.store.read(renames.twins, arrived)
    if not found:
        return {}
    gone = await asyncio.to_thread(lambda: [t for t in found if t.new == t.old or is_gone(t.old)])
    sure = [t for t in gone if not house.moving(t.old)]
    if sure:
        sure = await house.store.write(renames.follow, sure, house.store.now())
    leads = {lead for _, lead, _ in units}
    return {t.new: t for t in sure if t.lead and t.new in leads}


def is_gone(path: Path) -> bool:
    """Whether the file system says that nothing is there. One that does not answer has not said so."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
