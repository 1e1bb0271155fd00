"""From a YAML file to Config: read, expand, check everything, report every mistake at once.

What must hold: a Config that comes out is consistent (names exist, folders do not swallow each other, nothing listens beyond
loopback without a key), and a ConfigError names each mistake with file, line, column and key, and never a secret's value.
Values, never keys, may hold `${NAME}` and `${NAME:-default}`, expanded after parsing so that no variable can add structure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import platformdirs
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..handlers.task import UnpackLimits
from ..rules.confidence import Bands
from ..rules.document import Document, Problem, Value, Where, describe, nearest, parse
from ..rules.grammar import Context, read_pipelines
from ..rules.pipeline import Pipeline
from ..rules.terms import Lane, Mode, Param, Target, Watch
from .config_check import check_civitai, check_folders, check_pipelines, check_server, check_watches
from .engines import ENGINES
from .forms import Around, NotText, Wrong
from .settings import SECTIONS, TOP, CivitaiSettings, Settings, WatchSettings

DEFAULT_BANDS = Bands()
CONFIG_VARIABLE = "DROPDOCK_CONFIG"
SECRETS = ("api_key", "auth", "token")  # settings whose value is never shown


class Secret:
    """A text that never shows itself: not in a log, a traceback or an answer."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for comparing."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the API listens. `api_key` None is possible on loopback only."""

    host: str
    port: int
    api_key: Secret | None
    allowed_hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AppAddress:
    """Where the app of a target listens, and what it asks for, if anything."""

    url: str
    auth: Secret | None = None


@dataclass(frozen=True, slots=True)
class CivitaiConfig:
    """Whether and how CivitAI is asked. Times are seconds."""

    enabled: bool = False
    url: str = "https://civitai.com"
    token: Secret | None = None
    batch: int = 100  # contents of one request
    timeout: float = 20.0  # of one request
    remember: float = 30 * 86_400.0  # an answer stands so long
    remember_unknown: float = 7 * 86_400.0  # and so long that there is none


@dataclass(frozen=True, slots=True)
class Log:
    """What the daemon says: its form (auto, console, json) and the least level."""

    format: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class CaptionerConfig:
    """A captioner by name: its engine and the engine's options."""

    name: str
    engine: str
    options: Mapping[str, Param] = field(repr=False)  # a key may be among them


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the daemon is told. Paths are absolute; times are seconds, sizes bytes."""

    data_dir: Path
    hub: Path
    datasets: Path
    server: Server
    watches: tuple[Watch, ...]
    pipelines: Mapping[str, Pipeline]
    captioners: Mapping[str, CaptionerConfig]
    targets: tuple[Target, ...]
    trash: float  # seconds that trash and quarantine are kept
    limits: UnpackLimits
    free_space: int  # bytes that stay free on every disk
    lanes: Mapping[Lane, int]
    source: Path | None  # None: no file, everything is a default
    log: Log = field(default_factory=Log)
    apps: Mapping[str, AppAddress] = field(default_factory=dict)  # by target: those that are told of new files
    civitai: CivitaiConfig = field(default_factory=CivitaiConfig)
    bands: Bands = field(default_factory=Bands)  # the words for how sure the answer about a model is


class ConfigError(Exception):
    """Every mistake of a configuration; printed one a line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def default_path(environ: Mapping[str, str]) -> Path:
    """Where the configuration is looked for when none is named: $DROPDOCK_CONFIG, else the user's configuration folder."""
    named = environ.get(CONFIG_VARIABLE)
    return Path(named) if named else platformdirs.user_config_path("dropdock", appauthor=False) / "config.yaml"


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of a file, or of the default place, or the defaults where there is no file.

    A file that was named (by `path` or $DROPDOCK_CONFIG) must exist. Raises ConfigError with every mistake.
    """
    named = path is not None or CONFIG_VARIABLE in environ
    source = (path or default_path(environ)).absolute()
    text = ""
    try:
        text = source.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        if named:
            raise ConfigError((Problem(str(source), 0, 0, "", "there is no such file"),)) from None
        return read("", None, environ)
    except OSError as error:
        raise ConfigError((Problem(str(source), 0, 0, "", f"cannot be read: {error.strerror}"),)) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError((Problem(str(source), line, 1, "", "is not UTF-8 text"),)) from None
    return read(text, source, environ)


def read(text: str, source: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of a text. Relative paths are below the folder of `source`. Raises ConfigError with every mistake."""
    document = parse(text, str(source or "configuration"))
    if document.value is None and document.problems:
        raise ConfigError(document.problems)
    return _Loader(document, source, environ).load()


