"""Which files a GGUF captioner is made of: by path, by name in the hub, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from dropdock.handlers.captioners.gguf_files import find


def put(path: Path, data: bytes = b"GGUF\3\0\0\0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def kept(hub: Path, name: str) -> Path:
    """A file as the hub keeps it."""
    digest = f"{abs(hash(name)):016x}" * 4
    return put(hub / digest[:2] / digest / name)


def test_the_half_beside_the_model_is_taken(tmp_path: Path) -> None:
    """The nearest name first, then the most precise; a half that is named is taken as named."""
    model = put(tmp_path / "Qwen2.5-VL-7B-Instruct-Q8_0.gguf")
    other = put(tmp_path / "mmproj-gemma-3-4b-f16.gguf")
    half = put(tmp_path / "mmproj-Qwen2.5-VL-7B-Instruct-f16.gguf")
    put(tmp_path / "mmproj-Qwen2.5-VL-7B-Instruct-Q4_0.gguf")
    assert find(str(model), "", "") == (model, half)
    assert find(str(model), str(other), "") == (model, other)


def test_a_folder_is_a_model(tmp_path: Path) -> None:
    """The one model in it, the first part of one that was split."""
    first = put(tmp_path / "m" / "big-00001-of-00002.gguf")
    put(tmp_path / "m" / "big-00002-of-00002.gguf")
    half = put(tmp_path / "m" / "MMPROJ.gguf")
    assert find(str(tmp_path / "m"), "", "") == (first, half)


def test_a_name_is_looked_up_in_the_hub(tmp_path: Path) -> None:
    """Part of a name is enough where it means one model; its half is found by the name they share."""
    model = kept(tmp_path, "Qwen3-VL-8B-Instruct-Q8_0.gguf")
    half = kept(tmp_path, "mmproj-Qwen3-VL-8B-Instruct-F16.gguf")
    kept(tmp_path, "mmproj-gemma-3-4b-it-F16.gguf")
    kept(tmp_path, "flux1-dev-Q8_0.gguf")
    assert find("qwen3-vl-8b", "", str(tmp_path)) == (model, half)
    assert find("Qwen3-VL-8B-Instruct-Q8_0.gguf", "", str(tmp_path)) == (model, half)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("qwen", "no GGUF model in the hub"),
        ("flux", "may be flux-a.gguf or flux-b.gguf"),
        ("gemma", "no vision half"),
        ("./x.gguf", "no file"),
    ],
)
def test_what_is_not_found_says_where_was_looked(tmp_path: Path, name: str, said: str) -> None:
    """An unknown name, an ambiguous one, a model without its half, a path to nothing."""
    for known in ("flux-a.gguf", "flux-b.gguf", "gemma-3-4b.gguf", "mmproj-llava-1.gguf"):
        kept(tmp_path, known)
    with pytest.raises(ValueError, match=said):
        find(str(tmp_path / name) if name.startswith("./") else name, "", str(tmp_path))


def test_another_file_is_refused(tmp_path: Path) -> None:
    """The first bytes say what it is."""
    model, half = put(tmp_path / "m.gguf", b"PK\3\4...."), put(tmp_path / "mmproj.gguf")
    with pytest.raises(ValueError, match="is no GGUF file"):
        find(str(model), str(half), "")
    with pytest.raises(ValueError, match="holds no GGUF model"):
        find(str(put(tmp_path / "empty" / "x.txt").parent), "", "")
