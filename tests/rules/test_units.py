from pathlib import PurePath

import pytest
from dropdock.rules.units import Part, Unit, is_archive, is_model_folder, key, part, unit_of, units
from hypothesis import given
from hypothesis import strategies as st

SUFFIXES = [
    *(".safetensors", ".ckpt", ".gguf", ".zip", ".tar.gz", ".png", ".JPG", ".txt", ".caption", ".json", ".yaml"),
    *(
        ".civitai.info",
        ".preview.png",
        ".metadata.json",
        ".cm-info.json",
        ".swarm.json",
        ".sha256",
        ".png.txt",
        "",
        ".odt",
        ".mp4",
    ),
]
NAMES = st.sets(
    st.builds("{}{}".format, st.sampled_from(["x", "cat", "x.v2", "ä b", ".."]), st.sampled_from(SUFFIXES)), max_size=20
)


def test_a_model_leads_its_companions() -> None:
    """Everything that tools write beside a model is of its unit, whichever of the files is asked about."""
    companions = (
        *("x.civitai.info", "x.cm-info.json", "x.json", "x.metadata.json", "x.png", "x.preview.png"),
        *("x.safetensors.json", "x.sha256", "x.swarm.json", "x.txt", "x.yaml"),
    )
    names = ["x.safetensors", *companions, "y.txt", "x.zip"]
    for name in ("x.safetensors", *companions):
        assert unit_of(PurePath("in") / name, names) == Unit("x.safetensors", companions)


def test_a_picture_leads_its_caption() -> None:
    """cat.png and cat.txt are one thing; a JSON of the same stem is not the picture's."""
    assert units(["cat.txt", "cat.png", "cat.json"]) == [Unit("cat.json"), Unit("cat.png", ("cat.txt",))]
    assert units(["cat.png", "cat.png.txt", "cat.caption"]) == [Unit("cat.png", ("cat.caption", "cat.png.txt"))]


def test_two_pictures_of_one_stem_are_two_units() -> None:
    """The caption goes to the first of them, by name."""
    assert units(["cat.webp", "cat.jpg", "cat.txt"]) == [Unit("cat.jpg", ("cat.txt",)), Unit("cat.webp")]


def test_two_models_of_one_stem_are_two_units() -> None:
    """safetensors leads before ckpt, and takes the companions."""
    assert units(["x.ckpt", "x.safetensors", "x.yaml"]) == [Unit("x.ckpt"), Unit("x.safetensors", ("x.yaml",))]


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "X.TGZ", "x.7z"])
def test_an_archive_never_takes_companions(name: str) -> None:
    """Not even a text or a picture of its own stem."""
    assert is_archive(name)
    assert Unit(name) in units([name, "x.txt", "x.png", "x.safetensors", "x.json"])


def test_without_a_lead_each_stands_alone() -> None:
    """A preview and its metadata without a model are two single files."""
    assert units(["x.preview.png", "x.civitai.info"]) == [Unit("x.civitai.info"), Unit("x.preview.png")]


@given(NAMES)
def test_the_units_of_a_folder_part_its_files(names: set[str]) -> None:
    """Every file is in exactly one unit, the order of names does not matter, and unit_of agrees with units."""
    found = units(names)
    assert sorted(n for unit in found for n in unit.names) == sorted(names)
    assert units(reversed(sorted(names))) == found
    for unit in found:
        assert all(unit_of(PurePath(name), names) == unit for name in unit.names)


@given(NAMES)
def test_companions_share_the_key_and_names_begin_with_it(names: set[str]) -> None:
    """The key finds all of a unit, and a sorted listing finds all of a key by its prefix."""
    for unit in units(names):
        assert len({key(name) for name in unit.names}) == 1
        assert not unit.companions or part(unit.lead)[1] in (Part.MODEL, Part.PICTURE)
    assert all(name == key(name) or name.startswith(key(name) + ".") for name in names)


@pytest.mark.parametrize(
    ("names", "one"),
    [
        (["model_index.json", "README.md"], True),
        (["adapter_config.json", "adapter_model.safetensors"], True),
        (["config.json", "model.safetensors"], True),
        (["config.json", "diffusion_pytorch_model.fp16.safetensors"], True),
        (["config.json", "model-00001-of-00002.safetensors"], True),
        (["model.safetensors.index.json", "model-00001-of-00002.safetensors"], True),
        (["config.json"], False),
        (["config.json", "mylora.safetensors", "other.safetensors"], False),
        (["big.safetensors.index.json", "big-00001-of-00002.safetensors", "mylora.safetensors"], False),
        (["model.safetensors"], False),
        ([], False),
    ],
)
def test_folders_that_are_one_model(names: list[str], one: bool) -> None:
    """Pipelines, library folders, adapters and shard sets are one model; a config among loose models makes none."""
    assert is_model_folder(names) is one
