"""The signature table and its language; strangers are not given a relative's name."""

import math
from pathlib import Path

import pytest
from dropdock.rules.classify import classify
from dropdock.rules.confidence import rank
from dropdock.rules.header import Header, Tensor
from dropdock.rules.key_index import KeyIndex, split
from dropdock.rules.lora_shapes import read_layers
from dropdock.rules.names import architecture, by_name, subfamilies
from dropdock.rules.predicates import Asked
from dropdock.rules.signatures import LIKELY, LOOKS_LIKE, SURE, TABLES, ask, find, load_yaml, table
from dropdock.rules.terms import Evidence
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import load_corpus

CASES = {
    str(c["filename"]): c
    for c in load_corpus(Path(__file__).parent.parent / "data" / "models.jsonl.gz")
    if c["format"] == "safetensors" and not c.get("corrupt")
}


def header(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Header:
    return Header("safetensors", 1, tensors, metadata or {})


def tensors_of(name: str) -> dict[str, Tensor]:
    found: dict[str, tuple[str, list[int]]] = CASES[name]["tensors"]  # type: ignore[assignment]
    return {k: (d, tuple(s)) for k, (d, s) in found.items()}


@pytest.mark.parametrize("part", ["diffusion", "vae", "text", "other", "lora"])
def test_the_tables_are_sound(part: str) -> None:
    """Every table loads, its ids are its own, and its bases are words of docs/models.md."""
    rows = table(part)
    ids = [r.id for r in rows]
    words = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert len(set(ids)) == len(ids)
    for row in rows:
        for word in (row.type, *row.roles, *(b for b in row.bases if not b.startswith("$"))):
            assert f"`{word}`" in words, f"{row.id}: {word} is not explained in docs/models.md"


def test_the_words_are_sound() -> None:
    """Every base that a word or an architecture names is one that the table of signatures knows."""
    known = {b for part in ("diffusion", "vae", "text", "other", "lora") for r in table(part) for b in (*r.bases, *r.members)}
    data = load_yaml(TABLES / "signatures_names.yaml")
    for section in ("architectures", "bases"):
        entries = data[section]
        assert isinstance(entries, dict)
        assert set(entries.values()) <= known


@pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if c["expect"]["type"] in ("checkpoint", "diffusion_model", "lora", "text_encoder")]
)  # type: ignore[index]
def test_other_widths_are_a_stranger(name: str) -> None:
    """The same key names with widths a quarter larger are another family: nothing is claimed, a likeness may be told."""
    grown = {k: (d, tuple(s + s // 4 if s >= 256 else s for s in shape)) for k, (d, shape) in tensors_of(name).items()}
    found = classify(header(grown), "model")
    assert found.model.base == "unknown"
    assert found.model.confidence == 0.0


def test_strength_follows_what_agrees() -> None:
    """Names, widths and counts give 0.97; without the count 0.8; names alone name nobody and say what it looks like."""
    whole = tensors_of("flux1-dev.safetensors")
    half = {k: t for k, t in whole.items() if not k.startswith(("double_blocks.1", "single_blocks.3"))}
    other = {k: (d, tuple(s * 2 for s in shape)) for k, (d, shape) in whole.items()}
    full, partial, alien = (classify(header(t), "x") for t in (whole, half, other))
    assert (full.model.base, full.model.confidence) == ("flux1", SURE)
    assert (partial.model.base, partial.model.confidence) == ("flux1", LIKELY)
    assert alien.model.base == alien.model.type == "unknown"
    assert [e.weight for e in alien.evidence if e.says == "looks-like=flux1"] == [LOOKS_LIKE]


def test_words_never_beat_tensors() -> None:
    """A misleading name changes nothing, metadata that contradicts is a conflict, and both are remarked."""
    tensors = tensors_of("epiNoiseoffset_v2.safetensors")
    found = classify(header(tensors, {"ss_base_model_version": "sdxl_base_v1-0"}), "FLUX_style", ["checkpoints"])
    assert (found.model.type, found.model.base, found.model.confidence) == ("lora", "sd15", SURE)
    assert len(found.conflicts) == 1
    assert {"not-base=flux1", "not-base=sdxl", "not-type=checkpoint"} <= {e.says for e in found.evidence}


def test_words_pick_what_tensors_leave_open() -> None:
    """Layers that two families share are unknown; the file's own word or its name picks, more or less surely."""
    pair = {
        f"transformer_blocks.{i}.attn.to_q.{s}": ("F16", shape)
        for i in (0, 1)
        for s, shape in (("lora_A.weight", (4, 3072)), ("lora_B.weight", (3072, 4)))
    }
    silent = classify(header(pair), "x").model
    named = classify(header(pair), "my_qwen_lora").model
    said = classify(header(pair, {"ss_base_model_version": "qwen_image"}), "x").model
    assert (silent.base, silent.confidence) == ("unknown", 0.0)
    assert (named.base, named.confidence) == ("qwen-image", 0.6)
    assert (said.base, said.confidence) == ("qwen-image", 0.85)


def test_members_of_a_group() -> None:
    """VAEs that are identical in shape answer with their group, surely; the name tells the member as a sub-family."""
    found = classify(header(tensors_of("sdxl_vae.safetensors")), "sdxl_vae").model
    assert (found.base, found.subfamily, found.confidence) == ("sd-vae", "sdxl", SURE)


@pytest.mark.parametrize(
    ("parts", "shape"),
    [
        ({"lora_down.weight": (4, 320), "lora_up.weight": (640, 4), "alpha": ()}, (640, 320)),
        ({"lora_A.weight": (4, 320), "lora_B.weight": (640, 4)}, (640, 320)),
        ({"lora_A.default.weight": (4, 320), "lora_B.default.weight": (640, 4)}, (640, 320)),
        ({"lora_down.weight": (4, 320, 3, 3), "lora_up.weight": (640, 4, 1, 1)}, (640, 320)),
        ({"hada_w1_a": (640, 4), "hada_w1_b": (4, 320), "hada_w2_a": (640, 4), "hada_w2_b": (4, 320)}, (640, 320)),
        ({"lokr_w1": (8, 16), "lokr_w2": (80, 20)}, (640, 320)),
        ({"lokr_w1": (8, 16), "lokr_w2_a": (80, 4), "lokr_w2_b": (4, 20)}, (640, 320)),
        ({"diff": (640, 320)}, (640, 320)),
        ({"a1.weight": (320, 4), "a2.weight": (4, 320), "b1.weight": (640, 4), "b2.weight": (4, 320)}, (640, 320)),
        ({"oft_blocks": (10, 64, 64)}, (640, 0)),
    ],
)
def test_shape_of_the_patched_layer(parts: dict[str, tuple[int, ...]], shape: tuple[int, int]) -> None:
    """In every format the pair's shapes give the layer's, and the layer's path loses the trainer's prefix."""
    found = read_layers(KeyIndex({f"lora_unet_blocks_1_x.{suffix}": ("F16", s) for suffix, s in parts.items()}))
    assert found is not None
    assert found.index.exact["blocks.1.x"][1] == shape


def test_stray_pairs_make_no_lora() -> None:
    """A checkpoint with a few left-over LoRA keys is no LoRA."""
    stray = {"lora_unet_x.lora_down.weight": ("F16", (4, 8)), "lora_unet_x.lora_up.weight": ("F16", (8, 4))}
    assert read_layers(KeyIndex({**{f"w{i}": ("F16", (8, 8)) for i in range(8)}, **stray})) is None


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("my_SDXL_lora", ["base=sdxl"]),
        ("flux1-dev-fp8", ["base=flux1"]),
        ("z-image-turbo", ["base=z-image"]),
        ("sdxl_flux_both", []),
        ("exxlent", []),
        ("wan2.2_t2v", ["base=wan"]),
    ],
)
def test_words_of_a_name(name: str, bases: list[str]) -> None:
    """Only whole words count, and a name that says two families says none."""
    assert [e.says for e in by_name(name)] == bases


def test_architectures_fold_their_spelling() -> None:
    """The same architecture in its many spellings is one base, and the longest entry wins."""
    assert {architecture(a) for a in ("Flux.1-dev", "flux-1-dev/lora", "flux1", "FLUX_1")} == {"flux1"}
    assert architecture("flux2_klein_4b") == "flux2"
    assert architecture("stable-diffusion-xl-v1-refiner") == "sdxl-refiner"
    assert architecture("something new") is None


def test_subfamilies_belong_to_a_base() -> None:
    """Pony is told of an SDXL file by name or training words, and never of another family."""
    assert [e.says for e in subfamilies("ponyDiffusionV6XL", {}, "sdxl")] == ["subfamily=pony"]
    assert [e.says for e in subfamilies("x", {"ss_tag_frequency": '{"a": {"score_9": 3}}'}, "sdxl")] == ["subfamily=pony"]
    assert subfamilies("ponyDiffusionV6XL", {}, "flux1") == []


def test_confidence_arithmetic() -> None:
    """Independent groups add up, one group counts once, rivals subtract, a veto removes, an override wins."""

    def said(source: str, base: str, weight: float) -> Evidence:
        return Evidence(source, f"base={base}", weight, "x")

    structure, metadata, gguf = said("structure", "a", 0.8), said("metadata", "a", 0.5), said("gguf", "a", 0.4)
    assert rank([structure, metadata, gguf], "base") == [("a", 0.9)]
    assert rank([structure, said("name", "b", 0.3)], "base")[0] == ("a", 0.5)
    assert rank([structure, said("name", "b", 0.3)], "base", frozenset({"b"})) == [("a", 0.8)]
    assert rank([structure, said("override", "c", 1.0)], "base") == [("c", 1.0)]
    assert rank([], "base") == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["structure", "metadata", "name", "civitai"]),
            st.sampled_from("abc"),
            st.floats(-1, 2, allow_nan=False),
        )
    )
)
def test_confidence_stays_between_0_and_1(items: list[tuple[str, str, float]]) -> None:
    """Whatever is claimed, confidences are numbers from 0 to 1 and the first is the best."""
    ranked = rank([Evidence(s, f"base={v}", w, "x") for s, v, w in items], "base")
    assert all(0 <= c <= 1 and not math.isnan(c) for _, c in ranked)
    assert not ranked or ranked[0][1] == max(c for _, c in ranked)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text("abdlnorw_.0123", max_size=24),
        st.tuples(st.sampled_from(["F16", "U8", "?"]), st.lists(st.integers(0, 4096), max_size=5).map(tuple)),
        max_size=20,
    )
)
def test_any_header_is_classified(tensors: dict[str, Tensor]) -> None:
    """Whatever the tensors are called and shaped, there is an answer, and no key is in two parts."""
    found = classify(header(tensors), "x")
    parts = split(tensors)
    assert 0 <= found.model.confidence <= 1
    assert len(parts.diffusion.exact if parts.diffusion else ()) + parts.others + len(parts.rest.exact) == len(parts.whole.exact)


@pytest.mark.parametrize("name", sorted(CASES))
def test_rows_that_are_passed_over_would_not_hold(name: str) -> None:
    """Only rows whose first clause may hold are asked; asking every row gives the same, but for the probable ones beside a sure one."""
    index = KeyIndex(tensors_of(name))
    asked = Asked(index, index, {})
    for part in ("diffusion", "vae", "text", "other", "lora"):
        every = [m for m in (ask(s, asked) for s in table(part)) if m]
        if any(m.strength == SURE and len(m.signature.bases) == 1 for m in every):
            every = [m for m in every if not m.signature.unsure]
        assert list(find(part, asked)) == sorted(every, key=lambda m: -m.strength)
