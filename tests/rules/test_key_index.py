"""Keys are found by name, by name with any block's number, and by part, as a look at each key would find them."""

import re

import pytest
from dropdock.rules.header import Tensor
from dropdock.rules.key_index import NUMBER, KeyIndex, Under, split, without_prefix
from hypothesis import example, given
from hypothesis import strategies as st

COMPONENTS = st.sampled_from(["a", "b", "a1", "a2", "0", "1", "12", "a_1", "*"])
NAMES = st.lists(COMPONENTS, min_size=1, max_size=4).map(".".join) | st.text("ab.01_\n*", min_size=1, max_size=8)
TENSORS = st.dictionaries(NAMES, st.tuples(st.just("F16"), st.tuples(st.integers(1, 9))), max_size=10)


def general(name: str) -> str:
    return NUMBER.sub("*", name)


@given(TENSORS, NAMES.map(lambda n: general(n.replace("\n", ""))).filter(lambda p: p != "**"))
def test_names_with_any_number(tensors: dict[str, Tensor], pattern: str) -> None:
    """`*` stands for any block's number and for nothing else; the shapes are those of the keys that are meant."""
    index = KeyIndex(tensors)
    meant = [n for n in tensors if general(n) == pattern]
    assert index.has(pattern) is bool(meant)
    if "*" in pattern:
        assert set(index.shapes(pattern)) == {tensors[n][1] for n in meant}
    else:
        assert list(index.shapes(pattern)) == [t[1] for n, t in tensors.items() if n == pattern]


@given(TENSORS, st.sampled_from(["a.", ".a", "a", "b.*.", "*.a", ".*.", "a1", "_", "a.*.b"]))
@example({"0*.a": ("F16", (1,))}, "*.a")
def test_parts_of_names(tensors: dict[str, Tensor], text: str) -> None:
    """A part of a name is found in names whose numbers are `*`, and a `*` is a whole component."""
    part = re.compile(("(?<![^.\n])" if text.startswith("*") else "") + re.escape(text))
    assert KeyIndex(tensors).says(text) is any(part.search(general(n)) is not None for n in tensors)


@given(TENSORS, st.sampled_from(["a.", "b.", "a.a.", "a1.", "0."]))
def test_under_a_prefix(tensors: dict[str, Tensor], prefix: str) -> None:
    """Keys under a prefix answer as an index of copies without it would."""
    copied = KeyIndex({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    under = Under(KeyIndex(tensors), prefix)
    assert dict(under.exact) == dict(copied.exact)
    assert len(under) == len(copied.exact)
    assert list(under.every_name()) == list(copied.every_name())
    assert set(under.present({"a", "b", "a.b", "1"})) == set(copied.present({"a", "b", "a.b", "1"}))
    for pattern in ("a.*", "*", "*.b", "a", "a.*.b", "a1"):
        assert under.has(pattern) is copied.has(pattern)
        assert set(under.shapes(pattern)) == set(copied.shapes(pattern))
        assert under.says(pattern) is copied.says(pattern)
    assert under.blocks("a.") == copied.blocks("a.")
    assert under.every_shape() == copied.every_shape()


def test_blocks() -> None:
    """The numbers right behind a prefix, each once; a word or a number of seven digits is none."""
    names = ("a.0.x", "a.0.y", "a.12.x", "a.x.3", "a.1234567.x", "b.a.5.x", "a.123456", "a1.7.x")
    assert KeyIndex({n: ("F16", ()) for n in names}).blocks("a.") == {0, 12, 123456}


def test_parts_of_a_checkpoint() -> None:
    """The diffusion model's keys lose their prefix, other named parts are counted, and the rest is what nobody carries."""
    keys = ["model.diffusion_model.x", "model.diffusion_model.y.0", "vae.z", "te.1", "te1.z", "alone"]
    parts = split({key: ("F16", (1,)) for key in [*keys, "vae.z.scale_weight"]})
    assert parts.diffusion is not None
    assert sorted(parts.diffusion.exact) == ["x", "y.0"]
    assert (parts.others, sorted(parts.rest.exact)) == (2, ["alone", "te1.z"])
    assert sorted(parts.whole.exact) == sorted(keys)


@pytest.mark.parametrize(
    ("names", "found"),
    [(["model.a", "model.b", "c"], [["a", "b"]]), (["net.model.a"], [["model.a"], ["a"]]), (["model.a", "b", "c"], [])],
)
def test_wrappers(names: list[str], found: list[list[str]]) -> None:
    """A prefix of half the keys is taken off, and one inside it as well."""
    index = KeyIndex({name: ("F16", (1,)) for name in names})
    assert [sorted(view.exact) for view in without_prefix(index)] == found


@pytest.mark.parametrize(
    ("weight", "scale", "width"),
    [
        (("U8", (64, 96)), ("F8_E4M3", (64, 12)), 192),  # NVFP4: a scale for 16 values
        (("U8", (64, 96)), ("F32", (64, 1)), 96),  # a scale a row: bytes are bytes
        (("I8", (64, 96)), ("F32", (64, 12)), 96),
        (("U8", (64, 96)), ("F32", ()), 96),
    ],
)
@pytest.mark.parametrize("packed", ["", "_packed"])
def test_a_packed_weight_has_the_width_that_it_stands_for(weight: Tensor, scale: Tensor, width: int, packed: str) -> None:
    """Two values in a byte are told by a scale for each few columns beside the weight; other bytes are as wide as they look."""
    parts = split({f"a.weight{packed}": weight, "a.weight_scale": scale, "a.weight_scale_2": ("F32", ())})
    name = "a.weight" if weight[0] == "U8" else f"a.weight{packed}"
    assert dict(parts.whole.exact) == {name: (weight[0], (64, width))}
