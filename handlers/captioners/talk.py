"""The talk with a language model about one picture: asked, read, asked again in another way where that can help, and finished.

What must hold: pure but for its state, a generator that yields a Question and is sent the Reply, so that a model in this process and one
behind a network are talked to alike; at most ASKS questions a picture; the second best is used where nothing better comes; raw JSON, a
refusal or an empty text is never an answer.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from ...rules.captions import Quality, Style
from .answers import GARBAGE, REFUSED, Reading, Then, read
from .finish import finish
from .options import Options, flag, number, style_of
from .prompts import Question, ask
from .protocol import Answer, Picture
from .quality import with_opinion

ASKS = 3
BROKEN_AFTER = 3  # pictures in a row that were answered with garbage: then it is the model, not the picture
BROKEN_WAIT = 600.0  # seconds
GARBAGE_SAID = "its answers are no words: the model and its vision half (mmproj) may not belong together"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said. `cut`: it was stopped at its limit of tokens."""

    text: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Manner:
    """How a captioner is talked to."""

    style: Style
    structured: bool
    tokens: int
    temperature: float


def manner_of(options: Options) -> Manner:
    """The manner of a captioner's options: `structured`, `max_tokens`, `temperature` and its style."""
    tokens, temperature = int(number(options, "max_tokens", 512)), number(options, "temperature", 0.2)
    return Manner(style_of(options), flag(options, "structured") is not False, tokens, temperature)


def talk(picture: Picture, manner: Manner) -> Generator[Question, Reply | None, Answer]:
    """Yields questions, is sent replies (None: there was none in time), returns the Answer. Its quality is the model's opinion alone."""
    style = picture.style.over(manner.style)
    question = ask(picture, style, manner.structured, manner.tokens, manner.temperature)
    best, notes, why = Reading(), list[str](), ""
    for turn in range(ASKS):
        reply = yield question
        if reply is None:
            why = why or "it did not answer in time"
            break
        reading = read(reply.text, question.json, reply.cut, question.tags)
        if reading.then is Then.USE:
            best, why = _with_opinion(reading, best), ""
            break
        why = why or reading.why
        notes += [note for note in reading.notes if note in (REFUSED, GARBAGE)]
        best = reading if len(reading.text) > len(best.text) else best
        if turn + 1 < ASKS:
            question = _again(question, reading.then)
    text = finish(best.text, style, question.tags, picture.existing) if best.text else ""
    noted = tuple(dict.fromkeys([*best.notes, *notes]))
    if not text:
        return Answer(error=f"the model gave no caption: {why or 'it answered nothing'}", flags=noted)
    return Answer(text, flags=noted, quality=with_opinion(None, best.opinion, best.flags) if best.opinion or best.flags else None)


def _again(question: Question, then: Then) -> Question:
    """The next question; one that would be the same is changed in another way."""
    asked = {
        Then.LONGER: question.longer,
        Then.PLAINLY: question.plainly,
        Then.SIMPLER: question.simpler,
        Then.STEADILY: question.steadily,
    }[then]()
    return asked if asked != question else question.steadily()


def _with_opinion(reading: Reading, before: Reading) -> Reading:
    """A text that was asked for in words after a reply in JSON keeps the opinion of that."""
    if reading.opinion or not before.opinion:
        return reading
    return replace(reading, opinion=before.opinion, flags=reading.flags or before.flags)


def with_quality(answer: Answer, measured: Quality | None) -> Answer:
    """The answer with what was measured on the picture; the model's opinion stays beside it."""
    said = answer.quality
    if said is None or measured is None:
        return replace(answer, quality=said or measured)
    return replace(answer, quality=with_opinion(measured, said.opinion, said.flags))


class Patience:
    """Notices a model that answers nothing but garbage, so that a whole queue is not spent on it."""

    def __init__(self) -> None:
        self._bad = 0

    def judge(self, answer: Answer) -> Answer:
        """The answer, or, from the third garbage in a row on, one that keeps the picture queued and says what is wrong."""
        self._bad = self._bad + 1 if answer.error and GARBAGE in answer.flags else 0
        if self._bad < BROKEN_AFTER:
            return answer
        return replace(answer, error=f"{self._bad} pictures in a row: {GARBAGE_SAID}", later=BROKEN_WAIT)
