"""A YAML text as plain values, with the place of every key and value, so that any later complaint can name its line.

What must hold: nothing a user can write raises. Syntax errors, duplicate keys, tags, self-reference, alias bombs and deep
nesting become Problems beside whatever could still be read. Plain scalars follow YAML 1.1 (as PyYAML does), therefore each
place also keeps the text as written: whoever expected text and finds a boolean can say which word did it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import yaml

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
Where = tuple[str | int, ...]  # the keys and indexes that lead to a value, e.g. ("watch", 0, "path")

MAX_TEXT = 1_000_000  # characters; a larger text is no configuration, and composing it would take seconds
MAX_NODES = 10_000  # after aliases are expanded
_SCALARS = ("null", "bool", "int", "float")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a text that a person wrote. Lines and columns count from 1; 0 means "no place in the text"."""

    source: str
    line: int
    column: int
    key: str  # dotted, e.g. watch[0].path
    message: str  # what is wrong, or what was expected
    value: str = ""  # what stood there
    mend: str = ""  # the nearest word that would be right

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        key = f" {self.key}:" if self.key else ""
        value = f", not {self.value}" if self.value else ""
        mend = f" (did you mean {self.mend}?)" if self.mend else ""
        return f"{place}:{key} {self.message}{value}{mend}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value and its key stand, and the scalar as written (`plain`: without quotes)."""

    line: int
    column: int
    key_line: int
    key_column: int
    raw: str = ""
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says. `value` is None where the text is empty or broken; then `problems` tells which."""

    source: str
    value: Value = None
    places: Mapping[Where, Place] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def place(self, where: Where) -> Place:
        """The place of a value; of the nearest thing around it when it does not stand in the text."""
        while where and where not in self.places:
            where = where[:-1]
        return self.places.get(where, Place(0, 0, 0, 0))

    def problem(self, where: Where, message: str, *, value: str = "", mend: str = "", at_key: bool = False) -> Problem:
        """A Problem at a value (or at its key)."""
        place = self.place(where)
        line, column = (place.key_line, place.key_column) if at_key else (place.line, place.column)
        return Problem(self.source, line, column, dotted(where), message, value, mend)

    def not_text(self, where: Where, value: object) -> Problem:
        """The Problem of a value that should be text; it names YAML 1.1's habit where that is the cause."""
        place = self.place(where)
        if place.plain and isinstance(value, bool | int | float) and place.raw:
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            if shown == place.raw:
                return self.problem(where, f'expected text: put quotes around it, "{place.raw}"')
            return self.problem(where, f'expected text, but YAML reads {place.raw} as {shown}: put quotes, "{place.raw}"')
        return self.problem(where, "expected text", value=describe(value))


def dotted(where: Where) -> str:
    """The path of a value as a person writes it: watch[0].path."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def describe(value: object) -> str:
    """A value named for a message: short, never a whole section."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(word: str, words: Iterable[str]) -> str:
    """The word somebody probably meant, or "" when none is near."""
    known = {w.casefold(): w for w in words}
    found = difflib.get_close_matches(word.casefold(), known, n=1, cutoff=0.6)
    return known[found[0]] if found else ""


def parse(text: str, source: str) -> Document:
    """Read one YAML document.

    Returns its values with their places, and every Problem found: syntax, duplicate keys, keys that are not text, unknown
    tags, merge keys, a text above 1,000,000 characters, more than 10,000 nodes once aliases are expanded. Never raises.
    """
    if len(text) > MAX_TEXT:
        return Document(source, problems=(Problem(source, 1, 1, "", f"longer than {MAX_TEXT:,} characters"),))
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        said = " ".join(str(part) for part in (error.context, error.problem) if part)
        message = f"YAML syntax: {said}{_syntax_hint(said, _line(text, line))}"
        return Document(source, problems=(Problem(source, line, column, "", message),))
    except yaml.YAMLError as error:  # a character that YAML forbids: no mark
        return Document(source, problems=(Problem(source, 1, 1, "", f"YAML syntax: {' '.join(str(error).split())}"),))
    except RecursionError:
        return Document(source, problems=(Problem(source, 1, 1, "", "nested too deeply"),))
    if root is None:
        return Document(source)
    return _Reader(source, loader).read(root)


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _syntax_hint(said: str, line: str) -> str:
    if "${" in line and "{" in line.replace("${", ""):
        return ': within { } write "${NAME}" in quotes'
    if "cannot start any token" in said:
        return ": indent with spaces, and quote text that starts with %, @, ` or a tab"
    return ": quote text that holds ': ' or '#' or starts with { [ * & ! | >" if "mapping values" in said else ""


