"""What `explain` prints."""

import json
from pathlib import Path

from dropdock.rules.confidence import Bands
from dropdock.rules.explain import as_json, as_text, explanation
from dropdock.rules.terms import Action, Check, Condition, Evidence, Facts, Kind, ModelFacts, RuleTrace, Verdict

LORA = Facts(
    Path("/in/x.safetensors"),
    Kind.MODEL,
    9,
    model=ModelFacts("safetensors", "lora", "sdxl", roles=("lora",), confidences={"type": 0.99, "base": 0.7}),
    evidence=(Evidence("structure", "type=lora", 0.99, "lora_down and lora_up pairs"),),
    conflicts=("metadata says flux1",),
)
VERDICT = Verdict(
    "models",
    (Action("store"), Action("deploy", {"targets": ("forge",)})),
    (RuleTrace("models", True, (Check("kind", "model", "model", True),)),),
    "inbox",
    "kind model",
)


def test_the_json_of_a_model() -> None:
    """One line, exactly these keys in this order; confidence is the smaller of type's and base's."""
    text = as_json(explanation(LORA, VERDICT))
    assert "\n" not in text
    made = json.loads(text)
    assert list(made) == ["path", "kind", "facts", "evidence", "conflicts", "rule", "actions"]
    assert made["facts"] == {
        "type": "lora",
        "base": "sdxl",
        "variant": None,
        "subfamily": None,
        "precision": None,
        "lora_format": None,
        "roles": ["lora"],
        "confidence": 0.7,
        "confidences": {"type": 0.99, "base": 0.7},
        "condition": "ok",
        "reason": None,
    }
    assert made["evidence"] == [
        {"source": "structure", "says": "type=lora", "weight": 0.99, "text": "lora_down and lora_up pairs"}
    ]
    assert made["actions"] == [{"verb": "store", "params": {}}, {"verb": "deploy", "params": {"targets": ["forge"]}}]


def test_what_does_not_apply_is_null() -> None:
    """A picture has no type and no roles, and a unit that no rule matched has no rule."""
    made = json.loads(as_json(explanation(Facts(Path("/a.png"), Kind.IMAGE, 1), Verdict(None))))
    assert {k for k, v in made["facts"].items() if v is not None} == {"condition"}
    assert (made["rule"], made["actions"], made["evidence"]) == (None, [], [])


def test_a_name_that_is_no_unicode_survives() -> None:
    """The line is valid UTF-8 and gives the path back, even for bytes that are not."""
    path = Path("/in/\udcff.png")
    text = as_json(explanation(Facts(path, Kind.IMAGE, 1), Verdict(None)))
    assert json.loads(text.encode("utf-8"))["path"] == str(path)


def test_the_text_shows_evidence_rule_and_trace() -> None:
    """The lines for a person name what it is, why, what contradicts, the rule and the actions; the trace on request."""
    bad = Facts(Path("/x.pt"), Kind.MODEL, 1, Condition.UNSAFE, "runs-code")
    assert "unsafe (runs-code)" in as_text(explanation(bad, Verdict(None, why="reported")))
    text = as_text(explanation(LORA, VERDICT))
    for line in (
        "is      model, type lora, base sdxl, confidence 0.70 probable (type 0.99, base 0.70)",
        "but     metadata says flux1",
        "deploy targets=forge",
    ):
        assert line in text
    assert "wanted model, found model" in as_text(explanation(LORA, VERDICT), trace=True)
    assert "wanted" not in text
    assert "confidence 0.70 sure" in as_text(explanation(LORA, VERDICT), bands=Bands(0.7, 0.5))
