"""The compact header: it answers as the file does, to the byte; it is small, canonical, and nothing broken comes out of it."""

import hashlib
import json
import shutil
import zlib
from pathlib import Path

import pytest
from dropdock.rules.compact import FORMAT, MAX_PLAIN, Compact, facts_of, pack, read_compact, table_version, unpack
from dropdock.rules.explain import as_json, explanation
from dropdock.rules.header import Header
from dropdock.rules.identify import identify
from dropdock.rules.signatures import load_yaml
from dropdock.rules.terms import Condition, Evidence, Verdict
from hypothesis import given
from hypothesis import strategies as st
from model_files import Call, load_corpus, stubs, write_case, write_gguf, write_safetensors, write_torch_legacy, write_torch_zip

CASES = load_corpus(Path(__file__).parent.parent / "data" / "models.jsonl.gz")
LORA = {
    f"lora_unet_down_blocks_{i}_attentions_0_transformer_blocks_0_attn2_to_k.{part}": ("F16", shape)
    for i in (1, 2)
    for part, shape in (("lora_down.weight", (8, 2048)), ("lora_up.weight", (640, 8)), ("alpha", ()))
}


def identity(facts) -> str:
    return as_json(explanation(facts, Verdict(None)))


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("case", CASES, ids=[str(c["id"]) for c in CASES])
def test_it_answers_as_the_file_does(tmp_path, case):
    """Packed, unpacked and asked after the file is gone, it gives the very JSON that the file gave; damage has no header to keep."""
    path = write_case(tmp_path, case)
    told = identify(path)
    compact = read_compact(path)
    if compact is None:
        assert told.condition is Condition.INVALID or told.model is None
        return
    remove(path)
    packed = pack(compact)
    assert packed is not None and len(packed) < 120_000
    back = unpack(packed)
    assert back == compact and pack(back) == packed
    assert identity(facts_of(back, path)) == identity(told)


def test_what_stands_beside_the_file_is_kept_too(tmp_path):
    """A missing shard, an old pickle, a pickle that wants trust, and the words of sidecars: all of it is told from memory."""
    shard = write_safetensors(tmp_path / "model-00001-of-00002.safetensors", LORA)
    unsafe = write_torch_zip(tmp_path / "unsafe.ckpt", {"x": Call("os", "system", "true"), **stubs(LORA)})
    legacy = write_torch_legacy(tmp_path / "old.pt", stubs(LORA))
    gguf = write_gguf(tmp_path / "g.bin", {"a": ("F16", (2,))}, {"general.architecture": "flux", "tokens": ["a"] * 500})
    said = write_safetensors(tmp_path / "said.safetensors", LORA)
    info = tmp_path / "said.civitai.info"
    info.write_text(json.dumps({"baseModel": "Pony", "model": {"type": "LORA"}}))
    for path, companions in ((shard, ()), (unsafe, ()), (legacy, ()), (gguf, ()), (said, (info,))):
        told, compact = identify(path, companions), read_compact(path, companions)
        remove(path)
        back = unpack(pack(compact), compact.said)
        assert identity(facts_of(back, path)) == identity(told), path.name
    assert read_compact_of_nothing(tmp_path)


def test_a_folder_without_weights_is_remembered_so(tmp_path):
    """Which parts have no weights is told from memory; what was kept before that was asked is whole, as it was."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "U"]})
    )
    compact = read_compact(tmp_path)
    packed = pack(compact)
    assert identity(facts_of(unpack(packed), tmp_path)) == identity(identify(tmp_path))
    old = json.loads(zlib.decompress(packed))
    old["folder"].pop()
    assert facts_of(unpack(zlib.compress(json.dumps(old).encode())), tmp_path).condition is Condition.OK


def read_compact_of_nothing(folder: Path) -> bool:
    (folder / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "plain").mkdir()
    return read_compact(folder / "cat.png") is None and read_compact(folder / "plain") is None


def test_a_long_text_in_the_metadata_is_cut(tmp_path):
    """A megabyte of picture in the metadata costs the store nothing, and changes no answer."""
    path = write_safetensors(
        tmp_path / "x.safetensors", LORA, {"modelspec.thumbnail": "a1" * 500_000, "ss_base_model_version": "sdxl"}
    )
    compact = read_compact(path)
    assert len(compact.header.metadata["modelspec.thumbnail"]) == 16384 and len(pack(compact)) < 2000
    assert identity(facts_of(compact, path)) == identity(identify(path))


def test_what_is_too_large_is_not_kept():
    """A header that would not fit the cap is not kept: its file is asked when it is needed."""
    noise = {hashlib.sha256(str(n).encode()).hexdigest(): ("F16", (n,)) for n in range(40_000)}
    assert pack(Compact(Header("safetensors", 1, noise))) is None


@given(st.binary(max_size=200), st.booleans())
def test_bytes_that_are_none_of_ours_are_nothing(raw, squeezed):
    """Whatever stands there: no exception, no header."""
    assert unpack(zlib.compress(raw) if squeezed else raw) is None


LEAVES = st.none() | st.integers() | st.text(max_size=3)
PLAIN = st.recursive(
    LEAVES, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=3), x, max_size=3), max_leaves=8
)


@given(
    st.fixed_dictionaries(
        {k: PLAIN for k in ("container", "tensors", "metadata", "trust", "classes", "top", "missing", "folder")}
    )
)
def test_a_damaged_row_is_nothing_or_a_header(row):
    """JSON of another shape gives None or a whole header, never an exception."""
    found = unpack(zlib.compress(json.dumps({"format": FORMAT, "size": 1, **row}).encode()))
    assert found is None or isinstance(found.header, Header)


def test_a_bomb_is_not_unpacked():
    """More than MAX_PLAIN bytes are never made of a few."""
    assert unpack(zlib.compress(b" " * (MAX_PLAIN + 1) + b"{}")) is None


KEYS = st.text(min_size=1, max_size=8)
TENSORS = st.dictionaries(
    KEYS, st.tuples(st.sampled_from(["F16", "F8_E4M3"]), st.lists(st.integers(0, 9999), max_size=4).map(tuple))
)


@given(TENSORS, st.dictionaries(KEYS, st.text(max_size=20)), st.lists(KEYS, max_size=3).map(tuple))
def test_every_header_comes_back(tensors, metadata, classes):
    """Names of any letters, lone surrogates among them, in the same order."""
    compact = Compact(Header("gguf", 5, tensors, metadata, classes=classes), None, ("a",))
    back = unpack(pack(compact))
    assert back == compact and list(back.header.tensors) == list(tensors)
    said = (Evidence("civitai", "base=sdxl", 0.85, "so it says"),)
    assert unpack(pack(compact), said).said == said


def test_the_version_rises_with_the_tables(tmp_path, monkeypatch):
    """A table whose version rises raises the version of all; each table has one."""
    from dropdock.rules import compact

    shutil.copytree(compact.TABLES, tmp_path / "tables")
    tables = sorted((tmp_path / "tables").glob("signatures*.yaml"))
    versions = [load_yaml(table)["version"] for table in tables]
    assert table_version() == compact.CODE + sum(versions)
    tables[0].write_text(
        tables[0].read_text("utf-8").replace(f"\nversion: {versions[0]}\n", f"\nversion: {versions[0] + 1}\n"), "utf-8"
    )
    monkeypatch.setattr(compact, "TABLES", tmp_path / "tables")
    assert table_version() == compact.CODE + sum(versions) + 1
