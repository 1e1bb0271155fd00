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
    ApiWord,
    BusyWord,
    DeviceWord,
    Duration,
    ExistingWord,
    FileOrName,
    Flag,
    KindWord,
    Layers,
    MaybeDuration,
    MaybeFile,
    MaybeFlag,
    MaybeNumber,
    MaybeText,
    MaybeWhole,
    MergeWord,
    Models,
    Number,
    NumberMap,
    OrderWord,
    Patterns,
    RatingWord,
    Section,
    ServedAt,
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
    exclude: Annotated[Patterns, Field(description="tags left out: exact, with `*` and `?`, or `/regular expression/`")] = ()
    replace: Annotated[TextMap, Field(description="tags replaced by others; an empty text drops one")] = ()
    underscores: Annotated[MaybeFlag, Field(description="true: keep them; else they become spaces, but in faces like ^_^")] = None
    escape: Annotated[MaybeFlag, Field(description="true: write \\( and \\) in tags, for prompts")] = None
    implied: Annotated[MaybeFlag, Field(description="true: keep tags that another says already (hat beside witch hat)")] = None
    existing: Annotated[ExistingWord, Field(description="what becomes of a caption that is there already")] = None


class BasicEngine(EngineSettings, StyleSettings):
    """The embedded captioner: size, orientation, light and colours from the pixels. It has no options of its own."""


class SimpleEngine(EngineSettings, StyleSettings):
    """The same text for every picture."""

    text: Annotated[Text, Field(description="the caption, with {tags}, {name}, {folder}, {trigger}")]


class LanguageSettings(EngineSettings, StyleSettings):
    """What every engine with a language model may be told."""

    structured: Annotated[
        Flag, Field(description="ask for JSON with the model's own scores and flags; false: for the text alone")
    ] = True
    system: Annotated[MaybeText, Field(description="what the model is told before the question")] = None
    max_tokens: Annotated[Whole, Field(description="length of an answer at most; a cut one is asked again with more", gt=0)] = 512
    temperature: Annotated[
        Number, Field(description="0: always the likeliest word; more: livelier, and less sure", ge=0, le=2)
    ] = 0.2
    side: Annotated[Whole, Field(description="pictures are sent with this many pixels on the longer side", ge=64, le=4096)] = 1024


class LlamaEngine(LanguageSettings):
    """A GGUF model with its vision half, in a process of our own (extra `llama`)."""

    model: Annotated[FileOrName, Field(description="a GGUF file, or part of its name in the hub")]
    mmproj: Annotated[MaybeFile, Field(description="its vision half; the mmproj file beside the model when left out")] = None
    device: Annotated[DeviceWord, Field(description="auto, cpu, cuda or cuda:1; several as a list, one worker each")] = "auto"
    gpu_layers: Annotated[Layers, Field(description="layers on the card; -1: all")] = -1
    context: Annotated[Whole, Field(description="tokens for picture, question and answer", ge=512)] = 8192
    threads: Annotated[MaybeWhole, Field(description="threads on the CPU; llama.cpp's own choice when left out", gt=0)] = None
    recycle: Annotated[Whole, Field(description="load anew after so many pictures, against leaks; 0: never", ge=0)] = 500


class OllamaEngine(LanguageSettings):
    """A model that Ollama serves."""

    url: Annotated[ServedAt, Field(description="where Ollama listens")] = "http://127.0.0.1:11434"
    model: Annotated[Text, Field(description="as Ollama names it, like qwen2.5vl:7b; it must see pictures")]
    api_key: Annotated[MaybeText, Field(description="sent as a bearer token, for an Ollama behind a proxy")] = None
    concurrency: Annotated[Whole, Field(description="pictures asked about at once", gt=0, le=256)] = 1
    context: Annotated[Whole, Field(description="tokens for picture, question and answer", ge=512)] = 8192
    keep_alive: Annotated[MaybeDuration, Field(description="kept loaded there; `idle_unload` when left out", ge=0)] = None
    pull: Annotated[Flag, Field(description="fetch the model when Ollama has it not")] = False


