"""Families beside those that the tables hold: told apart where the tensors differ, left open where they do not."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from dropdock.rules.classify import classify
from dropdock.rules.header import Header, Shape
from dropdock.rules.key_index import KeyIndex
from dropdock.rules.signatures import Vocabulary
from model_files import load_corpus
from row_cases import Row, header_of, rows

CONFIDENT = 0.8
DATA = Path(__file__).parent.parent / "data"
UNSURE, FAMILIES = load_corpus(DATA / "unsure.jsonl.gz"), load_corpus(DATA / "families.jsonl.gz")
Shapes = Mapping[str, Shape]
DIT = "diffusion_model"


def model(shapes: Shapes, metadata: Mapping[str, str] | None = None):  # type: ignore[no-untyped-def]
    return classify(Header("safetensors", 1, {k: ("BF16", s) for k, s in shapes.items()}, metadata or {}), "model").model


def blocks(prefix: str, number: int, layers: Shapes) -> dict[str, Shape]:
    return {f"{prefix}{n}.{key}": shape for n in range(number) for key, shape in layers.items()}


def decoder(layers: int, width: int, inner: int, kv: int, words: int, **more: Shape) -> dict[str, Shape]:
    """A decoder-only language model in Hugging Face's names; more is per layer, `__` for a dot."""
    each: dict[str, Shape] = {
        "self_attn.q_proj.weight": (width, width),
        "self_attn.k_proj.weight": (kv, width),
        "mlp.down_proj.weight": (width, inner),
        "mlp.gate_proj.weight": (inner, width),
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
    }
    each |= {key.replace("__", "."): shape for key, shape in more.items()}
    ends: dict[str, Shape] = {"model.norm.weight": (width,), "model.embed_tokens.weight": (words, width)}
    return blocks("model.layers.", layers, each) | ends


QWEN = decoder(28, 3584, 18944, 512, 152064, self_attn__k_proj__bias=(512,))
SEES = blocks("visual.blocks.", 32, {"attn.qkv.weight": (3840, 1280)})


def t5(words: int, **more: Shape) -> dict[str, Shape]:
    each: dict[str, Shape] = {
        "layer.0.SelfAttention.k.weight": (4096, 4096),
        "layer.1.DenseReluDense.wi_1.weight": (10240, 4096),
    }
    return blocks("encoder.block.", 24, each) | {"shared.weight": (words, 4096)}


Z_IMAGE = blocks("layers.", 30, {"adaLN_modulation.0.weight": (15360, 256)}) | {
    "noise_refiner.0.attention.k_norm.weight": (128,),
    "cap_embedder.1.weight": (3840, 2560),
}
PIXART = blocks("transformer_blocks.", 28, {"attn1.to_q.weight": (1152, 1152), "attn2.to_q.weight": (1152, 1152)}) | {
    "adaln_single.emb.timestep_embedder.linear_1.bias": (1152,),
    "pos_embed.proj.bias": (1152,),
}
SD2 = {f"down_blocks.{n}.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320 * 2**n, 1024) for n in range(3)} | {
    "conv_in.weight": (320, 4, 3, 3),
    "conv_norm_out.weight": (320,),
    "time_embedding.linear_1.weight": (1280, 320),
    "down_blocks.3.resnets.0.conv1.weight": (1280, 1280, 3, 3),
}
VAE = {
    "decoder.conv_in.weight": (512, 4, 3, 3),
    "encoder.conv_in.weight": (128, 3, 3, 3),
    "quant_conv.weight": (8, 8, 1, 1),
    "decoder.mid.block_1.conv1.weight": (512, 512, 3, 3),
}
CODES = {"quantize.embedding.weight": (1024, 256), "decoder.conv_out.weight": (3, 64, 3, 3)}
SEEDVR2 = blocks("blocks.", 32, {"attn.proj_qkv.all.weight": (7680, 2560), "mlp.all.proj_in_gate.weight": (6912, 2560)})
ACE = blocks("transformer_blocks.", 24, {"cross_attn.to_q.weight": (2560, 2560)})
AUDIO = {
    "transformer.rotary_pos_emb.inv_freq": (32,),
    "to_global_embed.0.weight": (1536, 1536),
    "postprocess_conv.weight": (64, 64, 1),
}
SHAPES = blocks("double_blocks.", 16, {"img_attn.qkv.weight": (3072, 1024)})
COG = blocks("blocks.", 42, {"norm1.linear.weight": (18432, 512)})


