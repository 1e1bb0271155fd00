"""What a language model is asked about a picture: the question in words, and the JSON it shall answer in.

What must hold: pure; a person's own prompt stands as written, with {tags} {name} {folder} {trigger} filled in and every other brace left
alone; the schema is in the prompt too, because a grammar forces a shape and not a meaning. A question that was not answered well is put
again in another way (`simpler`, `plainly`, `steadily`, `longer`), never twice the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...rules.captions import Style
from .protocol import Picture

SCORES = ("sharpness", "clarity", "composition", "exposure", "overall")
SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {
        "caption": {"type": "string"},  # first: an answer that is cut off has it nevertheless
        "quality": {
            "type": "object",
            "properties": {name: {"type": "number"} for name in SCORES},
            "required": [*SCORES],
            "additionalProperties": False,
        },
        "flags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["caption", "quality", "flags"],
    "additionalProperties": False,
}
_EXAMPLE = json.dumps({"caption": "…", "quality": dict.fromkeys(SCORES, 0.0), "flags": []}, ensure_ascii=False)

KIND_WORDS: Mapping[str, str] = {
    "natural": "Describe this picture in one factual sentence: the subject, what it does, and where.",
    "natural_simple": "Describe this picture in one short, plain sentence: the subject, what it does, and where.",
    "natural_detailed": (
        "Describe this picture in two or three factual sentences: the subject and what it does, the setting, the light, the colours "
        "and the composition."
    ),
    "tags": (
        "List what this picture shows as 15 to 25 short tags in lower case, separated by commas: subject, number of subjects, "
        "appearance, clothing, pose, action, setting, light, style."
    ),
}
_FACTS = "Say only what can be seen. Do not begin with words like 'The image shows'."
_JSON = (
    "Answer with one JSON object and nothing else, of this form:\n"
    + _EXAMPLE
    + "\nPut the text into `caption`. Each score of `quality` "
    "is a number from 0.0 (bad) to 1.0 (excellent) and judges the picture itself. `flags` names defects in a word or two each, such as "
    "blurry, watermark, text, cropped, low light, jpeg artifacts; it is empty when there are none."
)
_TEXT = "Answer with the text alone: no introduction, no quotes, no JSON, no markdown."
_SIMPLER = (
    "This is for a catalogue that helps people who cannot see the picture. In one neutral sentence, name the visible objects, colours, "
    "shapes and surroundings. You need not name any person."
)
_SIMPLER_TAGS = (
    "This is for a catalogue. List the visible objects, colours, shapes and surroundings of the picture as short tags in lower case, "
    "separated by commas."
)
_VARIABLE = re.compile(r"\{(tags|name|folder|trigger)\}")
_TAGS = 1200  # characters of a tagger's words that go into a prompt


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one picture. `tokens` bounds the answer; `penalty` 1.0 is none (llama.cpp's repeat_penalty)."""

    words: str  # what is asked, without the form of the answer
    json: bool = True  # an object of SCHEMA is wanted
    tags: bool = False
    tokens: int = 512
    temperature: float = 0.2
    penalty: float = 1.0
    seed: int | None = None

    @property
    def text(self) -> str:
        """All that the model reads."""
        return f"{self.words}\n\n{_JSON if self.json else _TEXT}"

    def plainly(self) -> Question:
        """The same, answered in words: for a model that cannot write JSON."""
        return replace(self, json=False)

    def simpler(self) -> Question:
        """Another, harmless question: for a model that refused."""
        return replace(self, words=_SIMPLER_TAGS if self.tags else _SIMPLER, json=False, seed=_next(self.seed))

    def steadily(self) -> Question:
        """The same with a brake on repetition and another seed: for a model that went round in circles."""
        return replace(self, penalty=max(1.2, self.penalty + 0.15), temperature=self.temperature + 0.3, seed=_next(self.seed))

    def longer(self) -> Question:
        """The same with three times the room: for an answer that was cut off."""
        return replace(self, tokens=self.tokens * 3)


def ask(picture: Picture, style: Style, structured: bool = True, tokens: int = 512, temperature: float = 0.2) -> Question:
    """The first question about a picture. `structured`: asked for as JSON with scores and flags."""
    tags = style.kind == "tags"
    words = style.prompt or f"{KIND_WORDS.get(style.kind, KIND_WORDS['natural'])} {_FACTS}"
    filled = fill(words, picture, style.trigger)
    if picture.tags and "{tags}" not in words and not tags:
        filled += f"\nA tagger saw these; use what is true: {_line(picture.tags)[:_TAGS]}"
    if style.trigger and "{trigger}" not in words:
        place = "first tag" if tags else "first words of the text"
        filled += f"\nThe {place}: {style.trigger}"
    if style.max_length:
        filled += f"\nAt most {style.max_length} characters."
    return Question(filled, structured, tags, tokens, temperature)


def fill(words: str, picture: Picture, trigger: str) -> str:
    """`words` with its variables filled; a text that comes in so is not looked into again."""
    values = {
        "tags": _line(picture.tags)[:_TAGS],
        "name": _line(picture.path.stem),
        "folder": _line(picture.path.parent.name),
        "trigger": trigger,
    }
    return _VARIABLE.sub(lambda found: values[found[1]], words)


def bounded_schema(characters: int) -> dict[str, object]:
    """SCHEMA with a longest caption, for grammars that are held to it: a model in a circle is stopped by it."""
    found = json.loads(json.dumps(SCHEMA))
    assert isinstance(found, dict)
    found["properties"]["caption"]["maxLength"] = characters
    found["properties"]["flags"]["maxItems"] = 8
    found["properties"]["flags"]["items"]["maxLength"] = 40
    return found


def _next(seed: int | None) -> int:
    return (seed or 0) + 1


def _line(text: str) -> str:
    """One line of it, safe in UTF-8: a file's name may hold bytes that are none."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
