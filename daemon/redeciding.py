"""Redeciding: files that no rule wanted are decided again when the rules of their watch changed, at the start and at a reload.

What must hold: the digest is of what the rules say, so that a comment or another order of keys changes nothing; what is held waits for a
person whatever the rules say.
"""

from __future__ import annotations

import hashlib
import json

from ..rules.terms import Mode
from ..store.rules_seen import note_rules
from .house import House
from .reload import rules_of


async def redecide(house: House) -> dict[str, int]:
    """Note the rules in force; inbox -> how many left files its next comparison looks at anew. Ask for that comparison."""
    digests = {w.name: rules_digest(house, w.pipeline or "") for w in house.config.watches if w.mode is Mode.INBOX}
    return await house.store.write(note_rules, digests)


def rules_digest(house: House, pipeline: str) -> str:
    """SHA-256 of what the rules of a pipeline say."""
    found = house.config.pipelines.get(pipeline)
    rules = rules_of(found) if found is not None else []
    return hashlib.sha256(json.dumps([pipeline, rules], sort_keys=True, default=str).encode()).hexdigest()
