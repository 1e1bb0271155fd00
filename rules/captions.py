"""What is said about captions between the rooms: how the texts of a set shall read (Style), and how good a picture is (Quality).

What must hold: an empty field of a Style asks for nothing, so that styles are laid over each other (`over`): what a person asked for
just now, over the caption set's, over the captioner's own. Measured scores and a model's opinions are kept apart; all are 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

KINDS = ("natural", "natural_simple", "natural_detailed", "tags", "custom")
EXISTING = ("replace", "append", "prepend", "merge")
PAIR = " -> "  # between tag and replacement where a mapping travels as a list of texts
QUALITY_VERSION = 1  # raised when a score is computed in another way: older ones are then measured again


@dataclass(frozen=True, slots=True)
class Style:
    """How captions shall read. Lengths are characters, 0: no limit. None and empty: nothing asked."""

    kind: str = ""  # one of KINDS: what a language model is asked for
    prompt: str = ""  # the whole question, in place of the kind's own; {tags} {name} {folder} {trigger} stand for what they say
    trigger: str = ""  # the trigger phrase: first, and once
    max_length: int = 0
    prefix: tuple[str, ...] = ()  # tags or words put behind the trigger
    suffix: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()  # tags dropped: exact, with * and ?, or /regular expression/
    replace: Mapping[str, str] = field(default_factory=dict)  # tag -> what stands in its place ('' drops it)
    underscores: bool | None = None  # True: keep them; None and False: they become spaces (but in kaomoji)
    escape: bool | None = None  # True: ( and ) become \( and \) for prompts
    implied: bool | None = None  # True: keep tags that another tag implies; None and False: dropped
    existing: str = ""  # one of EXISTING: what becomes of a caption that is there already

    def over(self, below: Style) -> Style:
        """This style where it asks for something, `below` where it does not."""
        return replace(below, **{f.name: getattr(self, f.name) for f in fields(self) if _asks(getattr(self, f.name))})


def _asks(value: object) -> bool:
    return value is False or bool(value)


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a picture is. `measured` from its pixels, `opinion` from a model that was asked; `overall` 0..1."""

    measured: Mapping[str, float] = field(default_factory=dict)  # sharpness, exposure, clarity, resolution, …
    opinion: Mapping[str, float] = field(default_factory=dict)  # sharpness, clarity, composition, exposure, overall
    flags: tuple[str, ...] = ()
    overall: float | None = None
    dhash: str = ""  # 16 hex digits
    version: int = QUALITY_VERSION


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of many texts at once. What is empty changes nothing; the order is: find, remove, prepend, append."""

    find: str = ""  # replaced everywhere by `replace`; with `regex` an expression, whose groups are \\1 …
    replace: str = ""
    regex: bool = False
    prepend: tuple[str, ...] = ()  # tags or words put first, unless they are there
    append: tuple[str, ...] = ()  # the same, last
    remove: tuple[str, ...] = ()  # tags: exact, with * and ?, or /regular expression/; of prose the whole part between commas
