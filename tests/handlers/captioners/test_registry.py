"""registry: the table of taggers and what the docs say of it."""

from pathlib import Path

import dropdock
import pytest
from dropdock.daemon.config import ConfigError, read
from dropdock.handlers.captioners.registry import NoSuchTagger, entries, entry

ROOT = Path(dropdock.__file__).parent
PAGE = (ROOT / "docs" / "captions.md").read_text("utf-8")


def options(text: str) -> dict[str, object]:
    return dict(read(f"captioners:\n  t: {text}", Path("/home/me/config.yaml"), {"HOME": "/home/me"}).captioners["t"].options)


def mistakes(text: str) -> list[str]:
    try:
        options(text)
    except ConfigError as error:
        return [str(problem).split(": ", 2)[2] for problem in error.problems]
    return []


def test_every_tagger_has_its_row():
    """Name and licence stand in docs/captions.md, and no tagger that is not in the table."""
    rows = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `") and line.count("|") == 4}
    for name, known in entries().items():
        assert known.licence in rows[name] and ("gated" in rows[name]) is known.gated


def test_the_example_of_the_docs_reads():
    """Its captioners are valid."""
    block = PAGE.split("## Taggers", 1)[1].split("```yaml\n", 1)[1].split("```", 1)[0]
    found = read(block, Path("/home/me/config.yaml"), {"HOME": "/home/me"}).captioners
    assert found["mine"].options["models"] == ("/home/me/taggers/my-tagger",)
    assert found["both"].options["models"][1] == "wd-convnext-tagger-v3 @ general=0.4"


def test_models_as_people_write_them():
    """One or several; folders become absolute by home and by the configuration; repositories and addresses stay."""
    assert options("{engine: onnx, models: wd-vit-tagger-v3}")["models"] == ("wd-vit-tagger-v3",)
    written = "{engine: onnx, models: [./a b @ general=0.5, ../c, owner/name, 'https://x/y/model.onnx']}"
    assert options(written)["models"] == ("/home/me/a b @ general=0.5", "/home/c", "owner/name", "https://x/y/model.onnx")
    assert options("{engine: onnx, models: [owner/name], thresholds: {meta: 0.5}}")["thresholds"] == ("meta -> 0.5",)


def test_mistakes_are_named():
    """Each with what was expected and the nearest right word."""
    assert mistakes("{engine: onnx, models: [wd-vit-tager-v3]}") == [
        "expected a tagger's name, a folder, owner/repository or an address, not 'wd-vit-tager-v3' (did you mean wd-vit-tagger-v3?)"
    ]
    assert "like general=0.4" in mistakes("{engine: onnx, models: ['a/b @ general']}")[0]
    assert "expected a list of models" in mistakes("{engine: onnx, models: []}")[0]
    assert "expected auto, cpu, cuda, cuda:N, or a list" in mistakes("{engine: onnx, models: [a/b], device: gpu}")[0]
    assert mistakes("{engine: onnx, models: [a/b], device: [cuda:0, 'cuda:1, cpu']}") == []
    assert "expected auto, cpu" in mistakes("{engine: onnx, models: [a/b], device: [cuda:0, card]}")[0]
    assert "no regular expression" in mistakes("{engine: onnx, models: [a/b], exclude: ['/(/']}")[0]
    assert "expected numbers by name" in mistakes("{engine: onnx, models: [a/b], thresholds: 3}")[0]
    assert "expected at most 1" in mistakes("{engine: onnx, models: [a/b], general: 35}")[0]
    assert "expected texts by name" in mistakes("{engine: simple, text: a, replace: [x]}")[0]


def test_a_folders_own_description_is_held_to_its_words():
    """A slip would show as nothing but wrong tags."""
    for given, said in (
        ({"sidee": 448}, "sidee is none of"),
        ({"order": "grb"}, "order is bgr or rgb, not grb"),
        ({"fit": "crop"}, "fit is pad or stretch"),
        ({"activation": "softmax"}, "activation is none or sigmoid or auto"),
        ({"std": [0, 0, 0]}, "scale and std are above 0"),
        ({"scale": "nan"}, "scale and std are above 0"),
    ):
        with pytest.raises(NoSuchTagger, match=said):
            entry("mine", given)
