"""ONNX Runtime behind one class: a tagger's session on a device, and its scores for rows of pixels.

What must hold: side, layout, type and batch come from the graph, never from a guess; the device that is told is the one the session
really runs on, because the runtime takes the CPU in silence where a card cannot be used.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import psutil

from ...rules.measures import show_size
from .pixels import Shape
from .registry import Entry, described
from .weights import Weights

if TYPE_CHECKING:
    from .pixels import Floats

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
SIDE = 448  # pixels, where neither the graph nor the table says it
INSTALL = "pipx inject dropdock onnxruntime (or pip install 'dropdock[cpu]'; 'dropdock[gpu]' for an NVIDIA card)"


class Unfit(RuntimeError):
    """A model that cannot be run; the text is for people."""


class Port(Protocol):
    """What is used of an input or output of a session."""

    name: str
    shape: Sequence[int | str | None]
    type: str


class Session(Protocol):
    """What is used of onnxruntime.InferenceSession."""

    def run(self, names: Sequence[str], inputs: dict[str, object]) -> Sequence[object]:
        """The named outputs."""
        ...

    def get_inputs(self) -> Sequence[Port]:
        """What it wants."""
        ...

    def get_outputs(self) -> Sequence[Port]:
        """What it gives."""
        ...

    def get_providers(self) -> Sequence[str]:
        """Where it really runs, the first one first."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where a session shall run: the number of a card, or None for the CPU. `asked`: by name, so that not getting it is told."""

    card: int | None
    asked: bool = False


def wanted(word: str) -> Wanted:
    """auto, cpu, cuda or cuda:N. Raises Unfit for another word."""
    name, _, number = word.partition(":")
    if name == "cuda" and (number == "" or number.isdecimal()):
        return Wanted(int(number or 0), asked=True)
    if word not in ("auto", "cpu"):
        raise Unfit(f"expected device auto, cpu, cuda or cuda:N, not {word}")
    return Wanted(None if word == "cpu" else 0)


def runtime() -> ModuleType:
    """The module onnxruntime. Raises ImportError with the way to install it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"the engine onnx needs onnxruntime: {INSTALL}") from error
    if not hasattr(onnxruntime, "InferenceSession"):  # what is left where both packages were installed and one was removed
        raise ImportError(f"onnxruntime is there in part only: uninstall onnxruntime and onnxruntime-gpu, then {INSTALL}")
    module: ModuleType = onnxruntime
    return module


def opened(model: Path, where: Wanted) -> tuple[Session, str]:
    """A session and the device it runs on, in words. Raises Unfit where the model does not load, ImportError without the runtime."""
    ort = runtime()
    options = ort.SessionOptions()
    # As many threads as it would take itself, but said: then none is tied to a core, and one whose core decodes goes on elsewhere.
    options.intra_op_num_threads = cores()
    # Spinning threads of a small model would take the cores that decode the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Smaller pieces of work: a core that decodes for a moment does not hold up all the others at the end of each layer.
    options.add_session_config_entry("session.dynamic_block_base", "4")
    options.log_severity_level = 4
    why = "" if where.card is None else _unusable(ort)
    errors: tuple[type[Exception], ...] = (*errors_of(ort), RuntimeError, ValueError, MemoryError)
    if where.card is not None and not why:
        card = {"device_id": where.card, "cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
        try:
            session: Session = ort.InferenceSession(str(model), options, providers=[(CUDA, card), CPU])
            if CUDA in session.get_providers():
                return session, f"CUDA {where.card}"
            why = "the session came up without it; its libraries are missing or of another CUDA"
        except errors as error:
            why = _line(error)
    try:
        session = ort.InferenceSession(str(model), options, providers=[CPU])
    except errors as error:
        raise Unfit(f"{model} does not load: {_why(model, error)}") from None
    told = where.asked or (where.card is not None and CUDA in ort.get_available_providers())
    return session, f"cpu (CUDA was asked for: {why})" if told else "cpu"


def _why(model: Path, error: BaseException) -> str:
    """What the runtime says of a model that does not load; of a file that is none it only says that it cannot be parsed."""
    said = _line(error)
    if "INVALID_PROTOBUF" not in said and "protobuf parsing failed" not in said.lower():
        return said
    return f"it is no ONNX model, or not the whole of one ({show_size(model.stat().st_size)}): fetch it again"


def cores() -> int:
    """The cores that a model's threads may fill: those that this process may use, each counted once where it shows as two."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, psutil.cpu_count(logical=False) or usable))


