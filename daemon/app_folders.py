"""App folders: which app a folder is, told by the app's own files and never by the folder's name; and where apps usually lie.

What must hold: looking costs a few stats a folder and a bounded number of folders; nothing is opened or changed; one app that is
reached by two paths is found once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# layout -> files and folders of the app's own checkout that must all be there; the first layout that fits is it, so Forge, which
# is built on A1111, stands before it. Sources: the checkouts of Comfy-Org/ComfyUI, lllyasviel/stable-diffusion-webui-forge,
# lllyasviel/Fooocus, AUTOMATIC1111/stable-diffusion-webui, mcmonkeyprojects/SwarmUI, ostris/ai-toolkit, deepbeepmeep/Wan2GP.
SIGNS: Mapping[str, tuple[str, ...]] = {
    "comfyui": ("folder_paths.py", "nodes.py", "comfy"),
    "forge": ("webui.py", "modules_forge"),
    "fooocus": ("webui.py", "fooocus_version.py"),
    "a1111": ("webui.py", "modules/sd_models.py"),
    "swarmui": ("SwarmUI.sln", "src/Text2Image"),
    "ai-toolkit": ("run.py", "toolkit", "extensions_built_in"),
    "wan2gp": ("wgp.py",),
}
MODELS: Mapping[str, str] = {  # below the app's folder: where its models lie, for those that have such a place
    "comfyui": "models",
    "forge": "models",
    "fooocus": "models",
    "a1111": "models",
    "swarmui": "Models",
}
NAMES: Mapping[str, str] = {
    "comfyui": "ComfyUI",
    "forge": "Forge",
    "fooocus": "Fooocus",
    "a1111": "A1111",
    "swarmui": "SwarmUI",
    "ai-toolkit": "AI Toolkit",
    "wan2gp": "Wan2GP",
}
DEPTH = 2  # folders below a usual place that are looked at
MOST = 3000  # folders that are looked at in all
PLACES = ("/workspace", "/opt", "/srv", "/mnt", "/data")
HOME_PLACES = ("", "StabilityMatrix/Packages", "pinokio/api", "Documents")
_SKIPPED = frozenset(("node_modules", "venv", "site-packages", "snap", "proc", "sys", "Library"))


@dataclass(frozen=True, slots=True)
class AppFolder:
    """An app that was found: its layout and its own folder."""

    layout: str
    path: Path

    @property
    def name(self) -> str:
        """As people write it."""
        return NAMES[self.layout]

    @property
    def models(self) -> Path | None:
        """Where its models lie, when that is one place and there."""
        place = self.path / MODELS[self.layout] if self.layout in MODELS else None
        return place if place is not None and place.is_dir() else None


def recognise(folder: Path) -> str | None:
    """The layout of the app whose folder this is, or None."""
    return next((name for name, signs in SIGNS.items() if all((folder / sign).exists() for sign in signs)), None)


def usual_places(home: Path, cwd: Path) -> tuple[Path, ...]:
    """Where people put apps: their home, rented machines' volumes, and beside where they are now."""
    places = [home / name if name else home for name in HOME_PLACES] + [Path(place) for place in PLACES]
    return tuple(dict.fromkeys((*places, cwd, cwd.parent)))


def find_apps(places: Iterable[Path], depth: int = DEPTH) -> tuple[AppFolder, ...]:
    """The apps in and below some places, in the order of SIGNS. An app in an app (SwarmUI brings a ComfyUI) is found too."""
    found: dict[str, AppFolder] = {}
    seen: set[str] = set()
    for folder in _folders(places, depth, seen):
        layout = recognise(folder)
        if layout is not None:
            found.setdefault(os.path.realpath(folder), AppFolder(layout, folder))
    order = list(SIGNS)
    return tuple(sorted(found.values(), key=lambda app: (order.index(app.layout), app.path)))


def _folders(places: Iterable[Path], depth: int, seen: set[str]) -> Iterator[Path]:
    """Folders, nearest first; each once, however it is reached."""
    level = [place for place in places if place.is_dir()]
    for left in range(depth, -1, -1):
        below: list[Path] = []
        for folder in level:
            real = os.path.realpath(folder)
            if real in seen or len(seen) >= MOST:
                continue
            seen.add(real)
            yield folder
            if left:
                below += _inside(folder)
        level = below


def _inside(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".") and e.name not in _SKIPPED)
    except OSError:
        return []
    return [folder / name for name in names]
