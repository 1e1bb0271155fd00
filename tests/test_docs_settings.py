"""The docs and the example say what the tables say: every setting, condition, action and placeholder has its row."""

import re
from pathlib import Path

import dropdock
import pytest
from dropdock.daemon.config import built_in_pipelines, read
from dropdock.daemon.settings import table
from dropdock.rules.actions import ACTIONS, ON_ERROR, PLACEHOLDERS
from dropdock.rules.conditions import CONDITIONS
from dropdock.rules.document import parse
from dropdock.rules.grammar import Context, read_pipelines

ROOT = Path(dropdock.__file__).parent
CONFIG_DOC = (ROOT / "docs" / "config.md").read_text("utf-8")
RULES_DOC = (ROOT / "docs" / "rules.md").read_text("utf-8")
EXAMPLE = (ROOT / "config.example.yaml").read_text("utf-8")
ENV = {"HOME": "/home/me"}


@pytest.mark.parametrize("row", list(table()), ids=lambda r: r.key)
def test_every_setting_has_its_row(row: object) -> None:
    """Key, form, default and meaning of each setting stand in docs/config.md as in the table."""
    assert row.line() in CONFIG_DOC.splitlines()  # type: ignore[attr-defined]


def test_the_docs_name_no_setting_that_is_not_there() -> None:
    """A row whose setting is gone from the table is found out."""
    assert set(re.findall(r"^\| `([^`]+)`", CONFIG_DOC, re.MULTILINE)) == {row.key for row in table()}


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition_has_its_row(name: str) -> None:
    """Each condition stands in docs/rules.md with its form, an example and what it asks for."""
    assert CONDITIONS[name].line() in RULES_DOC.splitlines()


@pytest.mark.parametrize("verb", ACTIONS)
def test_every_action_has_its_heading(verb: str) -> None:
    """Each verb has a heading, its example and a row for every parameter."""
    section = RULES_DOC.split(f"\n### {verb}\n", 1)[1].split("\n## ")[0].split("\n### ")[0]
    form = ACTIONS[verb]
    assert form.help[1:] in section and f"- {form.example}" in section
    assert [line for line in section.splitlines() if line.startswith("| `")] == [p.line() for p in form.params]


def test_what_every_action_takes_has_its_row() -> None:
    """The parameters of `on_error` stand once, in a section of their own."""
    section = RULES_DOC.split("\n## When an action fails\n", 1)[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| `")] == [p.line() for p in ON_ERROR]


def test_every_placeholder_has_its_row() -> None:
    """Each placeholder stands in docs/rules.md with what fills it."""
    for name, placeholder in PLACEHOLDERS.items():
        assert f"| `{{{name}}}` | {placeholder.help} |" in RULES_DOC


def test_the_rules_in_the_docs_read() -> None:
    """Every YAML block of docs/rules.md that shows pipelines is valid."""
    blocks = [b for b in re.findall(r"```yaml\n(.*?)```", RULES_DOC, re.DOTALL) if b.startswith("pipelines:")]
    assert blocks
    for block in blocks:
        document = parse(block, "rules.md")
        assert isinstance(document.value, dict) and not document.problems
        pipelines, problems = read_pipelines(
            document, ("pipelines",), document.value["pipelines"], Context({"captioners": ("basic",)})
        )
        assert pipelines and not problems


def test_the_example_loads_and_shows_the_defaults() -> None:
    """config.example.yaml is valid, names every setting, and where it stands for a default it is the default."""
    example = read(EXAMPLE, Path("/home/me/config.yaml"), ENV)
    plain = read("", None, ENV)
    assert example.pipelines == built_in_pipelines()
    for name in ("hub", "datasets", "trash", "free_space", "server", "limits", "lanes", "bands"):
        assert getattr(example, name) == getattr(plain, name), name
    assert {row.key.rsplit(".", 1)[-1] for row in table()} <= set(re.findall(r"\b([a-z_]+):", EXAMPLE))
    assert example.captioners["basic"] == plain.captioners["basic"]
    first, default = example.watches[0], plain.watches[0]
    assert (first.name, first.path, first.mode, first.pipeline) == (default.name, default.path, default.mode, default.pipeline)
    assert (first.settle, first.patience, first.rescan) == (default.settle, default.patience, default.rescan)
