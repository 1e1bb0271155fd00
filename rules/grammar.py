"""From the YAML of `pipelines:` to Pipelines: every word is checked against the tables of conditions and actions.

What must hold: all mistakes are found in one pass, each with its place and the nearest right word; a rule with a mistake is
still read as far as possible, so that the next mistake is found too. No mistake raises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from .actions import ACTIONS, ON_ERROR, PLACEHOLDERS, ActionForm, ParamForm, ParamRow, unknown_placeholders
from .argv import dangers
from .conditions import CONDITIONS, ConditionForm, Form, Group, Question
from .confidence import BANDS, Bands
from .document import Document, Problem, Value, Where, describe, nearest
from .globs import Pattern, compile_pattern, fold
from .measures import Comparison, Measure, parse_comparison, parse_duration, parse_number, parse_size
from .pipeline import Pipeline, Rule
from .terms import Action, Kind, Param

RULE_KEYS = ("name", "when", "do", "continue", "enabled")
MAX_DEPTH = 20  # any/all/not within each other
_GLOB_SIGNS = frozenset("*?[{/.")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """What the words of a rule may refer to, the home that `~` stands for in a path pattern ("" leaves it), and what words mean."""

    names: Mapping[str, Collection[str]] = field(default_factory=dict)  # captioners, targets
    home: str = ""
    bands: Bands = field(default_factory=Bands)  # what `confidence: sure` means


def read_pipelines(
    document: Document, where: Where, value: Value, context: Context
) -> tuple[dict[str, Pipeline], tuple[Problem, ...]]:
    """The pipelines of the section at `where`, by name, and every Problem in them."""
    reader = _Reader(document, context)
    return reader.pipelines(where, value), tuple(reader.problems)


class _Reader:
    """Walks the section once; each method reads one kind of thing and notes what is wrong with it."""

    def __init__(self, document: Document, context: Context) -> None:
        self.document, self.context = document, context
        self.problems: list[Problem] = []

    def wrong(self, where: Where, message: str, value: str = "", mend: str = "", at_key: bool = False) -> None:
        self.problems.append(self.document.problem(where, message, value=value, mend=mend, at_key=at_key))

    # ------------------------------------------------------------ pipelines and rules

    def pipelines(self, where: Where, value: Value) -> dict[str, Pipeline]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(where, "expected pipelines by name", describe(value))
            return {}
        return {name: Pipeline(name, self.rules((*where, name), rules)) for name, rules in value.items()}

    def rules(self, where: Where, value: Value) -> tuple[Rule, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self.wrong(where, "expected a list of rules", describe(value))
            return ()
        rules = [self.rule((*where, i), item, f"rule {i + 1}") for i, item in enumerate(value)]
        seen: set[str] = set()
        for i, rule in enumerate(rules):
            if rule.name in seen:
                self.wrong((*where, i, "name"), "two rules of one pipeline have this name", repr(rule.name))
            seen.add(rule.name)
        return tuple(rules)

    def rule(self, where: Where, value: Value, default: str) -> Rule:
        if not isinstance(value, dict):
            self.wrong(where, "expected a rule with `when` and `do`", describe(value))
            return Rule(default)
        self.known_keys(where, value, RULE_KEYS, "a rule has")
        name = self.text((*where, "name"), value["name"]) if "name" in value else default
        if "do" not in value:
            self.wrong(where, "expected `do` with the actions of this rule (`do: []` leaves the file where it is)")
        when = self.questions((*where, "when"), value.get("when"))
        do = self.actions((*where, "do"), value.get("do"))
        self.check_kinds((*where, "do"), when, do)
        return Rule(
            name or default,
            when,
            do,
            self.flag((*where, "continue"), value.get("continue", False)),
            self.flag((*where, "enabled"), value.get("enabled", True)),
        )

    def known_keys(self, where: Where, value: Mapping[str, Value], known: Collection[str], what: str) -> None:
        for key in value:
            if key not in known:
                message = f"unknown key: {what} {', '.join(known)}"
                self.wrong((*where, key), message, mend=nearest(key, known), at_key=True)

    def check_kinds(self, where: Where, when: tuple[Question | Group, ...], do: tuple[Action, ...]) -> None:
        """An action that can never apply to the kinds a rule asks for is a mistake, not a rule that does nothing."""
        asked = next((q for q in when if isinstance(q, Question) and q.key == "kind"), None)
        if asked is None:
            return
        kinds = [kind for kind in Kind if any(p.matches(kind) for p in asked.patterns)]
        for i, action in enumerate(do):
            form = ACTIONS[action.verb]
            if kinds and form.kinds and not set(kinds) & set(form.kinds):
                message = f"`{action.verb}` is for {' and '.join(form.kinds)}, but the rule is for {' and '.join(kinds)}"
                self.wrong((*where, i), message)

    # ------------------------------------------------------------ conditions

    def questions(self, where: Where, value: Value, depth: int = 0) -> tuple[Question | Group, ...]:
        if value is None:
            return ()
        if depth > MAX_DEPTH:
            self.wrong(where, f"conditions nested more than {MAX_DEPTH} deep")
            return ()
        if not isinstance(value, dict):
            self.wrong(where, "expected conditions, like {kind: image}", describe(value))
            return ()
        found = (self.question((*where, key), key, item, depth) for key, item in value.items())
        return tuple(q for q in found if q is not None)

    def question(self, where: Where, key: str, value: Value, depth: int) -> Question | Group | None:
        row = CONDITIONS.get(key)
        if row is None:
            self.wrong(where, "unknown condition", mend=nearest(key, CONDITIONS), at_key=True)
            return None
        if row.form is Form.GROUP:
            return self.group(where, key, value, depth)
        if row.form is Form.FLAG:
            flag = self.flag(where, value)
            return Question(key, str(flag).lower(), flag=flag)
        items = list(_items(where, value))
        if not items:
            self.wrong(where, f"expected {row.form}, like {row.example}", describe(value))
            return None
        expected = " or ".join(str(item) for _, item in items)
        if row.form is Form.COMPARISON:
            comparisons = tuple(c for at, item in items if (c := self.comparison(at, item, row)))
            return Question(key, expected, comparisons=comparisons)
        return Question(key, expected, tuple(p for at, item in items if (p := self.pattern(at, item, row))))

    def group(self, where: Where, key: str, value: Value, depth: int) -> Group:
        """`any` and `all` over a mapping ask each of its conditions; `not` over a list means that none of its groups is met."""
        if isinstance(value, dict) and value:
            return Group(key, self.questions(where, value, depth + 1))
        if not isinstance(value, list) or not value:
            self.wrong(where, f"expected groups of conditions, like {CONDITIONS[key].example}", describe(value))
            return Group(key)
        parts = tuple(Group("all", self.questions((*where, i), item, depth + 1)) for i, item in enumerate(value))
        return Group("not", (Group("any", parts),)) if key == "not" else Group(key, parts)

    def comparison(self, where: Where, value: Value, row: ConditionForm) -> Comparison | None:
        if row.measure is not Measure.SHARE or not isinstance(value, str) or not value.strip().isalpha():
            return self.parsed(where, value, lambda v: parse_comparison(v, row.measure))
        found = self.context.bands.comparison(value)
        if found is None:
            self.wrong(where, f"expected {row.form}, or one of {', '.join(BANDS)}", repr(value), nearest(value, BANDS))
        return found

    def pattern(self, where: Where, value: Value, row: ConditionForm) -> Pattern | None:
        text = self.text(where, value)
        if text is None:
            return None
        if row.name == "path" and self.context.home and text.startswith("~/"):
            text = self.context.home.rstrip("/") + text[1:]
        compiled = self.parsed(where, text, lambda v: compile_pattern(str(v)))
        words = tuple(Kind) if row.name == "contains" and not _GLOB_SIGNS & set(text) else row.words
        if compiled and words and not any(compiled.matches(fold(word)) for word in words):
            self.wrong(where, f"expected one of {', '.join(words)}", repr(text), nearest(text, words))
        return compiled

    # ------------------------------------------------------------ actions

    def actions(self, where: Where, value: Value) -> tuple[Action, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            one = self.action(where, value)
            return (one,) if one else ()
        return tuple(a for i, item in enumerate(value) if (a := self.action((*where, i), item)))

    def action(self, where: Where, value: Value) -> Action | None:
        """`store`, or `tag: [new]`, or `caption: {with: basic}`."""
        if isinstance(value, dict) and len(value) == 1:
            ((verb, given),) = value.items()
            at: Where = (*where, verb)
        elif isinstance(value, str):
            verb, given, at = value, None, where
        else:
            self.wrong(where, "expected one action, like store or {tag: [new]}", describe(value))
            return None
        form = ACTIONS.get(verb)
        if form is not None:
            return Action(verb, self.params(at, form, given))
        self.wrong(at, f"unknown action `{verb}`", mend=nearest(verb, ACTIONS), at_key=True)
        return None

    def params(self, where: Where, form: ActionForm, value: Value) -> dict[str, Param]:
        result: dict[str, Param] = {row.name: row.default for row in form.params if row.default is not None}
        for at, name, given in self.given(where, form, value):
            row = form.param(name)
            if row is None:
                names = [p.name for p in form.params]
                what = f"`{form.verb}` takes {', '.join(names)}" if names else f"`{form.verb}` takes no parameters"
                self.wrong(at, f"unknown parameter: {what}", mend=nearest(name, names), at_key=True)
            elif given is not None:
                param = self.param(at, row, given)
                if param is not None:
                    result[name] = param
            elif row.default is None:
                self.wrong(at, f"expected {row.form}", "nothing")
        for row in form.params:
            if row.required and row.name not in result and not _stands(value, row.name, form.shorthand):
                self.wrong(where, f"`{form.verb}` needs `{row.name}`, like {form.example}")
        return result

    def given(self, where: Where, form: ActionForm, value: Value) -> Iterator[tuple[Where, str, Value]]:
        """The parameters as written, one by one: a scalar or list is the shorthand's, `limits: {total: …}` is `limits.total`."""
        if value is None:
            return
        if not isinstance(value, dict):
            yield where, form.shorthand or "", value
            return
        groups = {p.name.split(".")[0] for p in (*form.params, *ON_ERROR) if "." in p.name}
        for key, item in value.items():
            if key in groups and isinstance(item, dict):
                yield from (((*where, key, inner), f"{key}.{inner}", v) for inner, v in item.items())
            elif key in groups:
                self.wrong((*where, key), f"expected a mapping, like {{{key}: {{…}}}}", describe(item))
            else:
                yield (*where, key), key, item

    def param(self, where: Where, row: ParamRow, value: Value) -> Param:
        if row.form is ParamForm.DURATION:
            return self.parsed(where, value, parse_duration)
        if row.form is ParamForm.SIZE:
            return self.parsed(where, value, parse_size)
        if row.form is ParamForm.NUMBER:
            return self.parsed(where, value, parse_number)
        if row.form is ParamForm.COUNT:
            return self.parsed(where, value, _whole)
        if row.form is ParamForm.WORDS:
            words = [self.word(at, row, item) for at, item in _items(where, value)]
            return tuple(w for w in words if w) or None
        if row.form is ParamForm.WORD:
            return self.word(where, row, value)
        if row.form is ParamForm.ARGV:
            return self.arguments(where, value)
        if row.form is ParamForm.URL:
            text = self.text(where, value)
            return None if text is None else self.parsed(where, text, web_address)
        if row.form is ParamForm.PATH:
            return self.folder(where, value)
        return self.template(where, value)

    def arguments(self, where: Where, value: Value) -> tuple[str, ...] | None:
        """A program and its arguments, a list: no shell is there to take a line apart."""
        if isinstance(value, str):
            mend = f"[{', '.join(value.split())}]"
            self.wrong(
                where, "expected a list: the program, then its arguments, for no shell takes a line apart", describe(value), mend
            )
            return None
        found = [(at, text) for at, item in _items(where, value) if (text := self.template(at, item, ("path",)))]
        for number, why, instead in dangers([text for _, text in found]):
            self.wrong(found[number][0], why, repr(found[number][1]), instead)
        return tuple(text for _, text in found) or None

    def folder(self, where: Where, value: Value) -> str | None:
        """A folder's path: `~` is the home, and no part leads upwards."""
        text = self.template(where, value)
        if text is None:
            return None
        if ".." in text.split("/"):
            self.wrong(where, "expected a folder without `..`", repr(text))
        if text == "~" or text.startswith("~/"):
            text = (self.context.home.rstrip("/") or "~") + text[1:]
        return text.rstrip("/") or "/"

    def word(self, where: Where, row: ParamRow, value: Value) -> str | None:
        text = self.text(where, value)
        words = self.context.names.get(row.names, ()) if row.names else row.choices
        if text is not None and (row.names or row.choices) and text not in words:
            listed = ", ".join(words) or f"nothing yet: `{row.names}` is empty"
            self.wrong(where, f"expected one of {listed}", repr(text), nearest(text, words))
            return None
        return text

    def template(self, where: Where, value: Value, also: tuple[str, ...] = ()) -> str | None:
        text = self.text(where, value)
        for word in unknown_placeholders(text or "", also):
            known = ", ".join(f"{{{p}}}" for p in (*PLACEHOLDERS, *also))
            shown = word if word in "{}" else f"{{{word}}}"
            mend = nearest(word, (*PLACEHOLDERS, *also))
            self.wrong(where, f"unknown placeholder {shown}: there are {known}", mend=f"{{{mend}}}" if mend else "")
        return text

    # ------------------------------------------------------------ scalars

    def parsed(self, where: Where, value: Value, parse: Callable[[object], T]) -> T | None:
        """What `parse` makes of a value, or None and a Problem with the sentence it raised."""
        try:
            return parse(value)
        except ValueError as error:
            self.wrong(where, str(error), describe(value))
            return None

    def text(self, where: Where, value: Value) -> str | None:
        if isinstance(value, str):
            if not value.strip():
                self.wrong(where, "expected text that is not empty")
                return None
            return value
        self.problems.append(self.document.not_text(where, value))
        return None

    def flag(self, where: Where, value: Value) -> bool:
        if isinstance(value, bool):
            return value
        self.wrong(where, "expected true or false", describe(value))
        return False


def _items(where: Where, value: Value) -> Iterator[tuple[Where, Value]]:
    """A list's items with their places; anything else counts as a list of one, and an empty value as none."""
    if isinstance(value, list):
        yield from (((*where, i), item) for i, item in enumerate(value))
    elif value is not None:
        yield where, value


def _whole(value: object) -> int:
    number = parse_number(value)
    if number != int(number):
        raise ValueError("expected a whole number")
    return int(number)


def web_address(value: object) -> str:
    """An http or https address with a host, as it was written. Raises ValueError."""
    try:
        parts = urlsplit(str(value))
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("expected an address like http://127.0.0.1:9000/new")
    return str(value)


def _stands(value: Value, name: str, shorthand: str) -> bool:
    """True when the parameter was written at all (then what is wrong with it has been said)."""
    if isinstance(value, dict):
        return name in value
    return value is not None and name == shorthand
