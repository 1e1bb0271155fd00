"""tagging: thresholds, ensembles, ratings and order, on vocabularies small enough to see."""

import numpy as np
import pytest
from dropdock.handlers.captioners.labels import Vocabulary
from dropdock.handlers.captioners.tagging import Model, Tag, Tagger, Taste, ordered, written
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

NAMES = ("smile", "general", "someone_(x)", "1girl", "sensitive", "", "text")
KINDS = ("general", "rating", "character", "general", "rating", "general", "meta")
VOCABULARY = Vocabulary(NAMES, KINDS)


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def said(taste: Taste, *found: np.ndarray, models: tuple[Model, ...] = (Model("a", VOCABULARY),)) -> list[str]:
    return [tag.name for tag in Tagger(models, taste).tags(found)]


def test_a_tag_is_taken_above_the_threshold_of_its_category():
    """Strictly above; a score without a name and the ratings are no tags; other categories have a half."""
    assert said(Taste(), scores(0.36, 1, 0.84, 0.35, 1, 1, 0.51)) == ["smile", "text"]
    assert said(Taste(), scores(0.35, 1, 0.86, 0.9, 1, 1, 0.5)) == ["1girl", "someone_(x)"]


def test_whose_threshold_counts():
    """The person's, then the vocabulary's own for the tag, then the model's for the category."""
    own = Vocabulary(("a", "b"), ("general", "general"), (0.8, None))
    assert said(Taste(), scores(0.7, 0.7), models=(Model("m", own, {"general": 0.6}),)) == ["b"]
    assert said(Taste(), scores(0.7, 0.7), models=(Model("m", own, {"general": 0.75}),)) == []
    assert said(Taste(), scores(0.7, 0.7), models=(Model("m", own, {"general": 0.6}, {"general": 0.1}),)) == ["a", "b"]


@pytest.mark.parametrize(
    "rating, tags", [("none", ["smile"]), ("first", ["sensitive", "smile"]), ("last", ["smile", "sensitive"])]
)
def test_the_rating_is_the_best_of_its_kind(rating, tags):
    """Wherever it is asked for, and never by a threshold."""
    assert said(Taste(rating=rating), scores(0.9, 0.1, 0, 0, 0.2, 0, 0)) == tags


def test_mcut_cuts_in_the_largest_gap():
    """Of each category in each picture; characters not below 0.15."""
    names = Vocabulary(("a", "b", "c", "d", "k", "l"), ("general",) * 4 + ("character",) * 2)
    models = (Model("m", names),)
    assert said(Taste(mcut=True), scores(0.3, 0.28, 0.05, 0.04, 0.1, 0.0), models=models) == ["a", "b"]
    assert said(Taste(mcut=True), scores(0.99, 0.6, 0.55, 0.5, 0.4, 0.1), models=models) == ["k", "a"]


def test_the_best_are_kept_where_there_are_too_many():
    """By score, whatever the order they are written in."""
    assert said(Taste(max_tags=2, order="vocabulary"), scores(0.5, 0, 0.9, 0.6, 0, 0, 0.8)) == ["someone_(x)", "text"]


def test_orders():
    """People, characters, then by score; by score alone; as they are listed."""
    found = scores(0.5, 0, 0.9, 0.4, 0, 0, 0.99)
    assert said(Taste(order="house"), found) == ["1girl", "someone_(x)", "smile", "text"]
    assert said(Taste(order="score"), found) == ["text", "someone_(x)", "smile", "1girl"]
    assert said(Taste(order="vocabulary"), found) == ["smile", "someone_(x)", "1girl", "text"]


# ---------------------------------------------------------------- ensembles

OLD = Vocabulary(("bangs", "long_hair", "hat", "only_old"), ("general",) * 4)
NEW = Vocabulary(("hat", "only_new", "long hair"), ("general",) * 3)
A, B = scores(0.9, 0.5, 0.1, 0.9), scores(0.8, 0.9, 0.3)


def pair(generation: int = 0, **asked: float) -> tuple[Model, ...]:
    return Model("old", OLD, asked=asked, generation=generation), Model(
        "new", NEW, generation=generation + 1 if generation else 0
    )


@pytest.mark.parametrize(
    "merge, tags",
    [
        ("union", ["only_new", "only_old", "hat", "long_hair"]),
        ("intersection", ["only_new", "only_old"]),
        ("mean", ["only_new", "only_old", "hat", "long_hair"]),
    ],
)
def test_models_are_merged_by_name(merge, tags):
    """Underscores or not; over the models that know the name; a tag that was given up is out."""
    assert sorted(said(Taste(merge), A, B, models=pair())) == sorted(tags)


def test_scores_of_a_merge():
    """The highest in a union, the mean else; each tag tells who voted for it."""
    union = {t.name: t for t in Tagger(pair(), Taste("union")).tags([A, B])}
    mean = {t.name: t for t in Tagger(pair(), Taste("mean")).tags([A, B])}
    assert union["hat"].score == pytest.approx(0.8) and mean["hat"].score == pytest.approx(0.45)
    assert (
        union["hat"].votes == ("new",) and union["long_hair"].votes == ("old",) and mean["only_old"].score == pytest.approx(0.9)
    )


def test_a_newer_vocabulary_overrules_an_older_one():
    """A general tag that the newest does not know any more is retired; not where nobody says which is newer."""
    assert "only_old" not in said(Taste(), A, B, models=pair(generation=2))
    assert "only_old" in said(Taste(), A, B, models=pair())
    assert "bangs" not in said(Taste(), A, B, models=pair())
    assert "bangs" in said(Taste(), A, models=(Model("old", OLD),))


def test_each_model_has_its_own_thresholds():
    """One that is asked for more says less."""
    assert "long_hair" in said(Taste(), A, B, models=pair()) and "long_hair" not in said(Taste(), A, B, models=pair(general=0.6))


@given(
    arrays(np.float32, (2, 7), elements=st.floats(0, 1, width=32) | st.just(float("nan"))),
    st.sampled_from(["union", "intersection", "mean"]),
)
def test_a_model_with_itself_is_itself(table, merge):
    """Merged with a copy of its own scores, whatever the merge; and no rating, no nameless score, nothing twice, whatever the scores."""
    alone = Tagger([Model("a", VOCABULARY)], Taste()).tags([table[0]])
    both = Tagger([Model("a", VOCABULARY), Model("b", VOCABULARY)], Taste(merge)).tags([table[0], table[0]])
    assert [t.name for t in alone] == [t.name for t in both]
    other = [t.name for t in Tagger([Model("a", VOCABULARY), Model("b", VOCABULARY)], Taste(merge, mcut=True)).tags(list(table))]
    assert len(set(other)) == len(other) and not set(other) & {"", "general", "sensitive"}


def test_scores_that_do_not_fit_the_names_are_refused():
    """Rather than tags of other names."""
    with pytest.raises(RuntimeError, match="6 scores and has 7 names"):
        Tagger([Model("a", VOCABULARY)], Taste()).tags([scores(*[0.5] * 6)])


def test_a_comma_in_a_name_does_not_split_it():
    """It is a space in the line."""
    tags = [Tag("a,b", "general", 1, 0), Tag("c", "general", 1, 1)]
    assert written(tags) == "a b, c" and ordered(tags, "house") == tags
