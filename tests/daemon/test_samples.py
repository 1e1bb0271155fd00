"""The made files are what they pretend to be: decodable, identified with confidence, sparse, and never run."""

import io
import pickletools
import zipfile
from math import prod
from pathlib import Path

import pytest
from dropdock.daemon import samples
from dropdock.handlers.pictures import examine
from dropdock.rules.header import Damaged
from dropdock.rules.identify import identify
from dropdock.rules.terms import Condition, Kind
from PIL import Image


@pytest.mark.parametrize(
    ("make", "name", "kind", "base", "sizes"),
    [
        (samples.flux_lora, "fox_flux.safetensors", "lora", "flux1", (30e6, 45e6)),
        (samples.sd15_checkpoint, "v1-5-pruned-emaonly-fp8.safetensors", "checkpoint", "sd15", (1.0e9, 1.1e9)),
        (samples.sdxl_vae, "sdxl_vae.safetensors", "vae", "sd-vae", (160e6, 170e6)),
    ],
)
def test_models_are_surely_what_they_pretend_to_be(
    tmp_path: Path, make: object, name: str, kind: str, base: str, sizes: tuple[float, float]
) -> None:
    """Type and base are told from the tensors with nothing against them, the size is a real one's, and no data is stored."""
    path = make(tmp_path / name)  # type: ignore[operator]
    facts = identify(path)
    assert facts.condition is Condition.OK and facts.model and not facts.conflicts
    assert (facts.model.type, facts.model.base) == (kind, base) and facts.model.confidence >= 0.9
    found = path.stat()
    assert sizes[0] < found.st_size < sizes[1] and found.st_blocks * 512 < 2e6


def test_parameter_counts_are_those_of_the_real_ones() -> None:
    """The tables of shapes count as many parameters as the published models have."""

    def count(shapes: samples.Shapes) -> int:
        return sum(prod(s) for s in shapes.values())

    assert count(samples._unet()) == 859_520_964
    assert count(samples._vae()) == 83_653_863
    assert count(samples._clip_l()) == 123_060_480


def test_the_same_call_makes_the_same_bytes(tmp_path: Path) -> None:
    """Nothing in a made file depends on when it was made."""
    one, two = (samples.zipped(tmp_path / n, samples.photo_members()).read_bytes() for n in ("1.zip", "2.zip"))
    assert one == two


def test_the_pictures_are_what_their_names_say() -> None:
    """All decode but the broken one; the copy is exact, the other near, the rest apart; one is turned by EXIF."""
    members = {
        Path(n).name: examine(d)
        for n, d in samples.photo_members().items()
        if n.endswith((".jpg", ".png", ".webp")) and "_MAC" not in n
    }
    broken = members.pop("broken.jpg")
    assert isinstance(broken, Damaged)
    good = {name: found for name, found in members.items() if not isinstance(found, Damaged)}
    assert len(good) == len(members) == 9
    assert good["forest.jpg"].digests == good["forest2.jpg"].digests
    near = bin(int(good["sea.png"].dhash, 16) ^ int(good["sea2.jpg"].dhash, 16)).count("1")
    assert near <= 3 and good["sea.png"].digests != good["sea2.jpg"].digests
    apart = [int(found.dhash, 16) for name, found in good.items() if name not in ("forest2.jpg", "sea2.jpg")]
    assert min(bin(a ^ b).count("1") for i, a in enumerate(apart) for b in apart[:i]) > 10
    assert good["turned.jpg"].image.orientation == 6 and not any(found.small for found in good.values())
    with Image.open(io.BytesIO(samples.photo_members()["red fox/dunes.webp"])) as image:
        assert image.format == "WEBP"


def test_the_zip_is_a_zip_of_pictures(tmp_path: Path) -> None:
    """It is read as an archive with pictures and a caption; the junk is in it, and is not listed."""
    path = samples.zipped(tmp_path / "red fox.zip", samples.photo_members())
    facts = identify(path)
    assert facts.archive and facts.archive.contains >= {Kind.IMAGE, Kind.CAPTION}
    with zipfile.ZipFile(path) as archive:
        assert any(name.startswith("__MACOSX/") for name in archive.namelist())
    assert not any("__MACOSX" in m.name for m in facts.archive.members)


def test_the_pickle_would_call_the_shell_and_is_told_as_unsafe(tmp_path: Path) -> None:
    """Its opcodes are a call of posix.system with the command; identifying it does not make that call."""
    mark = tmp_path / "ran"
    path = samples.hostile_pickle(tmp_path / "free model.pt", f"touch '{mark}'")
    said = [(op.name, arg) for op, arg, _ in pickletools.genops(path.read_bytes())]
    assert ("GLOBAL", "posix system") in said and ("BINUNICODE", f"touch '{mark}'") in said and ("REDUCE", None) in said
    facts = identify(path)
    assert facts.condition is Condition.UNSAFE and facts.kind is Kind.MODEL and not mark.exists()