@pytest.mark.parametrize(
    ("own", "rival", "kind", "base"),
    [
        (Z_IMAGE | {"cap_pad_token": (1, 3840)}, Z_IMAGE, "diffusion_model", "z-image"),
        (PIXART, PIXART | blocks("temporal_transformer_blocks.", 28, {"attn1.to_q.weight": (1152, 1152)}), "diffusion_model", "pixart"),
        (SD2, SD2 | {"down_blocks.0.temp_convs.0.conv1.2.weight": (320, 320, 3, 1, 1)}, "diffusion_model", "sd2"),
        (VAE | blocks("decoder.up.", 4, {"block.0.x": (1,)}), VAE | blocks("decoder.up.", 3, {"block.0.x": (1,)}), "vae", "sd-vae"),
        (
            CODES | {"encoder.conv_in.weight": (64, 3, 3, 3)},
            CODES | {"encoder.conv_in.weight": (128, 3, 3, 3)},
            "face_restore",
            "restoreformer",
        ),
        (QWEN | SEES, QWEN, "text_encoder", "qwen2.5-vl-7b"),
        (QWEN | SEES, QWEN | SEES | {"visual.blocks.0.mlp.fc1.weight": (5120, 1280)}, "text_encoder", "qwen2.5-vl-7b"),
        (QWEN | SEES, QWEN | SEES | blocks("model.layers.", 28, {"self_attn.q_norm.weight": (128,)}), "text_encoder", "qwen2.5-vl-7b"),
        (t5(32128), t5(250112), "text_encoder", "t5-xxl"),
        ({"clip_l": (8, 768), "clip_g": (8, 1280)}, {"clip_l": (8, 768), "clip_g": (8, 1024)}, "embedding", "sdxl"),
        ({"clip_l": (8, 768), "clip_g": (8, 1280), "t5xxl": (8, 4096)}, {"t5xxl": (8, 4096)}, "embedding", "sd3"),
        ({"<moss>": (768,)}, {"head.weight": (768,)}, "embedding", "sd15"),
        (COG | {"patch_embed.text_proj.weight": (3072, 4096)}, COG | {"patch_embed.text_proj.weight": (2560, 4096)}, DIT, "cogvideox"),
    ],
)  # fmt: skip
def test_relatives_are_told_apart(own: Shapes, rival: Shapes, kind: str, base: str) -> None:
    """The family itself is named surely; a relative that shares its names and most widths is not given its name surely."""
    found, other = model(own), model(rival)
    assert (found.type, found.base) == (kind, base)
    assert found.confidence >= CONFIDENT
    assert other.base != base or other.confidence < CONFIDENT


@pytest.mark.parametrize(
    ("own", "rival", "base"),
    [
        (SEEDVR2 | {"vid_in.proj.weight": (2560, 132)}, SEEDVR2 | {"vid_in.proj.weight": (2048, 132)}, "seedvr2"),
        (ACE | {"genre_embedder.weight": (2560, 768)}, ACE | {"genre_embedder.weight": (1536, 768)}, "ace-step"),
        (
            AUDIO | {"transformer.project_in.weight": (1536, 64)},
            AUDIO | {"transformer.project_in.weight": (3072, 64)},
            "stable-audio",
        ),
        (
            SHAPES | {"latent_in.weight": (1024, 64), "cond_in.weight": (1024, 1536)},
            SHAPES | {"latent_in.weight": (2048, 64), "cond_in.weight": (2048, 1536)},
            "hunyuan3d",
        ),
    ],
)
def test_families_known_from_programs_alone_are_probable(own: Shapes, rival: Shapes, base: str) -> None:
    """A family of which no file was at hand is named, placeable and never sure; other widths are nobody's."""
    found = model(own)
    assert (found.type, found.base) == ("diffusion_model", base)
    assert 0.6 <= found.confidence < CONFIDENT
    assert model(rival).base == "unknown"


