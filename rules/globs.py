"""Patterns over names and paths: globs, and regexes between slashes.

A glob: `*` within one name, `**` over any number of folders, `?`, `[abc]`, `[!abc]`, `{a,b}`. Globs ignore case and Unicode
composition, since the same file is called `Cat.PNG` here and `cat.png` there. `/regex/` searches anywhere and minds case;
`/regex/i` does not.

What must hold: matching a glob takes time polynomial in the lengths (each name is matched by fnmatch's backtrack-free
translation, folders by dynamic programming); a compiled Pattern is a value, and matching has no side effect.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
import unicodedata
from dataclasses import dataclass

MAX_ALTERNATIVES = 64  # what braces may expand to
MAX_LENGTH = 500  # characters of a pattern
_REGEX = re.compile(r"/(.+)/(i?)", re.DOTALL)
Segment = re.Pattern[str] | None  # None is `**`


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern: either a regex, or the alternatives of a glob as lists of segments."""

    text: str
    regex: re.Pattern[str] | None = None
    globs: tuple[tuple[Segment, ...], ...] = ()

    def matches(self, subject: str) -> bool:
        """True when the whole of `subject` (a name, or a path with forward slashes) fits the glob, or the regex is found."""
        if self.regex is not None:
            return self.regex.search(subject) is not None
        parts = fold(subject).split("/")
        return any(_fits(glob, parts) for glob in self.globs)


def fold(text: str) -> str:
    """The form under which two names are the same to a person: NFC, without case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def compile_pattern(text: str) -> Pattern:
    """Compile a glob or a `/regex/`. Raises ValueError with a sentence for the person."""
    if not text:
        raise ValueError("expected a pattern")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"expected a pattern of at most {MAX_LENGTH} characters")
    found = _REGEX.fullmatch(text)
    # "/models/" reads like a path, but a trailing slash is never part of a path pattern, so it is a regex
    if found:
        try:
            return Pattern(text, regex=re.compile(found[1], re.IGNORECASE if found[2] else 0))
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
    return Pattern(text, globs=tuple(_segments(glob) for glob in _expand(text)))


def _segments(glob: str) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for part in fold(glob).split("/"):
        if part != "**":
            segments.append(re.compile(fnmatch.translate(part)))
        elif not segments or segments[-1] is not None:  # `**/**` says no more than `**`
            segments.append(None)
    return tuple(segments)


def _fits(glob: tuple[Segment, ...], parts: list[str]) -> bool:
    """Dynamic programming over segments: `reach` holds how many parts the segments so far may have used."""
    reach = {0}
    for segment in glob:
        if not reach:
            return False
        if segment is None:
            reach = set(range(min(reach), len(parts) + 1))
        else:
            reach = {n + 1 for n in reach if n < len(parts) and segment.match(parts[n])}
    return len(parts) in reach


def _expand(glob: str) -> list[str]:
    """All alternatives of `{a,b}` groups, which may nest. Raises ValueError for an open brace or too many alternatives."""
    start = glob.find("{")
    if start < 0:
        return [glob]
    depth, cuts = 0, [start]
    for i in range(start, len(glob)):
        depth += (glob[i] == "{") - (glob[i] == "}")
        if glob[i] == "," and depth == 1:
            cuts.append(i)
        if depth == 0:
            cuts.append(i)
            break
    else:
        raise ValueError("expected a } for every {")
    results: list[str] = []
    for left, right in itertools.pairwise(cuts):
        results += _expand(glob[:start] + glob[left + 1 : right] + glob[cuts[-1] + 1 :])
        if len(results) > MAX_ALTERNATIVES:
            raise ValueError(f"expected at most {MAX_ALTERNATIVES} alternatives in braces")
    return results
