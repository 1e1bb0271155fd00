"""The signature table: what each family's tensors look like, as data, and the engine that asks a header about it.

What must hold: a signature is believed only when its marker keys AND its widths agree; a marker alone says "looks like" and
names nothing, because new families reuse the key names of old ones. Everything that is known of a family stands in
tables/signatures*.yaml; adding one needs no code. Asking is pure.

The language (docs/models.md has examples). A predicate is one line of text:
    KEY             the key exists; a component `*` stands for any block number
    ** [768]        some key, whatever its name, has this shape
    KEY [2048,_]    … and has this shape; `_` is any size, `4|16` either, `...` any further dimensions
    ?KEY [4096]     if the key exists, it has this shape
    ~TEXT           some key, with `*` for block numbers, contains TEXT
    ^KEY            the key exists in the file as it stands, outside of the part that is looked at
    %TEXT           a pickle names a class whose dotted name contains TEXT
    $KEY=VALUE      the file's metadata says so (several values: $KEY=a|b; `$KEY` alone: it says anything)
    +1              the file has so many tensors (`1|2`, `>=3`)
    #PREFIX.* 19    there are so many blocks (`5|8`, `>=19`); @PREFIX.* 19 is the same of the highest block's number
A signature has `all` (each holds; a list inside means one of them), `none` (none holds), `shape` (as all, but it decides
between 0.5 and 0.75; where no size is known yet, 0.75 is all there is) and `count` (block counts, between 0.75 and
0.97). `unsure: true` keeps a row at 0.75.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from .header import Shape
from .key_index import NUMBER, KeyIndex

TABLES = Path(__file__).parent / "tables"
SURE, LIKELY, LOOKS_LIKE = 0.97, 0.75, 0.5
Size = frozenset[int] | None  # None: any


@dataclass(frozen=True, slots=True)
class Asked:
    """What predicates are asked about: one part's keys, the whole file's, and what the header says beside its tensors."""

    part: KeyIndex
    whole: KeyIndex
    metadata: Mapping[str, str]
    classes: str = ""


Predicate = Callable[[Asked], bool]
Clause = tuple[tuple[Predicate, ...], ...]  # every inner tuple has one that holds


@dataclass(frozen=True, slots=True)
class Variant:
    """A finer name within a signature; the first that holds wins."""

    name: str
    all: Clause
    none: Clause


@dataclass(frozen=True, slots=True)
class Signature:
    """One row of the table. `bases` has more than one entry when tensors cannot tell them apart and metadata must."""

    id: str
    type: str
    bases: tuple[str, ...]
    all: Clause
    none: Clause
    shape: Clause
    count: Clause
    sizes: Clause  # the lines of `shape` that name a size: where none of them holds, the match is LIKELY at best
    variants: tuple[Variant, ...]
    members: tuple[str, ...]  # families that share this shape exactly
    also: tuple[str, ...]  # families whose LoRAs may look the same, if the file says that it is one of them
    roles: tuple[str, ...]
    role_when: tuple[tuple[str, Clause], ...]
    text: str
    unsure: bool  # a relative has the same tensors, so the match is LIKELY at best


@dataclass(frozen=True, slots=True)
class Match:
    """A signature whose markers hold, and how strongly: SURE, LIKELY or LOOKS_LIKE."""

    signature: Signature
    strength: float
    variant: str | None
    roles: tuple[str, ...]


class TableError(ValueError):
    """The table itself is wrong: a mistake in the program's data, found by the tests."""


# ---------------------------------------------------------------- predicates


def predicate(line: str, fold: bool = False) -> Predicate:
    """Compile one line. `fold` treats `_` and `.` in keys alike, as names of LoRA layers need. Raises TableError."""
    mark, rest = (line[0], line[1:].strip()) if line[:1] in "?~^%$#@+" else ("", line)
    if mark == "%":
        return lambda asked: rest in asked.classes
    if mark == "$":
        return _metadata(rest)
    if mark == "+":
        enough = _number(rest)
        return lambda asked: enough(len(asked.whole.exact))
    if mark and mark in "#@":
        return _blocks(mark, rest, fold)
    key, shape = _key_and_shape(rest, fold)
    if mark == "~":
        text = NUMBER.sub("*", key)
        return lambda asked: text in asked.part.text()
    if mark == "^":
        return lambda asked: key in asked.whole.exact
    return _key(key, shape, optional=mark == "?", fitting=fits_layer if fold else fits)


