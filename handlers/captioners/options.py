"""A captioner's options as the engines read them: plain values by name, checked by the config before they came here.

What must hold: an option that is not there is its default, so that an engine can be made with {} in tests and by hand. A mapping
travels as a list of texts, name and value with PAIR between them.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...rules.captions import PAIR, Style
from ...rules.terms import Param

Options = Mapping[str, Param]


def style_of(options: Options) -> Style:
    """How this captioner's texts read where nobody asks for anything else: the lowest of the styles that are laid over each other."""
    return Style(
        kind=text(options, "style"),
        prompt=text(options, "prompt"),
        trigger=text(options, "trigger"),
        max_length=int(number(options, "max_length", 0)),
        prefix=texts(options, "prefix"),
        suffix=texts(options, "suffix"),
        exclude=texts(options, "exclude"),
        replace=pairs(options, "replace"),
        underscores=flag(options, "underscores"),
        escape=flag(options, "escape"),
        implied=flag(options, "implied"),
        existing=text(options, "existing"),
    )


def text(options: Options, name: str, default: str = "") -> str:
    """A text; the default where it is not there or empty."""
    value = options.get(name)
    return value if isinstance(value, str) and value else default


def texts(options: Options, name: str) -> tuple[str, ...]:
    """A list of texts; a single one is a list of one."""
    value = options.get(name)
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, (tuple, list)) else ()


def number(options: Options, name: str, default: float) -> float:
    """A number; the default where there is none."""
    value = options.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def flag(options: Options, name: str) -> bool | None:
    """True, False, or None where nobody said."""
    value = options.get(name)
    return value if isinstance(value, bool) else None


def pairs(options: Options, name: str) -> dict[str, str]:
    """A mapping of texts."""
    return dict((key, value) for key, _, value in (item.partition(PAIR) for item in texts(options, name)))


def model_spec(item: str) -> tuple[str, dict[str, float]]:
    """`name @ general=0.4 character=0.9` -> the name and the thresholds. Raises ValueError where they do not read."""
    name, at, rest = item.rpartition(" @ ")
    if not at:
        return item.strip(), {}
    thresholds = {}
    for part in rest.split():
        category, _, value = part.partition("=")
        try:
            thresholds[category] = float(value)
        except ValueError:
            raise ValueError(f"expected thresholds like general=0.4 behind the @ of {item}") from None
    return name.strip(), thresholds
