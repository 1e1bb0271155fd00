"""A LoRA's tensors are looked at by groups of names, and it is as if each had been looked at."""

from dropdock.rules.header import Tensor
from dropdock.rules.key_index import KeyIndex
from dropdock.rules.lora_shapes import ENOUGH, ROLES, Roles, fold, read_layers, shape_of, split_key
from hypothesis import given, settings
from hypothesis import strategies as st

PREFIXES = st.sampled_from(
    ["", "lora_unet_", "lora_te1_", "lora_te2_", "te.", "transformer.", "base_model.model.", "module.", "bundle_emb."]
)
LAYERS = st.sampled_from(["blocks.0.to_q", "blocks.1.to_q", "blocks_12_to_q", "a1", "a2", "a.processor.qkv", "x.down", "down"])
ENDS = st.sampled_from(
    [
        f"{dot}{role}{end}"
        for role in (*ROLES, "down", "lora1.down", "a3")
        for dot in "._"
        for end in ("", ".weight", ".default.weight", ".bias")
    ]
    + ["_lora1.down.weight", "_lora2.up.weight", "_lora.up.weight", ".weight", ".lora.down.weight"]
)
NAMES = st.builds("{}{}{}".format, PREFIXES, LAYERS, ENDS)
SHAPES = st.lists(st.sampled_from([1, 4, 64]), max_size=4).map(tuple)


def one_by_one(tensors: dict[str, Tensor]) -> tuple[dict[str, Roles], float]:
    """The layers by the look at each tensor, and the share of the tensors that are parts of one."""
    layers: dict[str, Roles] = {}
    for name, (_, shape) in tensors.items():
        layer, role = split_key(name)
        if role:
            layers.setdefault(layer, {})[role] = shape
    parts = sum(bool(split_key(name)[1]) for name in tensors)
    for layer, roles in layers.items():
        if "ia3" in roles and layer + ".weight" in tensors:
            roles["ia3w"] = tensors[layer + ".weight"][1]
            parts += 1
    loose = sum(name.startswith("bundle_emb.") and not split_key(name)[1] for name in tensors)
    return layers, parts / max(1, len(tensors) - loose)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(NAMES, st.tuples(st.just("F16"), SHAPES), min_size=1, max_size=12))
def test_groups_are_as_each_by_itself(tensors: dict[str, Tensor]) -> None:
    """Whatever tensors are called, the layers, their shapes and the share are those of a look at each."""
    layers, share = one_by_one(tensors)
    found = read_layers(KeyIndex(tensors))
    roles = set().union(*layers.values())
    assert (found is not None) is (share >= ENOUGH and not roles <= {"alpha", "scalar"})
    if found is not None:
        wanted: dict[str, set[object]] = {}
        for layer, parts in layers.items():
            wanted.setdefault(fold(layer), set()).add(shape_of(parts))
        assert found.share == share
        assert found.index.exact.keys() == wanted.keys()
        assert all(shape in wanted[name] for name, (_, shape) in found.index.exact.items())
