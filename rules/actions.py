"""The actions of a rule: an explicit table of verbs and parameters, and how `{placeholders}` are filled.

What must hold: the grammar, the docs and the shell completion all come from ACTIONS; a new verb is a new row. A filled
placeholder that becomes a folder's name is one harmless path component on every platform, whatever the dropped file is called.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from .conditions import model_of, relative
from .terms import Action, Facts, Kind, Known, Param


class ParamForm(StrEnum):
    """How a parameter's value is written."""

    FOLDER = "a folder's name"  # text with placeholders that becomes one path component
    PATH = "a folder"  # below the watched one, or absolute; a part with placeholders becomes one path component
    ARGV = "a list of arguments"  # texts with placeholders, `{path}` among them
    URL = "an http address"
    TEXT = "text"  # text with placeholders
    WORD = "a word"
    WORDS = "a word or a list of words"
    DURATION = "a duration"  # seconds
    SIZE = "a size"  # bytes
    COUNT = "a whole number"
    NUMBER = "a number"


@dataclass(frozen=True, slots=True)
class ParamRow:
    """One parameter: `default` None means that it may be left out and the receiver knows what to do then."""

    name: str  # a dot stands for a mapping in the mapping: limits.total
    form: ParamForm
    help: str
    default: Param = None
    required: bool = False
    choices: tuple[str, ...] = ()
    names: str = ""  # the section of the configuration that its words come from: captioners, targets

    def line(self) -> str:
        """The row as docs/rules.md has it."""
        default = "required" if self.required else "" if self.default is None else f"`{self.default}`"
        form = " or ".join(self.choices) or str(self.form)
        return f"| `{self.name}` | {form} | {default} | {self.help} |"


@dataclass(frozen=True, slots=True)
class ActionForm:
    """One verb: its parameters, the one that a bare scalar or list stands for, and the kinds of file it is for."""

    verb: str
    help: str
    example: str
    params: tuple[ParamRow, ...] = ()
    shorthand: str = ""
    kinds: tuple[Kind, ...] = ()  # empty: any kind

    def param(self, name: str) -> ParamRow | None:
        """The row of a parameter, or None."""
        return next((p for p in (*self.params, *ON_ERROR) if p.name == name), None)