@pytest.mark.parametrize(
    "prefix", ["state_dict.", "model_state_dict.", "state_dict_ema.", "params_ema.", "params.", "ema.module."]
)
def test_what_a_training_puts_before_the_names(prefix: str) -> None:
    """A model that was written as it lay in its training is the same model; a name that nobody writes hides it."""
    assert model({prefix + key: shape for key, shape in SD2.items()}).base == "sd2"
    assert model({"x" + prefix + key: shape for key, shape in SD2.items()}).base == "unknown"


def lora(layers: Shapes) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for layer, (out, into) in layers.items():
        found |= {f"transformer.{layer}.lora_A.weight": (16, into), f"transformer.{layer}.lora_B.weight": (out, 16)}
    return found


@pytest.mark.parametrize(
    ("own", "rival", "base"),
    [
        (
            {f"down_blocks.{n}.attentions.0.transformer_blocks.0.attn2.to_k": (320 * 2**n, 1024) for n in range(3)},
            {"down_blocks.0.temp_attentions.0.transformer_blocks.0.attn1.to_k": (320, 320)},
            "sd2",
        ),
        (
            {f"transformer_blocks.{n}.attn{a}.to_q": (1152, 1152) for n in range(28) for a in (1, 2)}
            | {f"transformer_blocks.{n}.ff.net.0.proj": (4608, 1152) for n in range(28)},
            {"temporal_transformer_blocks.0.attn1.to_q": (1152, 1152)},
            "pixart",
        ),
        (
            {f"transformer_blocks.{n}.attn1.to_q": (3072, 3072) for n in range(42)},
            {f"transformer_blocks.{n}.attn1.to_q": (3072, 3072) for n in range(42, 48)},
            "cogvideox",
        ),
    ],
)
def test_a_lora_of_a_video_relative_is_not_the_pictures(own: Shapes, rival: Shapes, base: str) -> None:
    """Layers that only the relative has take the name, or the sureness, away."""
    assert model(lora(own)).base == base
    assert model(lora(own)).confidence >= CONFIDENT
    other = model(lora({**own, **rival}))
    assert other.base != base or other.confidence < CONFIDENT


CLOSED = [(part, row) for part, row in rows() if "only" in row]


@pytest.mark.parametrize(("part", "row"), CLOSED, ids=[str(row["id"]) for _, row in CLOSED])
def test_a_module_that_the_family_has_not_is_a_relatives(part: str, row: Row) -> None:
    """With a further input, or blocks for time within its own, the family is not named; scalars and LoRAs left behind are no matter."""
    own = {key: shape for key, (_, shape) in header_of(part, row).tensors.items()}
    only: Mapping[str, object] = row["only"]  # type: ignore[assignment]
    foreign = "down_blocks.1.temporal_mixer.0.proj.weight" if "words" in only else "cond_in.weight"
    assert model(own).base == row["base"]
    assert model(own | {"lora_unet_x.lora_down.weight": (16, 320), "extra.scale": (1,), "loose": (8, 8)}).base == row["base"]
    assert "words" not in only or model(own | {"proj_in.weight._data._data": (8, 8)}).base == row["base"]
    assert model(own | {foreign: (3072, 68)}).base == "unknown"


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("blocks.0.attn.weight", True),
        ("blocks.0._orig_mod.attn.weight", True),
        ("_orig_mod.blocks.0._checkpoint_wrapped_module.attn.weight", True),
        ("blocks.0._fsdp_wrapped_module.mixer.weight", False),
        ("module.cond_in.weight", False),
    ],
)
def test_what_a_training_wraps_a_module_in_is_no_module(key: str, known: bool) -> None:
    """The names that torch.compile, FSDP and activation checkpointing put in between say nothing of a family."""
    vocabulary = Vocabulary(frozenset({"blocks"}), frozenset({"blocks", "attn", ""}))  # "": a block's number
    assert vocabulary.knows(KeyIndex({key: ("F16", (8, 8))})) is known


