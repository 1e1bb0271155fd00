"""The first configuration: from a person's answers to a commented YAML file that `dropdock check` accepts.

What must hold: whatever a folder is called, the text reads back as exactly these answers (no name can add structure or a variable); a
file that is there is never written over; nothing else is touched.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .app_folders import AppFolder

HEAD = """\
# The configuration of dropdock, written by `dropdock init`. Everything in it may be changed; what is left out has its default.
# `dropdock check` reads it and names every mistake, `dropdock reload` lets a running daemon take it over. All settings:
# config.example.yaml and docs/config.md; the rules: docs/rules.md.

"""
SERVER = """
server:
  host: 127.0.0.1 # only this machine; anything else needs a key:
  port: 8484
  # api_key: ${DROPDOCK_API_KEY}
"""
TAIL = """
# The built-in rules take ZIPs of pictures and single pictures into datasets, caption them, keep models and link them into the targets;
# a library is only reported. To change that, write pipelines here: config.example.yaml shows the built-in ones.
# pipelines:
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a first configuration says. Paths are absolute."""

    inbox: Path
    hub: Path
    datasets: Path
    apps: tuple[AppFolder, ...] = ()
    libraries: tuple[Path, ...] = ()


def default_base(home: Path, apps: Sequence[AppFolder]) -> Path:
    """Where our folders go unless told otherwise: `dropdock` in the home, or beside the first app when that is another disk.

    On one disk a dropped model is renamed into the hub; on rented machines only the disk with the apps survives.
    """
    if apps and _disk(apps[0].path) != _disk(home):
        return apps[0].path.parent / "dropdock"
    return home / "dropdock"


def defaults(home: Path, apps: Sequence[AppFolder]) -> Answers:
    """The answers of somebody who says yes to everything: every app a target, and its models tracked where they lie."""
    base = default_base(home, apps)
    libraries = tuple(app.models for app in apps if app.models is not None)
    return Answers(base / "inbox", base / "hub", base / "datasets", tuple(apps), outermost(libraries))


def outermost(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Folders without those that are, or lie in, another of them: no watch may lie in another one."""
    real = {folder: Path(os.path.realpath(folder)) for folder in folders}
    kept: list[Path] = []
    for folder in sorted(real, key=lambda f: len(real[f].parts)):
        if not any(real[folder].is_relative_to(real[other]) for other in kept):
            kept.append(folder)
    return tuple(folder for folder in folders if folder in kept)


def config_text(answers: Answers, home: Path) -> str:
    """The file's text."""
    lines = [HEAD]
    lines.append(f"hub: {_path(answers.hub, home)} # every model once, by its SHA-256; the apps get links\n")
    lines.append(f"datasets: {_path(answers.datasets, home)} # a folder each\n")
    lines.append(SERVER)
    lines.append("\nwatch:\n")
    lines.append(f"  - path: {_path(answers.inbox, home)}\n    mode: inbox # what is dropped here is taken in\n    name: inbox\n")
    names = _names(answers.apps)
    for folder in answers.libraries:
        called = next((f"    name: {name}\n" for name, app in names if app.models == folder), "")
        lines.append(f"  - path: {_path(folder, home)}\n    mode: library # tracked where it lies; nothing is moved\n{called}")
    lines.append(_targets(names, home))
    lines.append(TAIL)
    return "".join(lines)


def write(path: Path, text: str) -> None:
    """Write a new file, readable by its owner alone: a key may come to stand in it. Raises FileExistsError for one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _names(apps: Sequence[AppFolder]) -> list[tuple[str, AppFolder]]:
    """Each app with its name as a target: its layout, numbered from the second on."""
    counts: dict[str, int] = {}
    named = []
    for app in apps:
        counts[app.layout] = number = counts.get(app.layout, 0) + 1
        named.append((app.layout if number == 1 else f"{app.layout}-{number}", app))
    return named


def _targets(apps: Sequence[tuple[str, AppFolder]], home: Path) -> str:
    if not apps:
        return "\n# targets: # apps that want files\n#   comfyui: {layout: comfyui, path: ~/ComfyUI}\n"
    lines = ["\ntargets: # each app gets links to the models it can use\n"]
    lines += [f"  {name}:\n    layout: {app.layout}\n    path: {_path(app.path, home)}\n" for name, app in apps]
    return "".join(lines)


def _path(path: Path, home: Path) -> str:
    """A path as YAML has it, in quotes where it is not plain; below the home with `~`, and `${` as the loader wants it."""
    shown = f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) and path != home else str(path)
    plain = shown.isascii() and all(c.isalnum() or c in "/._-" for c in shown.removeprefix("~"))
    return shown if plain and shown[:1] in "/~" else '"' + "".join(map(_quoted, shown.replace("${", "$${"))) + '"'


def _quoted(c: str) -> str:
    """One character within double quotes (YAML 1.1, 5.7). JSON's escapes would not do: it writes pairs of surrogates."""
    if c.isprintable() and c not in '"\\':
        return c
    return f"\\x{ord(c):02x}" if ord(c) < 0x100 else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


def _disk(path: Path) -> int:
    here = next(p for p in (path, *path.parents) if p.exists())
    return here.stat().st_dev
