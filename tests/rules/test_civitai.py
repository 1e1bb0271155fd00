"""CivitAI's answers: reduced and bounded, mapped by the table, never a guess, and never stronger than tensors."""

from __future__ import annotations

import re
from pathlib import Path

import dropdock
import pytest
from dropdock.rules import civitai
from dropdock.rules.civitai import CIVITAI_BASE, CIVITAI_SUBFAMILY, Misfit
from dropdock.rules.classify import classify
from dropdock.rules.header import Header
from dropdock.rules.terms import Evidence, Published
from hypothesis import given
from hypothesis import strategies as st

SHA = "a5f58eb1" + "0" * 56
VERSION = {
    "id": 2514310,
    "modelId": 827184,
    "name": "v16.0",
    "baseModel": "Illustrious",
    "trainedWords": ["blue hat", "blue hat", " red\u0007 scarf\nand more "],
    "model": {"name": "WAI-illustrious", "type": "LORA", "nsfw": True, "poi": False},
    "files": [
        {"name": "other.safetensors", "type": "VAE", "hashes": {"SHA256": "F" * 64}},
        {"name": "wai.safetensors", "type": "Model", "hashes": {"AutoV2": "A5F58EB100", "SHA256": SHA.upper()}},
    ],
}  # fmt: skip
NAMES = """SD 1.4|SD 1.5|SD 1.5 LCM|SD 1.5 Hyper|SD 2.0|SD 2.1|SD 3|SD 3.5|SD 3.5 Medium|SD 3.5 Large|SD 3.5 Large Turbo|SDXL 1.0
|SDXL Lightning|SDXL Hyper|Flux.1 D|Flux.1 S|Flux.1 Krea|Flux.1 Kontext|Flux.2 D|Flux.2 Klein 9B|Flux.2 Klein 9B-base|Flux.2 Klein 4B
|Flux.2 Klein 4B-base|AuraFlow|Chroma|PixArt a|PixArt E|Hunyuan 1|Lumina|Kolors|NoobAI|Illustrious|Pony|HiDream|Qwen|ZImageTurbo
|ZImageBase|SVD|LTXV|LTXV2|LTXV 2.3|CogVideoX|Mochi|Wan Video|Wan Video 1.3B t2v|Wan Video 14B t2v|Wan Video 14B i2v 480p
|Wan Video 14B i2v 720p|Wan Video 2.2 TI2V-5B|Wan Video 2.2 T2V-A14B|Wan Video 2.2 I2V-A14B|Hunyuan Video|Anima|Pony V7|Krea 2
|Stable Cascade|Ernie|Ideogram 4.0|MiniMax H3"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "modelId", "name", "files", "model", "hashes", "SHA256", "type", "trainedWords"]), inner
        )
    ),
    max_leaves=20,
)


def says(found: tuple[Evidence, ...]) -> dict[str, float]:
    return {e.says: e.weight for e in found}


def test_an_answer_is_reduced_to_what_is_used() -> None:
    """Ids, names, the very file, trigger words without doubles and control characters, and the page's address."""
    found = civitai.read_version(VERSION, SHA, "https://civitai.com/")
    page = "https://civitai.com/models/827184?modelVersionId=2514310"
    words = ("blue hat", "red scarf and more")
    assert found == Published(
        827184, 2514310, "WAI-illustrious", "v16.0", "LORA", "Model", "Illustrious", "wai.safetensors", words, True, page
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"files": [{"name": "x", "hashes": {"SHA256": "0" * 64}}]}, "another file"),
        ({"files": None}, "another file"),
        ({"id": "2514310"}, "no ids"),
        ({"modelId": -1}, "no ids"),
        ({"modelId": True}, "no ids"),
    ],
)
def test_an_answer_that_does_not_fit_is_none(change: dict[str, object], why: str) -> None:
    """Another file's answer, or one without ids, is a Misfit that says so."""
    found = civitai.read_version({**VERSION, **change}, SHA)
    assert isinstance(found, Misfit) and why in found.reason


@given(JSON)
def test_no_answer_hurts(value: object) -> None:
    """Whatever JSON comes: an answer within its bounds, or a Misfit."""
    found = civitai.read_version(value, SHA)
    assert isinstance(found, Misfit | Published)
    civitai.read_ids(value)


@given(st.text(max_size=3000), st.lists(st.text(max_size=400), max_size=200))
def test_texts_are_bounded_lines(name: str, words: list[str]) -> None:
    """No text of an answer is longer than kept, or holds a control character."""
    found = civitai.read_version({**VERSION, "name": name, "trainedWords": words}, SHA)
    assert isinstance(found, Published) and len(found.words) <= civitai.WORDS
    assert all(len(text) <= civitai.LONGEST and text.isprintable() for text in (found.release, *found.words))


def test_the_ids_that_are_known() -> None:
    """Entries with a hash name it, in lower case; an answer of ids alone, or of another shape, names none."""
    assert civitai.read_ids([{"modelVersionId": 1, "modelId": 2, "hash": SHA.upper()}]) == {SHA}
    assert civitai.read_ids([]) == frozenset()
    assert civitai.read_ids([1, 2]) is None
    assert civitai.read_ids({"error": "Too many hashes"}) is None


