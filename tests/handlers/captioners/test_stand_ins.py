"""stand_ins: pointers, pages and empty files are told for what they are, wherever a model's files are looked for."""

from pathlib import Path

import pytest
from dropdock.handlers.captioners.gguf_files import find as find_gguf
from dropdock.handlers.captioners.offers import lacks
from dropdock.handlers.captioners.stand_ins import LFS, stand_in
from dropdock.handlers.captioners.weights import Hub, NoWeights, find
from dropdock.rules import identify
from hypothesis import given
from hypothesis import strategies as st

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 378536310\n"
LABELS = b"tag_id,name,category,count\n0,cat,0,9\n"
WHAT = {
    "pointer": (POINTER, "a git-LFS pointer, a text in place of the real file of 379 MB: fetch that with `git lfs pull`"),
    "page": (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><title>Sign in", "a web page: the download led to a login or an error"),
    "late page": (b"<!-- saved from --> <HTML lang=en>", "a web page"),
    "nothing": (b"", "an empty file: the download did not come about, fetch it again"),
    "zeros": (bytes(5000), "a file of zeros: the download reserved its room and never filled it"),
    "json": (b'{"error":"Repository not found"}', "a server's refusal instead of the file"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "a server's refusal instead of the file"),
}


@pytest.mark.parametrize("kind", WHAT)
def test_what_is_no_model_is_told_for_what_it_is(tmp_path: Path, kind: str) -> None:
    """As a tagger's model, its list of tags, a GGUF file and its vision half: by its path, with the mend, before anything loads."""
    data, words = WHAT[kind]
    for name, other in (("model.onnx", "selected_tags.csv"), ("selected_tags.csv", "model.onnx")):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_bytes(data)
        (folder / other).write_bytes(LABELS)
        with pytest.raises(NoWeights) as raised:
            find(str(folder), Hub(), lambda said: None)
        assert str(raised.value).startswith(f"{folder / name} is {words}") and "\n" not in str(raised.value)
        assert lacks("onnx", {"models": (str(folder),)}) == str(raised.value)
    for bad, good in (("a.gguf", "mmproj-a.gguf"), ("mmproj-a.gguf", "a.gguf")):
        (tmp_path / bad).write_bytes(data)
        (tmp_path / good).write_bytes(b"GGUF")
        with pytest.raises(ValueError) as wrong:
            find_gguf(str(tmp_path / "a.gguf"), "", "")
        assert str(wrong.value).startswith(f"{tmp_path / bad} is {words}")


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x07\x12\x07pytorch",
        b"GGUF\x03\0\0\0",
        LABELS,
        b'{"0": {"tag": "error"}}',
        b'{"error": 0, "cat": 1}',
        b"<3\n>_<\n",
        b"[]",
    ],
)
def test_real_files_are_no_stand_ins(tmp_path: Path, data: bytes) -> None:
    """A model, a list of tags in any form, and a tag that begins with an angle."""
    (tmp_path / "a").write_bytes(data)
    assert stand_in(tmp_path / "a") == ""


@given(st.binary(max_size=2000))
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever lies there, the answer is a text, and an empty one only for a file that is there."""
    path = tmp_path_factory.mktemp("a") / "a"
    path.write_bytes(data)
    assert bool(stand_in(path)) or data


def test_a_pointer_is_known_by_the_same_words_everywhere() -> None:
    """The word that is said twice, for the sake of a quick start, is one."""
    assert LFS == identify.LFS