@pytest.mark.parametrize(
    ("row", "module", "known"),
    [
        ("wan", "casual_audio_encoder.encoder.final_linear", True),
        ("wan", "face_adapter.fuser_blocks.0.linear1_kv", True),
        ("wan", "music_injector.injector.0.q", True),
        ("wan", "fps_projection.0", True),
        ("wan", "dwpose_embedding.0", False),
        ("wan-diffusers", "vace_blocks.0.proj_out", True),
        ("wan-diffusers", "patch_short", False),
        ("hunyuan-video", "audio_adapter_blocks.0.to_q", True),
        ("hunyuan-video", "action_in.mlp.0", False),
        ("ltx2", "video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q", True),
        ("ltx-video", "video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q", False),
        ("lumina2", "clip_text_pooled_proj.1", True),
        ("z-image", "clip_text_pooled_proj.1", False),
        ("sana", "cfg_embedder.mlp.0", True),
        ("sana", "plucker_embedder.proj", False),
        ("cosmos-predict2-diffusers", "crossattn_proj.0", True),
        ("cosmos-predict2-diffusers", "control_blocks.0.proj", False),
    ],
)
def test_a_build_of_the_family_may_have_more_than_the_first(row: str, module: str, known: bool) -> None:
    """Modules of the official builds (sound, poses, a distillation) are the family's; those of what descends from it are not."""
    part, found = next((part, r) for part, r in CLOSED if r["id"] == row)
    own = {key: shape for key, (_, shape) in header_of(part, found).tensors.items()}
    assert (model(own | {f"{module}.weight": (3072, 1024)}).base == found["base"]) is known


