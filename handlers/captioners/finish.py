"""What is done to every caption before it is kept, in one fixed order, for tags and for prose alike. Pure functions.

The order: one clean line; split at commas (tags); underscores; replacements; exclusions; duplicates; implied tags; what is there
already; trigger, prefix and suffix around it; brackets escaped; cut to the length asked for. What must hold: the trigger stands first
and once, compared as a whole token ("ohwxyz" does not begin with "ohwx"); nothing is cut through a tag, a word, the trigger or an
escape; finishing a finished text changes nothing; an empty answer is the empty text, which is a failure and never a sidecar.
"""

from __future__ import annotations

import fnmatch
import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

import yaml

from ...rules.captions import Style

# Faces whose underscores are no spaces. Source: the tag names of Danbooru that the taggers' vocabularies hold.
_FACES = """0_0 (o)_(o) +_+ +_- ._. <o>_<o> <|>_<|> =_= >_< 3_3 6_9 >_o @_@ ^_^ o_o u_u x_x |_| ||_|| ;_; t_t d_d -_- >_> <_<"""
FACES = frozenset(_FACES.split())
_SPLIT = re.compile(r"(?<!\\)(?:\\\\)*,")
_SPACES = re.compile(r"\s+")
_SENTENCE = re.compile(r"(?<=[.!?…。！？])[\"'”’)]*\s+")


def finish(text: str, style: Style, tags: bool, existing: str = "") -> str:
    """The caption as it is kept: `text` is what the model said, `existing` what stood there. '' when the model said nothing."""
    text = clean(text)
    if not text:
        return ""
    return _tags(text, style, existing) if tags else _prose(text, style, existing)


