"""Deciding: first match wins, built-in caution first, pure and total."""

from pathlib import Path

from dropdock.rules.actions import ACTIONS
from dropdock.rules.conditions import CONDITIONS
from dropdock.rules.document import parse
from dropdock.rules.grammar import Context, read_pipelines
from dropdock.rules.pipeline import BUILT_IN_QUARANTINE, Pipeline, decide
from dropdock.rules.terms import (
    Action,
    ArchiveFacts,
    ArchiveMember,
    Check,
    Condition,
    Facts,
    ImageFacts,
    Kind,
    Known,
    Mode,
    ModelFacts,
    Watch,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1_800_000_000.0
INBOX = Known(watch=Watch("in", Path("/in"), Mode.INBOX))
LIBRARY = Known(watch=Watch("lib", Path("/in"), Mode.LIBRARY))
PICTURE = Facts(Path("/in/cats/Tom.jpg"), Kind.IMAGE, 5, image=ImageFacts("jpeg", 4, 3))


def pipeline(text: str) -> Pipeline:
    document = parse(f"p:\n{text}", "c")
    pipelines, problems = read_pipelines(document, (), document.value, Context())
    assert not document.problems and not problems
    return pipelines["p"]


TWO = """
  - {name: models, when: {kind: model}, do: [store]}
  - {name: pictures, when: {kind: image, size: "< 1 kB"}, do: [{dataset: "{parent}"}, {tag: small}]}
  - {name: rest, do: [{hold: "what is {name}?"}]}
"""


def test_the_first_match_wins_and_the_trace_says_why() -> None:
    """The second rule fires with its placeholders filled; the trace holds what was wanted and found, and what was not tried."""
    verdict = decide(pipeline(TWO), PICTURE, INBOX, NOW)
    assert verdict.rule == "pictures"
    assert verdict.actions == (Action("dataset", {"name": "cats"}), Action("tag", {"tags": ("small",)}))
    assert verdict.pipeline == "p"
    assert verdict.why == "kind image, size 5 B"
    models, pictures, rest = verdict.trace
    assert (models.matched, models.checks) == (False, (Check("kind", "model", "image", False),))
    assert (pictures.matched, len(pictures.checks)) == (True, 2)
    assert (rest.matched, rest.checks[0].actual) == (False, "'pictures' matched first")


def test_continue_lets_the_next_rules_answer() -> None:
    """A rule with `continue: true` gives its actions, and the first one without it ends the walk."""
    rules = """
  - {name: mark, when: {kind: image}, do: [{tag: seen}], continue: true}
  - {name: idle, do: [store], enabled: false}
  - {name: keep, do: [{dataset: x}]}
  - {name: never, do: [store]}
"""
    verdict = decide(pipeline(rules), PICTURE, INBOX, NOW)
    assert verdict.rule == "mark + keep"
    assert [a.verb for a in verdict.actions] == ["tag", "dataset"]


def test_no_match_leaves_the_unit() -> None:
    """A lone caption that no rule names stays where it is, and so does everything without a pipeline."""
    caption = Facts(Path("/in/a.txt"), Kind.CAPTION, 5)
    verdict = decide(pipeline("  - {when: {kind: model}, do: [store]}"), caption, INBOX, NOW)
    assert (verdict.rule, verdict.actions) == (None, ())
    assert decide(None, caption, INBOX, NOW).rule is None


def test_untrusted_files_never_reach_a_rule() -> None:
    """An inbox quarantines unsafe and invalid files before any rule; a library reports them and moves nothing."""
    everything = pipeline("  - {do: [store]}")
    for condition in (Condition.UNSAFE, Condition.INVALID):
        bad = Facts(Path("/in/x.pt"), Kind.MODEL, 5, condition, "runs-code")
        verdict = decide(everything, bad, INBOX, NOW)
        assert verdict.rule == BUILT_IN_QUARANTINE
        assert verdict.actions == (Action("quarantine", {"reason": "runs-code"}),)
        for elsewhere in (LIBRARY, Known()):
            left = decide(everything, bad, elsewhere, NOW)
            assert (left.rule, left.actions) == (None, ())
            assert "reported" in left.why
    fine = Facts(Path("/in/x.pt"), Kind.MODEL, 5, Condition.NEEDS_TRUST, "globals")
    assert decide(everything, fine, INBOX, NOW).rule == "rule 1"


# ---------------------------------------------------------------- total and deterministic, for any input

TEXT = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=8).filter(lambda t: t not in (".", ".."))
FLOATS = st.floats()
IMAGES = st.builds(ImageFacts, TEXT, st.integers(), st.integers(), st.integers(0, 9), st.booleans())
MEMBERS = st.builds(ArchiveMember, TEXT, st.integers(), st.sampled_from(Kind))
ARCHIVES = st.builds(ArchiveFacts, TEXT, st.lists(MEMBERS, max_size=3).map(tuple), st.integers())
MODELS = st.builds(
    ModelFacts,
    TEXT,
    TEXT,
    TEXT,
    st.none() | TEXT,
    confidences=st.dictionaries(st.sampled_from(["type", "base"]), FLOATS),
)
WATCHES = st.builds(Watch, TEXT, st.lists(TEXT, max_size=2).map(lambda p: Path("/", *p)), st.sampled_from(Mode))
FACTS = st.builds(
    Facts,
    st.lists(TEXT, max_size=3).map(lambda p: Path("/", *p)),
    st.sampled_from(Kind),
    st.integers(-(10**20), 10**20),
    st.sampled_from(Condition),
    st.none() | TEXT,
    st.none() | IMAGES,
    st.none() | ARCHIVES,
    st.none() | MODELS,
    folder=st.booleans(),
)
KNOWNS = st.builds(
    Known,
    st.booleans(),
    st.frozensets(TEXT, max_size=2),
    st.none() | TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
    st.none() | FLOATS,
    st.none() | WATCHES,
)
WHEN = {name: row.example for name, row in CONDITIONS.items()}