LDM = {
    "input_blocks.0.0.weight": (320, 4, 3, 3),
    "middle_block.1.proj_in.weight": (1280, 1280),
    **{f"input_blocks.{n}.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024) for n in (1, 2)},
    **{f"input_blocks.{n}.0.in_layers.0.weight": (320,) for n in range(3, 12)},
}
HINTS = {"zero_convs.0.0.weight": (320, 320, 1, 1), "input_hint_block.0.weight": (16, 3, 3, 3)}


def under(prefix: str, shapes: Shapes) -> dict[str, Shape]:
    return {prefix + key: shape for key, shape in shapes.items()}


@pytest.mark.parametrize(
    "more",
    [
        {"input_blocks.1.0.temopral_conv.conv1.2.weight": (320, 320, 3, 1, 1)},  # so spelt where it comes from
        {"input_blocks.1.2.motion_modules.0.temporal_transformer.proj_in.weight": (320, 320)},
        {"init_attn.0.proj_in.weight": (512, 320, 1)},
        {"camera_embed.0.weight": (1280, 16)},
        {"input_blocks.1.0.spade.mlp_gamma.weight": (320, 128, 3, 3)},
        {"project_modules.0.zero_conv.weight": (1280, 1280, 1, 1)},
    ],
)
@pytest.mark.parametrize("width", [768, 1024])
def test_a_unet_that_learned_more_is_not_the_unet(more: Shapes, width: int) -> None:
    """Video, several views, upscaling: what was built around a UNet of Stable Diffusion is not given its name, bare or in a checkpoint."""
    own = {key: (shape[0], width) if "attn2" in key else shape for key, shape in LDM.items()}
    vae = {f"first_stage_model.decoder.{n}.weight": (8,) for n in range(12)}
    base = "sd15" if width == 768 else "sd2"
    for prefix, beside in (("", {}), ("model.diffusion_model.", vae)):
        assert (model(under(prefix, own) | beside).base, model(under(prefix, own | more) | beside).base) == (base, "unknown")


BACKBONES = {
    "sd2": LDM | {f"output_blocks.{n}.0.{layer}.weight": (320,) for n in range(12) for layer in ("in_layers.0", "out_layers.0")},
    "flux1": {
        "img_in.weight": (3072, 64),
        "vector_in.in_layer.weight": (3072, 768),
        "txt_in.weight": (3072, 4096),
        **{f"double_blocks.{n}.img_attn.norm.key_norm.scale": (128,) for n in range(19)},
        **{f"single_blocks.{n}.linear1.weight": (21504, 3072) for n in range(38)},
    },
}
VAE = {f"first_stage_model.decoder.{n}.weight": (8,) for n in range(12)}
WHOLE_VAE = next(
    {"first_stage_model." + key: shape for key, (_, shape) in header_of(part, row).tensors.items()}
    | {f"first_stage_model.decoder.up.{n}.block.0.norm1.bias": (128,) for n in range(12)}
    for part, row in rows()
    if row["id"] == "sd-vae"
)


@pytest.mark.parametrize(
    ("first", "second"),
    [("model.diffusion_model.", "transformer."), ("model.diffusion_model.", ""), ("model.", "unet."), ("unet.", "transformer.")],
)
@pytest.mark.parametrize(("one", "other"), [("sd2", "flux1"), ("flux1", "sd2")])
@pytest.mark.parametrize("vae", [VAE, {}], ids=["vae", "bare"])
def test_two_diffusion_models_in_one_file_are_none(first: str, second: str, one: str, other: str, vae: Shapes) -> None:
    """A file with the UNet of one family and the DiT of another is surely neither, wherever each stands; one of them alone is."""
    both = under(first, BACKBONES[one]) | under(second, BACKBONES[other]) | vae
    assert model(both).base == "unknown"
    assert model(both).confidence < CONFIDENT
    assert model(under(first, BACKBONES[one]) | vae).base == one


def test_two_diffusion_models_are_told_as_a_conflict() -> None:
    """The user reads which two they are; a second copy of the same family, as trainers keep one, is no conflict."""
    unet = BACKBONES["sd2"]
    mixed = under("model.diffusion_model.", unet) | under("transformer.", BACKBONES["flux1"])
    found = classify(Header("safetensors", 1, {k: ("F16", s) for k, s in mixed.items()}, {}), "model")
    assert found.conflicts == ("it holds two diffusion models, of sd2 and of flux1",)
    twice = under("model.diffusion_model.", unet) | under("unet.", unet)
    assert (model(twice).base, model(twice).confidence >= CONFIDENT) == ("sd2", True)


def test_a_vae_and_a_text_encoder_without_a_model_are_neither() -> None:
    """What is left of a checkpoint whose UNet was taken out is no VAE: programs that load one would be handed more."""
    layer = "cond_stage_model.transformer.text_model.encoder.layers.{}.self_attn.k_proj.weight"
    text = {layer.format(n): (768, 768) for n in range(12)}
    text["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"] = (49408, 768)
    found = classify(Header("safetensors", 1, {k: ("F16", s) for k, s in (WHOLE_VAE | text).items()}, {}), "model_vae")
    assert (found.model.type, found.model.confidence < CONFIDENT) == ("unknown", True)
    assert found.conflicts == ("it holds a VAE and a text encoder, but no diffusion model that is known",)
    assert model(WHOLE_VAE).type == "vae"
    few = dict(list(text.items())[:2])
    assert model(WHOLE_VAE | few).type == "vae"


@pytest.mark.parametrize(
    ("channels", "beside", "variant"),
    [
        (8, {}, "ip2p"),
        (8, {"cc_projection.weight": (768, 772), "cc_projection.bias": (768,)}, "zero123"),
        (9, {}, "inpaint"),
        (9, {"learnable_vector": (1, 1, 768), "cond_stage_model.final_ln.weight": (1024,)}, "paint-by-example"),
    ],
)
def test_inputs_alone_do_not_name_the_variant(channels: int, beside: Shapes, variant: str) -> None:
    """What the model is told by (a camera's pose, a picture) stands beside the UNet, and names it before the count of its inputs does."""
    own = {key: (shape[0], 768) if "attn2" in key else shape for key, shape in LDM.items()}
    own["input_blocks.0.0.weight"] = (320, channels, 3, 3)
    found = model(under("model.diffusion_model.", own) | VAE | beside)
    assert (found.base, found.variant) == ("sd15", variant)


def test_a_controlnet_with_its_whole_model_is_a_controlnet() -> None:
    """The first controlnets came with all of Stable Diffusion; a control model of another build makes the whole unsure."""
    whole = under("model.diffusion_model.", LDM) | {f"first_stage_model.decoder.{n}.weight": (8,) for n in range(12)}
    found = model(whole | under("control_model.", LDM | HINTS))
    assert (found.type, found.base, found.confidence >= CONFIDENT) == ("controlnet", "sd2", True)
    assert (model(whole).type, model(whole).confidence >= CONFIDENT) == ("checkpoint", True)
    assert model(whole | under("control_model.", LDM)).confidence < CONFIDENT


def test_a_connector_is_no_text_refiner_of_hunyuan() -> None:
    """A relative of FLUX has refiner blocks of that name in a connector; HunyuanVideo has them where its text comes in."""
    layers = {"double_blocks.0.img_attn.qkv": (9216, 3072)}
    refiner = "individual_token_refiner.blocks.0.self_attn.qkv"
    assert model(lora(layers | {f"txt_in.{refiner}": (9216, 3072)})).base == "hunyuan-video"
    assert model(lora(layers | {f"connector.S.{refiner}": (9216, 3072)})).confidence < CONFIDENT


def test_a_lora_of_svd_is_svds() -> None:
    """Temporal blocks of SVD's width are told from SD 2, whose spatial layers it has."""
    own = {
        f"down_blocks.{n}.attentions.0.{kind}transformer_blocks.0.attn2.to_k": (320 * 2**n, 1024)
        for n in range(3)
        for kind in ("", "temporal_")
    }
    assert model(lora(own)).base == "svd"


@pytest.mark.parametrize("case", FAMILIES, ids=[str(c["filename"]) for c in FAMILIES])
def test_a_family_is_known(case: Mapping[str, object]) -> None:
    """The headers that a family's own program or diffusers' class of it writes, whole or packed, are given its type and base."""
    tensors: dict[str, tuple[str, list[int]]] = case["tensors"]  # type: ignore[assignment]
    header = {key: (dtype, tuple(shape)) for key, (dtype, shape) in tensors.items()}
    expect: dict[str, object] = case["expect"]  # type: ignore[assignment]
    found = classify(Header(str(case["format"]), 1, header, case["metadata"] or {}), "model").model  # type: ignore[arg-type]
    assert found.type in {expect["type"], *expect.get("type_any", ())}  # type: ignore[misc]
    assert found.base in {expect["base"], *expect.get("base_any", ())}  # type: ignore[misc]


@pytest.mark.parametrize("case", UNSURE, ids=[str(c["filename"]) + str(c["id"]) for c in UNSURE])
def test_unsure_where_one_must_be(case: Mapping[str, object]) -> None:
    """A header that fits several families, or none, is answered honestly: below 0.8, and with one of the names that fit."""
    tensors: dict[str, tuple[str, list[int]]] = case["tensors"]  # type: ignore[assignment]
    expect: dict[str, object] = case["expect"]  # type: ignore[assignment]
    found = model({key: tuple(shape) for key, (_, shape) in tensors.items()})
    assert found.confidence < CONFIDENT
    assert found.type in {expect["type"], *expect.get("type_any", ())}  # type: ignore[misc]
    assert found.base in {expect["base"], *expect.get("base_any", ())}  # type: ignore[misc]
