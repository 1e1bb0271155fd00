"""Any file or folder becomes Facts: kind by content, condition and reason, the corpus's answers, the user's corrections."""

import json
import os
import zipfile
from pathlib import Path

import pytest
from dropdock.rules.identify import identify, known_as, model_folder
from dropdock.rules.terms import Condition, Facts, Kind, Known, ModelFacts
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import (
    Call,
    load_corpus,
    safetensors_header,
    stubs,
    write_case,
    write_gguf,
    write_safetensors,
    write_torch_legacy,
    write_torch_zip,
)
from PIL import Image

CASES = load_corpus(Path(__file__).parent.parent / "data" / "models.jsonl.gz")
LORA = {
    f"lora_unet_down_blocks_{i}_attentions_0_transformer_blocks_0_attn2_to_k.{part}": ("F16", shape)
    for i in (1, 2)
    for part, shape in (("lora_down.weight", (8, 2048)), ("lora_up.weight", (640, 8)), ("alpha", ()))
}
STRANGE = {f"blocks.{i}.mixer.weight": ("F16", (16, 16)) for i in range(4)}


def told(facts: Facts) -> tuple[str, str]:
    """Type and base, where damage and danger are types, as the corpus says it."""
    base = facts.model.base if facts.model else "unknown"
    if facts.condition in (Condition.INVALID, Condition.UNSAFE):
        return facts.condition.value, base
    return (facts.model.type if facts.model else facts.kind.value), base


@pytest.mark.parametrize("case", CASES, ids=[f"{c['id']}-{c['filename']}" for c in CASES])
def test_the_corpus(tmp_path: Path, case: dict[str, object]) -> None:
    """Every case of the corpus gets its type, base, variant, sub-family and reason, and a conflict only where there is one."""
    expect: dict[str, object] = case["expect"]  # type: ignore[assignment]
    facts = identify(write_case(tmp_path, case))
    kind, base = told(facts)
    assert kind in {expect["type"], *expect.get("type_any", ())}  # type: ignore[misc]
    if kind in ("invalid", "unsafe"):
        assert facts.reason == expect.get("reason", facts.reason)
        return
    assert base in {expect["base"], *expect.get("base_any", ())}  # type: ignore[misc]
    assert facts.model is not None
    for field in ("variant", "subfamily"):
        assert getattr(facts.model, field) == expect.get(field, getattr(facts.model, field))
    assert bool(facts.conflicts) == bool(expect.get("conflict"))
    assert expect.get("confidence") != "low" or facts.model.confidence < 0.8
    assert facts.evidence and all(e.text and 0 <= e.weight <= 1 for e in facts.evidence)


def test_kind_follows_content_not_suffix(tmp_path: Path) -> None:
    """A picture called .safetensors is a picture, a ZIP called .ckpt an archive, a model called .zip a model."""
    Image.new("RGB", (4, 4)).save(tmp_path / "x.safetensors", "PNG")
    with zipfile.ZipFile(tmp_path / "y.ckpt", "w") as archive:
        archive.writestr("cat.png", b"1")
    write_torch_zip(tmp_path / "z.zip", stubs(LORA))
    write_safetensors(tmp_path / "w.ckpt", LORA)
    write_gguf(tmp_path / "v.bin", {"a": ("F16", (2,))}, {"general.architecture": "flux"})
    kinds = {name: identify(tmp_path / name).kind for name in sorted(os.listdir(tmp_path))}
    assert kinds == {
        "v.bin": Kind.MODEL,
        "w.ckpt": Kind.MODEL,
        "x.safetensors": Kind.IMAGE,
        "y.ckpt": Kind.ARCHIVE,
        "z.zip": Kind.MODEL,
    }