ON_CONFLICT = ("skip_same_else_rename", "skip", "rename", "fail")
_PLACED = (
    ParamRow("to", ParamForm.PATH, "the folder, below the watched one or absolute; made on demand", required=True),
    ParamRow("name", ParamForm.FOLDER, "its name there; companions follow", "{name}"),
    ParamRow(
        "on_conflict", ParamForm.WORD, "when the name is taken; nothing is ever overwritten", ON_CONFLICT[0], choices=ON_CONFLICT
    ),
)
ON_ERROR = (  # every action takes these
    ParamRow("on_error.retry", ParamForm.COUNT, "how often it is tried again, with longer and longer pauses"),
    ParamRow("on_error.then", ParamForm.WORD, "what becomes of the file after that", choices=("hold", "quarantine")),
)
LIMITS = (
    ParamRow("limits.total", ParamForm.SIZE, "unpacked size at most"),
    ParamRow("limits.ratio", ParamForm.NUMBER, "unpacked size over packed size at most"),
    ParamRow("limits.files", ParamForm.COUNT, "number of files at most"),
    ParamRow("limits.depth", ParamForm.COUNT, "folders within folders at most"),
    ParamRow("limits.name", ParamForm.COUNT, "bytes of one file name at most"),
)
_ROWS = (
    ActionForm(
        "unpack",
        "unpack the archive and add its pictures and captions to a dataset; the archive ends in the trash, or is held when it holds more",
        'unpack: {dataset: "{stem}"}',
        (ParamRow("dataset", ParamForm.FOLDER, "name of the dataset", "{stem}"), *LIMITS),
        "dataset",
        (Kind.ARCHIVE,),
    ),
    ActionForm(
        "dataset",
        "add the picture (with its caption) to a dataset; nothing happens when it is in one already",
        'dataset: "{parent}"',
        (ParamRow("name", ParamForm.FOLDER, "name of the dataset", "{parent}"),),
        "name",
        (Kind.IMAGE, Kind.CAPTION),
    ),
    ActionForm(
        "caption",
        "have the picture captioned; by default only where it has no caption in that set yet",
        "caption: {with: basic, set: main, only: missing}",
        (
            ParamRow("with", ParamForm.WORD, "which captioner writes", "basic", names="captioners"),
            ParamRow("set", ParamForm.WORD, "caption set to write into", "main"),
            ParamRow(
                "only", ParamForm.WORD, "pictures without a caption in that set, or all", "missing", choices=("missing", "all")
            ),
        ),
        "with",
        (Kind.IMAGE,),
    ),
    ActionForm("store", "keep the model in the hub, once, by its SHA-256", "store", kinds=(Kind.MODEL,)),
    ActionForm(
        "adopt",
        "take a library's model into the hub and leave a link in its place; the link is kept there from now on",
        "adopt",
        kinds=(Kind.MODEL,),
    ),
    ActionForm(
        "deploy",
        "link the kept model into the targets from now on",
        "deploy: [comfyui, forge]",
        (ParamRow("targets", ParamForm.WORDS, "targets to link into; all enabled ones when left out", names="targets"),),
        "targets",
        (Kind.MODEL,),
    ),
    ActionForm(
        "move",
        "move the file with its companions into a folder",
        'move: {to: "~/sorted/{type}/{base}"}',
        _PLACED,
        "to",
    ),
    ActionForm(
        "copy",
        "copy the file with its companions into a folder; after `store` it is the hub's file that is copied",
        'copy: {to: "/mnt/backup/{type}"}',
        _PLACED,
        "to",
    ),
    ActionForm(
        "webhook",
        "tell another program over HTTP: what is known of the file is sent as JSON, in a job of its own",
        'webhook: {url: "http://127.0.0.1:9000/new"}',
        (
            ParamRow("url", ParamForm.URL, "where to; shown and logged without its path and its secrets", required=True),
            ParamRow("timeout", ParamForm.DURATION, "how long an answer may take", 10.0),
        ),
        "url",
    ),
    ActionForm(
        "run",
        "run a program, never through a shell; its last words are kept in the history, and an exit code other than 0 is a failure",
        'run: {argv: [notify-send, "{name}"], timeout: 30 s}',
        (
            ParamRow("argv", ParamForm.ARGV, "the program and its arguments; `{path}` is where the file is then", required=True),
            ParamRow("timeout", ParamForm.DURATION, "how long it may run; then it is killed with its children", 60.0),
        ),
        "argv",
    ),
    ActionForm(
        "hold",
        "stop here and wait for a person",
        'hold: "type or base unsure"',
        (ParamRow("reason", ParamForm.TEXT, "what the person is told", "held by a rule"),),
        "reason",
    ),
    ActionForm(
        "quarantine",
        "put the file into the quarantine folder",
        'quarantine: "not wanted here"',
        (ParamRow("reason", ParamForm.TEXT, "why, for the list and the history", "quarantined by a rule"),),
        "reason",
    ),
    ActionForm(
        "trash",
        "put the file into the trash folder",
        "trash: {keep: 14 days}",
        (ParamRow("keep", ParamForm.DURATION, "how long it can be taken back; the setting `trash` when left out"),),
        "keep",
    ),
    ActionForm(
        "tag",
        "remember words for it that rules and lists can ask for",
        "tag: [new, portrait]",
        (ParamRow("tags", ParamForm.WORDS, "the words", required=True),),
        "tags",
    ),
)
ACTIONS: Mapping[str, ActionForm] = {row.verb: row for row in _ROWS}
PATH_MARK = "\0"  # stands in an argument for the path that a file has when its program runs; no name can hold it


# ---------------------------------------------------------------- placeholders


def split_name(name: str) -> tuple[str, str]:
    """Stem and suffix of a file name; `.tar.gz` and its relatives count as one suffix."""
    found = re.fullmatch(r"(.+?)((?:\.tar)?\.[^. ]{1,20})", name, re.IGNORECASE | re.DOTALL)
    return (found[1], found[2]) if found else (name, "")


def _parent(facts: Facts, known: Known, _now: float) -> str:
    below = relative(facts, known)
    if below is not None and len(below.parts) > 1:
        return below.parts[0]
    return known.watch.path.name if below is not None and known.watch else facts.path.parent.name


def _date(_facts: Facts, _known: Known, now: float) -> str:
    """Today in UTC: the same everywhere, so that deciding depends on nothing but what it is given."""
    if not math.isfinite(now) or not 0 <= now < 253402300800:  # datetime ends with the year 9999
        return "1970-01-01"
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


