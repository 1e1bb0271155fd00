"""Reload: read the configuration anew, say what differs, and take it over in one step without dropping a job.

What must hold: the file is read and checked completely before anything changes; a bad file, or one that asks for what only a restart can
give (another data folder, hub, datasets or server), changes nothing, and its problems are kept as notices until a good one comes.
Jobs that run keep the actions they began with. No secret is in an answer.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import structlog

from ..api.ports import Reload
from ..rules.conditions import Group, Question
from ..rules.explain import shown
from ..rules.pipeline import Pipeline, Rule
from ..rules.terms import Target, Watch
from .config import AppAddress, Config, ConfigError, Secret, load
from .house import House
from .logs import HIDDEN, SECRET_KEY
from .meters import Meters

FIXED = ("data_dir", "hub", "datasets", "server")  # a running daemon is bound to these
Key = tuple[str, ...]
LONG = 80  # characters of a value that are told
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_log = structlog.get_logger()


class Reloader:
    """Reads the configuration anew whenever asked. `apply(new)` must take over a checked configuration; it may raise OSError."""

    def __init__(self, house: House, apply: Callable[[Config], Awaitable[None]], environ: Mapping[str, str]) -> None:
        self._house, self._apply, self._environ = house, apply, environ
        self._turn = asyncio.Lock()
        self.meters = Meters()
        self.problems: tuple[str, ...] = ()  # of the last one that was not taken

    async def reload(self) -> Reload:
        """Take over the present file. Problems and no changes when it was not taken."""
        async with self._turn:
            found = await self._reload()
            self.problems = found.problems
            self.meters.count("reloads_total", result="refused" if found.problems else "taken")
            if found.problems:
                _log.error("configuration not taken", problems=list(found.problems))
            else:
                _log.info("configuration taken", changes=list(found.changes))
            return found

    async def _reload(self) -> Reload:
        old = self._house.config
        try:
            new = await asyncio.to_thread(load, old.source, self._environ)
        except ConfigError as error:
            return Reload(problems=tuple(map(str, error.problems)))
        changes = differences(old, new)
        bound = tuple(f"{line}: needs a restart" for line in changes if re.split(r"[.:\[]", line)[0] in FIXED)
        if bound:
            return Reload(problems=bound)
        if changes:
            try:
                await self._apply(new)
            except OSError as error:  # a folder of ours that cannot be made, before anything was taken over
                return Reload(problems=(f"{error.filename}: {error.strerror}",))
        return Reload(changes=changes)

    def notices(self) -> tuple[str, ...]:
        """What a person should know: the file on disk is not what is in force."""
        return tuple(f"the configuration was not taken: {problem}" for problem in self.problems)


def effective(config: Config) -> dict[str, object]:
    """Every setting in force as plain values by name, lists by place; secrets are replaced."""
    shown: dict[str, object] = {"source": None if config.source is None else str(config.source)}
    shown |= {name: _plain(getattr(config, name), name) for name in ("data_dir", "hub", "datasets", "trash", "free_space")}
    shown |= {name: _plain(getattr(config, name), name) for name in ("server", "log", "limits", "lanes", "civitai")}
    shown["identify"] = _plain(config.bands, "identify")
    shown["watch"] = {w.name: _plain(w, "watch") for w in config.watches}
    shown["targets"] = {t.name: {**_target(t), **_app(config.apps.get(t.name))} for t in config.targets}
    shown["captioners"] = {c.name: {"engine": c.engine, **_options(c.options)} for c in config.captioners.values()}
    shown["pipelines"] = {p.name: [_rule(rule) for rule in p.rules] for p in config.pipelines.values()}
    return shown


def _target(target: Target) -> dict[str, object]:
    return {f.name: _plain(getattr(target, f.name), f.name) for f in fields(Target) if f.name != "map"} | {
        "map": dict(target.map)
    }


def _app(app: AppAddress | None) -> dict[str, object]:
    """Where an app is told of new files; nothing where it is not."""
    return {"url": app.url if app else None, "auth": HIDDEN if app and app.auth else None}


def differences(old: Config, new: Config) -> tuple[str, ...]:
    """What a reload from `old` to `new` changes, a line each: `key: before -> after`. Empty when they mean the same."""
    before, after = dict(_flat((), effective(old))), dict(_flat((), effective(new)))
    lines = [*_secret_changes(old, new)]
    lines += [f"{name}: removed" for name in _only_in(before, after)]
    lines += [f"{name}: added" for name in _only_in(after, before)]
    both = [key for key in before if key in after and before[key] != after[key]]
    for key in both:
        lines += _told(_named(key), before[key], after[key])
    told = {key[1] for key in before.keys() ^ after.keys() if key[0] == "pipelines"} | {k[1] for k in both if k[0] == "pipelines"}
    for name, pipeline in new.pipelines.items():  # a rule may differ in what its text does not show
        if name in old.pipelines and old.pipelines[name] != pipeline and name not in told:
            lines.append(f"pipelines.{name}: changed")
    return tuple(lines)


def same_ears(old: Watch, new: Watch) -> bool:
    """Whether two watches hear and settle alike, so that only deciding and rescans differ."""
    return all(getattr(old, f.name) == getattr(new, f.name) for f in fields(Watch) if f.name not in ("pipeline", "rescan"))


def _secret_changes(old: Config, new: Config) -> Iterator[str]:
    """Secrets look alike once they are hidden."""
    if old.server.api_key != new.server.api_key:
        yield "server.api_key: changed"
    if old.civitai.token != new.civitai.token and bool(old.civitai.token) is bool(new.civitai.token):
        yield "civitai.token: changed"
    for name, app in new.apps.items():
        known = old.apps.get(name)
        if known is not None and known.auth != app.auth and bool(known.auth) is bool(app.auth):
            yield f"targets.{name}.auth: changed"
    for name, captioner in new.captioners.items():
        was = old.captioners.get(name)
        if was is not None and was != captioner and _options(was.options) == _options(captioner.options):
            yield f"captioners.{name}: changed"


def _flat(at: Key, value: object) -> Iterator[tuple[Key, object]]:
    """Key -> value of every setting; a rule is one value, under its name, and the order of a pipeline's rules another."""
    if isinstance(value, dict) and value and at[:1] != ("pipelines",):
        for key, item in value.items():
            yield from _flat((*at, str(key)), item)
    elif isinstance(value, dict) and len(at) == 1:
        for key, rules in value.items():
            yield (*at, key), [rule["name"] for rule in rules]
            yield from (((*at, key, rule["name"]), rule) for rule in rules)
    else:
        yield at, value


