"""Weights that tools pack are seen with the size that they stand for; LoRAs of few or strange layers are given no more than those tell."""

from collections.abc import Callable

import pytest
from dropdock.rules.classify import classify
from dropdock.rules.header import Header, Shape, Tensor
from dropdock.rules.lora_shapes import fold

Weight = Callable[[str, int, int], dict[str, Tensor]]
CONFIDENT = 0.8
LAYERS = {
    "layer.0.SelfAttention.k": (1, 1),
    "layer.1.DenseReluDense.wi_0": (10, 4),
    "layer.1.DenseReluDense.wi_1": (10, 4),
    "layer.1.DenseReluDense.wo": (4, 10),
}


def quanto(name: str, out: int, into: int) -> dict[str, Tensor]:
    return {f"{name}.weight._data": ("I8", (out, into)), f"{name}.weight._scale": ("BF16", (out, 1))}


def quanto_4(name: str, out: int, into: int) -> dict[str, Tensor]:
    side: dict[str, Tensor] = {f"{name}.weight.{part}": ("BF16", (out, 1)) for part in ("_scale", "_shift")}
    return {f"{name}.weight._data._data": ("U8", (out // 2, into)), **side}


def hqq(name: str, out: int, into: int) -> dict[str, Tensor]:
    return {f"{name}.W_q": ("U8", (out * into // 128, 64)), f"{name}.scale": ("BF16", (1, 64)), f"{name}.zero": ("BF16", (1, 64))}


def gptq(name: str, out: int, into: int) -> dict[str, Tensor]:
    return {
        f"{name}.qweight": ("I32", (into // 8, out)),
        f"{name}.qzeros": ("I32", (into // 128, out // 8)),
        f"{name}.scales": ("F16", (into // 128, out)),
        f"{name}.g_idx": ("I32", (into,)),
    }


def awq(name: str, out: int, into: int) -> dict[str, Tensor]:
    return {f"{name}.qweight": ("I32", (into, out // 8)), f"{name}.scales": ("F16", (into // 128, out))}


def sdnq(name: str, out: int, into: int) -> dict[str, Tensor]:
    side: dict[str, Tensor] = {f"{name}.{part}": ("BF16", (out, into // 64, 1)) for part in ("scale", "zero_point")}
    return {f"{name}.weight": ("U8", (out * into // 2,)), **side}


def mlx(name: str, out: int, into: int) -> dict[str, Tensor]:
    side: dict[str, Tensor] = {f"{name}.{part}": ("BF16", (out, into // 64)) for part in ("scales", "biases")}
    return {f"{name}.weight": ("U32", (out, into // 8)), **side}


def t5(weight: Weight, unit: int) -> dict[str, Tensor]:
    """T5's encoder; a unit of 1024 makes it the XXL."""
    found: dict[str, Tensor] = {"shared.weight": ("F16", (32128, 4 * unit))}
    for block in range(24):
        for layer, (out, into) in LAYERS.items():
            found |= weight(f"encoder.block.{block}.{layer}", out * unit, into * unit)
    return found


def base_of(tensors: dict[str, Tensor]) -> tuple[str, float]:
    model = classify(Header("safetensors", 1, tensors), "model").model
    return model.base, model.confidence


@pytest.mark.parametrize("weight", [quanto, quanto_4, hqq, gptq, awq, sdnq, mlx])
def test_packed_weights_keep_their_size(weight: Weight) -> None:
    """Whatever packed it, an encoder is surely T5-XXL by its size; one of another size, packed the same way, is not."""
    base, sure = base_of(t5(weight, 1024))
    assert base == "t5-xxl"
    assert sure >= CONFIDENT
    assert base_of(t5(weight, 768))[0] != "t5-xxl"


def test_flat_bytes_without_zero_points_are_no_packed_weight() -> None:
    """A row of bytes is a packed weight only where the zero points of its groups lie beside it."""
    bare = {key: tensor for key, tensor in t5(sdnq, 1024).items() if not key.endswith(".zero_point")}
    assert base_of(bare)[0] != "t5-xxl"


def low_rank(layers: dict[str, Shape], before: str = "transformer.") -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for layer, (out, into) in layers.items():
        found |= {f"{before}{layer}.lora_A.weight": ("F16", (16, into)), f"{before}{layer}.lora_B.weight": ("F16", (out, 16))}
    return found


@pytest.mark.parametrize(
    ("layer", "shape", "base"),
    [
        ("blocks.{}.ffn.2", (5120, 13824), "wan"),
        ("blocks.{}.cross_attn.o", (1536, 1536), "wan"),
        ("transformer_blocks.{}.txt_mlp.net.2", (3072, 12288), "qwen-image"),
        ("single_transformer_blocks.{}.attn.to_out", (6144, 24576), "flux2"),
        ("joint_blocks.{}.x_block.mlp.fc2", (2432, 9728), "sd3"),
        ("single_layers.{}.attn.w1v", (3072, 3072), "auraflow"),
        ("layers.{}.feed_forward.w3", (9216, 2304), "lumina2"),
        ("transformer_blocks.{}.video_to_audio_attn.to_v", (2048, 4096), "ltx2"),
        ("double_stream_blocks.{}.block.ff_t.w1", (6912, 2560), "hidream"),
        ("layers.{}.feed_forward.w2", (4608, 12288), "ideogram4"),
    ],
)
def test_one_kind_of_layer_can_name_a_family(layer: str, shape: Shape, base: str) -> None:
    """A LoRA of one kind of layer is a family's where no other family has such a layer; never surely, and not at another size."""
    own = {layer.format(n): shape for n in range(20)}
    assert base_of(low_rank(own)) == (base, 0.75)
    assert base_of(low_rank({name: (shape[0] + 64, shape[1] + 64) for name in own}))[0] == "unknown"


def test_modulation_of_a_few_blocks_is_not_surely_fluxs() -> None:
    """LongCat-Image has FLUX's modulation in fewer blocks: only a block beyond them makes it FLUX's."""
    few = {f"double_blocks.{n}.img_mod.lin": (18432, 3072) for n in range(8)}
    assert base_of(low_rank(few))[1] < CONFIDENT
    assert base_of(low_rank(few | {"double_blocks.14.img_mod.lin": (18432, 3072)})) == ("flux1", 0.97)


@pytest.mark.parametrize("before", ["pipe.dit.", "dit.", "transformer.", ""])
def test_a_loras_wrappers(before: str) -> None:
    """What a trainer calls the model it trained does not matter; a name that no trainer writes hides it."""
    own: dict[str, Shape] = {f"blocks.{n}.self_attn.{x}": (5120, 5120) for n in range(40) for x in "qkv"}
    assert base_of(low_rank(own, before)) == ("wan", 0.97)
    assert base_of(low_rank(own, "x" + before + "y."))[0] == "unknown"


Z_IMAGE = {
    f"layers.{n}.{layer}": (out, 3840)
    for n in range(30)
    for layer, out in (("attention.to_q", 3840), ("attention.to_k", 3840), ("feed_forward.w1", 10240))
}
QWEN_IMAGE = {
    f"transformer_blocks.{n}.{layer}": (out, 3072)
    for n in range(60)
    for layer, out in (("attn.to_q", 3072), ("attn.add_k_proj", 3072), ("img_mlp.net.0.proj", 12288), ("img_mod.1", 18432))
}


@pytest.mark.parametrize(
    ("own", "layer", "other", "base"),
    [
        (Z_IMAGE, "attention.to_k", {"attention.to_k": (1280, 3840)}, "z-image"),
        (Z_IMAGE, "feed_forward.w1", {"feed_forward.w1": (15360, 3840)}, "z-image"),
        (QWEN_IMAGE, "attn.add_k_proj", {"attn.add_k_proj": (1024, 3072)}, "qwen-image"),
        (QWEN_IMAGE, "img_mlp.net.0.proj", {"img_mlp.w1": (8192, 3072)}, "qwen-image"),
    ],
)
def test_one_layer_that_does_not_fit(own: dict[str, Shape], layer: str, other: dict[str, Shape], base: str) -> None:
    """A LoRA whose layers fit a family but for one kind is a relative's: the family's name is not given."""
    assert base_of(low_rank(own)) == (base, 0.97)
    strange = {name.removesuffix(layer) + new: size for name in own if name.endswith(layer) for new, size in other.items()}
    kept = {name: size for name, size in own.items() if not name.endswith(layer)}
    assert base_of(low_rank(kept | strange))[0] != base


def test_a_fourth_text_encoder_is_one() -> None:
    """HiDream has four text encoders: the layers of the last are a text encoder's too; there is no fifth."""
    assert fold("lora_te4_layers_0_self_attn_q_proj") == "te4.layers.0.self.attn.q.proj"
    assert not fold("lora_te5_layers_0_self_attn_q_proj").startswith("te5.")
