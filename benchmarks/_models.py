"""Taggers with the contract of the WD family and no trained weights, for what they cost: `tiny` nothing, `vit` what the real one costs.

`vit` is ViT-B/16 at 448 pixels: 86 million parameters, about 78 billion multiplications a picture, the size of wd-vit-tagger-v3. Both have
its 10,861 names and say about twenty general tags and two characters of a picture, other ones of another picture.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, RATINGS, GENERAL, CHARACTERS = 448, 4, 8106, 2751
TAGS = RATINGS + GENERAL + CHARACTERS
_WORDS = """red blue long short open holding striped black torn wet
hair eyes dress sword ribbon hat boots wings cup flower"""
WORDS = _WORDS.split()


def model(folder: Path, kind: str) -> Path:
    """The folder of the tagger `tiny` or `vit`, made once."""
    at = folder / f"{kind}-1"
    if not (at / "selected_tags.csv").exists():
        at.mkdir(parents=True, exist_ok=True)
        graph = Graph(np.random.default_rng(1))
        rgb = graph.op("Gather", graph.op("Transpose", "input", perm=[0, 3, 1, 2]), graph.const([2, 1, 0], np.int64), axis=1)
        unit = graph.op("Sub", graph.op("Div", rgb, graph.const(127.5)), graph.const(1.0))
        _head(graph, *(_tiny(graph, unit) if kind == "tiny" else _vit(graph, unit)))
        _save(graph, at / "model.onnx")
        _names(at / "selected_tags.csv")
    return at


class Graph:
    """Nodes and weights, as they are put together."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.nodes, self.weights = rng, list[onnx.NodeProto](), list[onnx.TensorProto]()

    def const(self, value: object, kind: type = np.float32) -> str:
        """A constant's name."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def random(self, *shape: int, by: float = 0.0) -> str:
        """Weights whose products keep their size."""
        return self.const(self.rng.standard_normal(shape, np.float32) * np.float32(by or shape[0] ** -0.5))

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: object) -> str:
        """A node's output."""
        out = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def norm(self, x: str, width: int) -> str:
        """Layer normalisation without weights of its own."""
        return self.op("LayerNormalization", x, self.const(np.ones(width)), self.const(np.zeros(width)), axis=-1)


def _tiny(g: Graph, x: str) -> tuple[str, int]:
    x = g.op("Conv", x, g.random(32, 3, 16, 16, by=0.03), kernel_shape=[16, 16], strides=[56, 56])
    x = g.op("Reshape", g.op("Relu", x), g.const([0, 32 * 64], np.int64))
    return g.op("MatMul", x, g.random(32 * 64, 32)), 32


def _vit(g: Graph, x: str, width: int = 768, depth: int = 12, heads: int = 12) -> tuple[str, int]:
    tokens, each = (SIDE // 16) ** 2, width // heads
    x = g.op("Conv", x, g.random(width, 3, 16, 16, by=0.03), kernel_shape=[16, 16], strides=[16, 16])
    x = g.op("Transpose", g.op("Reshape", x, g.const([0, width, tokens], np.int64)), perm=[0, 2, 1])
    x = g.op("Add", x, g.random(1, tokens, width, by=0.1))
    split, join = g.const([0, tokens, heads, each], np.int64), g.const([0, tokens, width], np.int64)
    for _ in range(depth):
        seen = g.norm(x, width)
        q, k, v = (g.op("Reshape", g.op("MatMul", seen, g.random(width, width)), split) for _ in range(3))
        q, k, v = (
            g.op("Transpose", q, perm=[0, 2, 1, 3]),
            g.op("Transpose", k, perm=[0, 2, 3, 1]),
            g.op("Transpose", v, perm=[0, 2, 1, 3]),
        )
        near = g.op("Softmax", g.op("Mul", g.op("MatMul", q, k), g.const(each**-0.5)), axis=-1)
        mixed = g.op("Reshape", g.op("Transpose", g.op("MatMul", near, v), perm=[0, 2, 1, 3]), join)
        x = g.op("Add", x, g.op("MatMul", mixed, g.random(width, width)))
        wide = g.op("MatMul", g.norm(x, width), g.random(width, 4 * width))
        bent = g.op("Add", g.op("Erf", g.op("Mul", wide, g.const(0.5**0.5))), g.const(1.0))  # GELU
        wide = g.op("Mul", g.op("Mul", wide, bent), g.const(0.5))
        x = g.op("Add", x, g.op("MatMul", wide, g.random(4 * width, width)))
    return g.op("ReduceMean", x, axes=[1], keepdims=0), width


def _head(g: Graph, x: str, width: int) -> None:
    bias = np.full(TAGS, -3.4, np.float32)
    bias[:RATINGS], bias[RATINGS + GENERAL :] = 0.0, -1.5
    x = g.op("Add", g.op("MatMul", g.norm(x, width), g.random(width, TAGS)), g.const(bias))
    g.op("Sigmoid", x, out="output")


def _save(g: Graph, path: Path) -> None:
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", SIDE, SIDE, 3])
    found = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", TAGS])
    graph = helper.make_graph(g.nodes, path.parent.name, [given], [found], g.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def _names(path: Path) -> None:
    rows = [(name, 9) for name in ("general", "sensitive", "questionable", "explicit")]
    n = len(WORDS)
    rows += [(f"{WORDS[i % n]}_{WORDS[i // n % n]}_{i // n // n}", 0) for i in range(GENERAL)]
    rows += [(f"someone_{i}_(series_{i % 97})", 4) for i in range(CHARACTERS)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows([i, name, code, 10**6 - i] for i, (name, code) in enumerate(rows))
