"""A scan names what lies in folders, what of it is there twice, and touches nothing."""

import json
import os
import shutil

from dropdock.daemon import samples
from dropdock.daemon.cli import cli
from dropdock.daemon.scanning import END, Bar, Found, survey, twins
from dropdock.rules.terms import Facts, Kind
from pictures_made import picture, tree


def models(root):
    """Two apps: a LoRA in both, once more as a hard link and as a symlink, a VAE, a checkpoint, and files that are no models."""
    one, two = root / "one", root / "two"
    for folder in (one / "loras", one / "vae", two / "Lora/sub"):
        folder.mkdir(parents=True)
    lora = samples.flux_lora(one / "loras/style.safetensors")
    (one / "loras/style.png").write_bytes(picture(1))
    shutil.copy(lora, two / "Lora/sub/renamed.safetensors")
    os.link(two / "Lora/sub/renamed.safetensors", two / "Lora/hard.safetensors")
    (two / "Lora/link.safetensors").symlink_to(one / "loras/style.safetensors")
    samples.sdxl_vae(one / "vae/v.safetensors")
    (two / "notes.txt").write_text("no model")
    (two / "bad.safetensors").write_bytes(b"\x10")
    return one, two


def test_types_and_duplicates_are_found_and_nothing_is_touched(tmp_path):
    """The models by type, the LoRA that two apps hold once as a pair, with the bytes that costs; links cost nothing."""
    folders = models(tmp_path)
    before = tree(tmp_path)
    found = survey(folders)
    assert tree(tmp_path) == before
    named = {f.path.name: f.facts.model.type for f in found.models if f.facts.model and f.facts.condition == "ok"}
    assert named == {
        "style.safetensors": "lora",
        "renamed.safetensors": "lora",
        "hard.safetensors": "lora",
        "v.safetensors": "vae",
    }
    (pair,) = found.twins
    assert pair.size == pair.wasted == (folders[0] / "loras/style.safetensors").stat().st_size
    assert len(pair.paths) == 2 and pair.paths[0] == folders[0] / "loras/style.safetensors"
    assert not found.unreadable


def test_one_size_is_not_one_content(tmp_path):
    """Files that differ in one byte in their middle, or at an end, are no duplicates; the same bytes are."""
    base = bytearray(os.urandom(5 * END))
    found = []
    for name, at in (("first", None), ("middle", len(base) // 2), ("last", len(base) - 1), ("copy", None)):
        data = bytearray(base)
        if at is not None:
            data[at] ^= 1
        (tmp_path / name).write_bytes(data)
        found.append(Found(tmp_path / name, tmp_path, Facts(tmp_path / name, Kind.MODEL, len(data)), len(data)))
    (pair,) = twins(found)
    assert [p.name for p in pair.paths] == ["copy", "first"] and pair.wasted == len(base)


def test_progress_reaches_its_total(tmp_path):
    """Each part of the work tells exactly as much as it announced."""
    folders = models(tmp_path)
    parts: list[list[int]] = []
    survey(folders, Bar(lambda what, total: parts.append([total, 0]), lambda n: parts[-1].__setitem__(1, parts[-1][1] + n)))
    assert len(parts) == 2 and all(total == told for total, told in parts) and parts[1][0] > 0


def test_what_overlaps_is_counted_once(tmp_path):
    """A folder and one in it name each model once; a folder that is one model is one."""
    one, _ = models(tmp_path)
    assert len(survey([one, one / "loras"]).models) == len(survey([one]).models) == 2


def test_the_command_prints_a_table_and_objects(tmp_path, runner):
    """For people the counts, the damaged file and the waste; for programs one object a model and a set of duplicates."""
    one, two = models(tmp_path)
    shown = runner.invoke(cli, ["scan", str(one), str(two)], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "lora" in shown.output and "flux1" in shown.output and "could be free" in shown.output
    assert "bad.safetensors" in shown.output
    lines = [json.loads(line) for line in runner.invoke(cli, ["scan", "--json", str(one), str(two)]).output.splitlines()]
    assert {line["type"] for line in lines if "type" in line} >= {"lora", "vae"}
    (pair,) = [line for line in lines if "duplicates" in line]
    assert len(pair["duplicates"]) == 2 and pair["wasted"] == pair["size"]


def test_how_sure_it_is_is_said_by_the_settings_words(tmp_path, runner):
    """What is sure by default is a guess under a configuration that asks for more; damaged files have no word."""
    one, two = models(tmp_path)
    (tmp_path / "c.yaml").write_text("identify: {sure: 1, probable: 1}")

    def bands(*args: str) -> set[str | None]:
        lines = runner.invoke(cli, ["scan", "--json", *args, str(one), str(two)], env={"HOME": str(tmp_path)}).output.splitlines()
        return {found["band"] for line in lines if "type" in (found := json.loads(line))}

    assert bands() >= {"sure", None}
    assert bands("--config", str(tmp_path / "c.yaml")) == {"guess", None}
