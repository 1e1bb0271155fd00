"""A minimal header for each row of the signature tables, built from the row's own lines, so that a new row is tested the day it is written.

What must hold: the header has what the row asks for and nothing more (one tensor for each key that is named, one key in each block that is
counted); lines that cannot be turned into tensors (a pickle's classes, metadata) go where they belong in a Header. `grown` is the same
header with other widths: a stranger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dropdock.rules.header import Header, Tensor
from dropdock.rules.signatures import TABLES, load_yaml

PARTS = ("diffusion", "vae", "text", "other", "lora")
Row = Mapping[str, object]
ANY = "<only>"  # the tensor that a line with ** asks for
TEXT_PREFIX = {"te.": "lora_te_", "te1.": "lora_te1_", "te2.": "lora_te2_", "te3.": "lora_te3_"}


@dataclass(slots=True)
class Draft:
    """What the lines ask for: keys with their shapes, blocks that must be there, classes and metadata."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    blocks: dict[str, set[int]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def rows() -> Iterator[tuple[str, Row]]:
    """Every row of every table: the table's part and the row as it stands in the file."""
    for part in PARTS:
        found = load_yaml(TABLES / f"signatures{'' if part == 'diffusion' else '_' + part}.yaml")["signatures"]
        assert isinstance(found, list)
        yield from ((part, row) for row in found)


def lines(row: Row, *names: str) -> list[list[str]]:
    """The row's clauses under these names; each is a list of which one line must hold."""
    found: list[list[str]] = []
    for name in names:
        value = row.get(name) or []
        for entry in value if isinstance(value, list) else [value]:
            found.append(entry if isinstance(entry, list) else [str(entry)])
    return found


def measured(row: Row) -> bool:
    """Does the row name a width? A row that names none can only be probable."""
    return any(line[0] != "?" and re.search(r" \[[^]]*\d", line) for clause in lines(row, "shape") for line in clause)


def header_of(part: str, row: Row, scale: int = 1) -> Header:
    """The minimal header that carries the row. scale multiplies every width that the row names."""
    draft = Draft()
    if "any" in row:
        _take(draft, str(lines(row, "any")[0][0]))
    for clause in lines(row, "shape", "all"):
        if not any(_covers(draft, line) for line in clause):
            _take(draft, _easiest(clause))
    for clause in lines(row, "count"):
        _take(draft, "#" + clause[0])
    shapes = {k: tuple(s * scale if s > 1 else s for s in shape) for k, shape in _filled(draft).items()}
    tensors = _low_rank(shapes) if part == "lora" else {k: ("F16", s) for k, s in shapes.items()}
    return Header("safetensors", 1, tensors, draft.metadata, classes=tuple(draft.classes))


def _easiest(clause: list[str]) -> str:
    """The line of a clause that says most: one with a shape, else a key, else a part of a name."""
    return min(clause, key=lambda line: (line.startswith("?"), " [" not in line, line[0] in "~^%$@#+"))


def _covers(draft: Draft, line: str) -> bool:
    if line[0] == "?":
        return True
    if line[0] == "~":
        text = "\n" + "\n".join(re.sub(r"(?<![^.])\d+(?![^.])", "*", k).replace("**", ANY) for k in draft.shapes) + "\n"
        return re.sub(r"(?<![^.])\d+(?![^.])", "*", line[1:]) in text
    return line[0] not in "^%$@#+" and " [" not in line and line in draft.shapes


def _take(draft: Draft, line: str) -> None:
    mark, rest = (line[0], line[1:]) if line[0] in "?~^%$#@+" else ("", line)
    if mark in ("%", "$"):
        if mark == "%":
            draft.classes.append("ultralytics.nn." + rest if "." not in rest else rest)
        else:
            key, _, values = rest.partition("=")
            draft.metadata[key] = values.split("|")[0] or "x"
    elif mark in ("#", "@"):
        prefix, _, number = rest.rpartition(" ")
        wanted = int(number.removeprefix(">=").split("|")[0])
        draft.blocks.setdefault(prefix.removesuffix("*"), set()).update(range(wanted) if mark == "#" else [wanted])
    elif mark == "+":
        draft.shapes = dict(list(draft.shapes.items())[: int(rest.removeprefix(">="))])
    else:
        key, bracket, sizes = rest.partition(" [")
        name = _full(key) if mark == "~" else key
        draft.shapes[name] = _shape(sizes[:-1]) if bracket else draft.shapes.get(name, ())


def _full(text: str) -> str:
    """A whole key that holds this part of one."""
    return ("x" if text.startswith(".") else "") + text + ("x" if text.endswith(".") else "")


def _shape(sizes: str) -> tuple[int, ...]:
    return tuple(7 if s.strip() == "_" else int(s.split("|")[0]) for s in sizes.split(",") if s.strip() not in ("...", ""))


def _filled(draft: Draft) -> dict[str, tuple[int, ...]]:
    """`*` as a number that exists, and a key in each block that is counted."""
    found: dict[str, tuple[int, ...]] = {}
    for key, shape in draft.shapes.items():
        prefix = next((p for p in draft.blocks if key.startswith(p + "*")), None)
        block = str(min(draft.blocks[prefix])) if prefix else "0"
        found[ANY if key == "**" else key.replace("*", block, 1).replace("*", "0")] = shape or (7, 7)
    for prefix, numbers in draft.blocks.items():
        there = {int(k[len(prefix) :].partition(".")[0]) for k in found if re.match(re.escape(prefix) + r"\d+\.", k)}
        found |= {f"{prefix}{n}.more": (7, 7) for n in numbers - there}
    return found


def _low_rank(layers: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A pair for each patched layer, as a trainer writes it."""
    found: dict[str, Tensor] = {}
    for layer, shape in layers.items():
        out, into = (*shape, 7, 7)[:2]
        prefix = next((p for p in TEXT_PREFIX if layer.startswith(p)), "")
        name = TEXT_PREFIX[prefix] + layer.removeprefix(prefix) if prefix else f"diffusion_model.{layer}"
        name = name.removesuffix(".").removesuffix(".weight")
        found[f"{name}.lora_A.weight"], found[f"{name}.lora_B.weight"] = ("F16", (4, into)), ("F16", (out, 4))
    return found
