"""What a language model's reply is worth: the text in it, the model's opinion of the picture, and what to do next.

What must hold: pure, and true of any text whatever; JSON is never given back as a text, whole or in pieces; a text that is given back is
not empty. Reading goes: thoughts and special tokens away, JSON found and mended (jsonish.py), refusal, garbage, circles (loops.py), cut
end, openers.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .jsonish import caption_of, find_object, looks_like_json
from .loops import clean_end, loop_start
from .prompts import SCORES

LONGEST = 64_000  # characters of a reply that are looked at
CUT, LOOP, PROSE, GARBAGE, REFUSED = "cut", "loop", "text instead of json", "garbage", "refused"
_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_THOUGHT_BEGINS = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:start|end)_of_turn>|<eos>|<bos>|\[/?INST\]", re.IGNORECASE)
_CHANNEL = re.compile(r"^.*<\|channel\|>\s*final\s*<\|message\|>", re.DOTALL)
_REFUSAL = re.compile(
    r"\W*(?:i['’]?m (?:really |very |so )?sorry|sorry,? (?:but )?i|i apologi[sz]e|my apologies|"
    r"i (?:can(?:no|['’])t(?! help but\b)|am unable to|am not able to|"
    r"won['’]?t|will not|must decline|do not feel comfortable|don['’]?t feel comfortable)|i['’]?m (?:unable|not able|not comfortable)|"
    r"as an ai\b|unfortunately,? i (?:can|am)|(?:this|the) (?:image|picture|content|request) (?:violates|goes against)|"
    r"i (?:do not|don['’]?t) see (?:an?|any) (?:image|picture)|(?:no|there is no) (?:image|picture) (?:was |is )?(?:attached|provided))",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^(?:(?:sure|certainly|of course|okay|ok|absolutely)\b[!,.:]?\s*)?(?:(?:here(?:['’]s| is| are)|this is)\b[^:\n]{0,60}:\s*|"
    r"(?:caption|description|answer|response|tags|text|output)\s*:\s*)",
    re.IGNORECASE,
)
_SURE = re.compile(r"^(?:sure|certainly|of course|okay|absolutely)\s*[!,.:]\s+(?=\S)", re.IGNORECASE)
_OPENER = re.compile(
    r"^(?:(?:the|this|that) (?:(?:given|provided|attached|uploaded) )?(?:image|picture|photo|photograph|illustration|artwork|scene)"
    r"(?: here)? (?:shows|depicts|features|displays|presents|portrays|captures|contains|is of|illustrates|showcases)\s+|"
    r"in (?:the|this) (?:image|picture|photo|photograph|scene),?\s+(?:(?:we|you|one) (?:can )?see,?\s+|there (?:is|are)\s+)?|"
    r"(?:an?|the) (?:image|picture) (?:of|showing|depicting)\s+|(?:we|you|i) (?:can )?see\s+)",
    re.IGNORECASE,
)
_BOLD = re.compile(r"(?<![\w*])(\*{2,3})(?=[^\s*])([^*]+?)(?<=[^\s*])\1(?![\w*])")
_SLANTED = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=[^\s*])\*(?![\w*])")
_ITEM = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")  # a line of a list
_NO_FLAG = ("", "none", "n/a", "null", "no", "false", "ok", "-")


class Then(StrEnum):
    """What to do with a reply."""

    USE = "use"
    LONGER = "longer"  # ask again with more room
    PLAINLY = "plainly"  # ask again for words instead of JSON
    SIMPLER = "simpler"  # ask another question
    STEADILY = "steadily"  # ask again with a brake on repetition


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply is worth. `text` may be there though `then` is not USE: it is the second best, for when asking again helps not."""

    text: str = ""
    opinion: Mapping[str, float] = field(default_factory=dict)  # by the names of SCORES, 0..1
    flags: tuple[str, ...] = ()  # of the picture, as the model sees it
    notes: tuple[str, ...] = ()  # of the text: CUT, LOOP, PROSE
    then: Then = Then.USE
    why: str = ""  # it is not used