def clean(text: str) -> str:
    """One line: NFC, no control or format characters (but joiners, which emoji and some scripts need), single spaces."""
    kept = (" " if c.isspace() else c for c in text)
    bare = "".join(c for c in kept if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") or c in "\u200c\u200d")
    return _SPACES.sub(
        " ", unicodedata.normalize("NFC", bare)
    ).strip()  # composed last: what was taken out may have stood between


def split(text: str) -> list[str]:
    r"""The tags of a line, at its commas; `\,` is none and becomes a space. Brackets are told without their escapes."""
    found, start = [], 0
    for match in _SPLIT.finditer(text):
        found.append(text[start : match.end() - 1])
        start = match.end()
    found.append(text[start:])
    return [tag for tag in map(_bare, found) if tag]


def _bare(part: str) -> str:
    """A tag as it is kept: no comma, and no backslash at its end, before a bracket or beside another, where it would read as an escape."""
    tag = re.sub(r"\\+(?=[()])", "", unescaped(part).replace(",", " "))
    return _SPACES.sub(" ", re.sub(r"\\{2,}", r"\\", tag)).rstrip("\\ ").strip()


def unescaped(tag: str) -> str:
    r"""Without the escapes of prompts: `\(` is `(`; a backslash before anything else is itself, as in \o/."""
    return re.sub(r"\\([()\\,])", r"\1", tag)


def escaped(tag: str) -> str:
    r"""With the escapes of prompts: `(` is `\(`, and a backslash two."""
    return re.sub(r"([()\\])", r"\\\1", tag)


def key(tag: str) -> str:
    """What two spellings of one tag have in common."""
    return unescaped(tag).replace("_", " ").casefold().strip()


def spaced(tag: str) -> str:
    """Underscores as spaces, but in faces."""
    return tag if tag.casefold() in FACES else _SPACES.sub(" ", tag.replace("_", " ")).rstrip("\\ ").strip()


# ---------------------------------------------------------------- tags


def _tags(text: str, style: Style, existing: str) -> str:
    said = split(text)
    if not style.underscores:
        said = [tag for tag in map(spaced, said) if tag]
    said = _replaced(said, style.replace)
    excluded = matcher(style.exclude)
    body = unique(tag for tag in said if not excluded(tag))
    trigger, prefix, suffix = split(clean(style.trigger)), _given(style.prefix), _given(style.suffix)
    head = unique([*trigger, *prefix])
    if existing and style.existing in ("append", "prepend", "merge"):
        there = split(clean(existing))
        body = [*body, *there] if style.existing == "prepend" else [*there, *body]
    around = {key(tag) for tag in (*head, *suffix)}
    body = [tag for tag in unique(body) if key(tag) not in around]
    if not style.implied:
        body = without_implied(body, head)
    tail = [tag for tag in unique(suffix) if key(tag) not in {key(t) for t in head}]
    write = escaped if style.escape else str
    head, body, tail = ([write(tag) for tag in part] for part in (head, body, tail))
    return ", ".join(_fitting(head, body, tail, len(unique(trigger)), style.max_length))


def _given(parts: Iterable[str]) -> list[str]:
    return [tag for part in parts for tag in split(clean(part))]


def _replaced(tags: Sequence[str], swaps: Mapping[str, str]) -> list[str]:
    known = {key(old): new for old, new in swaps.items()}
    return [new for tag in tags for new in (split(clean(known[key(tag)])) if key(tag) in known else [tag])]


def unique(tags: Iterable[str]) -> list[str]:
    """Each tag once, the first of its spellings."""
    found: dict[str, str] = {}
    for tag in tags:
        if key(tag):
            found.setdefault(key(tag), tag)
    return list(found.values())


def _fitting(head: list[str], body: list[str], tail: list[str], trigger: int, most: int) -> list[str]:
    """What fits into `most` characters: tags of the body go first, from its end, then the suffix, then the prefix; never the trigger."""
    if most <= 0 or len(", ".join([*head, *body, *tail])) <= most:
        return [*head, *body, *tail]
    for part, least in ((body, 0), (tail, 0), (head, trigger)):
        while len(part) > least and len(", ".join([*head, *body, *tail])) > most:
            part.pop()
    return [*head, *body, *tail]


@functools.cache
def implied_by() -> Mapping[str, frozenset[str]]:
    """The table: tag -> tags that it says too."""
    read = yaml.safe_load((resources.files(__package__) / "tables" / "implied.yaml").read_text("utf-8"))
    return {str(tag): frozenset(others) for tag, others in read.items()}


def without_implied(tags: Sequence[str], others: Sequence[str] = ()) -> list[str]:
    """The tags that no other one, of them or of `others`, says already: by the table, or because it ends in it (witch hat, hat)."""
    present = {key(tag) for tag in (*tags, *others)}
    said = frozenset[str]().union(*(implied_by().get(tag, frozenset()) for tag in present))
    for tag in present:
        words = tag.split(" ")
        if words[0] not in ("no", "removed", "holding", "unworn", "alternate"):
            said |= {" ".join(words[n:]) for n in range(1, len(words))}
    return [tag for tag in tags if key(tag) not in said]


def matcher(patterns: Sequence[str]) -> functools.partial[bool]:
    """Whether a tag is excluded: exactly, by * and ?, or by a /regular expression/ that occurs in it; case and `_` do not count."""
    exact = {key(p) for p in patterns if not _is_regex(p) and not _is_wild(p)}
    forms = [_regex(p) for p in patterns if _is_regex(p)]
    forms += [re.compile(fnmatch.translate(key(p))) for p in patterns if _is_wild(p) and not _is_regex(p)]
    return functools.partial(_excluded, frozenset(exact), tuple(forms))


def _excluded(exact: frozenset[str], forms: tuple[re.Pattern[str], ...], tag: str) -> bool:
    bare = key(tag)
    return bare in exact or any(form.search(bare) for form in forms)


def _is_regex(pattern: str) -> bool:
    return len(pattern) > 2 and pattern[0] == pattern[-1] == "/"


def _is_wild(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def _regex(pattern: str) -> re.Pattern[str]:
    """A broken expression excludes nothing; the config check names it (`broken_pattern`)."""
    try:
        return re.compile(pattern[1:-1], re.IGNORECASE)
    except re.error:
        return re.compile(r"(?!)")


def broken_pattern(pattern: str) -> str:
    """Why an exclusion cannot be read; '' when it can."""
    try:
        if _is_regex(pattern):
            re.compile(pattern[1:-1])
    except re.error as error:
        return f"no regular expression: {error}"
    return ""


# ---------------------------------------------------------------- prose


def _prose(text: str, style: Style, existing: str) -> str:
    for old, new in style.replace.items():
        text = _phrase(old).sub(lambda _, new=new: clean(new), text)  # type: ignore[misc]  # a template would read backslashes
    for pattern in style.exclude:
        text = _form(pattern).sub("", text)
    text = _tidy(text)
    if existing and style.existing in ("append", "prepend", "merge"):
        text = _joined(clean(existing), text, style.existing)
    trigger = clean(style.trigger)
    if trigger:
        text = _tidy(_phrase(trigger).sub("", text))
    prefix = clean(", ".join(part for part in style.prefix if not trigger or key(part) != key(trigger)))
    suffix = clean(", ".join(style.suffix))
    text = _stripped(text, prefix, suffix)
    if style.escape:
        trigger, prefix, text, suffix = (escaped(unescaped(part)) for part in (trigger, prefix, text, suffix))
    return _fitting_prose(trigger, prefix, text, suffix, style.max_length)


def _phrase(words: str) -> re.Pattern[str]:
    """A phrase as a whole token: no letter, digit, apostrophe or hyphen touches it."""
    inner = r"\s+".join(re.escape(word) for word in words.split())
    return re.compile(rf"(?<![\w'’-]){inner}(?![\w'’-])", re.IGNORECASE) if inner else re.compile(r"(?!)")


def _form(pattern: str) -> re.Pattern[str]:
    if _is_regex(pattern):
        return _regex(pattern)
    inner = re.escape(pattern).replace(r"\*", r"[^\s,.;:!?]*").replace(r"\?", r"[^\s,.;:!?]").replace("_", "[ _]")
    return re.compile(rf"(?<![\w'’-]){inner}(?![\w'’-])", re.IGNORECASE)


def _tidy(text: str) -> str:
    """What taking words out leaves behind: doubled commas, spaces before points, a comma at the start."""
    while (tidied := _once_tidied(text)) != text:
        text = tidied
    return text


def _once_tidied(text: str) -> str:
    text = re.sub(r"\s+([,;.!?])", r"\1", _SPACES.sub(" ", text))
    text = re.sub(r",(?:\s*,)+", ",", text)
    return re.sub(r",\s*([.!?])", r"\1", text).strip(" ,;")


def _joined(there: str, new: str, how: str) -> str:
    if how == "merge":
        known = {s.casefold() for s in _SENTENCE.split(there)}
        new = " ".join(s for s in _SENTENCE.split(new) if s.casefold() not in known)
    elif new.casefold() in there.casefold():
        return there
    first, second = (new, there) if how == "prepend" else (there, new)
    return _glued([first, second])


def _glued(parts: Sequence[str]) -> str:
    """Parts in a row: a comma between them where the first ends no sentence."""
    text = ""
    for part in parts:
        if part:
            text += ("" if not text else " " if text[-1] in ".!?…,;:。！？" else ", ") + part
    return text


def _stripped(text: str, prefix: str, suffix: str) -> str:
    """Without a prefix and suffix that stand there already, so that they stand once."""
    if prefix and text.casefold().startswith(prefix.casefold()) and not text[len(prefix) : len(prefix) + 1].isalnum():
        text = text[len(prefix) :].lstrip(" ,;")
    if suffix and text.casefold().endswith(suffix.casefold()) and not text[: len(text) - len(suffix)][-1:].isalnum():
        text = text[: len(text) - len(suffix)].rstrip(" ,;")
    return text


def _fitting_prose(trigger: str, prefix: str, text: str, suffix: str, most: int) -> str:
    whole = _glued([trigger, prefix, text, suffix])
    if most <= 0 or len(whole) <= most:
        return whole
    room = most - len(_glued([trigger, prefix, "x", suffix])) + 1
    body = cut(text, room) if room > 0 else ""
    for parts in ([trigger, prefix, body, suffix], [trigger, prefix, suffix], [trigger, prefix]):
        if len(glued := _glued(parts)) <= most and (body or parts[2:] != [body, suffix]):
            return glued
    return trigger


def cut(text: str, most: int) -> str:
    """At most `most` characters (>= 1): whole sentences where one fits, else whole words, else as much of the word as fits."""
    if len(text) <= most:
        return text
    ends = [m.start() for m in _SENTENCE.finditer(text) if m.start() <= most]
    if ends and ends[-1]:
        return text[: ends[-1]].rstrip()
    words = text[: most + 1].rsplit(" ", 1)
    part = words[0] if len(words) == 2 else text[:most]
    if len(part) - len(part.rstrip("\\")) & 1 and len(words) == 1:
        part = part[:-1]  # a backslash without what it escapes
    return part.rstrip(" ,;:")
