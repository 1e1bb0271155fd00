"""The lines of the signature table: each kind says what rules/predicates.py promises, alone and among others."""

import pytest
from dropdock.rules.header import Tensor
from dropdock.rules.key_index import KeyIndex
from dropdock.rules.predicates import Asked, TableError, any_of, clause, fits, holds, predicate
from dropdock.rules.signatures import _signature
from hypothesis import given
from hypothesis import strategies as st

TENSORS: dict[str, Tensor] = {
    "blocks.0.attn.weight": ("F16", (64, 32)),
    "blocks.7.attn.weight": ("F16", (64, 16)),
    "0.weight": ("F16", (3,)),
    "head.bias": ("F16", (2,)),
}


@pytest.mark.parametrize(
    ("line", "true"),
    [
        ("head.bias", True),
        ("head.weight", False),
        ("head.bias [2]", True),
        ("head.bias [3|2]", True),
        ("head.bias [_,_]", False),
        ("blocks.*.attn.weight", True),
        ("blocks.*.attn.weight [64,16]", True),
        ("blocks.*.attn.weight [64,8]", False),
        ("blocks.*.attn.weight [64,...]", True),
        ("blocks.7.attn.weight [64,32]", False),
        ("?absent [1]", True),
        ("?head.bias [1]", False),
        ("~blocks.*.attn.", True),
        ("~blocks.3.attn.", True),
        ("~mlp", False),
        ("^head.bias", True),
        ("%tasks.Detect", True),
        ("%nothing", False),
        ("$arch=flux|sdxl", True),
        ("$arch=sdxl", False),
        ("$arch", True),
        ("$none", False),
        ("#blocks.* 2", True),
        ("#blocks.* 3|4", False),
        ("@blocks.* >=7", True),
        ("@blocks.* 6", False),
        ("+4", True),
        ("+>=5", False),
        ("** [3]", True),
        ("** [4]", False),
    ],
)
def test_the_language(line: str, true: bool) -> None:
    """Each kind of predicate says what rules/signatures.py promises."""
    index = KeyIndex(TENSORS)
    assert predicate(line)(Asked(index, index, {"arch": "FLUX"}, "a.tasks.DetectionModel")) is true


@pytest.mark.parametrize("line", ["key [x]", "key [1", "#blocks 3", "#blocks.* many", "+x"])
def test_a_wrong_line_is_refused(line: str) -> None:
    """A mistake in the table is an error when it is loaded, never a predicate that silently fails."""
    with pytest.raises(TableError):
        predicate(line)


def test_fits() -> None:
    """Shapes are compared dimension by dimension, with any size where it says so."""
    assert fits((1, 2), (None, frozenset({2})))
    assert not fits((1, 2), (None,))


LINES = st.sampled_from(
    [
        "a.*.b",
        "a.1.b",
        "a.1.*",
        "b",
        "*.a",
        "~a.*",
        "~b.",
        "~.1.",
        "~a1",
        "~b",
        "a.*.b [1]",
        "?a.*.b [2]",
        "** [1]",
        "#a.* 2",
        "+2",
        "^b",
    ]
)
NAMES = st.lists(st.sampled_from(["a", "b", "a1", "0", "1", "12"]), min_size=1, max_size=4).map(".".join)


@given(
    st.dictionaries(NAMES, st.tuples(st.just("F16"), st.tuples(st.integers(1, 2))), max_size=8),
    st.lists(LINES, max_size=4),
    st.booleans(),
)
def test_lines_together_are_as_each_alone(tensors: dict[str, Tensor], lines: list[str], fold: bool) -> None:
    """However lines are put together to be asked at once, the answer is that of each line by itself."""
    index = KeyIndex(tensors)
    asked = Asked(index, index, {})
    each = [predicate(line, fold)(asked) for line in lines]
    assert any_of(lines, fold).holds(asked) is any(each)
    assert holds(clause(lines, fold), asked) is all(each)
    assert holds(clause([lines] if lines else None, fold), asked) is (any(each) or not lines)


@pytest.mark.parametrize("only", [{}, [], {"top": ["img_in"]}, "img_in"])
def test_a_wrong_vocabulary_is_an_error(only: object) -> None:
    """A row's `only` has tops or words; anything else is a mistake in the table, not a row without one."""
    with pytest.raises(TableError):
        _signature({"id": "x", "all": ["img_in.weight"], "only": only}, fold=False)
