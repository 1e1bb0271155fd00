"""Validation: what would spoil a training on a dataset, picture by picture, with how it is mended. Pure.

What must hold: the same pictures and limits give the same findings, in the order of the pictures; an error is what a trainer stops at or
learns wrongly from, a warning what a person should look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

LEAST = 512  # pixels of the shorter side: below it a trainer has to enlarge
ASPECT = 2.5  # longer over shorter side: beyond it buckets crop or squeeze
NEAR = "near-duplicate:"  # the flag of a picture that looks like another


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of a dataset. `least`: pixels, `aspect`: ratio >= 1, `trigger` '': none is asked for."""

    least: int = LEAST
    aspect: float = ASPECT
    trigger: str = ""


@dataclass(frozen=True, slots=True)
class Looked:
    """A picture as it was found. Sizes as displayed; `caption` None: it has none. `bad`: (word, reason) of a file that cannot be used."""

    item: int
    rel: str
    width: int
    height: int
    caption: str | None
    flags: tuple[str, ...] = ()
    bad: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a picture: a word of KINDS, the reason, and the mend."""

    item: int
    rel: str
    kind: str
    reason: str

    @property
    def level(self) -> str:
        """`error` or `warning`."""
        return KINDS[self.kind][0]

    @property
    def mend(self) -> str:
        """What to do about it."""
        return KINDS[self.kind][1]


KINDS: Mapping[str, tuple[str, str]] = {
    "gone": ("error", "put the file back, or `dropdock rescan` has it forgotten"),
    "unreadable": ("error", "make the file readable for the user that dropdock runs as"),
    "corrupt": ("error", "replace the file by a whole one, or take it out"),
    "changed": ("warning", "it is read back when it has been quiet for a while: ask again then"),
    "small": ("warning", "use a larger picture, or train at a smaller resolution"),
    "aspect": ("warning", "crop it, or check that your trainer's buckets reach so far"),
    "near duplicate": ("warning", "keep the better one: the same picture twice weighs double"),
    "shared caption": ("error", "rename one of them: both would have the same .txt"),
    "caption missing": ("error", "`dropdock caption DATASET` writes it"),
    "caption empty": ("error", "write it, or delete it and run `dropdock caption DATASET`"),
    "caption duplicate": ("warning", "say what is different, unless the pictures are alike"),
    "trigger missing": ("error", "`dropdock captions edit DATASET --prepend TRIGGER` puts it first"),
}


def findings(pictures: Sequence[Looked], limits: Limits) -> Iterator[Finding]:
    """What is wrong, in the order of the pictures."""
    texts = _firsts(pictures, lambda p: (p.caption or "").strip().casefold())
    stems = _firsts(pictures, lambda p: p.rel.rpartition(".")[0].casefold())
    for p in pictures:
        if p.bad is not None:
            yield Finding(p.item, p.rel, *p.bad)
        yield from _of_picture(p, limits)
        first = stems[p.rel.rpartition(".")[0].casefold()]
        if first is not p:
            yield Finding(p.item, p.rel, "shared caption", f"it has the stem of {first.rel}")
        yield from _of_caption(p, limits, texts)


def _firsts(pictures: Sequence[Looked], key: Callable[[Looked], str]) -> dict[str, Looked]:
    """The first picture of each key."""
    found: dict[str, Looked] = {}
    for p in pictures:
        found.setdefault(key(p), p)
    return found


def _of_picture(p: Looked, limits: Limits) -> Iterator[Finding]:
    short, long = sorted((p.width, p.height))
    if short < limits.least:
        yield Finding(p.item, p.rel, "small", f"{p.width} x {p.height}: its shorter side is below {limits.least}")
    if short and long / short > limits.aspect:
        yield Finding(
            p.item, p.rel, "aspect", f"{p.width} x {p.height} is {long / short:.1f} : 1, more than {limits.aspect:g} : 1"
        )
    for flag in p.flags:
        if flag.startswith(NEAR):
            yield Finding(p.item, p.rel, "near duplicate", f"it looks like {flag.removeprefix(NEAR)}")


def _of_caption(p: Looked, limits: Limits, texts: Mapping[str, Looked]) -> Iterator[Finding]:
    if p.caption is None:
        yield Finding(p.item, p.rel, "caption missing", "no text in this set")
        return
    text = p.caption.strip()
    if not text:
        yield Finding(p.item, p.rel, "caption empty", "its text is blank")
        return
    first = texts[text.casefold()]
    if first is not p:
        yield Finding(p.item, p.rel, "caption duplicate", f"the text of {first.rel}")
    if limits.trigger and not has_trigger(text, limits.trigger):
        yield Finding(p.item, p.rel, "trigger missing", f"{limits.trigger!r} does not come first")


def has_trigger(text: str, trigger: str) -> bool:
    """Whether a text begins with a trigger phrase as whole words (a text that begins with `ohwxyz` has not `ohwx`)."""
    words, begin = " ".join(text.casefold().split()), " ".join(trigger.casefold().split())
    return words.startswith(begin) and not words[len(begin) : len(begin) + 1].isalnum()
