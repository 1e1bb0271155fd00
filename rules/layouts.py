"""Which folder of which app takes which type of model; the data is in `tables/layouts.yaml`, or a target's own `map`.

What must hold: a type, a base or a suffix that an app cannot load has no place in it, and the reason says so; no folder ever lies
outside of the app's own; loading the table never guesses, so a mistake in it raises ValueError where the tests see it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import takewhile
from pathlib import Path, PurePosixPath

from .document import Value, parse
from .terms import Target

CUSTOM = "custom"  # the layout that has only the folders of its target's `map`
BASE = "{base}"  # the one placeholder of a folder
ANY_SUFFIX = frozenset({".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".onnx"})


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder below the app's own, and the suffixes (lower case, with dot) that are loaded from it.

    `path` may hold `{base}`. With `bases` it becomes what stands there for `base/variant` or `base`, and other bases have no
    place; without, it becomes the base's own name.
    """

    path: PurePosixPath
    suffixes: frozenset[str]
    bases: Mapping[str, str] | None = None

    @property
    def scope(self) -> PurePosixPath:
        """The folder within which names must differ: an app that sorts by base still lists all of it as one."""
        return PurePosixPath(*takewhile(lambda part: BASE not in part, self.path.parts))

    def of(self, base: str, variant: str | None) -> PurePosixPath | None:
        """The folder for a base; None when there is none."""
        text = str(self.path)
        if BASE not in text:
            return self.path
        word = _plain(base) if self.bases is None else self.bases.get(f"{base}/{variant}") or self.bases.get(base)
        return PurePosixPath(text.replace(BASE, word)) if word else None


def _plain(base: str) -> str:
    """A base as one folder's name: a GGUF file names its own, so it is not trusted to be one."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", base).strip(".-") or "unknown"


@dataclass(frozen=True, slots=True)
class Layout:
    """One app: a folder for each type it can load. `refresh` says how it is told of new files ("": it cannot be)."""

    name: str
    folders: Mapping[str, Folder]
    refresh: str = ""

    def place(
        self, type: str, name: str, is_folder: bool = False, base: str = "unknown", variant: str | None = None
    ) -> tuple[PurePosixPath | None, str]:
        """The folder for a model of this type, base and file name, or None and the reason. A folder model has no suffix to mind."""
        folder = self.folders.get(type)
        if folder is None:
            return None, f"{self.name} has no folder for {type}"
        suffix = Path(name).suffix.lower()
        if not is_folder and suffix not in folder.suffixes:
            return None, f"{self.name} loads no {suffix or 'file without suffix'} as {type}"
        path = folder.of(base, variant)
        return path, "" if path is not None else f"{self.name} has no {type} folder for {base}"

    def scope(self, type: str) -> PurePosixPath:
        """The folder within which the names of this type must differ. Raises KeyError for a type without a folder."""
        return self.folders[type].scope

    def roots(self) -> frozenset[PurePosixPath]:
        """Every folder that models are put below."""
        return frozenset(folder.scope for folder in self.folders.values())


def layout_of(target: Target, layouts: Mapping[str, Layout]) -> Layout:
    """The layout of a target, with its own `map` over it. Raises KeyError for an unknown layout, ValueError for a bad map."""
    layout = Layout(CUSTOM, {}) if target.layout == CUSTOM else layouts[target.layout]
    if not target.map:
        return layout
    own = {}
    for kind, path in target.map:
        suffixes = layout.folders[kind].suffixes if kind in layout.folders else ANY_SUFFIX
        own[kind] = Folder(folder_path(path), suffixes)
    return replace(layout, folders={**layout.folders, **own})


def folder_path(text: str) -> PurePosixPath:
    """A folder below the app's own, as it is written in a table or a `map`. Raises ValueError with a sentence for the person."""
    path = PurePosixPath(text)
    if not text.strip() or path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text or "\0" in text:
        raise ValueError("expected a folder below the app's own, like loras/{base}")
    if "{" in text.replace(BASE, "") or "}" in text.replace(BASE, ""):
        raise ValueError("the one placeholder here is {base}")
    return path


@cache
def built_in_layouts() -> Mapping[str, Layout]:
    """The layouts of the package's table, read once."""
    return load_layouts()


def load_layouts(text: str | None = None, source: str = "layouts.yaml") -> Mapping[str, Layout]:
    """The layouts by name, from the table of the package or from `text` in its form. Raises ValueError for a bad table."""
    if text is None:
        text = (files(__package__) / "tables" / "layouts.yaml").read_text("utf-8")
    document = parse(text, source)
    if document.problems or not isinstance(document.value, dict):
        raise ValueError("\n".join(map(str, document.problems)) or f"{source}: expected layouts by name")
    return {name: _layout(name, value) for name, value in document.value.items()}


def _layout(name: str, value: Value) -> Layout:
    if not isinstance(value, dict) or not {"suffixes", "folders"} <= set(value) <= {"suffixes", "folders", "refresh"}:
        raise ValueError(f"{name}: expected suffixes and folders")
    folders, refresh = value["folders"], value.get("refresh", "")
    if not isinstance(folders, dict) or not isinstance(refresh, str):
        raise ValueError(f"{name}: expected suffixes and folders")
    suffixes = _suffixes(name, value["suffixes"])
    return Layout(name, {kind: _folder(f"{name}.{kind}", item, suffixes) for kind, item in folders.items()}, refresh)


def _folder(where: str, value: Value, suffixes: frozenset[str]) -> Folder:
    if isinstance(value, str):
        value = {"folder": value}
    if not isinstance(value, dict) or not set(value) <= {"folder", "suffixes", "suffixes+", "bases"}:
        raise ValueError(f"{where}: expected a folder, or folder and suffixes")
    text, bases = value.get("folder"), value.get("bases")
    if not isinstance(text, str):
        raise ValueError(f"{where}: expected a folder below the app's own")
    if "suffixes" in value:
        suffixes = _suffixes(where, value["suffixes"])
    if "suffixes+" in value:
        suffixes |= _suffixes(where, value["suffixes+"])
    return Folder(folder_path(text), suffixes, None if bases is None else _bases(where, bases))


def _bases(where: str, value: Value) -> Mapping[str, str]:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{where}: expected bases with their folders' names")
    made = {str(base): word for base, word in value.items() if isinstance(word, str) and word == _plain(word)}
    if len(made) != len(value):
        raise ValueError(f"{where}: expected plain names of folders")
    return made


def _suffixes(where: str, value: Value) -> frozenset[str]:
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list of suffixes")
    made = frozenset(s for s in value if isinstance(s, str) and s.startswith(".") and s == s.lower())
    if len(made) != len(value):
        raise ValueError(f"{where}: expected lower-case suffixes with their dots")
    return made
