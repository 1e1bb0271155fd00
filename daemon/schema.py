"""The JSON Schema of the configuration, for editors that complete and check while one writes.

What must hold: it is made from the one table of settings and from the tables of conditions and actions, and from nothing else, so that
it cannot tell of a word that the loader does not know. It is never stricter than the loader, which alone has the last word: any value
may be filled from `${NAME}`. Format: JSON Schema 2020-12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic.fields import FieldInfo

from ..handlers.captioners.tagging import MERGES, ORDERS, RATINGS
from ..rules.actions import ACTIONS, ON_ERROR, ActionForm, ParamForm, ParamRow
from ..rules.captions import EXISTING, KINDS
from ..rules.conditions import CONDITIONS, TYPES, ConditionForm
from ..rules.conditions import Form as Asked
from ..rules.grammar import RULE_KEYS
from ..rules.layouts import CUSTOM, built_in_layouts
from ..rules.terms import Mode
from .engines import ENGINES
from .forms import APIS, BUSY, LOG_FORMATS, LOG_LEVELS, Form, Section
from .settings import SECTIONS, Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, object]
_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
_TEXT: Schema = {"type": "string"}
_CHOICES = (KINDS, EXISTING, BUSY, APIS, RATINGS, ORDERS, MERGES)
_FORMS: Mapping[str, Schema] = {
    "text": _TEXT,
    "folder": _TEXT,
    "true or false": {"type": "boolean"},
    "whole number": {"type": "integer"},
    "number": {"type": "number"},
    "number from 0 to 1": {"type": "number"},
    "duration": {"type": ["string", "number"], "examples": ["2 s", "15 min", "14 days"]},
    "size": {"type": ["string", "number"], "examples": ["10 MB", "20 GB"]},
    "inbox, library or dataset": {"enum": list(Mode)},
    "auto, console or json": {"enum": list(LOG_FORMATS)},
    "debug, info, warning or error": {"enum": list(LOG_LEVELS)},
    "name of a layout": {"enum": [*built_in_layouts(), CUSTOM]},
    "folder by type": {"type": "object", "properties": {t: _TEXT for t in TYPES}, "additionalProperties": False},
    "http address": _TEXT,
    "list of text": {"type": "array", "items": _TEXT},
    "text or list of text": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
    "text by name": {"type": "object", "additionalProperties": _TEXT},
    "number by name": {"type": "object", "additionalProperties": {"type": "number"}},
    **{", ".join(words[:-1]) + f" or {words[-1]}": {"enum": list(words)} for words in _CHOICES},
}
_PARAMS: Mapping[ParamForm, Schema] = {
    ParamForm.DURATION: _FORMS["duration"],
    ParamForm.SIZE: _FORMS["size"],
    ParamForm.COUNT: _FORMS["whole number"],
    ParamForm.NUMBER: _FORMS["number"],
    ParamForm.WORDS: {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
    ParamForm.ARGV: {"type": "array", "items": _TEXT},
}


def schema() -> Schema:
    """The whole schema, as plain values."""
    properties: Schema = {}
    for name, field in Settings.model_fields.items():
        if name not in SECTIONS and name != "captioners":
            properties[name] = _setting(field)
    for name, model in SECTIONS.items():
        properties[name] = _section(model)
    properties["watch"] = _maybe({"type": "array", "items": _section(SECTIONS["watch"])})
    properties["targets"] = _maybe({"type": "object", "additionalProperties": _section(SECTIONS["targets"])})
    properties["captioners"] = _maybe({"type": "object", "additionalProperties": {"anyOf": [*_engines()]}})
    rules = {"type": ["array", "null"], "items": {"$ref": "#/$defs/rule"}}
    properties["pipelines"] = _maybe({"type": "object", "additionalProperties": rules})
    return {
        "$schema": DIALECT,
        "title": "dropdock",
        "description": "The configuration of dropdock.",
        **_object(properties),
        "$defs": {"rule": _rule(), "when": _when(), "action": _action()},
    }


# ---------------------------------------------------------------- settings


def _object(properties: Schema, required: Iterable[str] = ()) -> Schema:
    found: Schema = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
    must = list(required)
    return {**found, "type": "object", "required": must} if must else found


def _maybe(of: Schema) -> Schema:
    """A section that may stand empty."""
    return {"anyOf": [of, {"type": "null"}]}


def _section(model: type[Section]) -> Schema:
    required = [name for name, field in model.model_fields.items() if field.is_required()]
    return _object({name: _setting(field) for name, field in model.model_fields.items()}, required)


def _setting(field: FieldInfo) -> Schema:
    form = next(m for m in field.metadata if isinstance(m, Form))
    found: Schema = {"anyOf": [_FORMS[form.words], _VARIABLE, {"type": "null"}], "description": field.description or ""}
    if isinstance(field.default, (bool, int, float, str)) and not field.is_required():
        found["default"] = form.show(field.default) if form.show and not isinstance(field.default, (bool, str)) else field.default
    return found


def _engines() -> Iterable[Schema]:
    for engine, model in ENGINES.items():
        own = {name: _setting(field) for name, field in model.model_fields.items()}
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        yield _object({"engine": {"const": engine, "description": "who writes the captions"}, **own}, ["engine", *required])


# ---------------------------------------------------------------- rules


def _rule() -> Schema:
    one_or_more: Schema = {
        "anyOf": [{"$ref": "#/$defs/action"}, {"type": ["array", "null"], "items": {"$ref": "#/$defs/action"}}]
    }
    keys: Schema = {
        "name": {**_TEXT, "description": "shown in the history; unique in its pipeline"},
        "when": {"$ref": "#/$defs/when", "description": "every condition must be met"},
        "do": {**one_or_more, "description": "what is done, in this order"},
        "continue": {"type": "boolean", "description": "ask the next rules too", "default": False},
        "enabled": {"type": "boolean", "description": "false: not asked", "default": True},
    }
    return _object({key: keys[key] for key in RULE_KEYS}, ["do"])


def _when() -> Schema:
    return _object({name: {**_asked(row), "description": row.help} for name, row in CONDITIONS.items()})


def _asked(row: ConditionForm) -> Schema:
    if row.form is Asked.FLAG:
        return {"type": "boolean"}
    if row.form is Asked.GROUP:
        group: Schema = {"$ref": "#/$defs/when"}
        return {"anyOf": [group, {"type": "array", "items": group}]}
    if row.form is Asked.COMPARISON:
        one: Schema = {"type": ["string", "number"]}
    else:
        one = {"anyOf": [{"enum": list(row.words)}, _TEXT]} if row.words else _TEXT
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _action() -> Schema:
    bare = [verb for verb, form in ACTIONS.items() if not any(p.required for p in form.params)]
    whole = {verb: {**_given(form), "description": form.help} for verb, form in ACTIONS.items()}
    named: Schema = {"type": "object", "properties": whole, "additionalProperties": False, "minProperties": 1, "maxProperties": 1}
    return {"anyOf": [{"enum": bare}, named]}


def _given(form: ActionForm) -> Schema:
    """What may stand behind a verb: its main value, or a mapping."""
    mapping = _object(_params((*form.params, *ON_ERROR)), [p.name for p in form.params if p.required])
    main = form.param(form.shorthand) if form.shorthand else None
    return {"anyOf": [mapping, *([_param(main)] if main else []), {"type": "null"}]}


def _params(rows: Iterable[ParamRow]) -> Schema:
    """Parameters by name; a dot in a name is a mapping in the mapping."""
    found: Schema = {}
    nested: dict[str, Schema] = {}
    for row in rows:
        head, _, tail = row.name.partition(".")
        if tail:
            nested.setdefault(head, {})[tail] = _param(row)
        else:
            found[head] = _param(row)
    return {**found, **{head: _object(inner) for head, inner in nested.items()}}


def _param(row: ParamRow) -> Schema:
    form: Schema = {"enum": list(row.choices)} if row.choices else _PARAMS.get(row.form, _TEXT)
    found: Schema = {"anyOf": [form, _VARIABLE], "description": row.help}
    if row.default is not None:
        found["default"] = row.default
    return found
