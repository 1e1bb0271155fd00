"""The conditions of a rule: an explicit table of everything that `when` may ask, and how a question is answered.

What must hold: asking is pure and total. A fact that a unit does not have (the width of a ZIP) is no error, the condition is
simply not met. Whatever is asked leaves a Check with what was wanted and what was found.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from .confidence import BANDS
from .globs import Pattern
from .measures import Comparison, Measure, show_duration, show_size
from .terms import Check, Condition, Facts, Kind, Known, ModelFacts

TYPES = (  # the vocabulary of docs/models.md; a rule that names another type would never match, so it is a mistake
    *("checkpoint", "diffusion_model", "lora", "vae", "vae_approx", "text_encoder", "clip_vision", "controlnet"),
    *("t2i_adapter", "ip_adapter", "style_model", "embedding", "upscaler", "face_restore", "motion_module", "photomaker"),
    *("detector", "sam", "llm", "mmproj", "diffusers_pipeline", "model_patch", "training_state", "unknown"),
)
ORIENTATIONS = ("landscape", "portrait", "square")


class Form(StrEnum):
    """How the wanted value of a condition is written."""

    WORD = "a word"  # one of a fixed vocabulary, or a glob over it
    PATTERN = "a glob or /regex/"
    COMPARISON = "a comparison"
    FLAG = "true or false"
    GROUP = "conditions"


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything a question may look at."""

    facts: Facts
    known: Known
    now: float


Found = tuple[str, ...] | float | bool | None  # texts (any may fit), an amount, a flag, or nothing


@dataclass(frozen=True, slots=True)
class ConditionForm:
    """One row of the table: the word, how it is written, where the answer comes from, and the line the docs show."""

    name: str
    form: Form
    help: str
    example: str
    find: Callable[[Asked], Found]
    words: tuple[str, ...] = ()
    measure: Measure = Measure.NUMBER
    show: Callable[[float], str] = "{:g}".format

    def line(self) -> str:
        """The row as docs/rules.md has it."""
        return f"| `{self.name}` | {self.form} | `{self.name}: {self.example}` | {self.help} |"


def model_of(facts: Facts, known: Known) -> ModelFacts | None:
    """The model as the user sees it: an override of type or base is certain."""
    if facts.model is None or (known.type is None and known.base is None):
        return facts.model
    sure = {axis: 1.0 for axis, said in (("type", known.type), ("base", known.base)) if said is not None}
    return dataclasses.replace(
        facts.model,
        type=known.type if known.type is not None else facts.model.type,
        base=known.base if known.base is not None else facts.model.base,
        confidences={**facts.model.confidences, **sure},
    )


def shown_size(facts: Facts) -> tuple[int, int] | None:
    """Width and height of a picture as it is looked at: EXIF orientations 5 to 8 lie on their side."""
    if facts.image is None:
        return None
    width, height = facts.image.width, facts.image.height
    return (height, width) if facts.image.orientation >= 5 else (width, height)


def relative(facts: Facts, known: Known) -> PurePath | None:
    """The path below the watch's folder; None outside of it."""
    if known.watch is None or not facts.path.is_relative_to(known.watch.path):
        return None
    return facts.path.relative_to(known.watch.path)


def _axis(name: str) -> Callable[[Asked], Found]:
    def find(asked: Asked) -> Found:
        model = model_of(asked.facts, asked.known)
        said = getattr(model, name) if model else None
        return (str(said),) if said else None

    return find


def _confidence(asked: Asked) -> Found:
    model = model_of(asked.facts, asked.known)
    return model.confidence if model else None


def _path(asked: Asked) -> Found:
    below = relative(asked.facts, asked.known)
    whole = asked.facts.path.as_posix()
    return (whole,) if below is None else (below.as_posix(), whole)


def _contains(asked: Asked) -> Found:
    archive = asked.facts.archive
    return (*sorted(archive.contains), *dict.fromkeys(m.name for m in archive.members)) if archive else None


def _age(asked: Asked) -> Found:
    first = asked.known.first_seen
    return 0.0 if first is None else max(0.0, asked.now - first)


def _side(index: int) -> Callable[[Asked], Found]:
    def find(asked: Asked) -> Found:
        size = shown_size(asked.facts)
        return float(size[index]) if size else None

    return find


def _orientation(asked: Asked) -> Found:
    size = shown_size(asked.facts)
    if size is None:
        return None
    return ("square" if size[0] == size[1] else "landscape" if size[0] > size[1] else "portrait",)


def _suffix(asked: Asked) -> Found:
    suffixes = asked.facts.path.suffixes
    return tuple({suffixes[-1], "".join(suffixes[-2:])}) if suffixes else ("",)


def _row(name: str, form: Form, find: Callable[[Asked], Found], example: str, help: str) -> ConditionForm:
    return ConditionForm(name, form, help, example, find)


