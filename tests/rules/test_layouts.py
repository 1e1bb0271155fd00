"""Which folder of which app takes what."""

from pathlib import Path, PurePosixPath

import pytest
from dropdock.rules.conditions import TYPES
from dropdock.rules.layouts import CUSTOM, built_in_layouts, folder_path, layout_of, load_layouts
from dropdock.rules.terms import Target
from hypothesis import given
from hypothesis import strategies as st

LAYOUTS = built_in_layouts()
IMAGE_APPS = ("comfyui", "forge", "a1111", "swarmui", "fooocus", "ai-toolkit")


def where(layout: str, type: str, name: str = "x.safetensors", **more: str) -> str | None:
    folder = LAYOUTS[layout].place(type, name, **more)[0]
    return None if folder is None else str(folder)


def test_the_apps_take_the_common_types() -> None:
    """Every image app has a folder for checkpoints, LoRAs and VAEs; every type in the table is of the vocabulary."""
    assert set(LAYOUTS) == {*IMAGE_APPS, "wan2gp"}
    for name in IMAGE_APPS:
        assert all(where(name, kind) for kind in ("checkpoint", "lora", "vae")), name
    for layout in LAYOUTS.values():
        assert set(layout.folders) <= set(TYPES)


@pytest.mark.parametrize(
    ("layout", "type", "name", "folder"),
    [
        ("comfyui", "embedding", "x.PT", "models/embeddings"),
        ("comfyui", "diffusion_model", "x.gguf", "models/diffusion_models"),
        ("comfyui", "lora", "x.gguf", None),
        ("comfyui", "checkpoint", "x.gguf", None),
        ("forge", "embedding", "x.pt", "embeddings"),
        ("forge", "diffusion_model", "x.gguf", "models/Stable-diffusion"),
        ("a1111", "checkpoint", "x.ckpt", "models/Stable-diffusion"),
        ("a1111", "checkpoint", "x.gguf", None),
        ("a1111", "diffusion_model", "x.safetensors", None),
        ("swarmui", "checkpoint", "x.safetensors", "Models/Stable-Diffusion"),
        ("swarmui", "diffusion_model", "x.gguf", "Models/diffusion_models"),
        ("swarmui", "checkpoint", "x.gguf", None),
        ("fooocus", "text_encoder", "x.bin", "models/clip"),
        ("ai-toolkit", "diffusion_model", "x.gguf", None),
        ("wan2gp", "lora", "x.pt", None),
    ],
)
def test_a_file_goes_only_where_it_is_loaded(layout: str, type: str, name: str, folder: str | None) -> None:
    """Type and suffix together decide, as each app's own loader has it."""
    assert where(layout, type, name) == folder


@pytest.mark.parametrize(
    ("base", "variant", "folder"),
    [
        ("wan", "14b", "loras/wan"),
        ("wan", "i2v-14b", "loras/wan_i2v"),
        ("wan", "1.3b", "loras/wan_1.3B"),
        ("flux2", "klein-9b", "loras/flux2_klein_9b"),
        ("flux2", "", "loras/flux2"),
        ("z-image", "", "loras/z_image"),
        ("sdxl", "", None),
        ("unknown", "", None),
    ],
)
def test_wan2gp_sorts_loras_by_base(base: str, variant: str, folder: str | None) -> None:
    """It looks for a LoRA in the folder of the family it belongs to; a family it does not run has none."""
    assert where("wan2gp", "lora", base=base, variant=variant) == folder
    assert LAYOUTS["wan2gp"].scope("lora") == PurePosixPath("loras")


def test_a_free_map_says_where_each_type_goes() -> None:
    """`layout: custom` has only what its map names, any suffix of a model; a map over an app's layout replaces its folders."""
    mine = layout_of(Target("x", CUSTOM, Path("/x"), map=(("lora", "loras/{base}"), ("llm", "llm"))), LAYOUTS)
    assert mine.place("lora", "a.gguf", base="sdxl")[0] == PurePosixPath("loras/sdxl")
    assert mine.place("llm", "a.gguf")[0] == PurePosixPath("llm")
    assert mine.place("vae", "a.pt") == (None, "custom has no folder for vae")
    over = layout_of(Target("c", "comfyui", Path("/c"), map=(("lora", "models/loras/{base}"),)), LAYOUTS)
    assert over.place("lora", "a.safetensors", base="flux1")[0] == PurePosixPath("models/loras/flux1")
    assert over.place("lora", "a.gguf")[0] is None and over.place("vae", "a.pt")[0] == PurePosixPath("models/vae")
    assert PurePosixPath("models/loras") in over.roots()


@given(st.text(max_size=20))
def test_a_base_never_leaves_its_folder(base: str) -> None:
    """A GGUF file names its own architecture: whatever it says becomes one plain folder below the map's."""
    mine = layout_of(Target("x", CUSTOM, Path("/x"), map=(("lora", "loras/{base}"),)), LAYOUTS)
    folder = mine.place("lora", "a.safetensors", base=base)[0]
    assert folder is not None and len(folder.parts) == 2 and folder.parts[0] == "loras" and folder.parts[1] not in (".", "..")


@pytest.mark.parametrize("bad", ["", " ", "/x", "../x", "a/../../x", "a\\b", "c:x", "loras/{bas}", "loras/{base", "a}"])
def test_a_folder_outside_of_the_app_is_refused(bad: str) -> None:
    """So is a placeholder that nobody fills."""
    with pytest.raises(ValueError, match=r"expected|placeholder"):
        folder_path(bad)


@pytest.mark.parametrize(
    "bad",
    [
        "[1]",
        "a: {folders: {}}",
        "a: {suffixes: [pt], folders: {}}",
        "a: {suffixes: 3, folders: {}}",
        "a: {suffixes: [], folders: {}, more: 1}",
        "a: {suffixes: [], folders: {lora: ../x}}",
        "a: {suffixes: [], folders: {lora: /x}}",
        "a: {suffixes: [], folders: {lora: [x]}}",
        "a: {suffixes: [], folders: {lora: {folder: x, suffx: []}}}",
        "a: {suffixes: [], folders: {lora: {folder: x, bases: [sdxl]}}}",
        "a: {suffixes: [], folders: {lora: {folder: x, bases: {sdxl: ../y}}}}",
        "a: [",
    ],
)
def test_a_bad_table_is_refused(bad: str) -> None:
    """A mistake in a layout, above all a folder outside of the app, is a ValueError."""
    with pytest.raises(ValueError, match=r"expected|syntax"):
        load_layouts(bad)
