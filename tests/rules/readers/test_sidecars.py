"""What other tools wrote beside a model: believed as words are, whatever else stands there."""

import json

import pytest
from dropdock.rules.identify import identify
from dropdock.rules.readers.sidecars import evidence_beside, sidecars_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_files import write_safetensors


def says(path) -> dict[str, str]:
    """Axis -> value of everything with weight that the sidecar says."""
    return dict(e.says.split("=", 1) for e in evidence_beside([path]) if e.weight > 0)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("x.civitai.info", {"baseModel": "SDXL 1.0", "model": {"type": "LORA"}}, {"type": "lora", "base": "sdxl"}),
        ("x.cm-info.json", {"ModelType": "LORA", "BaseModel": "Flux.1 D"}, {"type": "lora", "base": "flux1"}),
        ("x.metadata.json", {"base_model": "SD 1.5", "civitai": {}}, {"base": "sd15"}),
        ("x.metadata.json", {"base_model": "x", "civitai": {"baseModel": "Pony"}}, {"base": "sdxl", "subfamily": "pony"}),
        ("x.json", {"sd version": "SDXL", "activation text": "cat"}, {"base": "sdxl"}),
        ("x.json", {"sd version": "Unknown"}, {}),
        ("x.json", {"baseModel": "SD 1.5", "model": {"type": "TextualInversion"}}, {"base": "sd15", "type": "embedding"}),
        ("x.metadata.json", {"base_model": "Unknown", "civitai": None}, {}),
        ("x.metadata.json", {"base_model": ["SDXL"], "civitai": [1]}, {}),
        ("x.cm-info.json", {"ModelType": 7, "BaseModel": {"a": 1}}, {}),
        ("x.json", [1, 2], {}),
        ("x.txt", {"sd version": "SDXL"}, {}),
    ],
)  # fmt: skip
def test_each_tool(tmp_path, name, value, wanted):
    """Every tool's file says type and base as that tool writes them; what is not text there says nothing."""
    (tmp_path / name).write_text(json.dumps(value))
    assert says(tmp_path / name) == wanted


def test_a_tool_s_guess_weighs_less_than_civitai(tmp_path):
    """Lora-Manager's own guess and A1111's list are 0.5; what CivitAI answered is 0.85. Both are one group, so they count once."""
    write_safetensors(
        tmp_path / "x.safetensors", {"a.lora_down.weight": ("F16", (4, 640)), "a.lora_up.weight": ("F16", (640, 4))}
    )
    (tmp_path / "x.json").write_text('{"sd version": "SDXL"}')
    (tmp_path / "x.civitai.info").write_text('{"baseModel": "SDXL 1.0"}')
    one = identify(tmp_path / "x.safetensors", (tmp_path / "x.json",))
    both = identify(tmp_path / "x.safetensors", sidecars_of(tmp_path / "x.safetensors"))
    assert (one.model.base, one.model.confidences["base"]) == ("sdxl", 0.5)
    assert (both.model.base, both.model.confidences["base"]) == ("sdxl", 0.85)


def test_what_lies_beside_a_model_is_found_by_name(tmp_path):
    """`x.json` and `x.safetensors.json` are the model's; a link, a folder and another model's are not."""
    for name in ("x.json", "x.safetensors.json", "y.json", "x.metadata.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "x.cm-info.json").symlink_to(tmp_path / "y.json")
    (tmp_path / "x.civitai.info").mkdir()
    assert [p.name for p in sidecars_of(tmp_path / "x.safetensors")] == ["x.metadata.json", "x.json", "x.safetensors.json"]
    assert evidence_beside([tmp_path / "x.civitai.info", tmp_path / "gone.json"]) == ()


LEAVES = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20)
KEYS = st.sampled_from(["baseModel", "model", "type", "BaseModel", "ModelType", "base_model", "civitai", "sd version"])
JSON = st.dictionaries(
    KEYS, st.recursive(LEAVES, lambda x: st.lists(x, max_size=2) | st.dictionaries(KEYS, x, max_size=3), max_leaves=5)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["x.civitai.info", "x.cm-info.json", "x.metadata.json", "x.json"]),
    st.binary(max_size=60) | JSON.map(lambda v: json.dumps(v).encode()),
)
def test_nothing_in_it_hurts(tmp_path, name, raw):
    """Any bytes, and any JSON with the right keys: evidence with short texts, or none."""
    (tmp_path / name).write_bytes(raw)
    assert all(len(e.text) < 400 and 0 <= e.weight <= 0.9 for e in evidence_beside([tmp_path / name]))


def test_a_large_file_and_a_deep_one_say_nothing(tmp_path):
    """Beyond 4 MB nothing is read, and brackets a million deep are only bad JSON."""
    (tmp_path / "x.json").write_bytes(b'{"sd version": "SDXL", "notes": "' + b"x" * (4 << 20) + b'"}')
    (tmp_path / "y.json").write_bytes(b'{"sd version": ' + b"[" * 1_000_000)
    assert evidence_beside([tmp_path / "x.json", tmp_path / "y.json"]) == ()
