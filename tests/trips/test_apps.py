"""A deployed tree, listed the way each app lists it: follow links or not, by base name or relative path, dangling links fatal or not.

Each lister below is that app's rule in a few lines; what it must see is written out by hand.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dropdock.rules.terms import Facts, Kind, Model, ModelFacts, Outcome, Status
from dropdock.store import links
from dropdock.store.store import Entry
from house_made import Home, Opened, opened

COMFY = {".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"}
APPS = ("comfyui", "forge", "a1111", "swarmui", "fooocus", "wan2gp", "ai-toolkit")
TARGETS = "".join(f"  {app}: {{layout: {app}, path: APPS/{app}}}\n" for app in APPS if app != "comfyui")

# name, type, base, variant
KEPT = [
    ("style.safetensors", "lora", "sdxl", None),
    ("Style.safetensors", "lora", "flux1", None),
    ("motion.safetensors", "lora", "wan", "14b"),
    ("motion_i2v.safetensors", "lora", "wan", "i2v-14b"),
    ("photo.safetensors", "checkpoint", "sdxl", None),
    ("photo.ckpt", "checkpoint", "sd15", None),
    ("flux-q8.gguf", "diffusion_model", "flux1", None),
    ("wan.safetensors", "diffusion_model", "wan", None),
    ("ae.safetensors", "vae", "flux-sd3-vae", None),
    ("clip_l.safetensors", "text_encoder", "clip-l", None),
    ("Qwen2.5-VL-7B-Q4_K_M.gguf", "llm", "qwen2vl", None),
    ("mmproj-F16.gguf", "mmproj", "clip", None),
    ("canny.pth", "controlnet", "sd15", None),
    ("gone.safetensors", "controlnet", "sd15", None),
    ("badhands.pt", "embedding", "sd15", None),
    ("4x.pth", "upscaler", "esrgan", None),
]


@dataclass
class Trip:
    home: Home
    house: Opened
    blobs: dict[str, Path]

    def app(self, name: str) -> Path:
        return self.home.app if name == "comfyui" else self.home.root / "apps" / name


def beside(name: str) -> tuple[str, ...]:
    """A checkpoint comes with its config, a LoRA with a preview and metadata."""
    stem = Path(name).stem
    return (f"{stem}.yaml",) if name == "photo.ckpt" else (f"{stem}.preview.png", f"{stem}.json") if stem == "style" else ()


@pytest.fixture
async def trip(tmp_path: Path) -> AsyncIterator[Trip]:
    """Every app with every model, a file of a person's own in each LoRA folder, and one blob that vanished after it was linked."""
    for app in APPS:
        (tmp_path / "apps" / app).mkdir(parents=True)
    home = Home(tmp_path, TARGETS.replace("APPS", str(tmp_path / "apps")))
    async with opened(home) as o:
        trip = Trip(home, o, {})
        for name, kind, base, variant in KEPT:
            digest = hashlib.sha256(name.encode()).hexdigest()
            blob = home.hub / digest[:2] / digest / name
            blob.parent.mkdir(parents=True)
            blob.write_bytes(name.encode())
            for companion in beside(name):
                (blob.parent / companion).write_text(companion)
            roles = ("llm", "text_encoder") if kind == "llm" else (kind,)
            facts = Facts(blob, Kind.MODEL, 1, model=ModelFacts("x", kind, base, variant, roles=roles))
            model = Model(digest, digest[:32], blob.stat().st_size, name, blob, facts)
            await o.store.record(Entry("store", Outcome(Status.DONE, models=(model,), deploy=(digest,)), quiet=True))
            trip.blobs[name] = blob
        own = home.app / "models" / "loras" / "mine.safetensors"
        own.parent.mkdir(parents=True)
        own.write_bytes(b"a person's own")
        await o.projection.project()
        trip.blobs["gone.safetensors"].unlink()
        await o.projection.project()
        yield trip


# ---------------------------------------------------------------- the apps' own rules


def walk(root: Path, suffixes: set[str], follow: bool) -> Iterator[Path]:
    """os.walk with or without following links to folders; names only, so a dangling link is listed."""
    for folder, folders, names in os.walk(root, followlinks=follow):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if Path(name).suffix.lower() in suffixes)


def comfyui(root: Path, suffixes: set[str] = COMFY) -> set[str]:
    """folder_paths: relative paths, links followed."""
    return {path.relative_to(root).as_posix() for path in walk(root, suffixes, True)}


