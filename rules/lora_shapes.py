"""LoRAs: which tensors are low-rank pairs, and what shape the layer they patch must have.

What must hold: a file is a LoRA only when nearly all of its tensors carry such suffixes (merged checkpoints, FaceID and
PhotoMaker files carry some); the patched layer's [out, in] follows from the pair's shapes alone, whatever the format, and is
0 on a side that cannot be told. Formats: LyCORIS' modules, sd-scripts' networks, PEFT's naming.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from math import isqrt, prod

from .header import Shape, Tensor
from .key_index import KeyIndex, without_numbers

ENOUGH = 0.85  # share of a file's tensors that must be low-rank parts
Roles = dict[str, Shape]

# last component (below .weight) -> role; the format a role tells
ROLES = {
    "lora_down": "down", "lora_up": "up", "lora_mid": "mid", "lora_A": "down", "lora_B": "up", "alpha": "alpha",
    "dora_scale": "dora", "lora_magnitude_vector": "dora", "hada_w1_a": "w1a", "hada_w1_b": "w1b", "hada_w2_a": "w2a",
    "hada_w2_b": "w2b", "hada_t1": "t1", "hada_t2": "t2", "lokr_w1": "k1", "lokr_w2": "k2", "lokr_w1_a": "k1a",
    "lokr_w1_b": "k1b", "lokr_w2_a": "k2a", "lokr_w2_b": "k2b", "lokr_t2": "kt2", "oft_blocks": "oft", "oft_diag": "oft",
    "oft_R": "rotation",
    "a1": "a1", "a2": "a2", "b1": "b1", "b2": "b2", "on_input": "ia3", "diff": "diff", "diff_b": "diff_b", "w_norm": "norm",
    "b_norm": "norm_b", "set_weight": "set", "reshape_weight": "set_shape", "q_layer": "tq", "p_layer": "tp",
    "lambda_layer": "tl", "scalar": "scalar", "rescale": "scalar",
}  # fmt: skip
PREFIXES = (
    "base_model.model.transformer.", "base_model.model.diffusion_model.", "base_model.model.unet.", "base_model.model.",
    "model.diffusion_model.", "diffusion_model.", "pipe.dit.", "dit.", "transformer.", "unet.", "lora_transformer_", "lora_prior_unet_",
    "lora_unet__", "lora_unet_", "lycoris_",
)  # fmt: skip
_TEXT = dict((
    ("lora_te1_", "te1."), ("lora_te2_", "te2."), ("lora_te3_", "te3."), ("lora_te4_", "te4."), ("lora_te_", "te."),
    ("lora_prior_te_", "te."),
    ("text_encoder_2.", "te2."), ("text_encoder_3.", "te3."), ("text_encoder.", "te1."), ("text_encoders.clip_l.", "te1."),
    ("text_encoders.clip_g.", "te2."), ("text_encoders.t5xxl.", "te3."), ("text_encoders.", "te."), ("te.", "te."),
    ("base_model.model.text_model.", "te.text_model."), ("clip_l.", "te1."), ("clip_g.", "te2."),
))  # fmt: skip
_TRAINERS = (
    "lora_unet_",
    "lora_te_",
    "lora_te1_",
    "lora_te2_",
    "lora_te3_",
    "lora_te4_",
    "lora_transformer_",
    "lora_prior_",
    "lycoris_",
)
_WRAPPERS = re.compile(r"(^|\.)(?:_orig_mod|module)\.")  # torch.compile's and DataParallel's names for what they wrap
_ENDS = frozenset(map(without_numbers, (*ROLES, "down", "up")))
_PREFIX = re.compile("|".join(re.escape(p) for p in (*_TEXT, *PREFIXES)))


@dataclass(frozen=True, slots=True)
class LoraLayers:
    """The patched layers: index maps a folded path (`_` as `.`) to [out, in]. share is of the file's tensors, 0..1.

    vague is True where the parts do not tell the layers' widths (IA3, OFT) or may cut them in several ways (LoKr); halved where
    they tell one side at most.
    """

    index: KeyIndex
    format: str
    share: float
    vague: bool
    halved: bool = False


def named_as_lora(tensors: Mapping[str, Tensor]) -> bool:
    """Are its keys all named as only trainers of LoRAs name them? Cheap: a few names are looked at. Pure."""
    names = list(tensors)
    return bool(names) and all(n.startswith(_TRAINERS) for n in names[:: max(1, len(names) // 16)])


def read_layers(keys: KeyIndex) -> LoraLayers | None:
    """The patched layers of a LoRA; None when the file is none. Pure."""
    tensors, layers = keys.exact, dict[str, Roles]()
    parts = bundled = 0
    for short, names in keys.groups().items():
        taken = _take(names, tensors, layers) if _may_be_part(short) else 0
        parts += taken
        if short.startswith("bundle_emb."):
            bundled += len(names) - taken  # an embedding that travels with the LoRA
    roles = set[str]().union(*layers.values())
    parts += _join_ia3(layers, tensors) if "ia3" in roles else 0
    whole = len(tensors) - bundled
    share = parts / whole if whole else 0.0
    if share < ENOUGH or roles <= {"alpha", "scalar"}:
        return None
    index = KeyIndex({fold(name): ("", shape_of(roles)) for name, roles in layers.items()})
    form = format_of(layers, roles, share)
    return LoraLayers(index, form, share, form.startswith(("lokr", "oft", "ia3", "full")), form.startswith(("oft", "ia3")))


def _may_be_part(short: str) -> bool:
    """May names that are so without their numbers have a role? Nearly all that may not are known by their end. Pure."""
    end = short.removesuffix(".weight").removesuffix(".bias").removesuffix(".default")
    return end.rpartition(".")[2] in _ENDS


def _take(names: list[str], tensors: Mapping[str, Tensor], layers: dict[str, Roles]) -> int:
    """Put names that differ by their numbers alone into `layers`; how many of them have a role.

    The first name tells the role of all that end as it does, and what stands before that end is the layer.
    """
    taken, rest = 0, names
    while rest:
        layer, role = split_key(rest[0])
        tail = rest[0][len(layer) :]
        if not role or not rest[0].startswith(layer):
            break  # a role hangs on a number (a1), or the layer is called otherwise than in the file (XLabs): one by one
        alike = [name for name in rest if name.endswith(tail)]
        for name in alike:
            layers.setdefault(name[: -len(tail)], {})[role] = tensors[name][1]
        taken += len(alike)
        rest = [name for name in rest if not name.endswith(tail)] if len(alike) < len(rest) else []
    for name in rest:
        layer, role = split_key(name)
        if role:
            layers.setdefault(layer, {})[role] = tensors[name][1]
            taken += 1
    return taken


def as_layers(tensors: Mapping[str, Tensor]) -> KeyIndex:
    """A model's own weights as the layers that a LoRA would patch: what tells the family of a few blocks without the rest. Pure."""
    found = {k.removesuffix(".weight"): shape for k, (_, shape) in tensors.items() if len(shape) == 2}
    return KeyIndex({fold(name): ("", shape) for name, shape in found.items()})


