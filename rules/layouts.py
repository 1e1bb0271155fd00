"""Which folder of which app takes which type of model; the data is in `tables/layouts.yaml`.

What must hold: a type or a suffix that an app cannot load has no place in it, and the reason says so; loading the table never
guesses, so a mistake in it raises ValueError where the tests see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath

from .document import Value, parse


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder below the app's own, and the suffixes (lower case, with dot) that are loaded from it."""

    path: PurePosixPath
    suffixes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Layout:
    """One app: a folder for each type it can load."""

    name: str
    folders: Mapping[str, Folder]

    def place(self, type: str, name: str, is_folder: bool = False) -> tuple[PurePosixPath | None, str]:
        """The folder for a model of this type and file name, or None and the reason. A folder model has no suffix to mind."""
        folder = self.folders.get(type)
        if folder is None:
            return None, f"{self.name} has no folder for {type}"
        suffix = Path(name).suffix.lower()
        if not is_folder and suffix not in folder.suffixes:
            return None, f"{self.name} loads no {suffix or 'file without suffix'} as {type}"
        return folder.path, ""


def load_layouts(text: str | None = None, source: str = "layouts.yaml") -> Mapping[str, Layout]:
    """The layouts by name, from the table of the package or from `text` in its form. Raises ValueError for a bad table."""
    if text is None:
        text = (files(__package__) / "tables" / "layouts.yaml").read_text("utf-8")
    document = parse(text, source)
    if document.problems or not isinstance(document.value, dict):
        raise ValueError("\n".join(map(str, document.problems)) or f"{source}: expected layouts by name")
    return {name: _layout(name, value) for name, value in document.value.items()}


def _layout(name: str, value: Value) -> Layout:
    if not isinstance(value, dict) or set(value) != {"suffixes", "folders"} or not isinstance(value["folders"], dict):
        raise ValueError(f"{name}: expected suffixes and folders")
    suffixes = _suffixes(name, value["suffixes"])
    return Layout(name, {kind: _folder(f"{name}.{kind}", item, suffixes) for kind, item in value["folders"].items()})


def _folder(where: str, value: Value, suffixes: frozenset[str]) -> Folder:
    if isinstance(value, str):
        value = {"folder": value}
    if not isinstance(value, dict) or not set(value) <= {"folder", "suffixes", "suffixes+"}:
        raise ValueError(f"{where}: expected a folder, or folder and suffixes")
    path = value.get("folder")
    if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{where}: expected a folder below the app's own")
    if "suffixes" in value:
        suffixes = _suffixes(where, value["suffixes"])
    if "suffixes+" in value:
        suffixes |= _suffixes(where, value["suffixes+"])
    return Folder(PurePosixPath(path), suffixes)


def _suffixes(where: str, value: Value) -> frozenset[str]:
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list of suffixes")
    made = frozenset(s for s in value if isinstance(s, str) and s.startswith(".") and s == s.lower())
    if len(made) != len(value):
        raise ValueError(f"{where}: expected lower-case suffixes with their dots")
    return made