class OpenAIEngine(LanguageSettings):
    """Any server that speaks OpenAI's chat completions: vLLM, LM Studio, llama-server, and others."""

    url: Annotated[ServedAt, Field(description="the address requests go below; /v1 is added to a bare host")]
    model: Annotated[MaybeText, Field(description="as the server names it; its first one when left out")] = None
    api_key: Annotated[MaybeText, Field(description="sent as a bearer token")] = None
    concurrency: Annotated[Whole, Field(description="pictures asked about at once; vLLM likes 8 to 64", gt=0, le=256)] = 4


class HttpEngine(EngineSettings, StyleSettings):
    """A plain caption server: a picture goes, a text comes."""

    url: Annotated[ServedAt, Field(description="where pictures are posted")]
    api: Annotated[ApiWord, Field(description="the JPEG itself, JSON with base64 and a prompt, or LLaVA's worker")] = "bytes"
    model: Annotated[MaybeText, Field(description="which model LLaVA's worker shall use")] = None
    api_key: Annotated[MaybeText, Field(description="sent as a bearer token")] = None
    concurrency: Annotated[Whole, Field(description="pictures asked about at once", gt=0, le=256)] = 1
    max_tokens: Annotated[Whole, Field(description="length of an answer at most (LLaVA)", gt=0)] = 512
    temperature: Annotated[Number, Field(description="0: always the likeliest word (LLaVA)", ge=0, le=2)] = 0.2
    side: Annotated[Whole, Field(description="pictures are sent with this many pixels on the longer side", ge=64, le=4096)] = 1024


class OnnxEngine(EngineSettings, StyleSettings):
    """Taggers of the WD kind: one, or several merged."""

    models: Annotated[
        Models, Field(description="names, folders, owner/repository or addresses; `name @ general=0.4` for one alone")
    ]
    general: Annotated[
        MaybeNumber, Field(description="threshold of general tags; the tagger's own when left out", ge=0, le=1)
    ] = None
    character: Annotated[MaybeNumber, Field(description="threshold of characters", ge=0, le=1)] = None
    thresholds: Annotated[NumberMap, Field(description="thresholds of other kinds: copyright, artist, meta, quality, model")] = ()
    mcut: Annotated[Flag, Field(description="set the thresholds by the largest gap in each picture's scores")] = False
    rating: Annotated[RatingWord, Field(description="where the rating is written")] = "none"
    order: Annotated[
        OrderWord, Field(description="people, characters, then by score; by score alone; as the tagger lists them")
    ] = "house"
    max_tags: Annotated[Whole, Field(description="tags at most, those with the best scores; 0: all", ge=0)] = 0
    merge: Annotated[MergeWord, Field(description="several taggers: what one says, what all say that know it, or their mean")] = (
        "union"
    )
    device: Annotated[DeviceWord, Field(description="auto, cpu, cuda or cuda:1; several as a list, one worker each")] = "auto"
    batch: Annotated[Whole, Field(description="pictures run at once; 0: 8 on a card, 1 on the CPU", ge=0, le=256)] = 0
    exact: Annotated[Flag, Field(description="resize as the taggers' own demo does, a third slower; else nearly so")] = False
    quality: Annotated[Flag, Field(description="measure sharpness, exposure and more from the same pixels")] = True
    token: Annotated[MaybeText, Field(description="token for the Hugging Face hub; HF_TOKEN or a login when left out")] = None
    offline: Annotated[Flag, Field(description="take what is there and download nothing")] = False


ENGINES: Mapping[str, type[Section]] = {
    "basic": BasicEngine,
    "simple": SimpleEngine,
    "onnx": OnnxEngine,
    "llama": LlamaEngine,
    "ollama": OllamaEngine,
    "openai": OpenAIEngine,
    "http": HttpEngine,
}
COMMON: Mapping[str, FieldInfo] = {**EngineSettings.model_fields, **StyleSettings.model_fields}  # shown once for all engines
