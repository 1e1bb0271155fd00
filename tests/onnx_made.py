"""Makers of tiny taggers: real ONNX graphs with the contract of the WD family, whose tags depend on what the pixels are.

The graph averages each quarter of the picture and asks for its colour, so that channels in the wrong order, a picture that is not turned,
black where white should be, a stretched picture or values of another scale give other tags. Scores are 0.9 for what is there, 0.1 else.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

QUARTERS = ("top_left", "top_right", "bottom_left", "bottom_right")
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1), "black": (0, 0, 0)}
RATINGS = ("general", "sensitive", "questionable", "explicit")
# Names whose scores are the same for every picture: what a vocabulary may hold, and a reader stumble over.
ODD = {"^_^": 0.8, "tail_(animal)": 0.7, 'don\'t_say_"lazy"': 0.6, r"\m/": 0.5, "1girl": 0.4, "never": 0.3}
CHARACTERS = {"someone_(series)": 0.95, "someone_else": 0.8}


def names() -> list[tuple[str, int, float | None]]:
    """Name, code of the category, and the fixed score or None: in the order of the outputs, with the ratings not in front."""
    rows: list[tuple[str, int, float | None]] = [(f"{q}_{c}", 0, None) for q in QUARTERS for c in COLOURS]
    rows += [(name, 0, score) for name, score in ODD.items()]
    rows += [(name, 9, 0.2 * (n == 1) + 0.3) for n, name in enumerate(RATINGS)]
    return rows + [(name, 4, score) for name, score in CHARACTERS.items()]


def labels(folder: Path, rows: Sequence[tuple[str, int]]) -> None:
    """selected_tags.csv as the WD taggers have it."""
    with (folder / "selected_tags.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows([n, name, code, 1000 - n] for n, (name, code) in enumerate(rows))


def tagger(
    folder: Path,
    *,
    side: int = 64,
    nchw: bool = False,
    batch: int = 0,
    logits: bool = False,
    unit: bool = False,
    rename: dict[str, str] | None = None,
    drop: Sequence[str] = (),
) -> Path:
    """A folder with model.onnx and selected_tags.csv.

    batch: frozen at that many; 0: any. logits: without the sigmoid. unit: wants RGB from -1 to 1 in NCHW, as newer taggers, else BGR from
    0 to 255. rename and drop: tags of another vocabulary.
    """
    rows = [((rename or {}).get(name, name), code, score) for name, code, score in names() if name not in drop]
    kept = [n for n, row in enumerate(names()) if row[0] not in drop]
    folder.mkdir(parents=True, exist_ok=True)
    labels(folder, [(name, code) for name, code, _ in rows])
    graph = _Graph()
    x = "input"
    if not nchw:
        x = graph.op("Transpose", x, perm=[0, 3, 1, 2])
    x = (
        graph.op("Div", graph.op("Add", x, graph.const(1.0)), graph.const(2.0))
        if unit
        else graph.op("Div", x, graph.const(255.0))
    )
    if not unit:
        x = graph.op("Gather", x, graph.const([2, 1, 0], np.int64), axis=1)
    x = graph.op("AveragePool", x, kernel_shape=[side // 2, side // 2], strides=[side // 2, side // 2])
    x = graph.op("Reshape", graph.op("Transpose", x, perm=[0, 2, 3, 1]), graph.const([0, 4, 1, 3], np.int64))
    far = graph.op("Abs", graph.op("Sub", x, graph.const(np.array(list(COLOURS.values()), np.float32).reshape(1, 1, 5, 3))))
    far = graph.op("Reshape", graph.op("ReduceMax", far, axes=[3], keepdims=0), graph.const([0, 20], np.int64))
    near = graph.op(
        "Mul", graph.op("Sub", graph.const(0.2), far), graph.const(22.0)
    )  # logit 4.4 for the very colour, 0 at a fifth
    fixed = np.array([score for _, _, score in names() if score is not None], np.float32)
    fixed = np.log(fixed / (1 - fixed))
    zero = graph.op("Mul", graph.op("Slice", near, graph.const([0], np.int64), graph.const([1], np.int64), graph.const([1], np.int64)),
                    graph.const(0.0))  # fmt: skip
    scores = graph.op("Concat", near, graph.op("Add", zero, graph.const(fixed[None])), axis=1)
    scores = graph.op("Gather", scores, graph.const(kept, np.int64), axis=1)
    graph.op("Identity" if logits else "Sigmoid", scores, out="output")
    n: int | str = batch or "batch"
    shape = [n, 3, side, side] if nchw else [n, side, side, 3]
    _save(graph, folder / "model.onnx", shape, [n, len(kept)])
    return folder


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.consts: list[onnx.TensorProto] = []

    def const(self, value: object, kind: type = np.float32) -> str:
        name = f"c{len(self.consts)}"
        self.consts.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: object) -> str:
        out = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out


def _save(graph: _Graph, path: Path, given: list[int | str], found: list[int | str]) -> None:
    made = helper.make_graph(
        graph.nodes,
        "tagger",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, found)],
        graph.consts,
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
