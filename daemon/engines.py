"""The captioner engines' settings: what each may be told in the configuration, and what all of them may be told.

What must hold: the word of the config is the name of the class in handlers/captioners/table.py; the values are plain (Param), because
they travel to the worker process. Mappings travel as lists of `name=value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from pydantic.fields import FieldInfo

from .forms import (
    BusyWord,
    Duration,
    ExistingWord,
    KindWord,
    MaybeFlag,
    MaybeText,
    Section,
    Size,
    Text,
    TextMap,
    Texts,
    Whole,
)

GB = 1_000_000_000


class EngineSettings(Section):
    """What every engine may be told of its time and its machine."""

    timeout: Annotated[Duration, Field(description="without an answer for so long it is stopped and started anew", gt=0)] = 120.0
    idle_unload: Annotated[Duration, Field(description="its model is unloaded after so long without a picture", gt=0)] = 300.0
    when_busy: Annotated[BusyWord, Field(description="when the card is busy or low on memory: wait, or run on the CPU")] = "wait"
    min_free: Annotated[Size, Field(description="memory that must be free on the card before the model is loaded", ge=0)] = 1 * GB


class StyleSettings(Section):
    """How the captions shall read, where neither the caption set nor the request says otherwise."""

    style: Annotated[KindWord, Field(description="what a language model is asked for")] = None
    prompt: Annotated[MaybeText, Field(description="the whole question, with {tags}, {name}, {folder}, {trigger}")] = None
    trigger: Annotated[MaybeText, Field(description="trigger phrase: put first, once")] = None
    max_length: Annotated[Whole, Field(description="characters at most, cut between tags or sentences; 0: no limit", ge=0)] = 0
    prefix: Annotated[Texts, Field(description="tags or words put behind the trigger")] = ()
    suffix: Annotated[Texts, Field(description="tags or words put last")] = ()
    exclude: Annotated[Texts, Field(description="tags left out: exact, with `*` and `?`, or `/regular expression/`")] = ()
    replace: Annotated[TextMap, Field(description="tags replaced by others; an empty text drops one")] = ()
    underscores: Annotated[MaybeFlag, Field(description="true: keep them; else they become spaces, but in faces like ^_^")] = None
    escape: Annotated[MaybeFlag, Field(description="true: write \\( and \\) in tags, for prompts")] = None
    implied: Annotated[MaybeFlag, Field(description="true: keep tags that another says already (hat beside witch hat)")] = None
    existing: Annotated[ExistingWord, Field(description="what becomes of a caption that is there already")] = None


class BasicEngine(EngineSettings, StyleSettings):
    """The embedded captioner: size, orientation, light and colours from the pixels. It has no options of its own."""


class SimpleEngine(EngineSettings, StyleSettings):
    """The same text for every picture."""

    text: Annotated[Text, Field(description="the caption")]


ENGINES: Mapping[str, type[Section]] = {"basic": BasicEngine, "simple": SimpleEngine}
LATER_ENGINES = ("onnx", "llama", "ollama", "openai", "http")
COMMON: Mapping[str, FieldInfo] = {**EngineSettings.model_fields, **StyleSettings.model_fields}  # shown once for all engines
