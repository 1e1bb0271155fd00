"""The signature table: what each family's tensors look like, as data, and the engine that asks a header about it.

What must hold: a signature is believed only when its marker keys AND its widths agree; a marker alone says "looks like" and
names nothing, because new families reuse the key names of old ones. Everything that is known of a family stands in
tables/signatures*.yaml; adding one needs no code. Asking is pure.

A row has `all` (each line holds; a list inside means one of them), `none` (none holds), `shape` (as all, but it decides
between 0.5 and 0.75; where no size is known yet, 0.75 is all there is) and `count` (block counts, between 0.75 and
0.97). `unsure: true` keeps a row at 0.75. The lines are those of predicates.py.
`only` closes the family's vocabulary: `tops` are the modules that its keys begin with, `words` all modules on the way. A weight of any
other module is a relative's, and the file then only looks like the family.
`each: true`: of the alternatives of `shape`, each whose key is there must fit, not only one of them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from .key_index import KeyIndex, bare
from .predicates import AnyOf, Asked, Clause, TableError, any_of, clause, holds

TABLES = Path(__file__).parent / "tables"
SURE, LIKELY, LOOKS_LIKE = 0.97, 0.75, 0.5


@dataclass(frozen=True, slots=True)
class Variant:
    """A finer name within a signature; the first that holds wins."""

    name: str
    all: Clause
    none: AnyOf


# torch.compile's, DataParallel's, FSDP's and activation checkpointing's names for what they wrap
_WRAPPERS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a family's modules are called (bare, as `key_index.bare` has it). Empty: they may be called anything."""

    tops: frozenset[str]
    words: frozenset[str]

    def knows(self, index: KeyIndex) -> bool:
        """Is every weight of these keys in a module that the family has? Scalars, vectors and what a LoRA left behind are no matter."""
        odd = index.tops() - self.tops if self.tops else ()
        if not odd and not self.words:
            return True
        for short in index.groups():
            path = [part for part in short.split(".")[:-1] if part not in _WRAPPERS]
            fits = not path or (path[0] not in odd and (not self.words or self.words.issuperset(path)))
            if not fits and "lora" not in short and any(len(index.shape(name)) > 1 for name in index.names(short)):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """One row of the table. `bases` has more than one entry when tensors cannot tell them apart and metadata must."""

    id: str
    type: str
    bases: tuple[str, ...]
    all: Clause
    none: AnyOf
    shape: Clause
    count: Clause
    sizes: AnyOf  # the lines of `shape` that name a size: where none of them holds, the match is LIKELY at best
    variants: tuple[Variant, ...]
    members: tuple[str, ...]  # families that share this shape exactly
    also: tuple[str, ...]  # families whose LoRAs may look the same, if the file says that it is one of them
    roles: tuple[str, ...]
    role_when: tuple[tuple[str, Clause], ...]
    text: str
    only: Vocabulary | None  # what its modules are called; None: further ones are no matter
    unsure: bool  # a relative has the same tensors, so the match is LIKELY at best


@dataclass(frozen=True, slots=True)
class Match:
    """A signature whose markers hold, and how strongly: SURE, LIKELY or LOOKS_LIKE."""

    signature: Signature
    strength: float
    variant: str | None
    roles: tuple[str, ...]


# ---------------------------------------------------------------- the table


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
    "each",
    "only",
}


def _signature(row: Mapping[str, object], fold: bool) -> Signature:
    unknown = set(row) - _KEYS
    if unknown or not isinstance(row.get("id"), str):
        raise TableError(f"{row.get('id')}: unknown keys {sorted(unknown)}")
    base = row.get("base", "unknown")
    wanted = clause(row.get("all"), fold) + (clause([row["any"]], fold) if "any" in row else ())
    if not wanted:
        raise TableError(f"{row['id']}: a signature needs a marker")
    return Signature(
        id=str(row["id"]),
        type=str(row.get("type", "lora")),
        bases=tuple(map(str, base)) if isinstance(base, list) else (str(base),),
        all=wanted,
        none=any_of(row.get("none"), fold),
        shape=clause(row.get("shape"), fold) + (clause(_fitting(row.get("shape")), fold) if row.get("each") is True else ()),
        sizes=any_of(_sizes(row.get("shape")), fold),
        count=clause([f"#{k}" for k in _strings(row.get("count"))], fold),
        variants=tuple(_variant(v, fold) for v in _rows(row.get("variants"))),
        members=_strings(row.get("members")),
        also=_strings(row.get("also")),
        roles=_strings(row.get("roles")),
        role_when=tuple((str(r["role"]), clause(r.get("all"), fold)) for r in _rows(row.get("role_when"))),
        text=str(row.get("text", "")),
        only=_vocabulary(row["only"]) if "only" in row else None,
        unsure=row.get("unsure") is True,
    )