def _key_and_shape(line: str, fold: bool) -> tuple[str, tuple[Size, ...] | None]:
    key, bracket, sizes = line.partition(" [")
    key = key.strip() if not fold else key.strip().replace("_", ".")
    if not bracket:
        return key, None
    if not sizes.endswith("]"):
        raise TableError(f"{line!r}: expected KEY [SIZE,SIZE]")
    return key, tuple(_size(s.strip()) for s in sizes[:-1].split(",") if s.strip())


_REST = frozenset({-1})  # `...` in a shape


def _size(text: str) -> Size:
    if text == "_":
        return None
    if text == "...":
        return _REST
    try:
        return frozenset(int(n) for n in text.split("|"))
    except ValueError:
        raise TableError(f"{text!r} is no size") from None


def fits(shape: Shape, wanted: tuple[Size, ...]) -> bool:
    """Does a shape fit a shape predicate? Pure."""
    if wanted and wanted[-1] is _REST:
        wanted = wanted[:-1]
        shape = shape[: len(wanted)]
    if len(shape) != len(wanted):
        return False
    return all(w is None or s in w for s, w in zip(shape, wanted, strict=True)) or _packed(shape, wanted)


def _packed(shape: Shape, wanted: tuple[Size, ...]) -> bool:
    """bitsandbytes keeps a 4-bit weight as one column of bytes, two values each: the size of the whole still tells."""
    if len(shape) != 2 or shape[1] != 1 or wanted[0] is None or wanted[1] is None:
        return False
    return any(rows * columns == 2 * shape[0] for rows in wanted[0] for columns in wanted[1])


def fits_layer(shape: Shape, wanted: tuple[Size, ...]) -> bool:
    """As fits, for the layer that a LoRA patches: 0 is a side that its parts do not tell, and one side must tell. Pure."""
    if 0 not in shape or len(shape) != len(wanted):
        return fits(shape, wanted)
    sides = [s in w for s, w in zip(shape, wanted, strict=True) if s and w is not None]
    return (bool(sides) and all(sides)) or fits(shape, wanted)


def _key(
    key: str, shape: tuple[Size, ...] | None, optional: bool, fitting: Callable[[Shape, tuple[Size, ...]], bool]
) -> Predicate:
    general = NUMBER.sub("*", key)
    only = None
    if "*" in key and general != key:
        only = re.compile(r"\d+".join(map(re.escape, key.split("*"))))

    def holds(asked: Asked) -> bool:
        missing = True
        for found in asked.part.shapes(key, general, only):
            missing = False
            if shape is None or fitting(found, shape):
                return True
        return optional and missing

    return holds


def _metadata(rest: str) -> Predicate:
    key, equals, values = rest.partition("=")
    wanted = frozenset(values.lower().split("|"))
    if not equals:
        return lambda asked: key in asked.metadata
    return lambda asked: asked.metadata.get(key, "").lower() in wanted


def _blocks(mark: str, rest: str, fold: bool) -> Predicate:
    name, _, number = rest.rpartition(" ")
    if not name.endswith(".*"):
        raise TableError(f"{rest!r}: expected PREFIX.* NUMBER")
    prefix = name[:-1].replace("_", ".") if fold else name[:-1]
    enough = _number(number)

    def holds(asked: Asked) -> bool:
        blocks = asked.part.blocks(prefix)
        return enough(len(blocks) if mark == "#" else max(blocks, default=-1))

    return holds


def _number(text: str) -> Callable[[int], bool]:
    """`19`, `5|8` or `>=19` as a question to a number."""
    try:
        if text.startswith(">="):
            least = int(text[2:])
            return lambda value: value >= least
        wanted = frozenset(int(n) for n in text.split("|"))
    except ValueError:
        raise TableError(f"{text!r}: expected 19, 5|8 or >=19") from None
    return lambda value: value in wanted


# ---------------------------------------------------------------- the table


def _clause(value: object, fold: bool) -> Clause:
    if isinstance(value, str):
        value = [value]
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TableError(f"{value!r}: expected a list of predicates")
    rows: list[tuple[Predicate, ...]] = []
    for entry in value:
        lines = entry if isinstance(entry, list) else [entry]
        if not lines or not all(isinstance(line, str) and line for line in lines):
            raise TableError(f"{entry!r}: expected predicates as text")
        rows.append(tuple(predicate(line, fold) for line in lines))
    return tuple(rows)


