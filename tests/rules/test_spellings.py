"""One model in its many spellings: wrappers' prefixes, quantised weights, and a single shard of it."""

from pathlib import Path

import pytest
from dropdock.rules.classify import classify
from dropdock.rules.header import Header, Tensor
from dropdock.rules.key_index import KeyIndex
from dropdock.rules.lora_shapes import read_layers
from dropdock.rules.signatures import LIKELY
from dropdock.rules.terms import Evidence
from model_files import load_corpus

CASES = {str(c["filename"]): c for c in load_corpus(Path(__file__).parent.parent / "data" / "models.jsonl.gz")}
FLUX, ENCODER, QWEN = "flux_dev_transformer.safetensors", "clip_l.safetensors", "qwen_3_4b.safetensors"


def tensors_of(name: str) -> dict[str, Tensor]:
    found: dict[str, tuple[str, list[int]]] = CASES[name]["tensors"]  # type: ignore[assignment]
    return {k: (d, tuple(s)) for k, (d, s) in found.items()}


def answer(tensors: dict[str, Tensor], stem: str = "x") -> tuple[str, str]:
    model = classify(Header("safetensors", 1, tensors), stem).model
    return model.type, model.base


@pytest.mark.parametrize(
    "prefix", ["model.diffusion_model.", "transformer.", "module.", "_orig_mod.", "module._orig_mod.", "net."]
)
def test_wrappers_of_a_diffusion_model(prefix: str) -> None:
    """What a framework puts before every key changes nothing."""
    assert answer({prefix + k: t for k, t in tensors_of(FLUX).items()}) == ("diffusion_model", "flux1")


@pytest.mark.parametrize("prefix", ["text_encoder.", "clip_l.transformer.", "cond_stage_model.transformer.", "module."])
def test_wrappers_of_a_text_encoder(prefix: str) -> None:
    """An encoder is found wherever a tool has put it."""
    assert answer({prefix + k: t for k, t in tensors_of(ENCODER).items()}) == ("text_encoder", "clip-l")


@pytest.mark.parametrize("prefix", ["", "model.language_model.", "language_model.model.", "llm."])
def test_language_models_by_any_name(prefix: str) -> None:
    """Old and new names of transformers, with and without a wrapper, are one model."""
    renamed = {prefix + k.removeprefix("model."): t for k, t in tensors_of(QWEN).items()}
    assert answer(renamed) == ("text_encoder", "qwen3-4b")


def test_four_bits_in_a_column() -> None:
    """bitsandbytes packs two values a byte into one column: the size of the whole still names the family."""
    packed: dict[str, Tensor] = {}
    for key, (dtype, shape) in tensors_of("unet_sdxl_fp16.safetensors").items():
        if len(shape) == 2 and key.endswith(".weight"):
            packed[key] = ("U8", (shape[0] * shape[1] // 2, 1))
            packed[key + ".absmax"] = packed[key + ".quant_state.bitsandbytes__nf4"] = ("U8", (4,))
        else:
            packed[key] = (dtype, shape)
    assert answer(packed) == ("diffusion_model", "sdxl")


def test_one_shard_of_several() -> None:
    """Some blocks of a model name its family, not surely; the same blocks in a file that is no shard are nobody's."""
    half = dict(list(tensors_of(FLUX).items())[:580])
    found = classify(Header("safetensors", 1, half), "diffusion_pytorch_model-00001-of-00003").model
    assert (found.type, found.base, found.confidence) == ("diffusion_model", "flux1", LIKELY)
    assert answer(half) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("parts", "shape"),
    [
        ({"oft_blocks": (3, 10, 64, 64)}, (640, 0)),
        ({"oft_R.weight": (10, 2016)}, (0, 640)),
        ({"weight": (640, 1), "on_input": ()}, (640, 0)),
        ({"weight": (1, 320), "on_input": ()}, (0, 320)),
    ],
)
def test_formats_that_tell_one_side(parts: dict[str, tuple[int, ...]], shape: tuple[int, int]) -> None:
    """BOFT, OFT as PEFT writes it, and IA3 tell one side of the layer; the other stays 0."""
    found = read_layers(KeyIndex({f"lora_unet_blocks_1_x.{suffix}": ("F16", s) for suffix, s in parts.items()}))
    assert found is not None
    assert found.halved
    assert found.index.exact["blocks.1.x"][1] == shape


def test_a_flux_lora_that_could_be_chromas() -> None:
    """Layers that Chroma shares are FLUX's but not surely; a modulation layer, which Chroma has not, makes it sure; a name may pick."""

    def pairs(*layers: tuple[str, int, int]) -> dict[str, Tensor]:
        return {
            f"diffusion_model.{n}.{s}": ("F16", shape)
            for n, out, into in layers
            for s, shape in (("lora_A.weight", (4, into)), ("lora_B.weight", (out, 4)))
        }

    shared, own = ("single_blocks.33.linear1", 21504, 3072), ("single_blocks.33.modulation.lin", 9216, 3072)
    either, sure = (Header("safetensors", 1, pairs(*layers)) for layers in ((shared,), (shared, own)))
    assert [(m.base, m.confidence) for m in (classify(either, "x").model, classify(sure, "x").model)] == [
        ("flux1", LIKELY),
        ("flux1", 0.97),
    ]
    assert classify(either, "chroma_style").model.base == "chroma"


def test_a_language_model_with_eyes() -> None:
    """A vision half whose layers are named alike, and stand first, does not hide the language model."""
    layers: dict[str, Tensor] = {k.removeprefix("model."): t for k, t in tensors_of(QWEN).items()}
    eyes: dict[str, Tensor] = {
        f"vision_tower.vision_model.encoder.layers.{n}.self_attn.{x}.weight": ("BF16", (1152, 1152))
        for n in range(27)
        for x in ("q_proj", "k_proj")
    }
    assert answer({**eyes, **{"model.language_model." + k: t for k, t in layers.items()}}) == ("text_encoder", "qwen3-4b")


def test_words_alone_make_no_lora_sure() -> None:
    """What a file says of itself, in its metadata and its name, is one writer's word; CivitAI's answer is another's."""
    strange = {f"some.block.{n}.lora_{s}.weight": ("F16", (4, 40) if s == "A" else (40, 4)) for n in range(30) for s in "AB"}
    header = Header("safetensors", 1, strange, {"modelspec.architecture": "flux-1-dev/lora"})
    told = classify(header, "ink_flux").model
    assert (told.type, told.base, told.confidence) == ("lora", "flux1", LIKELY)
    asked = classify(header, "ink_flux", outside=[Evidence("civitai", "base=flux1", 0.85, "CivitAI says Flux.1 D")]).model
    assert asked.base == "flux1" and asked.confidence > 0.9
