"""The table of settings: every key a configuration may have, its form, default and the line that the docs show.

What must hold: this, with the engines' own (engines.py), is the only list. The loader checks against it, `config.example.yaml` and
`docs/config.md` are tested against it. How values are written stands in forms.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from ..rules.layouts import CUSTOM
from .engines import COMMON, ENGINES
from .forms import (
    Address,
    Duration,
    Flag,
    Folder,
    Form,
    FormatWord,
    LayoutWord,
    LevelWord,
    MaybeDuration,
    MaybeText,
    MaybeWhole,
    ModeWord,
    Number,
    Section,
    Share,
    Size,
    Text,
    Texts,
    TypeMap,
    Whole,
    Wrong,
)

GB = 1_000_000_000
DAY = 86_400.0


class ServerSettings(Section):
    """Where the API and the page are served."""

    host: Annotated[Text, Field(description="address to listen on; anything but loopback needs `api_key`")] = "127.0.0.1"
    port: Annotated[Whole, Field(description="port to listen on; 0 takes a free one", ge=0, le=65535)] = 8484
    api_key: Annotated[MaybeText, Field(description="key that every request must carry, once it is set")] = None
    allowed_hosts: Annotated[Texts, Field(description="further names a browser may call it by, like my-box.lan")] = ()


class WatchSettings(Section):
    """One watched folder."""

    path: Annotated[Folder, Field(description="folder to watch, with all folders in it")]
    mode: Annotated[ModeWord, Field(description="take files in, track them where they lie, or read a dataset's edits back")]
    name: Annotated[MaybeText, Field(description="what it is called; the folder's own name when left out")] = None
    pipeline: Annotated[MaybeText, Field(description="pipeline that decides; the one called like the mode when left out")] = None
    settle: Annotated[Duration, Field(description="quiet time before a file is looked at")] = 2.0
    patience: Annotated[Duration, Field(description="how long a quiet but unfinished file is waited for")] = 30.0
    ignore: Annotated[Texts, Field(description="globs over the path below the folder that are not looked at")] = ()
    max_depth: Annotated[MaybeWhole, Field(description="folders below it at most; no limit when left out", ge=0)] = None
    enabled: Annotated[Flag, Field(description="false: not watched")] = True
    poll: Annotated[MaybeDuration, Field(description="look this often, for network shares; file events when left out", gt=0)] = (
        None
    )
    rescan: Annotated[Duration, Field(description="time between full comparisons, jittered by a quarter", ge=10)] = 600.0


class TargetSettings(Section):
    """One app that wants files."""

    layout: Annotated[LayoutWord, Field(description="which app it is, so which type of model goes where")]
    path: Annotated[Folder, Field(description="the app's own folder; it must exist, folders in it are made on demand")]
    enabled: Annotated[Flag, Field(description="false: its links are taken away")] = True
    relative: Annotated[Flag, Field(description="relative links, for a hub and app that move together")] = False
    map: Annotated[TypeMap, Field(description="folders of your own, over the layout's; `{base}` becomes the model's base")] = ()
    url: Annotated[Address, Field(description="where the app listens, to tell it of new files")] = None
    auth: Annotated[MaybeText, Field(description="`user:password` or token that the app asks for")] = None

    @model_validator(mode="after")
    def _has_folders(self) -> Self:
        if self.layout == CUSTOM and not self.map:
            raise Wrong("the layout custom wants a `map`, like {lora: loras, vae: vae}")
        return self


class LimitSettings(Section):
    """What an archive may unpack to; beyond it the archive goes to quarantine."""

    total: Annotated[Size, Field(description="unpacked size at most", gt=0)] = 20 * GB
    ratio: Annotated[Number, Field(description="unpacked size over packed size at most", gt=0)] = 200.0
    files: Annotated[Whole, Field(description="number of files at most", gt=0)] = 20_000
    depth: Annotated[Whole, Field(description="folders within folders at most", gt=0)] = 12
    name: Annotated[Whole, Field(description="bytes of one file name at most", gt=0, le=255)] = 255


class LaneSettings(Section):
    """Workers per lane of the queue."""

    hash: Annotated[Whole, Field(description="files hashed at once", gt=0, le=64)] = 1
    cpu: Annotated[Whole, Field(description="archives unpacked and pictures decoded at once", gt=0, le=64)] = 2
    net: Annotated[Whole, Field(description="network requests at once", gt=0, le=64)] = 4
    caption: Annotated[Whole, Field(description="captioning processes", gt=0, le=64)] = 1


class LogSettings(Section):
    """What the daemon says on stderr."""

    format: Annotated[FormatWord, Field(description="lines for people, or JSON; auto: the journal's form under systemd")] = "auto"
    level: Annotated[LevelWord, Field(description="the least that is said")] = "info"


class IdentifySettings(Section):
    """The words for how sure the answer about a model is."""

    sure: Annotated[Share, Field(description="confidence from which a model is called sure")] = 0.9
    probable: Annotated[Share, Field(description="confidence from which it is called probable; not above `sure`")] = 0.6

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.probable > self.sure:
            raise Wrong(f"`probable` is above `sure`: expected at most {self.sure:g}", f"{self.probable:g}")
        return self


class CivitaiSettings(Section):
    """Asking CivitAI what it says of models, by their SHA-256."""

    enabled: Annotated[Flag, Field(description="true: the SHA-256 of every model is sent to `url`, and nothing else")] = False
    url: Annotated[Address, Field(description="whom to ask")] = "https://civitai.com"
    token: Annotated[MaybeText, Field(description="an API key of your account there; most files are known without one")] = None
    batch: Annotated[
        Whole, Field(description="contents asked for in one request; the site takes 10000 at most", ge=1, le=10_000)
    ] = 100
    timeout: Annotated[Duration, Field(description="how long one request may take", gt=0, le=600)] = 20.0
    remember: Annotated[Duration, Field(description="what it says of a file is asked for again after this", ge=3600)] = 30 * DAY
    remember_unknown: Annotated[Duration, Field(description="the same for a file that it does not know", ge=3600)] = 7 * DAY

    @model_validator(mode="after")
    def _token_is_one_word(self) -> Self:
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and " " not in self.token.strip()):
            raise Wrong("`token` is no token: expected one word of plain letters")
        return self


class Settings(Section):
    """The whole configuration, but for pipelines (rules/grammar.py) and captioners (by their engine)."""

    data_dir: Annotated[Folder | None, Field(description="database and caches"), Form("folder")] = None
    hub: Annotated[Folder, Field(description="where every model is kept, once")] = Path("~/dropdock/hub")
    datasets: Annotated[Folder, Field(description="where datasets are kept, a folder each")] = Path("~/dropdock/datasets")
    trash: Annotated[Duration, Field(description="how long trash and quarantine are kept")] = 14 * DAY
    free_space: Annotated[Size, Field(description="nothing is written to a disk with less free than this")] = 1 * GB
    server: ServerSettings = ServerSettings()
    watch: tuple[WatchSettings, ...] | None = None
    targets: Mapping[str, TargetSettings] = Field(default_factory=dict)
    limits: LimitSettings = LimitSettings()
    lanes: LaneSettings = LaneSettings()
    log: LogSettings = LogSettings()
    identify: IdentifySettings = IdentifySettings()
    civitai: CivitaiSettings = CivitaiSettings()
    captioners: Mapping[str, Mapping[str, object]] = Field(default_factory=dict)


SECTIONS: Mapping[str, type[Section]] = {
    "server": ServerSettings,
    "watch": WatchSettings,
    "targets": TargetSettings,
    "limits": LimitSettings,
    "lanes": LaneSettings,
    "log": LogSettings,
    "identify": IdentifySettings,
    "civitai": CivitaiSettings,
}
TOP = (*Settings.model_fields, "pipelines")
SHOWN_DEFAULTS = {"data_dir": "the user's data folder"}  # where the default depends on the machine


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as the docs list it: its key, form, default and meaning."""

    key: str
    form: str
    default: str
    help: str

    def line(self) -> str:
        """The row as docs/config.md has it."""
        default = f"`{self.default}`" if self.default else ""
        return f"| `{self.key}` | {self.form} | {default} | {self.help} |"


