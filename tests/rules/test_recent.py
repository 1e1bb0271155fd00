"""Answers about tensors that were seen lately."""

from dropdock.rules.classify import classify
from dropdock.rules.header import Header, Tensor
from dropdock.rules.recent import Recent


def layer(width: int, dtype: str = "F16") -> dict[str, Tensor]:
    return {f"a.{n}.weight": (dtype, (width, 8)) for n in range(30)}


def test_the_same_tensors_are_asked_about_once() -> None:
    """Same names, dtypes and shapes in the same order and the same text beside: the answer of before; anything else is asked anew."""
    recent: Recent[int] = Recent()
    asked: list[int] = []

    def make() -> int:
        asked.append(1)
        return len(asked)

    turned = dict(reversed(list(layer(4).items())))
    cases = [(layer(4), ""), (layer(5), ""), (layer(4, "F32"), ""), (turned, ""), (layer(4), "llama")]
    assert [recent.get(t, beside, make) for t, beside in (*cases, *cases)] == [1, 2, 3, 4, 5] * 2


def test_the_least_used_goes() -> None:
    """No more answers are kept than it may be."""
    recent: Recent[str] = Recent(most=2)
    for width, answer in ((1, "a"), (2, "b"), (1, "-"), (3, "c")):
        recent.get(layer(width), "", lambda answer=answer: answer)
    assert [recent.get(layer(w), "", lambda: "new") for w in (1, 3, 2)] == ["a", "c", "new"]


def test_an_answer_does_not_remember_other_words() -> None:
    """Only what the tensors say is kept: names and metadata of the next file with the same tensors count for that file."""
    pairs: dict[str, Tensor] = {
        f"transformer_blocks.{i}.attn.to_q.{s}": ("F16", shape)
        for i in range(12)
        for s, shape in (("lora_A.weight", (4, 3072)), ("lora_B.weight", (3072, 4)))
    }
    said = [
        classify(Header("safetensors", 1, pairs, m), n).model.base
        for m, n in (({}, "qwen_x"), ({}, "x"), ({"ss_base_model_version": "flux1"}, "x"))
    ]
    assert said == ["qwen-image", "unknown", "flux1"]
