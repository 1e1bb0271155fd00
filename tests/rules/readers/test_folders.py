"""Folders that are one model, and those that are not."""

import json
from pathlib import Path

import pytest
from dropdock.rules.header import Damaged
from dropdock.rules.identify import identify
from dropdock.rules.readers.folders import is_model_folder, missing_siblings, read_folder
from dropdock.rules.terms import Condition
from model_files import write_safetensors

TENSORS = {"a": ("F16", (4, 4))}


def put(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            write_safetensors(path, TENSORS)
        else:
            path.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("files", "one"),
    [
        ({"model_index.json": {}}, True),
        ({"config.json": {"architectures": ["X"]}, "model.safetensors": None}, True),
        ({"config.json": {"_class_name": "X"}, "w.safetensors": None}, True),
        ({"adapter_config.json": {}, "adapter_model.safetensors": None}, True),
        ({"model.safetensors.index.json": {"weight_map": {}}}, True),
        ({"config.json": {"theme": "dark"}, "one.safetensors": None, "two.safetensors": None}, False),
        ({"config.json": {"architectures": ["X"]}}, False),
        ({"one.safetensors": None}, False),
        ({}, False),
    ],
)
def test_which_folders_are_one_model(tmp_path: Path, files: dict[str, object], one: bool) -> None:
    """Only what says of itself that it is a model is one unit; a folder of LoRAs with somebody's config.json is not."""
    assert is_model_folder(put(tmp_path, files)) is one


def test_missing_shards_are_named(tmp_path: Path) -> None:
    """Shards that the index names and the folder lacks are missing; so are those that a shard's own name implies."""
    index = {"weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}}
    put(tmp_path, {"m.safetensors.index.json": index, "m-00001-of-00002.safetensors": None})
    found = read_folder(tmp_path)
    assert not isinstance(found, Damaged)
    assert (found.missing, [w.name for w in found.weights]) == (
        ("m-00002-of-00002.safetensors",),
        ["m-00001-of-00002.safetensors"],
    )
    assert missing_siblings(tmp_path / "m-00001-of-00002.safetensors") == found.missing
    assert missing_siblings(tmp_path / "plain.safetensors") == ()


def test_weights_of_another_program_are_no_pickle(tmp_path: Path) -> None:
    """OpenVINO's .bin beside its .xml is not read as PyTorch's, and not missed: whole, and nothing can be told of it."""
    put(tmp_path, {"config.json": {"_class_name": "UNet2DConditionModel"}, "openvino_model.xml": {}})
    (tmp_path / "openvino_model.bin").write_bytes(bytes(4096))
    found = identify(tmp_path)
    assert (found.condition, found.reason) == (Condition.UNKNOWN, "no-signature")
    (tmp_path / "openvino_model.xml").unlink()
    assert identify(tmp_path).condition is Condition.INVALID


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", ".."])
def test_an_index_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    """A weight_map or model_index that names a path is refused, not followed."""
    put(tmp_path, {"m.safetensors.index.json": {"weight_map": {"a": name}}})
    assert isinstance(read_folder(tmp_path), Damaged)
    put(tmp_path, {"model_index.json": {name: ["diffusers", "X"]}})
    assert isinstance(read_folder(tmp_path), Damaged)


def test_a_pipeline_reads_its_main_part(tmp_path: Path) -> None:
    """Of a pipeline's parts the transformer or UNet tells the family; a missing part with weights is missing."""
    parts = {"unet": ["diffusers", "UNet"], "vae": ["diffusers", "VAE"], "scheduler": ["diffusers", "PNDMScheduler"]}
    put(tmp_path, {"model_index.json": {"_class_name": "P", **parts}, "unet/x.safetensors": None})
    found = read_folder(tmp_path)
    assert not isinstance(found, Damaged)
    assert (found.kind, found.class_name, found.missing, [w.parent.name for w in found.weights]) == (
        "pipeline",
        "P",
        ("vae/",),
        ["unet"],
    )
