"""The header of a model file as plain values, or why there is none. What every model reader returns and classifying takes.

What must hold: a Header is small (names, dtypes, shapes and metadata, never tensor data), is the same whatever container it
came from (shapes are row-major as in PyTorch, dtypes are spelled as in safetensors), and can be kept and classified again
without the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .terms import Condition

Shape = tuple[int, ...]
Tensor = tuple[str, Shape]  # dtype, shape

MAX_TENSORS = 250_000  # more than any published model by a factor of ten; a header beyond it is damage or an attack


@dataclass(frozen=True, slots=True)
class Damaged:
    """Why a file cannot be read: a slug for rules, a sentence for people."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Header:
    """A model's tensors and metadata.

    trust is OK for containers that hold plain data; NEEDS_TRUST or UNSAFE, with `why`, for pickles that name more than that.
    `classes` are the globals outside the allow-list, `top` the keys of a pickle's outermost mapping.
    """

    container: str  # safetensors, gguf, torch-zip, torch-legacy, diffusers
    size: int
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    trust: Condition = Condition.OK
    reason: str | None = None
    why: str = ""
    classes: tuple[str, ...] = ()
    top: tuple[str, ...] = ()