class _Loader:
    """Reads one document; problems are gathered on the way and raised together at the end."""

    def __init__(self, document: Document, source: Path | None, environ: Mapping[str, str]) -> None:
        self.document, self.source, self.environ = document, source, environ
        self.problems: list[Problem] = list(document.problems)
        self.unfilled: list[Problem] = []
        home = Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
        self.around = Around(home, source.parent if source else Path.cwd())

    def wrong(self, where: Where, message: str, value: str = "", mend: str = "", at_key: bool = False) -> None:
        if where and where[-1] in SECRETS:  # whatever stands there, it may be a key
            value = ""
        self.problems.append(self.document.problem(where, message, value=value, mend=mend, at_key=at_key))

    def load(self) -> Config:
        value = self.expand((), self.document.value)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            self.wrong((), "expected settings by name", describe(value))
            raise ConfigError(self.ordered())
        pipelines_value = value.pop("pipelines", None)
        value = {key: item for key, item in value.items() if item is not None}  # `watch:` alone is as good as not written
        settings = self.settings(value)
        captioners = self.captioners(value.get("captioners"))
        bands = DEFAULT_BANDS if settings is None else Bands(settings.identify.sure, settings.identify.probable)
        pipelines = self.pipelines(pipelines_value, captioners, value.get("targets"), bands)
        if settings is None:
            raise ConfigError(self.ordered())
        config = self.build(settings, captioners, pipelines)
        self.check(config, 0 if settings.watch is None else len(settings.watch))
        if self.problems or self.unfilled:
            raise ConfigError(self.ordered())
        return config

    def ordered(self) -> tuple[Problem, ...]:
        """Every problem by its place; a value that could not be filled is not complained about again for what it became."""
        known = {problem.key for problem in self.unfilled}
        found = [*self.unfilled, *(p for p in self.problems if p.key not in known)]
        return tuple(sorted(found, key=lambda p: (p.line, p.column)))

    # ------------------------------------------------------------ reading

    def expand(self, where: Where, value: Value) -> Value:
        """The value with `${NAME}` and `${NAME:-default}` filled in every text; `$${` stands for `${` itself."""
        if isinstance(value, dict):
            return {key: self.expand((*where, key), item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.expand((*where, i), item) for i, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value

        def one(found: re.Match[str]) -> str:
            if found[0] == "$$":
                return "$"
            name, default = found[1], found[2]
            if name is None or "${" in (default or ""):
                message = "expected ${NAME} or ${NAME:-default}, or $${ for the signs themselves"
                self.unfilled.append(self.document.problem(where, message))
            elif self.environ.get(name) or (name in self.environ and default is None):
                return self.environ[name]
            elif default is None:
                message = f"the variable {name} is not set: set it, or give a default, ${{{name}:-…}}"
                self.unfilled.append(self.document.problem(where, message))
            return default or ""

        return re.sub(r"\$\$(?=\{)|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?", one, value)

    def settings(self, value: dict[str, Value]) -> Settings | None:
        try:
            return Settings.model_validate(value, context=self.around)
        except ValidationError as error:
            for detail in error.errors():
                self.refused(detail, ())
            return None

    def refused(self, detail: ErrorDetails, prefix: Where) -> None:
        """One of pydantic's complaints in our words."""
        where: Where = (*prefix, *detail["loc"])
        kind, context = detail["type"], detail.get("ctx", {})
        cause = context.get("error")
        value = describe(detail["input"])
        if isinstance(cause, NotText) and where[-1] not in SECRETS:
            self.problems.append(self.document.not_text(where, detail["input"]))
        elif isinstance(cause, Wrong):
            self.wrong(where, cause.message, cause.value, cause.mend)
        elif kind == "extra_forbidden":
            known = self.keys_at(where)
            self.wrong(where, "unknown setting", mend=nearest(str(where[-1]), known), at_key=True)
        elif kind == "missing":
            self.wrong(where[:-1], f"expected `{where[-1]}`")
        elif kind in ("greater_than", "greater_than_equal", "less_than_equal"):
            words = {"greater_than": "more than", "greater_than_equal": "at least", "less_than_equal": "at most"}
            bound = next(iter(context.values()), "")
            self.wrong(where, f"expected {words[kind]} {bound}", value)
        elif kind in ("tuple_type", "list_type"):
            self.wrong(where, "expected a list", value)
        else:
            self.wrong(where, "expected settings by name", value)

    def keys_at(self, where: Where) -> tuple[str, ...]:
        """The keys that are known where an unknown one stands."""
        if len(where) == 1:
            return tuple(TOP)
        if where[0] == "captioners":
            return ("engine", *(name for model in ENGINES.values() for name in model.model_fields))
        section = SECTIONS.get(str(where[0]))
        return tuple(section.model_fields) if section else ()

    def captioners(self, value: Value) -> dict[str, CaptionerConfig]:
        """The captioners by name; `basic` is always there."""
        found = {"basic": CaptionerConfig("basic", "basic", ENGINES["basic"]().model_dump())}
        if isinstance(value, dict):
            for name, item in value.items():
                if isinstance(item, dict):  # of another shape: said already
                    found[name] = self.captioner(("captioners", name), name, item)
        return found

    def captioner(self, where: Where, name: str, value: dict[str, Value]) -> CaptionerConfig:
        engine = value.get("engine")
        given = {key: item for key, item in value.items() if key != "engine"}
        options: dict[str, Param] = {}
        if not isinstance(engine, str):
            message = f"expected `engine`: one of {', '.join(ENGINES)}"
            self.wrong((*where, "engine") if "engine" in value else where, message, describe(engine) if engine else "")
        elif engine not in ENGINES:
            near = nearest(engine, ENGINES)
            self.wrong((*where, "engine"), f"expected one of {', '.join(ENGINES)}", describe(engine), near)
        else:
            try:
                options = ENGINES[engine].model_validate(given, context=self.around).model_dump()
            except ValidationError as error:
                for detail in error.errors():
                    self.refused(detail, where)
        return CaptionerConfig(name, str(engine), options)

    def pipelines(self, value: Value, captioners: Mapping[str, object], targets: Value, bands: Bands) -> dict[str, Pipeline]:
        """The built-in pipelines, each replaced by the written one of its name, and the others that are written."""
        names = {"captioners": tuple(captioners), "targets": tuple(targets) if isinstance(targets, dict) else ()}
        context = Context(names, self.around.home.as_posix(), bands)
        written, problems = read_pipelines(self.document, ("pipelines",), value, context)
        self.problems += problems
        return {**built_in_pipelines(bands), **written}

    # ------------------------------------------------------------ building

    def build(self, settings: Settings, captioners: Mapping[str, CaptionerConfig], pipelines: Mapping[str, Pipeline]) -> Config:
        s, server = settings, settings.server
        hub, datasets = (self.at_home(path) for path in (s.hub, s.datasets))
        watches = _named(s.watch) if s.watch is not None else (self.default_inbox(),)
        if not any(w.mode is Mode.DATASET and datasets.is_relative_to(w.path) for w in watches):
            watches = (*watches, Watch(_free("datasets", {w.name for w in watches}), datasets, Mode.DATASET))
        return Config(
            data_dir=s.data_dir or platformdirs.user_data_path("dropdock", appauthor=False),
            hub=hub,
            datasets=datasets,
            server=Server(server.host, server.port, Secret(server.api_key) if server.api_key else None, server.allowed_hosts),
            watches=watches,
            pipelines=pipelines,
            captioners={name: _with_hub(captioner, hub) for name, captioner in captioners.items()},
            targets=tuple(Target(name, t.layout, t.path, t.enabled, t.relative, t.map) for name, t in s.targets.items()),
            apps={n: AppAddress(t.url, Secret(t.auth) if t.auth else None) for n, t in s.targets.items() if t.url},
            trash=s.trash,
            limits=UnpackLimits(**s.limits.model_dump()),
            free_space=s.free_space,
            lanes={Lane(name): count for name, count in s.lanes.model_dump().items()},
            source=self.source,
            log=Log(s.log.format, s.log.level),
            civitai=_civitai(s.civitai),
            bands=Bands(s.identify.sure, s.identify.probable),
        )

    def check(self, config: Config, written: int) -> None:
        """Does it fit together? The first `written` watches stand in the document, the others are implied."""
        watches = config.watches[:written]
        own = {"hub": config.hub, "datasets": config.datasets, "data_dir": config.data_dir}
        self.problems += check_server(self.document, config.server.host, config.server.api_key is not None)
        self.problems += check_civitai(self.document, config.civitai.url, config.civitai.token is not None)
        self.problems += check_pipelines(self.document, watches, config.pipelines)
        self.problems += check_watches(self.document, watches)
        self.problems += check_folders(self.document, own, watches or config.watches[:1], config.targets)

    def at_home(self, path: Path) -> Path:
        """A default of the table, which is written with `~`."""
        return self.around.home.joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path

    def default_inbox(self) -> Watch:
        return Watch("inbox", self.around.home / "dropdock" / "inbox", Mode.INBOX, "inbox")


def built_in_pipelines(bands: Bands = DEFAULT_BANDS) -> dict[str, Pipeline]:
    """The pipelines of somebody who wrote none (rules/tables/pipelines.yaml)."""
    document = parse((files("dropdock.rules") / "tables" / "pipelines.yaml").read_text("utf-8"), "pipelines.yaml")
    found, problems = read_pipelines(document, (), document.value, Context({"captioners": ("basic",)}, bands=bands))
    assert not document.problems and not problems, "the package's own table is broken"
    return found


def _civitai(s: CivitaiSettings) -> CivitaiConfig:
    plain = s.model_dump(exclude={"url", "token"})
    return CivitaiConfig(url=s.url or CivitaiConfig().url, token=Secret(s.token.strip()) if s.token else None, **plain)


def _named(watches: tuple[WatchSettings, ...]) -> tuple[Watch, ...]:
    """Watches with their names: the given one, else the folder's own, made unique."""
    taken = {w.name for w in watches if w.name}
    made = []
    for w in watches:
        name = w.name or _free(w.path.name or "root", taken)
        taken.add(name)
        pipeline = w.pipeline or (None if w.mode is Mode.DATASET else str(w.mode))
        rest = (w.settle, w.patience, w.ignore, w.max_depth, w.enabled, w.poll, w.rescan)
        made.append(Watch(name, w.path, w.mode, pipeline, *rest))
    return tuple(made)


def _with_hub(captioner: CaptionerConfig, hub: Path) -> CaptionerConfig:
    """A captioner whose model may be named as the hub has it is told where the hub is."""
    if captioner.engine != "llama":
        return captioner
    return replace(captioner, options={**captioner.options, "hub": str(hub)})


def _free(name: str, taken: set[str]) -> str:
    names = (name if n == 1 else f"{name}-{n}" for n in range(1, len(taken) + 2))
    return next(n for n in names if n not in taken)