def read(reply: str, wanted_json: bool, cut: bool = False, tags: bool = False) -> Reading:
    """Read a reply. `cut`: the model was stopped at its limit of tokens; `tags`: a list of tags was asked for."""
    said, thinking = strip_thoughts(reply[:LONGEST])
    if not said:
        if thinking and (found := find_object(thinking)) is not None and caption_of(found[0]):
            return _of_object(found[0], found[1] or cut, tags)  # the thought was never closed, and the answer is in it
        if cut or thinking:
            return Reading(then=Then.LONGER, why="it thought and did not come to an answer")
        return Reading(then=Then.PLAINLY if wanted_json else Then.STEADILY, why="it answered nothing")
    found = find_object(said)
    if found is not None and caption_of(found[0]):
        return _of_object(found[0], found[1] or cut, tags)
    if found is not None or looks_like_json(said):
        return Reading(then=Then.LONGER if cut else Then.PLAINLY, why="its JSON has no caption")
    reading = judge(said, cut, tags)
    return replace(reading, notes=(*reading.notes, PROSE)) if wanted_json else reading


def judge(text: str, cut: bool, tags: bool) -> Reading:
    """A text that is no JSON: is it a caption?"""
    if refusal(text):
        return Reading(then=Then.SIMPLER, why="it refuses to describe the picture", notes=(REFUSED,))
    if garbage(text):
        return Reading(then=Then.PLAINLY, why="it answers signs that are no words", notes=(GARBAGE,))
    start = loop_start(text)
    if start is not None:
        kept = _words(clean_end(text[:start], tags, sure=False), tags)
        return Reading(kept, then=Then.STEADILY, why="it repeats itself without end", notes=(LOOP,))
    if cut:
        kept = _words(clean_end(text, tags, sure=True), tags)
        whole = bool(kept) and (tags or kept[-1] in ".!?。！？")
        return Reading(kept, then=Then.USE if whole else Then.LONGER, why="" if whole else "it was cut off", notes=(CUT,))
    kept = _words(text, tags)
    return Reading(kept) if kept else Reading(then=Then.PLAINLY, why="it answered nothing that is a text")


def _words(text: str, tags: bool) -> str:
    """The tidy text; '' when what is left of it is a piece of JSON."""
    kept = tidy(text, tags)
    return "" if looks_like_json(kept) else kept


def _of_object(found: Mapping[str, object], cut: bool, tags: bool, depth: int = 0) -> Reading:
    caption = strip_thoughts(caption_of(found))[0]
    if looks_like_json(caption):
        inner = find_object(caption)
        if inner is None or depth or not caption_of(inner[0]):
            return Reading(then=Then.PLAINLY, why="its caption is JSON again")
        return _of_object({**found, **inner[0]}, cut or inner[1], tags, 1)
    complete = any(key in found for key in ("quality", "flags"))  # what stands behind the caption came: so the caption is whole
    reading = judge(caption, cut and not complete, tags)
    return replace(reading, opinion=opinion(found.get("quality")), flags=flags(found.get("flags")))


# ---------------------------------------------------------------- the parts of a reply


def strip_thoughts(text: str) -> tuple[str, str]:
    """What was said without thoughts and special tokens, and the thought that was never closed ('' when none was)."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    text = _CHANNEL.sub("", text)
    text = _THOUGHT.sub(" ", text)
    *_, text = _THOUGHT_ENDS.split(text)  # its beginning may be in the prompt's template
    before, *after = _THOUGHT_BEGINS.split(text, 1)
    said, thought = (_SPECIAL.sub(" ", part) for part in (before, "".join(after)))
    return _plain(said), thought


def _plain(text: str) -> str:
    kept = "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else " " if c == "\r" else "" for c in text)
    return kept.strip()


def refusal(text: str) -> bool:
    """Whether a text begins as refusals begin."""
    return _REFUSAL.match(text[:200].lstrip("\"'“” ")) is not None


def garbage(text: str) -> bool:
    """Whether most of a text is no letters, digits or spaces: a model file and a vision half that do not belong together."""
    if len(text) < 8:
        return False
    good = sum(c.isalnum() or c.isspace() or c in ",.'\"-" for c in text)
    return good < 0.6 * len(text) or not any(c.isalpha() for c in text)


def _lines(text: str) -> str:
    """The lines of a list without their marks, as parts of one enumeration; any other text as it is."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not all(map(_ITEM.match, lines[1:])) or not (_ITEM.match(lines[0]) or lines[0].rstrip().endswith(":")):
        return text
    found = ""
    for line in lines:
        bare = _ITEM.sub("", line).strip()
        between = "" if not found else " " if found[-1] in ".,;:!?" else ", "
        found += between + bare
    return found


