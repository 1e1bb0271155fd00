"""From a tagger's scores to tags: thresholds, MCut, ensembles, the rating, and the order they are written in.

What must hold: a tag is taken where its score is above the threshold of its category, strictly, as in the taggers' own demo; several
models are merged by name, not by place, because their vocabularies differ; a score without a name is never a tag; the same scores give
the same tags. All of it is done on whole arrays: ten thousand scores cost a tenth of a millisecond.

MCut: the threshold is the middle of the largest gap between neighbouring scores, for each picture and category (Largeron et al. 2012);
0.15 at least for characters, as the taggers' demo has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .labels import Vocabulary

if TYPE_CHECKING:
    import numpy as np

    Marks = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    Scores = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    Places = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

MERGES = ("union", "intersection", "mean")
ORDERS = ("house", "score", "vocabulary")
RATINGS = ("none", "first", "last")
DEFAULTS = {"general": 0.35, "character": 0.85}
OTHER = 0.5  # for categories that nobody gave a threshold
MCUT_FLOOR = {"character": 0.15}
# Tags that Danbooru has given up: an older model still says them, so a model that does not know them overrules it.
RETIRED = frozenset(("bangs", "eyebrows visible through hair"))
PEOPLE = re.compile(r"^(\d+\+?(girl|boy|other)s?|multiple (girls|boys|others)|solo|solo focus|no humans)$")
_RANK = {"character": 1, "copyright": 2, "artist": 3, "general": 4, "style": 5, "meta": 6, "year": 6, "model": 7, "quality": 8}


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that was taken. `votes` are the models whose score alone was above their threshold."""

    name: str
    category: str
    score: float
    place: int  # in the first vocabulary that knows it
    votes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """One model of an ensemble: its vocabulary, thresholds by category, and how new its vocabulary is (0: not known)."""

    name: str
    vocabulary: Vocabulary
    thresholds: Mapping[str, float] = field(default_factory=dict)  # the model's own
    asked: Mapping[str, float] = field(default_factory=dict)  # the person's: they win over the vocabulary's, too
    generation: int = 0

    def threshold(self, place: int) -> float:
        """For one output: the person's by category, the vocabulary's own for the tag, the model's by category, the default."""
        category = self.vocabulary.categories[place]
        if category in self.asked:
            return self.asked[category]
        own = self.vocabulary.thresholds[place] if self.vocabulary.thresholds else None
        return own if own is not None else self.thresholds.get(category, DEFAULTS.get(category, OTHER))


@dataclass(frozen=True, slots=True)
class Taste:
    """What of the tags is written, and how. max_tags 0: all."""

    merge: str = "union"
    mcut: bool = False
    rating: str = "none"
    order: str = "house"
    max_tags: int = 0