class _TooMany(Exception):
    """The expanded document has more nodes than we are willing to hold."""


class _Reader:
    """Turns composed nodes into values, once per place they are used in, and notes places and problems on the way."""

    def __init__(self, source: str, loader: yaml.SafeLoader) -> None:
        self.source, self.loader = source, loader
        self.places: dict[Where, Place] = {}
        self.problems: list[Problem] = []
        self.open: set[int] = set()  # nodes being read, to see a node that holds itself
        self.count = 0

    def read(self, root: yaml.Node) -> Document:
        value: Value = None
        try:
            value = self.node(root, (), root.start_mark)
        except _TooMany:
            message = f"more than {MAX_NODES:,} values once aliases are expanded"
            self.problems.append(Problem(self.source, 1, 1, "", message))
        except RecursionError:
            self.problems.append(Problem(self.source, 1, 1, "", "nested too deeply"))
        return Document(self.source, value, self.places, tuple(self.problems))

    def complain(self, mark: yaml.Mark, where: Where, message: str) -> None:
        self.problems.append(Problem(self.source, mark.line + 1, mark.column + 1, dotted(where), message))

    def node(self, node: yaml.Node, where: Where, key: yaml.Mark) -> Value:
        self.count += 1
        if self.count > MAX_NODES:
            raise _TooMany
        mark = node.start_mark
        raw, plain = (node.value, node.style is None) if isinstance(node, yaml.ScalarNode) else ("", False)
        self.places[where] = Place(mark.line + 1, mark.column + 1, key.line + 1, key.column + 1, raw, plain)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, where)
        if id(node) in self.open:
            self.complain(mark, where, "an alias that holds itself")
            return None
        self.open.add(id(node))
        try:
            return self.collection(node, where)
        finally:
            self.open.discard(id(node))

    def collection(self, node: yaml.Node, where: Where) -> Value:
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rsplit(":", 1)[1] not in ("seq", "map"):
            self.complain(node.start_mark, where, f"the tag {node.tag} is not known here")
        if isinstance(node, yaml.SequenceNode):
            return [self.node(item, (*where, i), item.start_mark) for i, item in enumerate(node.value)]
        result: dict[str, Value] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, where)
            if key is None:
                continue
            if key in first:
                self.complain(key_node.start_mark, (*where, key), f"this key stands twice, first in line {first[key]}")
                continue
            first[key] = key_node.start_mark.line + 1
            result[key] = self.node(value_node, (*where, key), key_node.start_mark)
        return result

    def key(self, node: yaml.Node, where: Where) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self.complain(node.start_mark, where, "a key must be text")
            return None
        word = self.text(node, where)
        tag = node.tag.rsplit(":", 1)[1]
        if tag == "merge":
            self.complain(node.start_mark, (*where, word), "merge keys are not supported: write the keys out")
            return None
        if tag in _SCALARS:
            read = self.scalar(node, where)
            shown = describe(read) if str(read) != word else f"a {tag}"
            self.complain(node.start_mark, (*where, word), f'a key must be text, but YAML reads it as {shown}: write "{word}"')
        return word

    def scalar(self, node: yaml.ScalarNode, where: Where) -> Value:
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if tag in ("str", "timestamp", "value"):  # a date is text here: nothing in a configuration is a date
            return self.text(node, where)
        if tag not in _SCALARS:
            self.complain(node.start_mark, where, f"the tag {node.tag} is not known here")
            return self.text(node, where)
        try:
            made = self.loader.construct_object(node)
        except (ValueError, LookupError, yaml.YAMLError):  # PyYAML looks the text of `!!bool x` and `!!int ""` up unchecked
            self.complain(node.start_mark, where, f"{describe(node.value)} is no {tag}")
            return str(node.value)
        return made if made is None or isinstance(made, bool | int | float) else str(made)

    def text(self, node: yaml.ScalarNode, where: Where) -> str:
        """A scalar's text. JSON writes an emoji as two escapes, which YAML reads as two halves: they are put together here."""
        try:
            return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.complain(
                node.start_mark, where, "half of a character (an escape from \\ud800 to \\udfff without its other half)"
            )
            return str(node.value).encode("utf-8", "replace").decode()
