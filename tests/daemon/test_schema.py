"""The JSON Schema: it takes whatever the loader takes, and finds the mistakes that an editor should underline."""

import re
from importlib.resources import files

import pytest
import yaml
from dropdock.daemon.schema import schema
from dropdock.rules.actions import ACTIONS
from dropdock.rules.conditions import CONDITIONS

EXAMPLE = yaml.safe_load((files("dropdock") / "config.example.yaml").read_text("utf-8"))
SCHEMA = schema()
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "default", "examples", "anyOf", "type", "enum", "const", "properties",
    "additionalProperties", "required", "items", "pattern", "minProperties", "maxProperties",
}  # fmt: skip


def is_a(value: object, name: str) -> bool:
    return isinstance(value, TYPES[name]) and not (isinstance(value, bool) and name in ("integer", "number"))


def fits(value: object, of: dict) -> bool:
    """Whether a value is valid by the words of JSON Schema that ours is made of (2020-12, core and validation)."""
    assert set(of) <= KNOWN, set(of) - KNOWN
    if "$ref" in of:
        return fits(value, SCHEMA["$defs"][of["$ref"].rsplit("/", 1)[1]])
    names = of.get("type", list(TYPES))
    if not any(is_a(value, name) for name in ([names] if isinstance(names, str) else names)):
        return False
    if ("enum" in of and value not in of["enum"]) or ("const" in of and value != of["const"]):
        return False
    if "anyOf" in of and not any(fits(value, one) for one in of["anyOf"]):
        return False
    if isinstance(value, str) and "pattern" in of and not re.search(of["pattern"], value):
        return False
    if isinstance(value, list):
        return all(fits(item, of["items"]) for item in value) if "items" in of else True
    if isinstance(value, dict):
        known, rest = of.get("properties", {}), of.get("additionalProperties", True)
        if len(value) < of.get("minProperties", 0) or len(value) > of.get("maxProperties", 10**9):
            return False
        if not set(of.get("required", ())) <= set(value):
            return False
        for key, item in value.items():
            one = known.get(key, rest)
            if one is False or (one is not True and not fits(item, one)):
                return False
    return True


def test_the_example_is_valid() -> None:
    """config.example.yaml, which names every setting."""
    assert isinstance(EXAMPLE, dict) and fits(EXAMPLE, SCHEMA)


@pytest.mark.parametrize("verb", ACTIONS)
def test_every_actions_example_is_valid(verb: str) -> None:
    """What the docs show of an action, with and without a mapping, and with `on_error`."""
    assert fits({"pipelines": {"p": [{"do": [yaml.safe_load(ACTIONS[verb].example)]}]}}, SCHEMA)
    assert fits({"pipelines": {"p": [{"do": yaml.safe_load(ACTIONS[verb].example)}]}}, SCHEMA)


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_conditions_example_is_valid(name: str) -> None:
    """What the docs show of a condition."""
    when = yaml.safe_load(f"{name}: {CONDITIONS[name].example}")
    assert fits({"pipelines": {"p": [{"when": when, "do": []}]}}, SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "hubb: /x",
        "server: {port: high}",
        "watch: [{path: /x}]",
        "watch: [{path: /x, mode: inbx}]",
        "targets: {a: {layout: comfy, path: /x}}",
        "captioners: {a: {engine: simple}}",
        "pipelines: {p: [{when: {kind: image}}]}",
        "pipelines: {p: [{do: [stor]}]}",
        "pipelines: {p: [{do: [move]}]}",
        "pipelines: {p: [{do: [{move: {to: /x, on_conflict: overwrite}}]}]}",
        "pipelines: {p: [{do: [{store: {}, deploy: {}}]}]}",
        "pipelines: {p: [{when: {kinde: image}, do: []}]}",
        "pipelines: {p: [{do: [{store: {on_error: {then: delete}}}]}]}",
    ],
)
def test_mistakes_are_found(text: str) -> None:
    """Unknown words, wrong kinds of value and missing keys."""
    assert not fits(yaml.safe_load(text), SCHEMA)


def test_a_variable_may_stand_for_any_setting() -> None:
    """`${NAME}` is filled before the loader looks, so the editor lets it stand."""
    assert fits(yaml.safe_load("server: {port: '${PORT:-8484}'}\ntrash: ${KEEP}\nhub: ${HUB}"), SCHEMA)
