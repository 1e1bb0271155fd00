"""Completeness by format: what is_whole says of whole, cut and unknown files."""

import zipfile
from pathlib import Path

import pytest
from dropdock.rules.readers.whole import is_whole
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import stubs, write_gguf, write_safetensors, write_torch_zip
from PIL import Image

TENSORS = {"a": ("F16", (64, 32))}


def make(folder: Path, form: str) -> Path:
    path = folder / f"x.{form}"
    if form == "safetensors":
        return write_safetensors(path, TENSORS)
    if form == "gguf":
        return write_gguf(path, TENSORS)
    if form == "pt":
        return write_torch_zip(path, stubs(TENSORS))
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", b"1" * 100)
        return path
    Image.effect_noise((64, 64), 90).convert("RGB").save(path)
    return path


FORMS = ["safetensors", "gguf", "pt", "zip", "png", "jpg", "webp", "bmp"]


@pytest.mark.parametrize("form", FORMS)
def test_whole_and_cut(tmp_path: Path, form: str) -> None:
    """Each format is whole when it is, and is never called whole at any earlier size."""
    path = make(tmp_path, form)
    assert is_whole(path) is True
    raw = path.read_bytes()
    for part in (0.1, 0.5, 0.9):
        cut = tmp_path / f"cut.{form}"
        cut.write_bytes(raw[: int(len(raw) * part)])
        assert is_whole(cut) in (False, None)
    cut.write_bytes(raw[:-64])
    assert is_whole(cut) is False


def test_nothing_can_be_told(tmp_path: Path) -> None:
    """Empty files, text, and a download whose room is reserved but still zeros give None."""
    path = tmp_path / "x.safetensors"
    for content in (b"", b"\0" * 5000, b"some words, long enough to be read as a length"):
        path.write_bytes(content)
        assert is_whole(path) is None


def test_jpegs_with_something_behind(tmp_path: Path) -> None:
    """Padding, a little garbage or an appended second picture do not make a JPEG unfinished."""
    raw = make(tmp_path, "jpg").read_bytes()
    path = tmp_path / "y.jpg"
    for behind in (b"\0" * 4000, b"\r\n", b"garbage", raw):
        path.write_bytes(raw + behind)
        assert is_whole(path) is True


def test_a_safetensors_with_too_much_is_not_waited_for(tmp_path: Path) -> None:
    """Damage that more bytes would not mend is None, not False, so nobody waits for it."""
    path = make(tmp_path, "safetensors")
    with path.open("ab") as file:
        file.write(b"more")
    assert is_whole(path) is None


@settings(max_examples=150, deadline=None)
@given(
    raw=st.binary(max_size=600),
    form=st.sampled_from([b"", b"GGUF", b"PK\x03\x04", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBP"]),
)
def test_no_bytes_raise(tmp_path_factory: pytest.TempPathFactory, raw: bytes, form: bytes) -> None:
    """Whatever the file holds, the answer is yes, no or unknown."""
    path = tmp_path_factory.mktemp("w") / "x"
    path.write_bytes(form + raw)
    assert is_whole(path) in (True, False, None)
