import mmap
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.daemon.looking import look, look_many, writer
from dropdock.daemon.settling import Look
from dropdock.rules.ignores import Ignores
from dropdock.rules.terms import Stamp

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="leases are Linux's")


def no_format(path: Path) -> bool | None:
    return None


def test_a_file_at_rest(tmp_path: Path) -> None:
    """The stamp is that of the disk, and the readers say whether the file is whole."""
    path = tmp_path / "x.png"
    path.write_text("abc")
    found = path.lstat()
    seen = look(path, whole=lambda p: p == path)
    assert seen.stamp == Stamp(3, found.st_mtime_ns, found.st_ino, found.st_dev) and seen.whole is True


@linux
def test_who_writes(tmp_path: Path) -> None:
    """A writer is seen while it has the file open, be it to append or through a mapping; a reader is none."""
    path = tmp_path / "x.bin"
    path.write_bytes(b"x" * 100)
    with path.open("rb"):
        assert writer(path) is False
    with path.open("ab"):
        assert writer(path) is True
        assert look(path, whole=lambda p: True).whole is None  # it is not asked of what is being written
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 100)
    assert writer(path) is True
    mapped.close()
    assert writer(path) is False


@linux
def test_a_writer_in_another_process(tmp_path: Path) -> None:
    """Another process's open file counts, and its end ends it."""
    path = tmp_path / "x.bin"
    path.write_bytes(b"x")
    to_child, from_child = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.open(path, os.O_WRONLY)
        os.write(from_child[1], b"1")
        os.read(to_child[0], 1)
        os._exit(0)
    os.read(from_child[0], 1)
    try:
        assert writer(path) is True
    finally:
        os.write(to_child[1], b"1")
        os.waitpid(child, 0)
        for fd in (*to_child, *from_child):
            os.close(fd)
    assert writer(path) is False


def test_nothing_to_take(tmp_path: Path) -> None:
    """A missing path is gone; a symlink, a fifo and a plain folder are there but nothing to take, and none is opened."""
    (tmp_path / "target").write_text("x")
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    assert look(tmp_path / "none") == look(tmp_path / "target/below") == Look(None, gone=True)
    assert look_many([tmp_path / n for n in ("link", "fifo", "folder")], tmp_path) == [Look(None)] * 3


def test_what_lies_beside(tmp_path: Path) -> None:
    """Names that may be of the unit are listed; other stems, ignored names, links and temporary names are not."""
    for name in ("x.safetensors", "x.json", "x.preview.png", "xy.json", "x2.png", "x.bak.json", "x.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "x.yaml").symlink_to("x.json")
    seen = look_many([tmp_path / "x.safetensors"], tmp_path, Ignores(["*.txt"]), no_format)[0]
    assert seen.beside == ("x.json", "x.preview.png") and seen.pending is None


@pytest.mark.parametrize("temp", ["x.safetensors.part", "x.safetensors.aria2", ".x.safetensors.Ab12Cd"])
def test_a_download_beside_holds_the_unit(tmp_path: Path, temp: str) -> None:
    """A fresh temporary file of the same stem is pending for every file of the unit; one that nobody wrote to for long is not."""
    for name in ("x.preview.png", "x.safetensors", "y.png", temp):
        (tmp_path / name).write_text("")
    pending = [s.pending for s in look_many([tmp_path / n for n in ("x.preview.png", "x.safetensors", "y.png")], tmp_path)]
    assert pending == [temp, temp, None]
    os.utime(tmp_path / temp, (1, 1))
    assert look(tmp_path / "x.preview.png").pending is None


def test_a_hugging_face_download_holds_its_folder(tmp_path: Path) -> None:
    """While its tools fetch into a folder, what is there already waits; finished downloads hold nothing."""
    cache = tmp_path / "flux/.cache/huggingface/download/vae"
    cache.mkdir(parents=True)
    (cache / "abc.incomplete").write_text("")
    (tmp_path / "flux/model_index.json").write_text("{}")
    (tmp_path / "top.png").write_text("")
    paths = [tmp_path / "flux/model_index.json", tmp_path / "flux", tmp_path / "top.png"]
    assert [s.pending for s in look_many(paths, tmp_path)] == ["abc.incomplete", "abc.incomplete", None]
    (cache / "abc.incomplete").unlink()
    assert [s.pending for s in look_many(paths, tmp_path)] == [None, None, None]


def test_a_folder_that_is_one_model(tmp_path: Path) -> None:
    """Its files name the topmost such folder; the folder itself has the size of all and the newest time; the root is never one."""
    flux = tmp_path / "flux"
    (flux / "vae").mkdir(parents=True)
    (flux / "model_index.json").write_text("{}")
    (flux / "vae/config.json").write_text("{}")
    (flux / "vae/diffusion_pytorch_model.safetensors").write_text("12345")
    os.utime(flux / "vae/config.json", ns=(0, 4_000_000_000_000_000_000))
    (tmp_path / "model_index.json").write_text("{}")
    weights, whole = look_many([flux / "vae/diffusion_pytorch_model.safetensors", flux], tmp_path, whole=no_format)
    assert weights.folder == whole.folder == flux
    assert whole.stamp == Stamp(9, 4_000_000_000_000_000_000, flux.stat().st_ino, flux.stat().st_dev)
    assert look(tmp_path / "model_index.json", tmp_path).folder is None
    shutil.rmtree(flux / "vae")
    (flux / "model_index.json").unlink()
    assert look(flux, tmp_path) == Look(None)


def test_what_was_whole_is_not_opened_again(tmp_path: Path) -> None:
    """A second look asks the readers only of what was not whole before, or was touched since, be it without a new size or mtime."""
    path = tmp_path / "x.png"
    path.write_text("abc")
    asked: list[Path] = []

    def whole(one: Path) -> bool:
        asked.append(one)
        return True

    def again(before: Look) -> Look:
        return look_many([path], tmp_path, whole=whole, before=[before])[0]

    first = look(path, whole=whole)
    assert again(first) == first and len(asked) == 1
    again(replace(first, whole=False))
    assert len(asked) == 2
    again(replace(first, changed=first.changed - 1))
    assert len(asked) == 3
    again(replace(first, stamp=Stamp(2, 0, 0, 0)))
    assert len(asked) == 4
