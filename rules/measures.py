"""Quantities as people write them: `2 s`, `10 MB`, `>= 0.6`, `> 2 days`.

What must hold: a quantity that has a unit must be written with it (only 0 goes without), so that nobody has to know whether
`settle: 2` means seconds. kB, MB, GB are powers of 1000 and KiB, MiB, GiB powers of 1024 (IEC 80000-13). Every parser here
raises ValueError with a sentence for the person, and nothing else.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

SECONDS: Mapping[str, float] = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}
BYTES: Mapping[str, int] = {
    "b": 1,
    "byte": 1,
    "bytes": 1,
    **{f"{p}b": 1000**n for n, p in enumerate("kmgt", 1)},
    **{f"{p}ib": 1024**n for n, p in enumerate("kmgt", 1)},
}
_QUANTITY = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?|\.[0-9]+)\s*([a-z]*)\s*", re.IGNORECASE | re.ASCII)
_COMPARE = re.compile(r"\s*(>=|<=|==|!=|=|>|<)?\s*(.*?)\s*", re.DOTALL)
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


class Measure(StrEnum):
    """What a comparison compares."""

    NUMBER = "number"
    SHARE = "share"  # 0..1
    SIZE = "size"  # bytes
    DURATION = "duration"  # seconds


def _split(text: str, example: str) -> tuple[float, str]:
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(f"expected something like {example}")
    number = float(found[1].replace("_", ""))
    if not math.isfinite(number):
        raise ValueError(f"expected a smaller number, like {example}")
    return number, found[2].lower()


def _with_unit(value: object, units: Mapping[str, float], example: str) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected something like {example}")
    number, unit = _split(str(value), example)
    if not unit and number:
        raise ValueError(f"expected a unit, like {example}")
    if unit and unit not in units:
        raise ValueError(f"expected a unit such as {', '.join(sorted(units, key=len)[:8])}, like {example}")
    result = number * units.get(unit, 1)
    if result > 1e18:  # beyond any disk or lifetime, and beyond what int and datetime arithmetic take quietly
        raise ValueError(f"expected a smaller amount, like {example}")
    return result


def parse_duration(value: object) -> float:
    """Seconds of `2 s`, `500 ms`, `15 min`, `14 days`. Raises ValueError."""
    return _with_unit(value, SECONDS, "2 s, 15 min or 14 days")


def parse_size(value: object) -> int:
    """Bytes of `10 MB`, `1.5 GiB`. Raises ValueError."""
    return round(_with_unit(value, BYTES, "10 MB or 2 GiB"))


def parse_number(value: object) -> float:
    """A number without a unit, zero or more. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a number")
    number, unit = _split(str(value), "512")
    if unit:
        raise ValueError("expected a number without a unit")
    return number


def parse_share(value: object) -> float:
    """A number from 0 to 1. Raises ValueError."""
    number = parse_number(value)
    if number > 1:
        raise ValueError("expected a number from 0 to 1")
    return number


_PARSERS: Mapping[Measure, Callable[[object], float]] = {
    Measure.NUMBER: parse_number,
    Measure.SHARE: parse_share,
    Measure.SIZE: parse_size,
    Measure.DURATION: parse_duration,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a comparison: `>= 512`."""

    sign: str
    amount: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Bounds that must all hold, and the words they were written in."""

    bounds: tuple[Bound, ...]
    text: str

    def holds(self, amount: float) -> bool:
        """True when every bound holds; a NaN holds for none but `!=`."""
        return all(_OPERATORS[b.sign](amount, b.amount) for b in self.bounds)


def parse_comparison(value: object, measure: Measure) -> Comparison:
    """A comparison such as `>= 0.6`, `< 10 MB`, `> 2 days`, `>= 512 and < 2048`; a bare number means equal.

    A size, duration or share must come with a sign, since "exactly 0.6" is never what is meant. Raises ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('expected a comparison, like ">= 512"')
    text = " ".join(str(value).split())
    bounds = []
    for part in re.split(r"\s+and\s+", text, flags=re.IGNORECASE):
        found = _COMPARE.fullmatch(part)
        sign, amount = (found[1] or "", found[2]) if found else ("", part)
        if not sign and measure is not Measure.NUMBER:
            raise ValueError(f'expected a sign, like ">= {text}" or "< {text}"')
        bounds.append(Bound(sign or "=", _PARSERS[measure](amount)))
    return Comparison(tuple(bounds), text)


def show_size(count: float) -> str:
    """Bytes for a person: 999 B, 1.5 MB, 12 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5 or (unit == "B" and abs(count) < 1000):
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def show_duration(seconds: float) -> str:
    """Seconds for a person: 2 s, 15 min, 14 days."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