def _vocabulary(row: object) -> Vocabulary:
    if not isinstance(row, dict) or not row or set(row) - {"tops", "words"}:
        raise TableError(f"{row!r}: expected tops or words")
    # a number is a block's: it has no letters left, and is in every vocabulary
    tops, words = (frozenset(map(bare, _strings(row.get(name)))) for name in ("tops", "words"))
    return Vocabulary(tops, words | {""} if words else words)


def _sizes(shape: object) -> list[str]:
    """The lines that name a size which must be there. A key's own digits are none, and neither is a size of what may be missing."""
    if isinstance(shape, list):
        return [line for entry in shape for line in _sizes(entry)]
    named = isinstance(shape, str) and shape[:1] != "?" and re.search(r" \[[^]]*\d", shape)
    return [str(shape)] if named else []


def _fitting(shape: object) -> list[list[str]]:
    """For each key that `shape` gives sizes for: nothing, or one of those sizes."""
    lines = dict[str, list[str]]()
    for line in _sizes(shape):
        if line[0] not in "~^%$#@+*":
            lines.setdefault(line.partition(" [")[0], []).append("?" + line)
    return list(lines.values())


def _variant(row: Mapping[str, object], fold: bool) -> Variant:
    return Variant(str(row["name"]), clause(row.get("all"), fold), any_of(row.get("none"), fold))


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


def ask(signature: Signature, asked: Asked) -> Match | None:
    """Does this header carry the signature, and how strongly? None when a marker is missing or a veto holds."""
    if not holds(signature.all, asked) or signature.none.holds(asked):
        return None
    if not holds(signature.shape, asked) or not (signature.only is None or signature.only.knows(asked.part)):
        return Match(signature, LOOKS_LIKE, None, ())
    sure = not signature.unsure and signature.sizes.holds(asked) and holds(signature.count, asked)
    variant = next((v.name for v in signature.variants if holds(v.all, asked) and not v.none.holds(asked)), None)
    extra = tuple(role for role, when in signature.role_when if holds(when, asked))
    return Match(signature, SURE if sure else LIKELY, variant, signature.roles + extra)


@dataclass(frozen=True, slots=True)
class _Turned:
    """A table turned round: which of its rows (by number) are worth asking, by a name that the first clause of each looks for."""

    rows: tuple[Signature, ...]
    keys: Mapping[str, tuple[int, ...]]
    shorts: Mapping[str, tuple[int, ...]]
    texts: Mapping[str, tuple[int, ...]]
    always: tuple[int, ...]

    def worth(self, index: KeyIndex) -> list[Signature]:
        """The rows that may hold for these keys, in the table's order."""
        found = set(self.always)
        for key in index.present(self.keys.keys()):
            found.update(self.keys[key])
        for short in self.shorts.keys() & index.groups().keys():
            found.update(self.shorts[short])
        for text, rows in self.texts.items():
            if index.says(text):
                found.update(rows)
        return [self.rows[number] for number in sorted(found)]


@functools.cache
def _turned(part: str) -> _Turned:
    rows = table(part)
    keys, shorts, texts = dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]]()
    for number, row in enumerate(rows):
        first = row.all[0]
        for names, to in zip(
            (first.keys, first.shorts, first.texts) if not first.others else (), (keys, shorts, texts), strict=False
        ):
            for name in names:
                to[name] = (*to.get(name, ()), number)
    return _Turned(rows, keys, shorts, texts, tuple(n for n, row in enumerate(rows) if row.all[0].others))


def find(part: str, asked: Asked) -> tuple[Match, ...]:
    """The signatures of a part that the header carries, the strongest first, equals in the table's order.

    Rows that can only be probable are not asked where another is sure already: they could not change the answer.
    """
    rows = _turned(part).worth(asked.part)
    found = _asked([row for row in rows if not row.unsure], asked)
    if len(found) < len(rows) and not any(m.strength == SURE and len(m.signature.bases) == 1 for m in found):
        probable = _asked([row for row in rows if row.unsure], asked)
        place = {row.id: number for number, row in enumerate(rows)} if probable else {}
        found = sorted(found + probable, key=lambda m: place[m.signature.id]) if probable else found
    return tuple(sorted(found, key=lambda m: -m.strength))


def _asked(rows: list[Signature], asked: Asked) -> list[Match]:
    return [match for row in rows if (match := ask(row, asked)) is not None]
