"""The words for bases: those that the tables know, and which of them a word that is none of them may have meant. Pure.

What must hold: every base that the tables can give a model is here, so that a person may say what dropdock may say.
"""

from __future__ import annotations

import difflib
import functools

from . import civitai, names
from .signatures import table

PARTS = ("diffusion", "vae", "text", "other", "lora")  # of tables/signatures*.yaml
NEAREST = 3
_LIKE = 0.5  # difflib's ratio, 0 to 1, from which on a word may have been meant


@functools.cache
def known_bases() -> frozenset[str]:
    """Every base that a signature names, and the families that share one's shape. `$key` stands for a file's own word, so it is none."""
    found = {b for part in PARTS for row in table(part) for b in (*row.bases, *row.members, *row.also)}
    return frozenset(b for b in found if not b.startswith("$"))


def nearest_bases(word: str) -> list[str]:
    """Up to NEAREST known bases that a word may mean, the likeliest first: by what uploaders and trainers call them, then by spelling."""
    called = [*([found] if (found := names.architecture(word)) else []), *civitai.table("bases").get(civitai.fold(word), ())[:1]]
    spelt = difflib.get_close_matches(names.fold(word), sorted(known_bases()), NEAREST, _LIKE)
    return list(dict.fromkeys([*called, *spelt]))[:NEAREST]