class Tagger:
    """Selects tags from the scores of one or several models. Made once; `tags` is called for every picture."""

    def __init__(self, models: Sequence[Model], taste: Taste) -> None:
        import numpy as np

        self._models, self._taste = tuple(models), taste
        places: dict[str, int] = {}
        names: list[str] = []
        categories: list[str] = []
        for model in models:
            for name, category in zip(model.vocabulary.names, model.vocabulary.categories, strict=True):
                if name and name.replace("_", " ") not in places:
                    places[name.replace("_", " ")] = len(names)
                    names.append(name)
                    categories.append(category)
        self._names, self._categories = names, categories
        self._from, self._to, self._limits = [], [], np.full((len(models), len(names)), np.inf, np.float32)
        for n, model in enumerate(models):
            known = [(place, places[name.replace("_", " ")]) for place, name in enumerate(model.vocabulary.names) if name]
            self._from.append(np.array([place for place, _ in known], np.int64))
            self._to.append(np.array([at for _, at in known], np.int64))
            self._limits[n, self._to[n]] = [model.threshold(place) for place, _ in known]
        self._known = np.isfinite(self._limits)
        self._limits = np.where(self._known, self._limits, np.float32(2.0))  # 2: no probability is above it
        self._of: dict[str, Places] = {
            category: np.flatnonzero(np.array(categories, object) == category) for category in dict.fromkeys(categories)
        }
        self._ratings = self._of.pop("rating", np.zeros(0, np.int64))
        self._allowed = np.ones(len(names), bool)
        self._allowed[self._ratings] = False
        self._allowed[[at for at in range(len(names)) if self._retired(at)]] = False

    def _retired(self, at: int) -> bool:
        """Whether a newer model of the ensemble has given this tag up: general tags only, characters differ for other reasons."""
        if len(self._models) == 1 or self._categories[at] != "general" or self._known[:, at].all():
            return False
        dated = [(model.generation, bool(self._known[n, at])) for n, model in enumerate(self._models) if model.generation]
        newest = max((generation for generation, _ in dated), default=0)
        gone = bool(dated) and not any(known for generation, known in dated if generation == newest)
        others = all(model.generation for n, model in enumerate(self._models) if self._known[n, at])
        return (gone and others) or self._names[at].replace("_", " ") in RETIRED

    def tags(self, scores: Sequence[Scores]) -> list[Tag]:
        """The tags of one picture, in the order asked for, from each model's probabilities (0..1, by its own outputs)."""
        import numpy as np

        table = np.zeros(self._limits.shape, np.float32)
        for n, found in enumerate(scores):
            names = len(self._models[n].vocabulary.names)
            if len(found) != names:
                raise RuntimeError(f"{self._models[n].name} gives {len(found)} scores and has {names} names")
            table[n, self._to[n]] = found[self._from[n]]
        np.nan_to_num(table, copy=False, nan=0.0)
        limits = self._cut(table) if self._taste.mcut else self._limits
        above = table > limits
        merged, taken = self._merged(table, limits, above)
        chosen = np.flatnonzero(taken & self._allowed)
        if 0 < self._taste.max_tags < len(chosen):
            chosen = chosen[np.argsort(-merged[chosen], kind="stable")[: self._taste.max_tags]]
        tags = [self._tag(int(at), merged, above) for at in chosen]
        return self._with_rating(ordered(tags, self._taste.order), table)

    def _tag(self, at: int, merged: Scores, above: Marks) -> Tag:
        votes = tuple(model.name for n, model in enumerate(self._models) if above[n, at])
        return Tag(self._names[at], self._categories[at], float(merged[at]), at, votes)

    def _merged(self, table: Scores, limits: Scores, above: Marks) -> tuple[Scores, Marks]:
        """Scores and choice over the models that know a tag: the highest score and one vote, all votes, or mean over mean."""
        import numpy as np

        if len(self._models) == 1:
            return table[0], above[0]
        if self._taste.merge == "union":
            any_vote = np.asarray(above.any(axis=0))
            return table.max(axis=0), any_vote
        count = self._known.sum(axis=0)
        mean = table.sum(axis=0) / count
        if self._taste.merge == "intersection":
            all_votes = np.asarray((above | ~self._known).all(axis=0))
            return mean, all_votes
        return mean, mean > (limits * self._known).sum(axis=0) / count

    def _cut(self, table: Scores) -> Scores:
        """Thresholds by MCut, for each model and category."""
        import numpy as np

        limits = self._limits.copy()
        for n in range(len(self._models)):
            for category, places in self._of.items():
                known = places[self._known[n, places]]
                if len(known) >= 2:
                    ranked = np.sort(table[n, known])[::-1]
                    at = int(np.argmax(ranked[:-1] - ranked[1:]))
                    limits[n, known] = max(float(ranked[at] + ranked[at + 1]) / 2, MCUT_FLOOR.get(category, 0.0))
        return limits

    def _with_rating(self, tags: list[Tag], table: Scores) -> list[Tag]:
        """The rating with the best mean score, first or last, where it is asked for and there is one."""
        if self._taste.rating == "none" or not len(self._ratings):
            return tags
        means = table[:, self._ratings].sum(axis=0) / self._known[:, self._ratings].sum(axis=0)
        at = int(self._ratings[int(means.argmax())])
        rating = Tag(self._names[at], "rating", float(means.max()), at)
        return [rating, *tags] if self._taste.rating == "first" else [*tags, rating]


def ordered(tags: Sequence[Tag], order: str) -> list[Tag]:
    """house: people, characters, series, artists, general by score, then what is said of the picture; or by score; or as in the list."""
    if order == "score":
        return sorted(tags, key=lambda tag: (-tag.score, tag.place))
    if order == "vocabulary":
        return sorted(tags, key=lambda tag: tag.place)
    return sorted(tags, key=lambda tag: (_rank(tag), -tag.score, tag.place))


def _rank(tag: Tag) -> int:
    people = tag.category == "general" and PEOPLE.match(tag.name.replace("_", " "))
    return 0 if people else _RANK.get(tag.category, 6)


def written(tags: Sequence[Tag]) -> str:
    """The tags as one line for finish(): a comma within a name would split it, so it is a space."""
    return ", ".join(tag.name.replace(",", " ") for tag in tags)
