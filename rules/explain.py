"""What a person is told about a file: what it is, on what evidence, which rule would fire and what would be done.

What must hold: `as_json` prints exactly the keys below, in this order, one object a line; a field that does not apply is
null. Everything comes from Facts and Verdict, so that an explanation can never say anything else than what would happen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from .actions import PATH_MARK
from .confidence import Bands
from .terms import Action, Evidence, Facts, Param, RuleTrace, Verdict

BANDS = Bands()
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Facts and Verdict of one unit, ready to be printed. The model's fields are None for what is no model."""

    path: str
    kind: str
    type: str | None
    base: str | None
    variant: str | None
    subfamily: str | None
    precision: str | None
    lora_format: str | None
    roles: tuple[str, ...] | None
    confidence: float | None  # the smaller of type's and base's
    confidences: Mapping[str, float] | None
    condition: str
    reason: str | None
    evidence: tuple[Evidence, ...]
    conflicts: tuple[str, ...]
    rule: str | None
    actions: tuple[Action, ...]
    why: str
    trace: tuple[RuleTrace, ...]


def explanation(facts: Facts, verdict: Verdict) -> Explanation:
    """Put facts and verdict together. Pure."""
    model = facts.model
    return Explanation(
        path=str(facts.path),
        kind=facts.kind.value,
        type=model.type if model else None,
        base=model.base if model else None,
        variant=model.variant if model else None,
        subfamily=model.subfamily if model else None,
        precision=model.precision if model else None,
        lora_format=model.lora_format if model else None,
        roles=model.roles if model else None,
        confidence=model.confidence if model else None,
        confidences=model.confidences if model else None,
        condition=facts.condition.value,
        reason=facts.reason,
        evidence=facts.evidence,
        conflicts=facts.conflicts,
        rule=verdict.rule,
        actions=verdict.actions,
        why=verdict.why,
        trace=verdict.trace,
    )


def as_json(explained: Explanation) -> str:
    """One line of JSON. A path that is no valid Unicode is written with escapes, so that the line itself always is."""
    e = explained
    whole: dict[str, Plain] = {
        "path": e.path,
        "kind": e.kind,
        "facts": {
            "type": e.type,
            "base": e.base,
            "variant": e.variant,
            "subfamily": e.subfamily,
            "precision": e.precision,
            "lora_format": e.lora_format,
            "roles": None if e.roles is None else list(e.roles),
            "confidence": None if e.confidence is None else round(e.confidence, 4),
            "confidences": None if e.confidences is None else {k: round(v, 4) for k, v in e.confidences.items()},
            "condition": e.condition,
            "reason": e.reason,
        },
        "evidence": [{"source": v.source, "says": v.says, "weight": round(v.weight, 4), "text": v.text} for v in e.evidence],
        "conflicts": list(e.conflicts),
        "rule": e.rule,
        "actions": [_action(action) for action in e.actions],
    }
    try:
        text = json.dumps(whole, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(whole, allow_nan=False)
    return text


def _action(action: Action) -> Plain:
    params: dict[str, Plain] = {}
    for name, value in shown(action).items():
        params[name] = list(value) if isinstance(value, tuple) else value
    return {"verb": action.verb, "params": params}


def shown(action: Action) -> dict[str, Param]:
    """The parameters as they may be shown: an address without its path, which may hold a secret; `{path}` where it will stand."""
    found: dict[str, Param] = {}
    for name, value in action.params.items():
        if name == "url" and isinstance(value, str):
            parts = urlsplit(value)
            found[name] = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/***"
        elif isinstance(value, tuple):
            found[name] = tuple(part.replace(PATH_MARK, "{path}") for part in value)
        else:
            found[name] = value
    return found


def as_lines(explained: Explanation, trace: bool = False, bands: Bands = BANDS) -> list[str]:
    """The same for a person, line by line, with the word for the confidence; with `trace` also how every rule answered."""
    e = explained
    known = [e.kind, *(f"{name} {value}" for name, value in _named(e) if value)]
    if e.confidence is not None:
        axes = ", ".join(f"{axis} {value:.2f}" for axis, value in (e.confidences or {}).items())
        known.append(f"confidence {e.confidence:.2f} {bands.word(e.confidence)}{f' ({axes})' if axes else ''}")
    if e.condition != "ok":
        known.append(f"{e.condition} ({e.reason})" if e.reason else e.condition)
    lines = [e.path, f"  is      {', '.join(known)}"]
    lines += [f"  because {v.text} ({v.source}, {v.weight:.2f})" for v in e.evidence]
    lines += [f"  but     {conflict}" for conflict in e.conflicts]
    lines.append(f"  rule    {e.rule or 'none'}: {e.why}")
    lines += [f"  do      {said(action)}" for action in e.actions]
    for answer in e.trace if trace else ():
        lines.append(f"  {'yes' if answer.matched else 'no '}     {answer.rule}")
        lines += [f"            {'ok' if c.ok else '--'} {c.key}: wanted {c.expected}, found {c.actual}" for c in answer.checks]
    return lines


def as_text(explained: Explanation, trace: bool = False, bands: Bands = BANDS) -> str:
    """`as_lines` as one text."""
    return "\n".join(as_lines(explained, trace, bands))


def _named(e: Explanation) -> tuple[tuple[str, str | None], ...]:
    return (
        ("type", e.type),
        ("base", e.base),
        ("variant", e.variant),
        ("subfamily", e.subfamily),
        ("precision", e.precision),
        ("format", e.lora_format),
    )


def said(action: Action) -> str:
    """An action in one line: `caption with=basic set=main only=missing`."""
    params = (f"{k}={' '.join(v) if isinstance(v, tuple) else v}" for k, v in shown(action).items() if v is not None)
    return " ".join((action.verb, *params))
