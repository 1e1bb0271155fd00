"""The demo's scratch home: its configuration, three apps' folders, and the files that are dropped, each with what should become of it.

What must hold: nothing outside the home is written; what is expected is said here once, and demo_checks.py holds the world against it.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from ..rules.terms import End
from . import samples

CONFIG = """\
# The demo's home: everything is below the folder of this file.
data_dir: data
hub: hub
datasets: datasets
free_space: 50 MB
server: {port: 0} # any free one

watch:
  - {path: inbox, mode: inbox}

targets:
  comfyui: {layout: comfyui, path: apps/ComfyUI}
  forge: {layout: forge, path: apps/stable-diffusion-webui-forge}
  ai-toolkit: {layout: ai-toolkit, path: apps/ai-toolkit}
"""
APPS = {"comfyui": "ComfyUI", "forge": "stable-diffusion-webui-forge", "ai-toolkit": "ai-toolkit"}
# Folders as each app's own checkout has them; type -> folder.
PLACES = {
    "comfyui": {"lora": "models/loras", "checkpoint": "models/checkpoints", "vae": "models/vae"},
    "forge": {"lora": "models/Lora", "checkpoint": "models/Stable-diffusion", "vae": "models/VAE"},
    "ai-toolkit": {"lora": "models/loras", "checkpoint": "models/checkpoints", "vae": "models/vae"},
}
OWN_FILE = "put_it_here.txt"  # a user's own file in each of these folders, that nobody may touch
DATASET = "red fox"
BIG = 64 << 20  # bytes; larger files are moved into the inbox, since a copy would fill their holes


@dataclass(frozen=True, slots=True)
class Drop:
    """One dropped file and what should become of it."""

    name: str
    end: End
    type: str = ""  # of a model that is linked
    base: str = ""
    size: int = 0
    sha256: str = ""  # empty for what is too big to be hashed twice


@dataclass(frozen=True, slots=True)
class Stage:
    """The scratch home with everything ready to begin."""

    home: Path
    drops: tuple[Drop, ...]
    mark: Path  # what the hostile pickle would make
    members: dict[str, bytes] = field(default_factory=dict)  # what the ZIP holds

    @property
    def config(self) -> Path:
        return self.home / "dropdock.yaml"

    @property
    def inbox(self) -> Path:
        return self.home / "inbox"

    @property
    def dataset(self) -> Path:
        return self.home / "datasets" / DATASET

    def app(self, target: str) -> Path:
        """The folder of a target's app."""
        return self.home / "apps" / APPS[target]


def build(home: Path) -> Stage:
    """Make the home: configuration, folders of the apps, and the files in `downloads`."""
    mark = home / "the-pickle-ran"
    downloads = home / "downloads"
    for folder in (downloads, home / "inbox"):
        folder.mkdir()
    members = samples.photo_members()
    made = (
        (samples.zipped(downloads / f"{DATASET}.zip", members), End.DATASET, "", ""),
        (samples.flux_lora(downloads / "moss_style_flux.safetensors"), End.HUB, "lora", "flux1"),
        (samples.sd15_checkpoint(downloads / "v1-5-pruned-emaonly-fp8.safetensors"), End.HUB, "checkpoint", "sd15"),
        (samples.sdxl_vae(downloads / "sdxl_vae.safetensors"), End.HUB, "vae", "sd-vae"),
        (_note(downloads / "shopping list.txt"), End.LEFT, "", ""),
        (samples.hostile_pickle(downloads / "free_upscaler.pth", f"touch '{mark}'"), End.QUARANTINE, "", ""),
    )
    stage = Stage(home, tuple(_drop(*one) for one in made), mark, members)
    stage.config.write_text(CONFIG, "utf-8")
    for target, places in PLACES.items():
        for place in places.values():
            (stage.app(target) / place).mkdir(parents=True)
            (stage.app(target) / place / OWN_FILE).write_text("my own\n", "utf-8")
    return stage


def _note(path: Path) -> Path:
    path.write_text("moss, tea, a longer cable\n", "utf-8")
    return path


def _drop(path: Path, end: End, kind: str, base: str) -> Drop:
    size = path.stat().st_size
    digest = hashlib.sha256(path.read_bytes(), usedforsecurity=False).hexdigest() if size <= BIG else ""
    return Drop(path.name, end, kind, base, size, digest)


def drop_all(stage: Stage) -> None:
    """Drop every file into the inbox as a person would: copied, the big ones moved."""
    for drop in stage.drops:
        source, target = stage.home / "downloads" / drop.name, stage.inbox / drop.name
        if drop.size > BIG:
            source.rename(target)
        else:
            shutil.copy2(source, target)
