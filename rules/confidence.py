"""How evidence becomes one answer and one number per axis.

What must hold: sources that copy from each other count once (a name and its folder are one group), independent groups that
agree add up as 1 - product(1 - weight), the strongest rival is subtracted, the user's override beats everything, and the
result is between 0 and 1 whatever is given. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .measures import Bound, Comparison
from .terms import Evidence

SURE, PROBABLE, GUESS = BANDS = ("sure", "probable", "guess")  # from the surest down


@dataclass(frozen=True, slots=True)
class Bands:
    """Where the words for a confidence begin, 0 to 1: sure from `sure` on, probable from `probable` on, else a guess."""

    sure: float = 0.9
    probable: float = 0.6

    def word(self, confidence: float) -> str:
        """The word for a confidence. Pure."""
        return SURE if confidence >= self.sure else PROBABLE if confidence >= self.probable else GUESS

    def comparison(self, word: str) -> Comparison | None:
        """The word as a question to a confidence; None for another word. Pure."""
        asked = word.strip().casefold()
        bounds = {
            SURE: (Bound(">=", self.sure),),
            PROBABLE: (Bound(">=", self.probable), Bound("<", self.sure)),
            GUESS: (Bound("<", min(self.probable, self.sure)),),
        }.get(asked)
        return None if bounds is None else Comparison(bounds, asked)


GROUPS = {
    "structure": "structure",
    "metadata": "embedded",
    "gguf": "embedded",
    "config": "embedded",
    "civitai": "civitai",
    "sidecar": "civitai",  # tools write down what CivitAI told them
    "name": "words",
    "folder": "words",
    "size": "words",
    "override": "override",
}


def rank(evidence: Iterable[Evidence], axis: str, veto: frozenset[str] = frozenset()) -> list[tuple[str, float]]:
    """Values of an axis with their confidence, the best first; vetoed values are left out.

    The best one's confidence is lowered by its strongest rival's; a rival keeps its own, lowered by the best one's.
    """
    weights: dict[str, dict[str, float]] = {}
    for item in evidence:
        name, _, value = item.says.partition("=")
        if name == axis and value and value not in veto:
            group = GROUPS.get(item.source, "words")
            groups = weights.setdefault(value, {})
            groups[group] = max(groups.get(group, 0.0), min(max(item.weight, 0.0), 1.0))
    overridden = [v for v, groups in weights.items() if "override" in groups]
    if overridden:
        return [(overridden[-1], 1.0)]
    sums = {value: _join(groups.values()) for value, groups in weights.items()}
    ordered = sorted(sums, key=lambda v: -sums[v])
    return [(v, round(max(0.0, sums[v] - max((sums[r] for r in ordered if r != v), default=0.0)), 4)) for v in ordered]


def _join(weights: Iterable[float]) -> float:
    doubt = 1.0
    for weight in weights:
        doubt *= 1.0 - weight
    return 1.0 - doubt