@pytest.mark.parametrize(
    ("name", "raw", "kind", "condition", "reason"),
    [
        ("a.txt", b"a cat", Kind.CAPTION, Condition.OK, None),
        ("a.caption", b"a cat", Kind.CAPTION, Condition.OK, None),
        ("a.md", b"a cat", Kind.OTHER, Condition.OK, None),
        ("a.txt", b"\xff\xfe\0", Kind.OTHER, Condition.OK, None),
        ("a.txt", b"x" * 70_000, Kind.OTHER, Condition.OK, None),
        ("a.safetensors", b"", Kind.MODEL, Condition.INVALID, "empty"),
        ("a.safetensors", b"<!DOCTYPE html><html>", Kind.MODEL, Condition.INVALID, "not-a-model"),
        ("a.gguf", b"version https://git-lfs.github.com/spec/v1\n", Kind.MODEL, Condition.INVALID, "lfs-pointer"),
        ("a.ckpt", b"\0" * 5000, Kind.MODEL, Condition.INVALID, "zeros"),
        ("a.pt", b"PK\x03\x04 and then nothing", Kind.MODEL, Condition.INVALID, "truncated-data"),
        ("a.zip", b"PK\x03\x04 and then nothing", Kind.ARCHIVE, Condition.INVALID, "truncated-data"),
        ("a.zip", b"<html>", Kind.ARCHIVE, Condition.INVALID, "not-an-archive"),
        ("a.jpg", b"<html>", Kind.IMAGE, Condition.INVALID, "not-an-image"),
        ("a.jpg", b"\xff\xd8\xff\xe0cut", Kind.IMAGE, Condition.INVALID, "bad-image"),
        ("a.pt", b"cos\nsystem\n(S'true'\ntR.", Kind.MODEL, Condition.UNSAFE, "runs-code"),
        ("a.bin", b"cos\nsystem\n(S'true'\ntR.", Kind.MODEL, Condition.UNSAFE, "runs-code"),
        ("a.pkl", b"cos\nsystem\n(S'true'\ntR.", Kind.MODEL, Condition.UNSAFE, "runs-code"),
        ("a.bin", b"(no pickle, though it begins as one", Kind.OTHER, Condition.OK, None),
        ("a.dat", b"cos\nsystem\n(S'true'\ntR.", Kind.OTHER, Condition.OK, None),
        ("a.bin", b"some firmware", Kind.OTHER, Condition.OK, None),
        ("a.gz", b"\x1f\x8b no tar", Kind.OTHER, Condition.OK, None),
        ("a.tar.gz", b"\x1f\x8b\x07 no tar", Kind.ARCHIVE, Condition.INVALID, "bad-data"),
        ("a", b"", Kind.OTHER, Condition.OK, None),
    ],
)
def test_kinds_and_reasons(tmp_path: Path, name: str, raw: bytes, kind: Kind, condition: Condition, reason: str | None) -> None:
    """What is broken keeps the kind that its name or magic promised, with a reason; what nobody claims is other."""
    (tmp_path / name).write_bytes(raw)
    facts = identify(tmp_path / name)
    assert (facts.kind, facts.condition, facts.reason) == (kind, condition, reason)


def test_a_header_length_may_spell_any_magic(tmp_path: Path) -> None:
    """A safetensors file whose length bytes happen to begin a pickle or a gzip is still a safetensors file."""
    for wanted in (0x0280, 0x8B18):
        path = write_safetensors(tmp_path / "x.safetensors", LORA, {"pad": ""})
        short = len(safetensors_header(LORA, {"pad": ""})[0]) - 8
        few = {k: v for k, v in LORA.items() if "_blocks_1_" in k} if wanted < short else LORA
        short = len(safetensors_header(few, {"pad": ""})[0]) - 8
        write_safetensors(path, few, {"pad": "x" * (wanted - short)})
        assert int.from_bytes(path.read_bytes()[:8], "little") == wanted
        assert identify(path).condition is Condition.OK


def test_a_removed_file_raises(tmp_path: Path) -> None:
    """A path that is gone is the caller's business: OSError, and nothing else ever."""
    with pytest.raises(OSError):
        identify(tmp_path / "gone")


def test_unsafe_pickles_still_say_what_they_are(tmp_path: Path) -> None:
    """A pickle that would run code is unsafe in both of torch's layouts, and its tensors are named all the same."""
    value = {**stubs(LORA), "x": Call("posix", "system", "true")}
    for path in (write_torch_zip(tmp_path / "a.pt", value), write_torch_legacy(tmp_path / "b.pt", value)):
        facts = identify(path)
        assert (facts.condition, facts.reason, facts.model and facts.model.base) == (Condition.UNSAFE, "runs-code", "sdxl")