def by_stem(paths: Iterator[Path]) -> dict[str, Path]:
    """A1111 and Forge know a LoRA, VAE or ControlNet by its base name: of two, one is lost."""
    found: dict[str, Path] = {}
    for path in paths:
        assert path.stem.casefold() not in {stem.casefold() for stem in found}, f"{path} hides another"
        found[path.stem] = path
    return found


def controlnet(root: Path) -> set[str]:
    """The ControlNet extension stats every entry: one dangling link raises, and no ControlNet is listed at all."""
    found = set()
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.stat().st_size and Path(entry.name).suffix in {".pt", ".pth", ".ckpt", ".safetensors", ".bin"}:
                found.add(Path(entry.name).stem)
    return found


def swarmui(root: Path, suffixes: set[str]) -> set[str]:
    """Its own recursion; hidden names are skipped, a link to a file is a file."""
    return {path.relative_to(root).as_posix() for path in walk(root, suffixes, True) if not path.name.startswith(".")}


def fooocus(root: Path) -> set[str]:
    """os.walk that follows no link to a folder; relative paths."""
    suffixes = {".pth", ".ckpt", ".bin", ".safetensors"}
    return {path.relative_to(root).as_posix() for path in walk(root, suffixes, False)}


def wan2gp(root: Path) -> set[str]:
    """One folder a family, not below it, two suffixes."""
    return {path.name for suffix in ("*.sft", "*.safetensors") for path in root.glob(suffix)}