def _pipelines() -> st.SearchStrategy[Pipeline]:
    """Rules made of any of the table's own examples, with templates in every place that takes one."""

    def rule(keys: list[str], verb: str, go_on: bool) -> str:
        when = ", ".join(f"{key}: {WHEN[key]}" for key in keys)
        do = f"[{{unpack: '{{name}}{{parent}}{{date}}'}}, {verb}]"
        return f"  - {{when: {{{when}}}, do: {do}, continue: {str(go_on).lower()}}}"

    keys = st.lists(st.sampled_from([k for k in WHEN if k != "kind"]), max_size=3, unique=True)
    words = [f"{{{f.example}}}" if any(p.required for p in f.params) else v for v, f in ACTIONS.items() if v != "caption"]
    verbs = st.sampled_from(words)
    rules = st.lists(st.builds(rule, keys, verbs, st.booleans()), min_size=1, max_size=4)
    return rules.map(lambda texts: pipeline("\n".join(texts)))


@settings(max_examples=150, deadline=None)
@given(_pipelines(), FACTS, KNOWNS, FLOATS)
def test_deciding_is_total_and_deterministic(rules: Pipeline, facts: Facts, known: Known, now: float) -> None:
    """Any facts, known and clock give a Verdict, twice the same, whose actions come from the rules that matched."""
    verdict = decide(rules, facts, known, now)
    assert repr(verdict) == repr(decide(rules, facts, known, now))
    if facts.condition in (Condition.UNSAFE, Condition.INVALID):
        assert all(a.verb == "quarantine" for a in verdict.actions)
        return
    assert len(verdict.trace) == len(rules.rules)
    matched = [r for r, t in zip(rules.rules, verdict.trace, strict=True) if t.matched]
    assert [a.verb for a in verdict.actions] == [a.verb for r in matched for a in r.do]
    assert (verdict.rule is None) == (not matched)
    assert all(r.go_on for r in matched[:-1])
