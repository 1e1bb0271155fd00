"""Marking: which folder of somebody else's is being filled, written down while it is, so that a crash leaves nothing of ours there.

What must hold: staging at a root of ours is cleared at every start anyway; staging elsewhere (a copy to another volume's folder) is in the
journal from before its first byte until the intent of its moves is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..handlers.conflict import outside_staging
from ..handlers.task import Task
from ..rules.terms import Outcome, Prepared, Status
from ..store import history
from .house import House

STAGING = "staging"  # the verb of such a row
_FILLS = ("move", "copy")  # actions that may fill a folder anywhere


@asynccontextmanager
async def marked(house: House, task: Task) -> AsyncIterator[None]:
    """Prepare an action, and journal its intent, within this."""
    away = await asyncio.to_thread(outside_staging, task, house.tools()) if task.action.verb in _FILLS else None
    if away is None:
        yield
        return
    mark = await house.store.intend(STAGING, Prepared(Outcome(Status.SKIPPED), staging=(away,)), None, None, 0)
    try:
        yield
    finally:
        await house.store.write(history.settle_intent, mark)