def table() -> Iterator[Row]:
    """Every setting, in the order of the docs. A list's and a mapping's sections stand as watch[] and targets.NAME."""
    nested = {"watch": "watch[]", "targets": "targets.NAME", "captioners": ""}
    for name, field in Settings.model_fields.items():
        if name not in SECTIONS and name not in nested:
            yield _row(name, name, field)
    for section, model in SECTIONS.items():
        for name, field in model.model_fields.items():
            yield _row(name, f"{nested.get(section, section)}.{name}", field)
    yield Row("captioners.NAME.engine", ", ".join(ENGINES), "required", "who writes the captions")
    for name, field in COMMON.items():
        yield _row(name, f"captioners.NAME.{name}", field)
    own: dict[Row, list[str]] = {}  # what some engines have in common stands once
    for engine, model in ENGINES.items():
        for name, field in model.model_fields.items():
            if name not in COMMON:
                own.setdefault(_row(name, f"captioners.NAME.{name}", field), []).append(engine)
    for row, engines in own.items():
        yield Row(row.key, row.form, row.default, f"{row.help} (engine {', '.join(engines)})")


def _row(name: str, key: str, field: FieldInfo) -> Row:
    form = next(m for m in field.metadata if isinstance(m, Form))
    if field.is_required():
        shown = "required"
    elif isinstance(field.default, bool):
        shown = str(field.default).lower()
    elif form.show is not None:
        shown = form.show(field.default)
    else:
        shown = SHOWN_DEFAULTS.get(name, "" if field.default in (None, ()) else str(field.default))
    return Row(key, form.words, shown, field.description or "")