def digest8(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def two(*names: str) -> set[str]:
    """Of two models of one base name that came together the first by digest has it, the other one part of its own."""
    first, second = sorted(names, key=digest8)
    return {first, f"{Path(second).stem}-{digest8(second)}{Path(second).suffix}"}


STYLES = two("style.safetensors", "Style.safetensors")
LORAS = {*STYLES, "motion.safetensors", "motion_i2v.safetensors"}


def styles(names: set[str]) -> set[str]:
    return {Path(name).stem for name in names}


# ---------------------------------------------------------------- what each sees


async def test_comfyui_lists_every_model_in_its_folder(trip: Trip) -> None:
    """And the person's own LoRA; the GGUF nodes list the GGUF files, and the encoder's vision half beside it by a name that fits."""
    models = trip.app("comfyui") / "models"
    assert comfyui(models / "loras") == {*LORAS, "mine.safetensors"}
    photos = comfyui(models / "checkpoints")
    assert len(photos) == 2 and {Path(name).suffix for name in photos} == {".ckpt", ".safetensors"}
    assert comfyui(models / "vae") == {"ae.safetensors"}
    assert comfyui(models / "text_encoders") == {"clip_l.safetensors"}
    assert comfyui(models / "text_encoders", {".gguf"}) == {"Qwen2.5-VL-7B-Q4_K_M.gguf", "Qwen2.5-VL-7B-mmproj-F16.gguf"}
    assert comfyui(models / "diffusion_models", {".gguf", ".safetensors"}) == {"flux-q8.gguf", "wan.safetensors"}
    assert comfyui(models / "controlnet") == {"canny.pth"}
    assert comfyui(models / "embeddings") == {"badhands.pt"} and comfyui(models / "upscale_models") == {"4x.pth"}


@pytest.mark.parametrize("app", ["forge", "a1111"])
async def test_the_a1111_family_hides_no_model_behind_another(trip: Trip, app: str) -> None:
    """LoRAs by base name; ControlNets by a scan that one dangling link would end; a checkpoint's config under its link's name."""
    root = trip.app(app)
    loras = by_stem(walk(root / "models/Lora", {".pt", ".ckpt", ".safetensors"}, True))
    assert set(loras) == styles(LORAS)
    assert controlnet(root / "models/ControlNet") == {"canny"}
    assert set(by_stem(walk(root / "models/VAE", {".pt", ".ckpt", ".safetensors"}, False))) == {"ae"}
    checkpoints = by_stem(walk(root / "models/Stable-diffusion", {".ckpt", ".safetensors", ".gguf"}, True))
    expected = {"photo", "wan", "flux-q8"} if app == "forge" else {"photo"}
    assert expected <= set(checkpoints) and len(checkpoints) == len(expected) + 1
    old = next(path for path in checkpoints.values() if path.suffix == ".ckpt")
    assert old.with_suffix(".yaml").read_text() == "photo.yaml"
    assert set(by_stem(walk(root / "embeddings", {".pt", ".bin", ".safetensors"}, True))) == {"badhands"}


async def test_forge_lists_text_encoders_without_following_folders(trip: Trip) -> None:
    """A plain os.walk by base name: real folders, so nothing is missed."""
    suffixes = {".ckpt", ".pt", ".bin", ".safetensors", ".gguf"}
    assert set(by_stem(walk(trip.app("forge") / "models/text_encoder", suffixes, False))) == {"clip_l", "Qwen2.5-VL-7B-Q4_K_M"}


async def test_swarmui_gets_gguf_only_where_it_takes_it(trip: Trip) -> None:
    """A GGUF diffusion model is not among the checkpoints, where SwarmUI refuses it."""
    models = trip.app("swarmui") / "Models"
    every = {".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin"}
    assert {Path(name).suffix for name in swarmui(models / "Stable-Diffusion", every)} == {".ckpt", ".safetensors"}
    assert swarmui(models / "diffusion_models", every) == {"flux-q8.gguf", "wan.safetensors"}
    assert swarmui(models / "Lora", every) == LORAS


async def test_fooocus_sees_through_real_folders(trip: Trip) -> None:
    """Links to files in folders that are none."""
    models = trip.app("fooocus") / "models"
    assert fooocus(models / "loras") == LORAS and len(fooocus(models / "checkpoints")) == 2
    assert fooocus(models / "controlnet") == {"canny.pth"}


async def test_wan2gp_sees_each_lora_in_its_family(trip: Trip) -> None:
    """By base and variant; families that it does not run are not there."""
    loras = trip.app("wan2gp") / "loras"
    assert wan2gp(loras / "wan") == {"motion.safetensors"} and wan2gp(loras / "wan_i2v") == {"motion_i2v.safetensors"}
    assert {path.stem.casefold() for path in (loras / "flux").iterdir()} == {"style"}
    assert {path.name for path in loras.iterdir()} == {"wan", "wan_i2v", "flux"}


async def test_ai_toolkit_finds_single_files_by_path(trip: Trip) -> None:
    """A job names models/FOLDER/NAME: a file, links resolved."""
    models = trip.app("ai-toolkit") / "models"
    for at in ("diffusion_models/wan.safetensors", "vae/ae.safetensors", "text_encoders/clip_l.safetensors"):
        assert (models / at).is_file()
    assert not (models / "diffusion_models/flux-q8.gguf").exists()


def everything(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        yield from (Path(folder, name) for name in (*folders, *names))


async def test_no_app_meets_what_would_hurt_it(trip: Trip) -> None:
    """No folder is a link, no link dangles or stands twice for one file (Lora-Manager lists by real path), previews are copies."""
    for app in APPS:
        seen: list[Path] = []
        for path in everything(trip.app(app)):
            assert not (path.is_symlink() and path.is_dir()), path
            if path.is_symlink():
                assert path.exists(), path
                seen.append(path.resolve())
            elif path.suffix in {".png", ".json"}:
                assert path.is_file() and path.stat().st_nlink == 1
        assert len(seen) == len(set(seen)) > 0, app


async def test_undeploying_leaves_a_persons_files_alone(trip: Trip) -> None:
    """Every link and every copy of ours goes, the person's own LoRA stays."""
    o = trip.house
    await o.store.write(links.deploy, None, [], False, [])
    await o.projection.project()
    left = [path for app in APPS for path in everything(trip.app(app)) if not path.is_dir()]
    assert left == [trip.home.app / "models/loras/mine.safetensors"]


async def test_a_base_in_the_map_sorts_for_comfyui_too(trip: Trip) -> None:
    """ComfyUI lists relative paths, so a map may sort its LoRAs by base; base names still differ."""
    home = Home(trip.home.root)
    home.text = home.text.replace("{layout: comfyui,", '{layout: comfyui, map: {lora: "models/loras/{base}"},')
    trip.house.house.config = home.config
    await trip.house.projection.project()
    listed = comfyui(trip.app("comfyui") / "models/loras")
    bases = {"style": "sdxl", "Style": "flux1"}
    assert listed - {"mine.safetensors"} == {
        *(f"{bases[name.split('.')[0].split('-')[0]]}/{name}" for name in STYLES),
        "wan/motion.safetensors",
        "wan/motion_i2v.safetensors",
    }