def tidy(text: str, tags: bool) -> str:
    """One line without labels, openers, wrapping quotes and markdown; sentences begin with a capital letter."""
    text = " ".join(_lines(re.sub(r"```\w*", " ", text)).split())
    text = _BOLD.sub(r"\2", text)
    text = text if tags else _SLANTED.sub(r"\1", text)  # a tag may be a face: *_*
    for _ in range(4):  # a label may stand before quotes before an opener
        before = text
        text = _SURE.sub("", _LABEL.sub("", text, count=1), count=1).strip()
        text = re.sub(r"^[*_#>`\s]+|[*_`\s]+$", "", text)
        if len(text) > 1 and (text[0], text[-1]) in (('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’")):
            text = text[1:-1].strip()
        if text == before:
            break
    if tags:
        return text.strip(" ,.;")
    shorter = _OPENER.sub("", text, count=1)
    if shorter and shorter != text:
        text = shorter[0].upper() + shorter[1:]
    return text


# ---------------------------------------------------------------- scores and flags


def opinion(value: object) -> dict[str, float]:
    """The scores of SCORES that a model gave, 0..1, whatever scale it took: 0.8, "8/10", 85, "85 %". What is none of these is left out."""
    if not isinstance(value, Mapping):
        return {}
    given = {name: _number(value.get(name)) for name in SCORES}
    bare = [n for n, fixed in filter(None, given.values()) if not fixed]
    top = max(bare, default=1.0)
    scale = 1.0 if top <= 1 else 10.0 if top <= 10 else 100.0
    found = {name: number[0] / (1.0 if number[1] else scale) for name, number in given.items() if number is not None}
    return {name: round(min(1.0, max(0.0, n)), 3) for name, n in found.items() if -1 < n <= 1}


def _number(value: object) -> tuple[float, bool] | None:
    """A number, and whether it says its own scale ("8/10", "85 %")."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            return None
        return (number, False) if math.isfinite(number) else None
    found = (
        re.fullmatch(r"\s*([0-9]{1,6}(?:[.,][0-9]{1,9})?)\s*(?:(%)|/\s*([0-9]{1,4}))?\s*", value)
        if isinstance(value, str)
        else None
    )
    if found is None:
        return None
    number = float(found[1].replace(",", "."))
    if found[2]:
        return number / 100, True
    if found[3]:
        return (number / float(found[3]), True) if float(found[3]) else None
    return number, False


def flags(value: object) -> tuple[str, ...]:
    """Flags as a few short words each, from a list, a text or an object of yes and no. At most 8 of at most 40 characters."""
    if isinstance(value, str):
        parts: list[object] = [*re.split(r"[,;\n]", value)]
    elif isinstance(value, Mapping):
        parts = [name for name, on in value.items() if on and str(on).casefold() not in _NO_FLAG]
    elif isinstance(value, (list, tuple)):
        parts = [part for part in value if isinstance(part, str)]
    else:
        parts = []
    words = (" ".join(_plain(str(part)).replace("_", " ").split()).strip(" .\"'").casefold()[:40] for part in parts[:64])
    return tuple(dict.fromkeys(word for word in words if word not in _NO_FLAG))[:8]
