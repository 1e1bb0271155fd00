"""A ZIP that is called like a torch file hides no pickle: whatever its name, folder, protocol or packing, it is found or refused."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
from dropdock.rules.header import Damaged, Header
from dropdock.rules.identify import header_of, identify
from dropdock.rules.readers import hidden, pickles, torchfile
from dropdock.rules.terms import Condition, Kind
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import stubs, write_torch_zip

TENSORS = {"a.weight": ("F16", (4, 8)), "a.bias": ("F32", (4,))}
EVIL = b"cos\nsystem\n(S'true'\ntR."
UNANNOUNCED = b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."  # protocol 4 without its first opcode
PLAIN = pickle.dumps({"a": 1}, 2)


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def found(path: Path) -> tuple[Kind, Condition, str | None]:
    facts = identify(path)
    return facts.kind, facts.condition, facts.reason


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pt2"])
@pytest.mark.parametrize("name", ["x/weights", "data.pk1", "x/y/z.pkl", "x/data/0", "x/code/a.py"])
def test_a_renamed_pickle_is_found_by_its_first_bytes(tmp_path: Path, suffix: str, name: str) -> None:
    """Without data.pkl, every member is a suspect, in whatever folder: the file is a model that is unsafe, never an archive."""
    path = zipped(tmp_path / f"a{suffix}", {"x/version": b"3\n", name: pickle.dumps({"x": Evil("/nowhere")}, 2)})
    assert found(path) == (Kind.MODEL, Condition.UNSAFE, "runs-code")
    assert isinstance(header_of(path), Header)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_found_packed_or_not(tmp_path: Path, protocol: int) -> None:
    """Stored and deflated; with a data.pkl beside it that is harmless, and without."""
    evil = pickle.dumps({"x": Evil("/nowhere")}, protocol)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert found(zipped(tmp_path / "a.pt", {"x/y": evil}, method))[1:] == (Condition.UNSAFE, "runs-code")
    beside = write_torch_zip(tmp_path / "b.pt", stubs(TENSORS), more={"archive/extra": evil})
    assert found(beside) == (Kind.MODEL, Condition.UNSAFE, "runs-code")


@pytest.mark.parametrize(
    "raw",
    [EVIL, UNANNOUNCED, EVIL[:-1], EVIL + b"\xff" * 99, b"cnot a\nname\n0" + EVIL],
    ids=["text", "no proto", "no stop", "tail", "odd name first"],
)
def test_a_pickle_that_does_not_announce_itself_is_found(tmp_path: Path, raw: bytes) -> None:
    """PROTO is optional, and what comes before damage would already have run."""
    assert found(zipped(tmp_path / "a.pt", {"x/y": raw}))[1:] == (Condition.UNSAFE, "runs-code")


@pytest.mark.parametrize(
    "raw", [PLAIN, b"\x80\x02" + b"\xff" * 40, b"PK\x03\x04" + b"x" * 40], ids=["plain", "unreadable", "nested"]
)
def test_what_is_only_strange_needs_trust(tmp_path: Path, raw: bytes) -> None:
    """A harmless pickle under another name, one that cannot be read, an archive in the archive: for a person to decide."""
    assert found(zipped(tmp_path / "a.pt", {"x/y": raw})) == (Kind.MODEL, Condition.NEEDS_TRUST, "hidden-pickle")


def test_data_pkl_in_any_case_is_the_one_that_torch_loads(tmp_path: Path) -> None:
    """torch's reader compares names without regard to case, so a file of any name with such a member is a model."""
    for name in ("x/DATA.PKL", "x/Data.pkl"):
        assert found(zipped(tmp_path / "a.zip", {name: EVIL})) == (Kind.MODEL, Condition.UNSAFE, "runs-code")