def _only_in(one: Mapping[Key, object], other: Mapping[Key, object]) -> list[str]:
    """The names of what only one has; a whole watch, target, captioner or pipeline is one name."""
    heads = {key[:2] for key in other}
    return list(dict.fromkeys(_named(key if key[:2] in heads else key[:2]) for key in one if key not in other))


def _named(key: Key) -> str:
    return f"pipelines.{key[1]}[{key[2]}]" if key[0] == "pipelines" and len(key) > 2 else ".".join(key)


def _plain(value: object, name: str) -> object:
    """A value of the configuration as JSON has it."""
    if isinstance(value, Secret) or (value and SECRET_KEY.search(name)):
        return HIDDEN
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name), f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item, str(key)) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item, name) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str):
        return _USER_INFO.sub(HIDDEN, str(value))
    return value if isinstance(value, (int, float)) or value is None else str(value)


def _options(options: Mapping[str, object]) -> dict[str, object]:
    return {name: _plain(value, name) for name, value in options.items()}


def rules_of(pipeline: Pipeline) -> list[dict[str, object]]:
    """What the rules of a pipeline say, as plain values; the same for every text that means the same."""
    return [_rule(rule) for rule in pipeline.rules]


def _rule(rule: Rule) -> dict[str, object]:
    """A rule as `explain --trace` would word it."""
    do = [{action.verb: _options(shown(action))} if action.params else action.verb for action in rule.do]
    return {"name": rule.name, "when": [_asked(q) for q in rule.when], "do": do, "continue": rule.go_on, "enabled": rule.enabled}


def _asked(question: Question | Group) -> object:
    if isinstance(question, Group):
        return {question.key: [_asked(part) for part in question.parts]}
    return {question.key: question.expected}


def _told(name: str, before: object, after: object) -> Iterator[str]:
    """How a value changed; of a rule only the parts that did."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            if before.get(key) != after.get(key):
                yield from _told(f"{name}.{key}", before.get(key), after.get(key))
        return
    old, new = _text(before), _text(after)
    start = next((n for n, pair in enumerate(zip(old, new, strict=False)) if len(set(pair)) > 1), 0) - 30
    if start > 0 and max(len(old), len(new)) > LONG:  # what differs must be seen
        old, new = f"…{old[start:]}", f"…{new[start:]}"
    yield f"{name}: {_short(old)} -> {_short(new)}"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[: LONG - 3]}…"