def _unusable(ort: ModuleType) -> str:
    """Why no card can be used at all; '' when one may be. Loads the libraries that came as packages."""
    if CUDA not in ort.get_available_providers():
        return "onnxruntime is installed for the CPU only, it takes the extra gpu"
    if hasattr(ort, "preload_dlls"):
        with contextlib.suppress(OSError, RuntimeError, ImportError):
            ort.preload_dlls()
    return ""


def errors_of(ort: ModuleType) -> tuple[type[Exception], ...]:
    """What the runtime raises: its exceptions share no base of their own."""
    state = ort.capi.onnxruntime_pybind11_state
    found = [getattr(state, name) for name in dir(state)]
    return tuple(e for e in found if isinstance(e, type) and issubclass(e, Exception))


class Net:
    """One model on a device. `frozen`: the batch it always wants, 0 for any."""

    def __init__(self, weights: Weights, session: Session) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise Unfit(f"{weights.model} is no tagger: it wants {[(port.name, port.shape) for port in inputs]}")
        self.entry, self.shape = _seen(weights, inputs[0].shape)
        self.labels = weights.labels
        batch = inputs[0].shape[0]
        self.frozen = batch if isinstance(batch, int) and batch > 0 else 0
        if inputs[0].type not in ("tensor(float)", "tensor(float16)"):
            raise Unfit(f"{weights.model} is no tagger: its pixels are {inputs[0].type}, not float")
        self._session, self._input, self._half = session, inputs[0].name, inputs[0].type == "tensor(float16)"
        self._outputs = {port.name: _width(port) for port in session.get_outputs()}
        self._output = self.entry.output if self.entry.output in self._outputs else list(self._outputs)[-1]
        self._named = self._output == self.entry.output

    def fit(self, names: int) -> None:
        """Take the output that has so many scores: the one the table names, else the last of them. Raises Unfit where there is none."""
        fitting = [name for name, width in self._outputs.items() if width in (names, 0)]
        sure = [name for name in fitting if self._outputs[name]] or fitting
        if not self._named and sure:
            self._output = sure[-1]
        if self._output not in fitting:
            given = self._outputs[self._output]
            raise Unfit(f"{self.entry.name} gives {given} scores and {self.labels.name} names {names}")

    def scores(self, rows: Floats) -> Floats:
        """Probabilities, a row for each of `rows`; a frozen batch is filled up. Raises what the runtime raises."""
        import numpy as np

        count, step = len(rows), self.frozen or len(rows)
        found = []
        for first in range(0, count, step):
            part = rows[first : first + step]
            if len(part) < step:
                part = np.concatenate([part, np.zeros((step - len(part), *rows.shape[1:]), np.float32)])
            given = part.astype(np.float16) if self._half else part
            found.append(np.asarray(self._session.run([self._output], {self._input: given})[0], np.float32).reshape(step, -1))
        whole: Floats = found[0] if len(found) == 1 else np.concatenate(found)
        return self._probable(whole)[:count]

    def _probable(self, found: Floats) -> Floats:
        import numpy as np

        logits = self.entry.activation == "sigmoid"
        if self.entry.activation == "auto" and found.size:
            logits = float(found.min()) < -1e-4 or float(found.max()) > 1.0001
        if not logits:
            return found
        sigmoid: Floats = (0.5 * np.tanh(0.5 * found) + 0.5).astype(np.float32, copy=False)  # in the form that does not overflow
        return sigmoid


def _width(port: Port) -> int:
    """How many scores an output gives, 0 where the graph does not say."""
    last = port.shape[-1] if port.shape else 0
    return last if isinstance(last, int) and last > 0 else 0


def _seen(weights: Weights, shape: Sequence[int | str | None]) -> tuple[Entry, Shape]:
    """What the graph says of its input, over what the table says."""
    nchw = shape[1] == 3 or (shape[3] != 3 and weights.entry.shape.layout == "nchw")
    known = weights.entry
    if nchw and known.shape == Shape(0) and known.activation == "auto":  # a folder that nobody described
        known = replace(described(weights.model.parent, nchw=True), name=known.name)
    sides = [n for n in (shape[2:] if nchw else shape[1:3]) if isinstance(n, int) and n > 0]
    side = sides[0] if sides else known.shape.side or SIDE
    return known, replace(known.shape, side=side, layout="nchw" if nchw else "nhwc")


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