def split_key(key: str) -> tuple[str, str]:
    """A tensor's layer and its role in the pair ("" when it has none). Pure."""
    if key.endswith(".weight"):
        head, _, tail = key[:-7].rpartition(".")
        if tail in ROLES:
            return head, ROLES[tail]
    head, _, tail = key.rpartition(".")
    if tail in ("weight", "bias", "default"):
        bias = tail == "bias"
        head, _, tail = head.rpartition(".")
        if tail == "default":
            head, _, tail = head.rpartition(".")
        if bias and tail in ROLES:
            return head, ROLES[tail] + "_bias"
    role = ROLES.get(tail)
    if role:
        return head, role
    if tail in ("down", "up"):
        return _named_lora(head, tail)
    return "", ""


def _named_lora(head: str, role: str) -> tuple[str, str]:
    """Names where `lora` stands before down/up: to_q_lora.down, to_q.lora.down, to_q.lora_linear_layer.down, qkv_lora1.down."""
    for mark in ("_lora", ".lora", ".lora_linear_layer"):
        if head.endswith(mark):
            return head.removesuffix(mark).replace(".processor.", "."), role
    for number in "12":  # XLabs: 1 is the image stream, 2 the text stream
        if head.endswith("_lora" + number):
            layer = head.removesuffix("_lora" + number)
            return (layer if number == "1" else layer + "_txt"), role
    return "", ""


def _join_ia3(layers: dict[str, Roles], tensors: Mapping[str, Tensor]) -> int:
    """IA3 keeps its vector under plain `.weight`; `.on_input` beside it is what tells. How many there are."""
    found = [layer for layer, roles in layers.items() if "ia3" in roles and layer + ".weight" in tensors]
    for layer in found:
        layers[layer]["ia3w"] = tensors[layer + ".weight"][1]
    return len(found)