def test_what_cannot_be_looked_at_is_refused(tmp_path: Path) -> None:
    """Another packing than deflate, and a local header that says something else, are tricks."""
    path = zipped(tmp_path / "a.pt", {"x/y": EVIL}, zipfile.ZIP_LZMA)
    assert found(path)[1:] == (Condition.UNSAFE, "packed-pickle")
    path = zipped(tmp_path / "b.pt", {"x/y": EVIL})
    path.write_bytes(path.read_bytes().replace(b"x/y", b"x/z", 1))
    assert found(path)[1:] == (Condition.UNSAFE, "header-mismatch")


def test_limits_do_not_make_it_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More members, or more bytes, than are looked through: not called safe."""
    monkeypatch.setattr(hidden, "MOST", 3)
    many = {f"x/{n}": b"\0" for n in range(4)}
    assert found(zipped(tmp_path / "a.pt", many))[1:] == (Condition.NEEDS_TRUST, "hidden-pickle")
    monkeypatch.setattr(hidden, "BUDGET", 50)
    long = b"(" * 60 + EVIL
    assert found(zipped(tmp_path / "b.pt", {"x/y": long}))[1:] == (Condition.NEEDS_TRUST, "hidden-pickle")


def test_padding_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More instructions than are walked, before or behind the call: it is named where it was seen, and not called safe where it was not."""
    monkeypatch.setattr(pickles, "MAX_OPCODES", 20)
    padding, call = b"N0" * 30, EVIL[:-1]
    for members, trust in (({"x": call + padding}, Condition.UNSAFE), ({"x": padding + EVIL}, Condition.NEEDS_TRUST)):
        for path in (zipped(tmp_path / "a.pt", members), write_torch_zip(tmp_path / "b.pt", {"a": 1}, more=members)):
            assert found(path)[:2] == (Kind.MODEL, trust)
    data = zipped(tmp_path / "c.pt", {"a/data.pkl": call + padding})
    assert found(data) == (Kind.MODEL, Condition.UNSAFE, "runs-code")


def test_what_torch_itself_writes_stays_as_it_was(tmp_path: Path) -> None:
    """Storages that begin like a pickle, texts and marks beside data.pkl accuse nobody; code beside it is the TorchScript it was."""
    marks = {"archive/byteorder": b"little", "archive/.data/serialization_id": b"0636151812345", "archive/.format_version": b"1"}
    path = write_torch_zip(tmp_path / "a.pt", stubs(TENSORS), more={**marks, "archive/data/77": b"\x80\x02" + EVIL})
    header = torchfile.read_zip(path)
    assert isinstance(header, Header) and (header.trust, dict(header.tensors)) == (Condition.OK, TENSORS)
    code = b"class Net(Module):\n  __parameters__ = []\n  training : bool\n"
    script = {
        "archive/constants.pkl": b"\x80\x02).",
        "archive/code/__torch__/net.py": code,
        "archive/code/b.py": b"import torch\nx\n",
    }
    header = torchfile.read_zip(write_torch_zip(tmp_path / "b.pt", stubs(TENSORS), more=script))
    assert isinstance(header, Header) and (header.trust, header.reason) == (Condition.NEEDS_TRUST, "torchscript")


def test_an_archive_without_pickles_is_an_archive_whatever_it_is_called(tmp_path: Path) -> None:
    """Pictures in a ZIP called .pt, and a pickle in a ZIP called .zip: listed, as before."""
    pictures = {"cats/1.txt": b"a cat", "cats/2.png": b"\x89PNG\r\n\x1a\n"}
    assert found(zipped(tmp_path / "a.pt", pictures))[:2] == (Kind.ARCHIVE, Condition.OK)
    assert header_of(tmp_path / "a.pt") is None
    assert found(zipped(tmp_path / "a.zip", {"x/y": PLAIN}))[:2] == (Kind.ARCHIVE, Condition.OK)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["a/data.pkl", "a/b", "a/data/0", "c"]), st.binary(max_size=60)), st.booleans())
def test_whatever_stands_in_it_is_data(tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes], packed: bool) -> None:
    """Any bytes are answered with a header or damage."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    path = tmp_path_factory.getbasetemp() / "any.pt"
    path.write_bytes(held.getvalue())
    assert isinstance(torchfile.read_zip(path), Header | Damaged)