def test_shards(tmp_path: Path) -> None:
    """A shard without its siblings is incomplete; with them it is as good as any file."""
    first = write_safetensors(tmp_path / "m-00001-of-00002.safetensors", LORA)
    assert (identify(first).condition, identify(first).reason) == (Condition.INCOMPLETE, "missing-shards")
    write_safetensors(tmp_path / "m-00002-of-00002.safetensors", LORA)
    assert identify(first).condition is Condition.OK


def test_a_folder_is_one_model_or_none(tmp_path: Path) -> None:
    """A PEFT adapter's folder is one LoRA with the size of all its files; a plain folder is no model."""
    assert not model_folder(tmp_path)
    assert identify(tmp_path).kind is Kind.OTHER
    weights = write_safetensors(tmp_path / "adapter_model.safetensors", LORA)
    (tmp_path / "adapter_config.json").write_text("{}")
    facts = identify(tmp_path)
    assert model_folder(tmp_path)
    assert facts.model is not None
    assert (facts.folder, facts.kind, facts.model.type, facts.model.base) == (True, Kind.MODEL, "lora", "sdxl")
    assert facts.size == weights.stat().st_size + 2


UNET = ["diffusers", "UNet2DConditionModel"]
XL = {"_class_name": "StableDiffusionXLPipeline"}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 5135149760\n"


@pytest.mark.parametrize(
    ("index", "files", "says"),
    [
        ({**XL, "unet": UNET}, ["unet/config.json"], "the folder has a config and no weights"),
        ({**XL, "unet": UNET}, [], "the folder has a config and no weights"),
        (XL, [], "the folder has a config and no weights"),
        (
            {**XL, "unet": UNET, "vae": ["diffusers", "AutoencoderKL"]},
            ["unet/x.safetensors", "vae/config.json"],
            "vae: the folder is there and its weights are not",
        ),
    ],
)
def test_a_pipeline_without_weights_is_incomplete(tmp_path: Path, index: object, files: list[str], says: str) -> None:
    """What model_index.json names must have weights; the part that has none is named."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_safetensors(tmp_path / name, LORA) if name.endswith("safetensors") else (tmp_path / name).write_text("{}")
    facts = identify(tmp_path)
    assert (facts.condition, facts.reason, facts.evidence[-1].text) == (Condition.INCOMPLETE, "no-weights", says)


def test_a_pipeline_whose_parts_have_their_weights_is_whole(tmp_path: Path) -> None:
    """Settings need no weights, nor does what is named and not used; weights that another program reads are weights."""
    index = {
        **XL,
        "unet": UNET,
        "text_encoder": ["diffusers", "OnnxRuntimeModel"],
        "feature_extractor": [None, None],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "guider": ["diffusers", "ClassifierFreeGuidance"],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for name in ("unet/x.fp16.safetensors", "text_encoder/model.onnx", "guider/guider_config.json"):
        (tmp_path / name).parent.mkdir()
        write_safetensors(tmp_path / name, LORA)
    assert identify(tmp_path).condition is Condition.OK


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"])
def test_a_pointer_in_a_folder_is_told_as_one(tmp_path: Path, name: str) -> None:
    """Weights that git has not fetched have the reason of a single file that was not."""
    index = {**XL, "unet": UNET, "vae": ["diffusers", "AutoencoderKL"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for part in ("unet", "vae"):
        (tmp_path / part).mkdir()
        write_safetensors(tmp_path / part / "diffusion_pytorch_model.safetensors", LORA)
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    write_torch_zip(tmp_path / "vae" / "diffusion_pytorch_model.bin", stubs(LORA))
    assert identify(tmp_path).condition is Condition.OK
    (tmp_path / name).write_bytes(POINTER)
    facts = identify(tmp_path)
    assert (facts.condition, facts.reason) == (Condition.INVALID, "lfs-pointer")
    assert facts.evidence[-1].text == f"{name} is a Git LFS pointer, not the file" and facts.size > 0


def test_a_web_page_in_a_folder_is_told_as_one(tmp_path: Path) -> None:
    """A part whose download went wrong has the reason of a single file, not that of a header."""
    (tmp_path / "model_index.json").write_text(json.dumps({**XL, "unet": UNET}))
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "x.safetensors").write_text("<!DOCTYPE html><html>login</html>")
    assert (identify(tmp_path).condition, identify(tmp_path).reason) == (Condition.INVALID, "not-a-model")


def test_civitais_answer_beside_the_file(tmp_path: Path) -> None:
    """A .civitai.info that came with the file adds its evidence, and loses against the tensors."""
    path = write_safetensors(tmp_path / "x.safetensors", LORA)
    info = tmp_path / "x.civitai.info"
    info.write_text(json.dumps({"baseModel": "Illustrious", "model": {"type": "LORA"}}))
    agreed = identify(path, (info,))
    info.write_text(json.dumps({"baseModel": "SD 1.5"}))
    contradicted = identify(path, (info,))
    assert agreed.model is not None and contradicted.model is not None
    assert (agreed.model.base, agreed.model.subfamily, agreed.conflicts) == ("sdxl", "illustrious", ())
    assert (contradicted.model.base, len(contradicted.conflicts)) == ("sdxl", 1)


def test_overrides(tmp_path: Path) -> None:
    """The user's word about type and base wins with confidence 1 and makes an unknown file known."""
    facts = identify(write_safetensors(tmp_path / "x.safetensors", STRANGE))
    assert (facts.condition, facts.reason) == (Condition.UNKNOWN, "no-signature")
    fixed = known_as(facts, Known(type="vae", base="sdxl"))
    assert fixed.model is not None
    assert (fixed.condition, fixed.model.type, fixed.model.base, fixed.model.confidence) == (Condition.OK, "vae", "sdxl", 1.0)
    assert {e.says for e in fixed.evidence if e.source == "override"} == {"type=vae", "base=sdxl"}
    assert known_as(facts, Known()) is facts