def fold(layer: str) -> str:
    """A layer's path without the trainer's prefix, with `_` and `.` alike. Text encoders keep te., te1., te2., te3. Pure."""
    if "_orig_mod." in layer or "module." in layer:
        layer = _WRAPPERS.sub(r"\1", layer)
    found = _PREFIX.match(layer)
    if not found:
        return layer.replace("_", ".")
    # OneTrainer and SimpleTuner put one prefix before the other
    rest = layer[found.end() :].removeprefix("transformer.").removeprefix("unet_")
    return (_TEXT.get(found.group(), "") + rest).replace("_", ".")


def shape_of(roles: Roles) -> Shape:
    """[out, in] of the patched layer, 0 for a side that the parts do not tell. Pure."""
    if "down" in roles or "up" in roles:
        return (_at(roles.get("up"), 0), _at(roles.get("down"), 1))
    if "w1a" in roles and "w1b" in roles:
        side = 1 if "t1" in roles else 0
        return (_at(roles["w1a"], side), _at(roles["w1b"], 1))
    if "k1" in roles or "k1a" in roles or "k2" in roles:
        return _kronecker(roles)
    if "b1" in roles and "a1" in roles:
        return (_at(roles["b1"], 0), _at(roles["a1"], 0))
    if "diff" in roles or "set" in roles:
        full = roles.get("diff") or roles.get("set") or ()
        return (_at(full, 0), _at(full, 1))
    if "oft" in roles:
        blocks = roles["oft"]
        return (prod(blocks[-3:-1]) if len(blocks) in (3, 4) else 0, 0)  # BOFT has several layers of blocks
    if "rotation" in roles:
        return (0, _rotated(roles["rotation"]))
    if "ia3w" in roles:
        vector = roles["ia3w"]
        return (_at(vector, 0), 0) if _at(vector, 1) == 1 else (0, _at(vector, 1))
    if "tq" in roles and "tp" in roles:
        return (_at(roles["tp"], 0), _at(roles["tq"], 1))
    return (0, 0)


def _rotated(blocks: Shape) -> int:
    """The input's width under OFT as PEFT writes it: [blocks, b(b-1)/2], the upper triangle of each b x b block."""
    if len(blocks) != 2 or blocks[1] >= 1 << 40:
        return 0
    side = (1 + isqrt(1 + 8 * blocks[1])) // 2
    return blocks[0] * side if side * (side - 1) // 2 == blocks[1] else 0


def _kronecker(roles: Roles) -> Shape:
    first = (_at(roles.get("k1", roles.get("k1a")), 0), _at(roles.get("k1", roles.get("k1b")), 1))
    if "kt2" in roles:  # Tucker: the outer factors are [rank, out] and [rank, in]
        second = (_at(roles.get("k2a"), 1), _at(roles.get("k2b"), 1))
    else:
        second = (_at(roles.get("k2", roles.get("k2a")), 0), _at(roles.get("k2", roles.get("k2b")), 1))
    return (first[0] * second[0], first[1] * second[1])


def _at(shape: Shape | None, side: int) -> int:
    return shape[side] if shape is not None and len(shape) > side else 0


def format_of(layers: Mapping[str, Roles], roles: Set[str], share: float) -> str:
    """The format's name in the vocabulary of docs/models.md; `roles` are those of all layers. Pure."""
    first = next(iter(layers), "")
    dora = "+dora" if "dora" in roles else ""
    if roles & {"k1", "k1a", "k2"}:
        return "lokr" + dora
    for role, name in (("w1a", "loha"), ("oft", "oft"), ("rotation", "oft"), ("a1", "glora"), ("ia3", "ia3"), ("tq", "t-lora")):
        if role in roles:
            return name + dora
    if not roles & {"down", "up"}:
        return "full-diff"
    if ".processor." in first and first.split(".")[0] in ("double_blocks", "single_blocks"):
        return "xlabs"
    if "up_bias" in roles and share < 1:
        return "bfl-control-lora"
    if first.startswith(("lora_", "lycoris_")):
        locon = any(_is_conv(r) for r in layers.values())
        return ("locon" if locon else "kohya") + dora
    return ("peft" if first.startswith("base_model.") else "diffusers" if "." in first else "kohya") + dora


def _is_conv(roles: Roles) -> bool:
    """A convolution wider than 1x1 is patched: what LoCon adds to LoRA."""
    down = roles.get("down", ())
    return "mid" in roles or (len(down) == 4 and prod(down[2:]) > 1)