_ROWS = (
    ConditionForm("kind", Form.WORD, "what the file is by its content", "image", lambda a: (a.facts.kind,), tuple(Kind)),
    ConditionForm("type", Form.WORD, "type of a model (docs/models.md)", "[lora, vae]", _axis("type"), TYPES),
    _row("base", Form.PATTERN, _axis("base"), '"flux*"', "base of a model (docs/models.md)"),
    _row("variant", Form.PATTERN, _axis("variant"), "schnell", "variant of a model's base"),
    _row("subfamily", Form.PATTERN, _axis("subfamily"), "pony", "subfamily of a model's base"),
    ConditionForm(
        *("confidence", Form.COMPARISON, f"how sure type and base are, 0 to 1, or {', '.join(BANDS)}", '">= 0.6"', _confidence),
        measure=Measure.SHARE,
    ),
    ConditionForm(
        "condition", Form.WORD, "how far the file can be trusted", "ok", lambda a: (a.facts.condition,), tuple(Condition)
    ),
    _row("name", Form.PATTERN, lambda a: (a.facts.path.name,), '"*xl*"', "file name"),
    _row("path", Form.PATTERN, _path, '"**/loras/**"', "path below the watched folder, or absolute"),
    _row("suffix", Form.PATTERN, _suffix, "[.jpg, .png]", "file name's suffix, with or without the dot"),
    ConditionForm(
        *("size", Form.COMPARISON, "size of the file or folder", '"< 10 MB"', lambda a: float(a.facts.size)),
        measure=Measure.SIZE,
        show=show_size,
    ),
    ConditionForm("width", Form.COMPARISON, "width of a picture as shown, in pixels", '">= 512"', _side(0)),
    ConditionForm("height", Form.COMPARISON, "height of a picture as shown, in pixels", '"< 4096"', _side(1)),
    ConditionForm("orientation", Form.WORD, "the longer side of a picture as shown", "portrait", _orientation, ORIENTATIONS),
    _row("animated", Form.FLAG, lambda a: a.facts.image.animated if a.facts.image else None, "true", "a picture that moves"),
    ConditionForm("contains", Form.PATTERN, "a kind, or a member's path, in an archive", "image", _contains),
    _row("tag", Form.PATTERN, lambda a: tuple(sorted(a.known.tags)), "keep", "a tag given by a person or a rule"),
    ConditionForm(
        *("age", Form.COMPARISON, "time since it was first seen here", '"> 2 days"', _age),
        measure=Measure.DURATION,
        show=show_duration,
    ),
    _row("seen", Form.FLAG, lambda a: a.known.seen, "true", "the same content was taken in before"),
    _row("dataset", Form.PATTERN, lambda a: (a.known.dataset,) if a.known.dataset else None, "cats", "dataset it belongs to"),
    _row("any", Form.GROUP, lambda a: None, "[{type: lora}, {type: vae}]", "at least one of several groups of conditions"),
    _row("all", Form.GROUP, lambda a: None, '[{size: "> 1 MB"}, {size: "< 9 MB"}]', "every one of several groups"),
    _row("not", Form.GROUP, lambda a: None, "{tag: keep}", "the group of conditions is not met"),
)
CONDITIONS: Mapping[str, ConditionForm] = {row.name: row for row in _ROWS}


# ---------------------------------------------------------------- what a rule asks, once read


@dataclass(frozen=True, slots=True)
class Question:
    """One condition: any of the patterns, any of the comparisons, or the flag."""

    key: str
    expected: str
    patterns: tuple[Pattern, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    flag: bool | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """`any`, `all` or `not` over groups of tests; a rule's `when` is an `all` of one group."""

    key: str
    parts: tuple[Question | Group, ...] = ()


def ask(question: Question | Group, asked: Asked) -> Check:
    """Answer one condition. Pure and total."""
    return _ask_group(question, asked) if isinstance(question, Group) else _ask_test(question, asked)


def _ask_test(test: Question, asked: Asked) -> Check:
    row = CONDITIONS[test.key]
    found = row.find(asked)
    if isinstance(found, bool):
        return Check(test.key, test.expected, str(found).lower(), found is test.flag)
    if isinstance(found, tuple):
        ok = any(_fits(pattern, text, test.key) for pattern in test.patterns for text in found)
        return Check(test.key, test.expected, _listed(found), ok)
    if isinstance(found, float):
        ok = any(c.holds(found) for c in test.comparisons)
        return Check(test.key, test.expected, row.show(found) if math.isfinite(found) else str(found), ok)
    return Check(test.key, test.expected, "none", False)


def _fits(pattern: Pattern, text: str, key: str) -> bool:
    if key == "suffix" and pattern.regex is None and not pattern.text.startswith("."):
        text = text.removeprefix(".")
    return pattern.matches(text)


def _listed(texts: tuple[str, ...]) -> str:
    shown = ", ".join(texts[:5]) or "none"
    return f"{shown} and {len(texts) - 5} more" if len(texts) > 5 else shown


def _ask_group(group: Group, asked: Asked) -> Check:
    checks = [ask(part, asked) for part in group.parts]
    inner = [f"{c.key} {c.expected}" for c in checks]
    actual = "; ".join(dict.fromkeys(f"{c.key} {c.actual}" for c in checks))
    if group.key == "any":
        return Check("any", " or ".join(inner), actual, any(c.ok for c in checks))
    met = all(c.ok for c in checks)
    if group.key == "not":
        return Check("not", " and ".join(inner), actual, not met)
    return Check("all", " and ".join(inner), actual, met)