def test_another_base_takes_the_finer_names_along(tmp_path: Path) -> None:
    """A variant and a sub-family belong to the family they were told for; a word on the type alone leaves them."""
    model = ModelFacts(
        "safetensors", "lora", "flux1", variant="dev", subfamily="kontext", confidences={"variant": 0.97, "subfamily": 0.6}
    )
    facts = Facts(tmp_path / "x.safetensors", Kind.MODEL, 1, model=model)
    other, same = known_as(facts, Known(base="sdxl")).model, known_as(facts, Known(type="vae")).model
    assert other is not None and same is not None
    assert (other.variant, other.subfamily, dict(other.confidences)) == (None, None, {"base": 1.0})
    assert (same.variant, same.subfamily) == ("dev", "kontext")


@pytest.mark.parametrize("raw", [b"", b"cos\nsystem\n(S'true'\ntR."])
def test_overrides_do_not_heal_damage(tmp_path: Path, raw: bytes) -> None:
    """Invalid and unsafe stay what they are, whatever the user calls the file."""
    (tmp_path / "x.pt").write_bytes(raw)
    facts = identify(tmp_path / "x.pt")
    assert known_as(facts, Known(type="vae", base="sdxl")) is facts


@settings(max_examples=200, deadline=None)
@given(
    raw=st.binary(max_size=300),
    magic=st.sampled_from(
        [
            b"",
            b"GGUF",
            b"PK\x03\x04",
            b"\x80\x02",
            b"\x40\0\0\0\0\0\0\0{",
            b"\x1f\x8b\x08",
            b"BZh9",
            b"\xfd7zXZ\0",
            b"RIFF1234WEBP",
        ]
    ),
    suffix=st.sampled_from([".safetensors", ".pt", ".gguf", ".zip", ".tar", ".jpg", ".txt", ".bin", ""]),
)
def test_no_bytes_raise(tmp_path_factory: pytest.TempPathFactory, raw: bytes, magic: bytes, suffix: str) -> None:
    """Whatever a file holds and is called, it becomes Facts."""
    path = tmp_path_factory.mktemp("i") / f"x{suffix}"
    path.write_bytes(magic + raw)
    assert isinstance(identify(path), Facts)