def _axis(facts: Facts, known: Known, axis: str) -> str:
    model = model_of(facts, known)
    return (model.type if axis == "type" else model.base) if model else "unknown"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One word in braces: what the docs say of it, and how it is filled."""

    help: str
    fill: Callable[[Facts, Known, float], str]


PLACEHOLDERS: Mapping[str, Placeholder] = {
    "name": Placeholder("file name", lambda f, k, n: f.path.name),
    "stem": Placeholder("file name without its suffix", lambda f, k, n: f.path.name if f.folder else split_name(f.path.name)[0]),
    "suffix": Placeholder("suffix with its dot", lambda f, k, n: "" if f.folder else split_name(f.path.name)[1]),
    "parent": Placeholder("first folder below the watched one; the watched folder's own name for a loose file", _parent),
    "type": Placeholder("type of the model, else unknown", lambda f, k, n: _axis(f, k, "type")),
    "base": Placeholder("base of the model, else unknown", lambda f, k, n: _axis(f, k, "base")),
    "kind": Placeholder("image, archive, model, caption or other", lambda f, k, n: str(f.kind)),
    "date": Placeholder("the day it is decided, in UTC, as 2026-01-31", _date),
}
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def unknown_placeholders(template: str, also: tuple[str, ...] = ()) -> list[str]:
    """The words in braces that nothing fills, and lone braces. `{{` and `}}` stand for braces themselves."""
    return [
        m[1] if m[1] is not None else m[0]
        for m in _BRACES.finditer(template)
        if m[0] not in ("{{", "}}") and m[1] not in PLACEHOLDERS and m[1] not in also
    ]


def fill(template: str, facts: Facts, known: Known, now: float) -> str:
    """The template with its placeholders filled; what nothing fills stays as written."""

    def one(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        row = PLACEHOLDERS.get(found[1] or "")
        return row.fill(facts, known, now) if row else found[0]

    return _BRACES.sub(one, template)


_RESERVED = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}  # Windows device names
MAX_NAME = 200  # bytes of UTF-8: room below the 255 of common file systems for our own suffixes


def safe_name(text: str) -> str:
    """Any text as one path component that is legal on Linux, macOS and Windows, never empty, `.` or `..`.

    Separators, control characters, lone surrogates and the characters Windows forbids become `_`; what is invisible and turns or joins
    the text around it (category Cf: U+202E shows `gpj.exe` as `exe.jpg`) goes; NFC; at most 200 bytes.
    """
    text = unicodedata.normalize("NFC", "".join(c for c in text if unicodedata.category(c) != "Cf"))
    bad = {"Cc", "Cs", "Zl", "Zp"}
    text = "".join("_" if c in '/\\:*?"<>|' or unicodedata.category(c) in bad else c for c in text)
    text = text.encode("utf-8")[:MAX_NAME].decode("utf-8", "ignore").strip(" .")
    if not text:
        return "unnamed"
    return f"_{text}" if text.split(".")[0].strip().casefold() in _RESERVED else text


def rendered(action: Action, facts: Facts, known: Known, now: float) -> Action:
    """The action with every placeholder of its parameters filled. Pure and total."""
    form = ACTIONS.get(action.verb)
    params: dict[str, Param] = {}
    for name, value in action.params.items():
        row = form.param(name) if form else None
        form_of = row.form if row else None
        if isinstance(value, str) and form_of is ParamForm.FOLDER:
            params[name] = safe_name(fill(value, facts, known, now))
        elif isinstance(value, str) and form_of is ParamForm.TEXT:
            params[name] = fill(value, facts, known, now)
        elif isinstance(value, str) and form_of is ParamForm.PATH:
            params[name] = filled_path(value, facts, known, now)
        elif isinstance(value, tuple) and form_of is ParamForm.ARGV:
            params[name] = tuple(_argument(part, facts, known, now) for part in value)
        else:
            params[name] = value
    return Action(action.verb, params)


def filled_path(template: str, facts: Facts, known: Known, now: float) -> str:
    """A folder's path with its placeholders filled: no file's name can add a separator, or lead out of the written folder."""
    parts = template.split("/")
    return "/".join(safe_name(fill(part, facts, known, now)) if "{" in part else part for part in parts)


def _argument(template: str, facts: Facts, known: Known, now: float) -> str:
    """One argument of a program; `{path}` is left to the one who runs it, since the file may have moved by then. A name that would be
    taken for an option (`-rf.png`) gets `./` in front."""
    text = PATH_MARK.join(fill(part, facts, known, now).replace(PATH_MARK, "") for part in template.split("{path}"))
    return f"./{text}" if text.startswith("-") and not template.startswith("-") else text