_KEYS = {
    "id",
    "type",
    "base",
    "all",
    "any",
    "none",
    "shape",
    "count",
    "variants",
    "members",
    "also",
    "roles",
    "role_when",
    "text",
    "unsure",
}


def _signature(row: Mapping[str, object], fold: bool) -> Signature:
    unknown = set(row) - _KEYS
    if unknown or not isinstance(row.get("id"), str):
        raise TableError(f"{row.get('id')}: unknown keys {sorted(unknown)}")
    base = row.get("base", "unknown")
    wanted = _clause(row.get("all"), fold) + (_clause([row["any"]], fold) if "any" in row else ())
    if not wanted:
        raise TableError(f"{row['id']}: a signature needs a marker")
    return Signature(
        id=str(row["id"]),
        type=str(row.get("type", "lora")),
        bases=tuple(map(str, base)) if isinstance(base, list) else (str(base),),
        all=wanted,
        none=_clause(row.get("none"), fold),
        shape=_clause(row.get("shape"), fold),
        sizes=_clause([_sizes(row.get("shape"))], fold) if _sizes(row.get("shape")) else (),
        count=_clause([f"#{k}" for k in _strings(row.get("count"))], fold),
        variants=tuple(_variant(v, fold) for v in _rows(row.get("variants"))),
        members=_strings(row.get("members")),
        also=_strings(row.get("also")),
        roles=_strings(row.get("roles")),
        role_when=tuple((str(r["role"]), _clause(r.get("all"), fold)) for r in _rows(row.get("role_when"))),
        text=str(row.get("text", "")),
        unsure=row.get("unsure") is True,
    )


def _sizes(shape: object) -> list[str]:
    """The lines that name a size which must be there. A key's own digits are none, and neither is a size of what may be missing."""
    if isinstance(shape, list):
        return [line for entry in shape for line in _sizes(entry)]
    named = isinstance(shape, str) and shape[:1] != "?" and re.search(r" \[[^]]*\d", shape)
    return [str(shape)] if named else []


def _variant(row: Mapping[str, object], fold: bool) -> Variant:
    return Variant(str(row["name"]), _clause(row.get("all"), fold), _clause(row.get("none"), fold))


def _strings(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _rows(value: object) -> list[Mapping[str, object]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise TableError(f"{value!r}: expected a list of mappings")
    return value


@functools.cache
def table(part: str) -> tuple[Signature, ...]:
    """The signatures of one part: diffusion, vae, text, other or lora. Raises TableError when the data is wrong."""
    data = load_yaml(TABLES / f"signatures{'' if part == 'diffusion' else '_' + part}.yaml")
    rows = _rows(data.get("signatures"))
    return tuple(_signature(row, fold=part == "lora") for row in rows)


@functools.cache
def load_yaml(path: Path) -> dict[str, object]:
    """A table file as plain data. Raises TableError when it is no mapping with a version."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open(encoding="utf-8") as file:
        data = yaml.load(file, Loader=loader)  # nosec B506 (a safe loader, the C one where there is one)
    if not isinstance(data, dict) or not isinstance(data.get("version"), int):
        raise TableError(f"{path.name}: expected a mapping with a version")
    return data


# ---------------------------------------------------------------- asking


def _holds(clause: Clause, asked: Asked) -> bool:
    return all(any(p(asked) for p in row) for row in clause)


def _hits(clause: Clause, asked: Asked) -> bool:
    return any(p(asked) for row in clause for p in row)


def ask(signature: Signature, asked: Asked) -> Match | None:
    """Does this header carry the signature, and how strongly? None when a marker is missing or a veto holds."""
    if not _holds(signature.all, asked) or _hits(signature.none, asked):
        return None
    if not _holds(signature.shape, asked):
        return Match(signature, LOOKS_LIKE, None, ())
    sure = not signature.unsure and _hits(signature.sizes, asked) and _holds(signature.count, asked)
    variant = next((v.name for v in signature.variants if _holds(v.all, asked) and not _hits(v.none, asked)), None)
    extra = tuple(role for role, when in signature.role_when if _holds(when, asked))
    return Match(signature, SURE if sure else LIKELY, variant, signature.roles + extra)


def find(part: str, asked: Asked) -> tuple[Match, ...]:
    """Every signature of a part that the header carries, the strongest first, equals in the table's order."""
    found = [m for m in (ask(s, asked) for s in table(part)) if m is not None]
    return tuple(sorted(found, key=lambda m: -m.strength))