@pytest.mark.parametrize("name", re.sub(r"\n", "", NAMES).split("|"))
def test_every_base_of_theirs_is_one_of_ours(name: str) -> None:
    """Each baseModel has a base that docs/models.md names, at the weight of an uploader's word."""
    models = (Path(dropdock.__file__).parent / "docs" / "models.md").read_text("utf-8")
    found = says(civitai.evidence(Published(1, 2, "x", type="Checkpoint", base=name)))
    base = next(s.partition("=")[2] for s in found if s.startswith("base="))
    assert f"`{base}`" in models and found[f"base={base}"] == CIVITAI_BASE
    assert all(weight == CIVITAI_SUBFAMILY for s, weight in found.items() if s.startswith("subfamily="))


@pytest.mark.parametrize(
    ("name", "base", "subfamily"),
    [
        ("Pony", "sdxl", "pony"), ("Pony V7", "auraflow", "pony-v7"), ("Krea 2", "krea2", None), ("Flux.1 Krea", "flux1", "krea"),
        ("LTXV", "ltx-video", None), ("LTXV 2.3", "ltx2", None), ("Hunyuan 1", "hunyuan-dit", None), ("Qwen", "qwen-image", None),
        ("ZImageTurbo", "z-image", "turbo"), ("sdxl 1.0", "sdxl", None), ("Illustrious", "sdxl", "illustrious"),
    ],
)  # fmt: skip
def test_relatives_are_kept_apart(name: str, base: str, subfamily: str | None) -> None:
    """Names that begin alike do not become one another's base."""
    found = says(civitai.evidence(Published(1, 2, "x", base=name)))
    assert set(found) == {f"base={base}"} | ({f"subfamily={subfamily}"} if subfamily else set())


@pytest.mark.parametrize("name", ["Veo 3", "Sora 2", "Flux.9 Z", "SDXL 1.0 or so", "Qwen 2"])
def test_an_unknown_base_is_told_and_taken_for_nothing(name: str) -> None:
    """Their word is shown with weight 0, and no axis hears it."""
    (found,) = civitai.evidence(Published(1, 2, "x", base=name))
    assert (found.says, found.weight) == (f"said-base={name}", 0.0) and name in found.text


def test_other_says_nothing() -> None:
    """`Other` is their word for not said."""
    assert civitai.evidence(Published(1, 2, "x", type="Other", base="Other")) == ()


@pytest.mark.parametrize(
    ("type", "file", "expected"),
    [
        ("LORA", "Model", "lora"), ("LoCon", "", "lora"), ("DoRA", "Model", "lora"), ("TextualInversion", "Negative", "embedding"),
        ("Checkpoint", "VAE", "vae"), ("Checkpoint", "Text Encoder", "text_encoder"), ("Checkpoint", "Pruned Model", None),
        ("Upscaler", "Model", "upscaler"), ("Workflows", "Archive", None),
    ],
)  # fmt: skip
def test_the_file_tells_more_than_the_model(type: str, file: str, expected: str | None) -> None:
    """A VAE or text encoder that came with a checkpoint is one; a checkpoint may be a UNet alone, so that says nothing."""
    found = says(civitai.evidence(Published(1, 2, "x", type=type, file_type=file)))
    assert found == ({f"type={expected}": CIVITAI_BASE} if expected else {})


def test_a_text_encoder_has_no_base_of_its_model() -> None:
    """A T5 that came with a Flux model is no Flux."""
    found = says(civitai.evidence(Published(1, 2, "x", type="Checkpoint", file_type="Text Encoder", base="Flux.1 D")))
    assert "base=flux1" not in found


def lora(width: int) -> Header:
    tensors = {}
    for n in range(8):
        name = f"lora_unet_mystery_{n}_proj"
        tensors[f"{name}.lora_down.weight"] = ("F16", (4, width))
        tensors[f"{name}.lora_up.weight"] = ("F16", (width, 4))
    return Header("safetensors", 1000, tensors)


def test_what_tensors_leave_open_is_decided_by_it() -> None:
    """A LoRA of no known widths is of the base that CivitAI says; without that word it is unknown."""
    told = civitai.evidence(Published(1, 2, "x", type="LORA", base="Illustrious"))
    before, after = classify(lora(7), "style"), classify(lora(7), "style", outside=told)
    assert before.model.base == "unknown" and before.model.confidence == 0
    assert (after.model.base, after.model.subfamily) == ("sdxl", "illustrious") and after.model.confidence >= 0.8


def test_tensors_veto_it() -> None:
    """What contradicts the tensors is a conflict, and its sub-family goes with it; a word that means nothing is shown."""
    sd15 = {}
    for block in (1, 2, 4, 5, 7, 8):
        name = f"lora_unet_input_blocks_{block}_1_transformer_blocks_0_attn2_to_k"
        sd15[f"{name}.lora_down.weight"] = ("F16", (4, 768))
        sd15[f"{name}.lora_up.weight"] = ("F16", (320, 4))
    header = Header("safetensors", 1000, sd15)
    found = classify(header, "style", outside=civitai.evidence(Published(1, 2, "x", type="LORA", base="Pony")))
    assert (found.model.base, found.model.subfamily) == ("sd15", None)
    assert any("Pony" in conflict for conflict in found.conflicts)
    odd = classify(header, "style", outside=civitai.evidence(Published(1, 2, "x", base="Veo 3")))
    assert any(e.says == "said-base=Veo 3" for e in odd.evidence) and odd.conflicts == ()
