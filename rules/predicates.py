"""The language of the signature table: one line of text becomes a question to a header's keys, and a list of lines a clause.

What must hold: asking is pure; a mistake in a line is an error when the table is loaded, never a line that silently fails.
A predicate is one line of text (docs/models.md has examples):
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
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .header import Shape
from .key_index import NUMBER, KeyIndex, bare

Size = frozenset[int] | None  # None: any


class TableError(ValueError):
    """The table itself is wrong: a mistake in the program's data, found by the tests."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What predicates are asked about: one part's keys, the whole file's, and what the header says beside its tensors."""

    part: KeyIndex
    whole: KeyIndex
    metadata: Mapping[str, str]
    classes: str = ""


Predicate = Callable[[Asked], bool]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Lines of which one must hold. Nearly all ask only whether a name is there: those are answered together, by look-ups."""

    keys: frozenset[str]
    patterns: frozenset[str]  # keys with `*` for block numbers
    texts: tuple[str, ...]
    others: tuple[Predicate, ...]
    shorts: frozenset[str]  # the patterns, bare

    def holds(self, asked: Asked) -> bool:
        """Does one of the lines hold?"""
        part = asked.part
        if self.keys and part.present(self.keys):
            return True
        if self.patterns and not part.groups().keys().isdisjoint(self.shorts) and any(map(part.has, self.patterns)):
            return True
        for text in self.texts:
            if part.says(text):
                return True
        for asks in self.others:  # noqa: SIM110 (a generator for each row of the table would double the cost of asking)
            if asks(asked):
                return True
        return False

    def cost(self) -> int:
        """What is cheap is asked first: it mostly settles the matter."""
        return 3 if self.others else 2 if self.texts else 1 if self.patterns else 0


Clause = tuple[AnyOf, ...]  # each has a line that holds


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
        return lambda asked: asked.part.says(text)
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
    if len(shape) != 2 or shape[1] != 1:
        return False
    if wanted[0] is None or wanted[1] is None:  # one side is told: whole rows, or whole columns, of that size
        return any(2 * shape[0] % size == 0 for size in wanted[0] or wanted[1] or () if size > 1)
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
    def holds(asked: Asked) -> bool:
        missing = True
        for found in asked.part.shapes(key):
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


# ---------------------------------------------------------------- clauses


def clause(value: object, fold: bool) -> Clause:
    """Compile a list of lines, each of which (or of a list inside one) must hold, what is cheap first. Raises TableError."""
    if isinstance(value, str):
        value = [value]
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TableError(f"{value!r}: expected a list of predicates")
    rows: list[AnyOf] = []
    for entry in value:
        lines = entry if isinstance(entry, list) else [entry]
        if not lines or not all(isinstance(line, str) and line for line in lines):
            raise TableError(f"{entry!r}: expected predicates as text")
        rows.append(_any_of(lines, fold))
    return tuple(sorted(rows, key=AnyOf.cost))


def _any_of(lines: list[str], fold: bool) -> AnyOf:
    names: dict[str, list[str]] = {"key": [], "pattern": [], "text": []}
    others: list[Predicate] = []
    for line in lines:
        key, shape = _key_and_shape(line.removeprefix("~"), fold) if line[0] not in "?^%$#@+" else ("**", None)
        general = NUMBER.sub("*", key)
        kind = "text" if line[0] == "~" else "key" if "*" not in key else "pattern" if general == key else ""
        if kind and shape is None and key != "**":
            names[kind].append(key if kind == "key" else general)
        else:
            others.append(predicate(line, fold))
    shorts = frozenset(map(bare, names["pattern"]))
    return AnyOf(frozenset(names["key"]), frozenset(names["pattern"]), tuple(names["text"]), tuple(others), shorts)


def any_of(value: object, fold: bool) -> AnyOf:
    """Compile lines of which one that holds is enough. Raises TableError."""
    rows = clause(value, fold)
    return AnyOf(
        frozenset().union(*(row.keys for row in rows)),
        frozenset().union(*(row.patterns for row in rows)),
        tuple(text for row in rows for text in row.texts),
        tuple(p for row in rows for p in row.others),
        frozenset().union(*(row.shorts for row in rows)),
    )


def holds(wanted: Clause, asked: Asked) -> bool:
    """Does each of the clause's lines hold?"""
    for lines in wanted:  # noqa: SIM110 (as above)
        if not lines.holds(asked):
            return False
    return True
