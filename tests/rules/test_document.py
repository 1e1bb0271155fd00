"""YAML with marks: every mistake has its place, and nothing a person can write raises."""

import json

import yaml
from dropdock.rules.document import MAX_NODES, Problem, dotted, nearest, parse
from hypothesis import example, given, settings
from hypothesis import strategies as st


def said(text: str) -> list[str]:
    return [str(p) for p in parse(text, "c.yaml").problems]


def test_values_and_places() -> None:
    """Keys and values know their line and column, counted from 1."""
    document = parse("server:\n  port: 8484\nwatch:\n  - {path: ~/in}\n", "c.yaml")
    assert document.value == {"server": {"port": 8484}, "watch": [{"path": "~/in"}]}
    place = document.place(("watch", 0, "path"))
    assert (place.line, place.column, place.key_line, place.key_column) == (4, 12, 4, 6)
    assert document.place(("server", "port", "nowhere")).line == 2
    assert dotted(("watch", 0, "path")) == "watch[0].path"
    assert not document.problems


def test_problem_reads_as_one_line() -> None:
    """A problem prints as file:line:col: key: message, what stood there, and the nearest right word."""
    problem = Problem("c.yaml", 3, 5, "watch[0].mode", "expected inbox or library", "'inbx'", "inbox")
    assert str(problem) == "c.yaml:3:5: watch[0].mode: expected inbox or library, not 'inbx' (did you mean inbox?)"
    assert str(Problem("c.yaml", 0, 0, "", "cannot be read")) == "c.yaml: cannot be read"


def test_syntax_error_is_a_problem_with_a_place() -> None:
    """Broken YAML gives one problem where the scanner stopped, and no value."""
    document = parse("a: [1, 2\nb: 3\n", "c.yaml")
    assert document.value is None
    assert [p.line for p in document.problems] == [2]
    assert "syntax" in str(document.problems[0])
    assert said("a: \x07") and said("\tb: 1") and said("a: b: c")


def test_all_duplicate_keys_are_found() -> None:
    """Each key that stands twice is reported, with the line of the first."""
    found = said("a: 1\nb: {x: 1, x: 2}\na: 3\n")
    assert found == [
        "c.yaml:2:11: b.x: this key stands twice, first in line 2",
        "c.yaml:3:1: a: this key stands twice, first in line 1",
    ]


def test_alias_bomb_and_self_reference_are_refused() -> None:
    """Nine levels of nine aliases stop at the node limit; an alias inside itself is a problem, not a loop."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    assert said(bomb) == [f"c.yaml:1:1: more than {MAX_NODES:,} values once aliases are expanded"]
    assert said("a: &a [1, *a]") == ["c.yaml:1:4: a[1]: an alias that holds itself"]
    assert parse("a: &x {b: 1}\nc: *x\n", "c").value == {"a": {"b": 1}, "c": {"b": 1}}


def test_deep_nesting_is_a_problem() -> None:
    """Ten thousand open brackets do not overflow the stack."""
    assert said("[" * 10_000) == ["c.yaml:1:1: nested too deeply"]


def test_yaml_1_1_words_in_text_places_get_a_hint() -> None:
    """`name: no` and `12:30` are found out, with the quotes to write."""
    document = parse("name: no\nat: 12:30\nkey: 42\nnone: ~\n", "c.yaml")
    assert isinstance(document.value, dict)
    hints = [str(document.not_text((k,), v)) for k, v in document.value.items()]
    assert hints == [
        'c.yaml:1:7: name: expected text, but YAML reads no as false: put quotes, "no"',
        'c.yaml:2:5: at: expected text, but YAML reads 12:30 as 750: put quotes, "12:30"',
        'c.yaml:3:6: key: expected text: put quotes around it, "42"',
        "c.yaml:4:7: none: expected text, not nothing",
    ]


def test_keys_must_be_text() -> None:
    """A key that YAML reads as true or 1 is reported and kept as the word it was written as; merge keys are refused."""
    document = parse("on: 1\n1: 2\n", "c.yaml")
    assert document.value == {"on": 1, "1": 2}
    assert [p.line for p in document.problems] == [1, 2]
    assert 'write "on"' in str(document.problems[0])
    assert "merge keys" in said("a: &a {b: 1}\nc:\n  <<: *a\n")[0]
    assert "a key must be text" in said("? [a]\n: 1\n")[0]


def test_tags_cannot_make_objects() -> None:
    """Only plain data comes out, whatever tags are written."""
    assert "tag" in said("a: !!python/object/apply:os.system [ls]")[0]
    assert "tag" in said("a: !thing x")[0]
    assert said("a: !!bool perhaps") == ["c.yaml:1:4: a: 'perhaps' is no bool"]
    assert parse("a: 2024-01-31\nb: =\n", "c").value == {"a": "2024-01-31", "b": "="}


def test_halves_of_characters() -> None:
    """JSON's two escapes of one character are that character; a half alone is a mistake in its place, in keys too."""
    assert parse(json.dumps({"a\U0001f98a": "\U0001f98a"}), "c").value == {"a\U0001f98a": "\U0001f98a"}
    (value, key) = said('a: "\\udc00"\n"\\ud800": 1')
    assert value.startswith("c.yaml:1:4: a: half of a character") and key.startswith("c.yaml:2:1:") and "half of a" in key


def test_nearest() -> None:
    """A near word is offered in its right spelling, a far one is not."""
    assert nearest("INBX", ["inbox", "library"]) == "inbox"
    assert nearest("quux", ["inbox", "library"]) == ""


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@`,?~=<01 \n\t"), max_size=60))
@example("!!int : x")
@example("0x_: !!float a")
@example("- !!null x\n- ! \n- !!str\n- !<tag:yaml.org,2002:map> []")
def test_nothing_raises(text: str) -> None:
    """Any text gives a Document; a text that PyYAML refuses gives at least one problem."""
    document = parse(text, "c")
    try:
        yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        assert document.problems
