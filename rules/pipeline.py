"""Deciding: which rule of a pipeline fires for a unit, which actions follow, and why.

What must hold: `decide` is pure, total and deterministic: the same facts, known and clock give the same Verdict, for any
input. The first rule that matches wins; one that says `continue: true` gives its actions and lets the next ones answer too.
Unsafe and invalid files never reach a rule: an inbox quarantines them, any other folder only reports them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .actions import rendered
from .conditions import Asked, Group, Question, ask
from .terms import Action, Check, Condition, Facts, Known, Mode, RuleTrace, Verdict

BUILT_IN_QUARANTINE = "(built in) quarantine"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: when every condition is met, do the actions in order. Placeholders are still to be filled."""

    name: str
    when: tuple[Question | Group, ...] = ()
    do: tuple[Action, ...] = ()
    go_on: bool = False  # `continue: true`
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Rules in their order."""

    name: str
    rules: tuple[Rule, ...] = ()


def decide(pipeline: Pipeline | None, facts: Facts, known: Known, now: float) -> Verdict:
    """What should happen to a unit, and why. `now` is seconds since the epoch. Never raises, changes nothing."""
    name = pipeline.name if pipeline else None
    if facts.condition in (Condition.UNSAFE, Condition.INVALID):
        return _untrusted(name, facts, known)
    if pipeline is None:
        return Verdict(None, why="no pipeline is set for this folder: left where it is")
    asked = Asked(facts, known, now)
    fired: list[Rule] = []
    trace: list[RuleTrace] = []
    ended: Rule | None = None
    for rule in pipeline.rules:
        if ended is not None:
            trace.append(_not_tried(rule.name, ended.name))
            continue
        answer = _answer(rule, asked)
        trace.append(answer)
        if answer.matched:
            fired.append(rule)
            ended = None if rule.go_on else rule
    if not fired:
        return Verdict(None, trace=tuple(trace), pipeline=name, why="no rule matched: left where it is")
    actions = tuple(rendered(action, facts, known, now) for rule in fired for action in rule.do)
    names = " + ".join(rule.name for rule in fired)
    return Verdict(names, actions, tuple(trace), name, _why(fired[-1], trace))


def _untrusted(pipeline: str | None, facts: Facts, known: Known) -> Verdict:
    reason = facts.reason or str(facts.condition)
    if known.watch is not None and known.watch.mode is Mode.INBOX:
        action = Action("quarantine", {"reason": reason})
        return Verdict(BUILT_IN_QUARANTINE, (action,), (), pipeline, f"{facts.condition}: {reason}")
    return Verdict(None, (), (), pipeline, f"{facts.condition}: {reason}; reported, and left where it is")


def _answer(rule: Rule, asked: Asked) -> RuleTrace:
    """One rule's answer; the checks end with the first that is not met."""
    if not rule.enabled:
        return RuleTrace(rule.name, False, (Check("enabled", "true", "false", False),))
    checks: list[Check] = []
    for question in rule.when:
        checks.append(ask(question, asked))
        if not checks[-1].ok:
            return RuleTrace(rule.name, False, tuple(checks))
    return RuleTrace(rule.name, True, tuple(checks))


@lru_cache(maxsize=512)
def _not_tried(rule: str, ended: str) -> RuleTrace:
    """Always the same for two rules: most of a trace, and a burst makes one for every file."""
    return RuleTrace(rule, False, (Check("order", "no earlier rule matches", f"{ended!r} matched first", False),))


def _why(rule: Rule, trace: list[RuleTrace]) -> str:
    checks = next((t.checks for t in reversed(trace) if t.matched), ())
    said = ", ".join(f"{c.key} {c.actual}" for c in checks)
    return said or f"{rule.name!r} asks for nothing"
