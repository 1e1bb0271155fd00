"""The process that reads headers which may hurt: the same answers, limits that hold, and nothing left behind."""

import errno
import os
import signal
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from dropdock.daemon import header_worker
from dropdock.daemon.header_worker import Keeper, Limits, is_risky
from dropdock.rules.identify import identify
from dropdock.rules.terms import Condition, Kind
from model_files import Call, stubs, write_gguf, write_safetensors, write_torch_legacy, write_torch_zip

TENSORS = {"body.0.weight": ("F32", (64, 3, 3, 3)), "body.1.weight": ("F32", (64,)), "body.2.weight": ("F32", (64, 64, 3, 3))}
unix = pytest.mark.skipif(sys.platform == "win32", reason="the limits are those of Unix")


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    made = Keeper()
    yield made
    made.close()


def test_the_answers_are_the_same(tmp_path: Path, keeper: Keeper) -> None:
    """What the child says of a pickle, a compressed tar, a damaged file and a folder is to the last word what is said without it."""
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(write_safetensors(tmp_path / "m.safetensors", TENSORS), "m.safetensors")
    (tmp_path / "bad.pt").write_bytes(b"\x80\x02}q")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    write_torch_zip(tmp_path / "model" / "diffusion_pytorch_model.bin", stubs(TENSORS))
    paths = [
        write_torch_zip(tmp_path / "x4.pth", {"params_ema": stubs(TENSORS)}),
        write_torch_legacy(tmp_path / "old.pt", stubs(TENSORS)),
        write_torch_zip(tmp_path / "evil.pt", {"x": Call("os", "system", "true")}),
        tmp_path / "a.tar.gz",
        tmp_path / "bad.pt",
        tmp_path / "model",
    ]
    assert all(is_risky(p) for p in paths)
    assert [keeper.identify(p) for p in paths] == [identify(p) for p in paths]


@unix
def test_names_that_are_no_text(tmp_path: Path, keeper: Keeper) -> None:
    """A name whose bytes are not UTF-8 comes back as it went."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.pt"))
    try:
        write_torch_zip(path, stubs(TENSORS))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert keeper.identify(path) == identify(path)


def test_who_reads_what(tmp_path: Path) -> None:
    """Plain headers of a usual size are read at once; pickles, and headers that announce to be huge, are not."""
    small = write_safetensors(tmp_path / "a.safetensors", TENSORS)
    huge = tmp_path / "b.safetensors"
    huge.write_bytes(struct.pack("<Q", 40 << 20) + b'{"a": 1}')
    gguf, many = write_gguf(tmp_path / "a.gguf", TENSORS), tmp_path / "b.gguf"
    many.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 1))
    backwards = tmp_path / "c.gguf"
    backwards.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 5, 7))
    text = tmp_path / "a.txt"
    text.write_text("1girl, (smile)")
    assert [is_risky(p) for p in (small, huge, gguf, many, backwards, text, tmp_path)] == [
        False,
        True,
        False,
        True,
        False,
        False,
        False,
    ]


@unix
def test_too_much_of_the_processor(tmp_path: Path) -> None:
    """A pickle of millions of instructions that do nothing costs a second or two, is refused with the reason, and the next file is read."""
    keeper = Keeper(Limits(cpu=0))
    path, good = tmp_path / "slow.pt", write_torch_zip(tmp_path / "x4.pth", stubs(TENSORS))
    path.write_bytes(b"\x80\x02" + b"N0" * 3_990_000 + b"}.")
    try:
        found = keeper.identify(path)
        assert (found.kind, found.condition, found.reason) == (Kind.MODEL, Condition.INVALID, "refused")
        assert found.evidence[0].text == "refused: reading it took more than 0 seconds of the processor"
        assert keeper.identify(good) == identify(good)
    finally:
        keeper.close()


@unix
def test_no_memory_to_read_it(tmp_path: Path) -> None:
    """A header that wants more memory than the child may have is refused, said to be, and the next file is read by the same child."""
    big, small = (
        write_torch_zip(tmp_path / "a.pth", {"note": "x" * (30 << 20)}),
        write_torch_zip(tmp_path / "b.pth", stubs(TENSORS)),
    )
    keeper = Keeper()
    try:
        assert keeper.identify(small) == identify(small)
        assert keeper.pid is not None
        takes = psutil.Process(keeper.pid).memory_info().vms
    finally:
        keeper.close()
    keeper = Keeper(Limits(memory=takes + (10 << 20)))  # room for the small one, and not for the big one
    try:
        found = keeper.identify(big)
        assert (found.condition, found.reason) == (Condition.INVALID, "refused")
        assert "memory" in found.evidence[0].text
        assert keeper.identify(small) == identify(small)
    finally:
        keeper.close()


@unix
def test_a_disk_that_does_not_answer(tmp_path: Path) -> None:
    """What takes too long on the clock is no fault of the file: it cannot be opened now, and nothing is held against it."""
    os.mkfifo(tmp_path / "slow.pt")
    keeper = Keeper(Limits(wall=0.5))
    with pytest.raises(OSError, match="seconds") as error:
        keeper.identify(tmp_path / "slow.pt")
    assert error.value.errno == errno.ETIMEDOUT
    assert keeper.pid is None
    keeper.close()


def test_a_file_that_went(tmp_path: Path, keeper: Keeper) -> None:
    """The child's OSError is the one that reading here would have raised."""
    with pytest.raises(FileNotFoundError):
        keeper.identify(tmp_path / "gone.pt")


def test_it_ends_when_it_has_nothing_to_do(tmp_path: Path) -> None:
    """One child answers file after file; when nobody asks any more it is gone, and the next file makes another."""
    keeper = Keeper(idle=0.01)
    path = write_torch_zip(tmp_path / "x4.pth", stubs(TENSORS))
    first = keeper.identify(path)
    timer = keeper._timer
    assert timer is not None
    timer.join(30)
    assert keeper.pid is None
    assert keeper.identify(path) == first
    keeper.close()


@unix
def test_a_child_that_was_killed(tmp_path: Path, keeper: Keeper) -> None:
    """Whoever kills the child kills no file's answer: it is read by the next one."""
    path = write_torch_zip(tmp_path / "x4.pth", stubs(TENSORS))
    keeper.identify(path)
    assert keeper.pid is not None
    os.kill(keeper.pid, signal.SIGKILL)
    assert keeper.identify(path) == identify(path)


@unix
def test_whoever_kills_every_child_condemns_no_file(tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of its own limits ends a child by SIGKILL: the file could not be read just now, which is no word on the file."""
    code = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)"
    pipe = subprocess.PIPE
    monkeypatch.setattr(
        header_worker, "_start", lambda limits: subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe)
    )
    with pytest.raises(OSError, match="killed from outside") as caught:
        keeper.identify(write_torch_zip(tmp_path / "x4.pth", stubs(TENSORS)))
    assert caught.value.errno == errno.EINTR


def test_the_door(tmp_path: Path) -> None:
    """Everybody asks one function: a plain file makes no process, a pickle does."""
    header_worker._KEEPER.close()
    plain = write_safetensors(tmp_path / "a.safetensors", TENSORS)
    assert header_worker.identify(plain) == identify(plain)
    assert header_worker._KEEPER.pid is None
    risky = write_torch_zip(tmp_path / "x4.pth", stubs(TENSORS))
    assert header_worker.identify(risky) == identify(risky)
    assert header_worker._KEEPER.pid is not None
    header_worker._KEEPER.close()
