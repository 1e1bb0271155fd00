"""labels: the names of the scores, in order, from every kind of file that taggers come with."""

import contextlib
import json

import pytest
from dropdock.handlers.captioners.labels import NoLabels, Vocabulary, from_csv, from_json, from_lines, read
from hypothesis import given
from hypothesis import strategies as st

THREE = Vocabulary(("1girl", "safe", "someone"), ("general", "rating", "character"))


def test_a_csv_is_read_as_csv():
    """Quotes, backslashes and brackets are part of a name; categories are wherever they are; an empty name keeps its place."""
    text = 'tag_id,name,category,count\n1,"don\'t_say_""lazy""",0,9\n2,general,9,9\n3,\\m/,0,8\n4,,0,8\n5,x_(y),4,7\n6,z,3,7\n'
    assert from_csv(text) == Vocabulary(
        ('don\'t_say_"lazy"', "general", r"\m/", "", "x_(y)", "z"),
        ("general", "rating", "general", "general", "character", "copyright"),
    )


def test_a_csv_may_bring_a_threshold_for_each_tag():
    """A tag without one has none of its own."""
    assert from_csv("name,category,best_threshold\na,0,0.4\nb,4,\n").thresholds == (0.4, None)


@pytest.mark.parametrize(
    "found",
    [
        {"0": {"tag": "1girl", "category": "General"}, "2": {"tag": "someone", "category": 4}, "1": {"tag": "safe", "category": 9}},
        {"idx_to_tag": {"0": "1girl", "1": "safe", "2": "someone"}, "tag_to_category": {"safe": "rating", "someone": "character"}},
        {"dataset_info": {"tag_mapping": {"idx_to_tag": ["1girl", "safe", "someone"], "tag_to_category": {"safe": 9, "someone": 4}}}},
        {"general": ["1girl"], "rating": ["safe"], "character": ["someone"]},
        [{"name": "1girl"}, {"name": "safe", "category": 9}, {"name": "someone", "category": "character"}],
    ],
)  # fmt: skip
def test_json_of_any_shape(found):
    """By index, in two maps, deep inside, by category, as a list: the same names in the same order."""
    assert from_json(json.dumps(found)) == THREE


def test_plain_names_are_general():
    """A text with a name a line, a JSON list, and a map of names to numbers."""
    plain = Vocabulary(("a b", "c"), ("general", "general"))
    assert from_lines("a b\n\nc\n") == from_json('["a b", "c"]') == from_json('{"c": 1, "a b": 0}') == plain


def test_a_hole_is_a_score_without_a_name():
    """So that the others keep their places."""
    assert from_json('{"0": {"tag": "a"}, "2": {"tag": "b"}}').names == ("a", "", "b")


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.csv", "tag,category\na,0\n"),
        ("a.csv", ""),
        ("a.csv", "name,category,best_threshold\na,0,high\n"),
        ("a.json", "{"),
        ("a.json", "{}"),
        ("a.json", "3"),
        ("a.json", '{"9999999": {"tag": "a"}}'),
        ("a.txt", "\n\n"),
    ],
)
def test_what_is_no_list_of_tags_says_so(tmp_path, name, text):
    """With the file's name."""
    (tmp_path / name).write_text(text)
    with pytest.raises(NoLabels, match=r"a\.(csv|json|txt) "):
        read(tmp_path / name)


def test_a_file_that_is_not_there_or_no_text_says_so(tmp_path):
    """One line for people."""
    (tmp_path / "a.csv").write_bytes(b"name\n\xff\xfe")
    for name in ("a.csv", "gone.csv"):
        with pytest.raises(NoLabels, match="does not read"):
            read(tmp_path / name)


@given(
    st.lists(
        st.text(alphabet=st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool), min_size=1
    )
)
def test_names_come_back_as_they_were(names):
    """Whatever characters they hold."""
    assert from_json(json.dumps({str(n): {"tag": name} for n, name in enumerate(names)})).names == tuple(names)


@given(st.text(max_size=80))
def test_any_text_is_names_or_no_labels(tmp_path_factory, text):
    """Never another exception."""
    path = tmp_path_factory.mktemp("any") / "a.json"
    path.write_text(text)
    with contextlib.suppress(NoLabels):
        assert read(path).names
