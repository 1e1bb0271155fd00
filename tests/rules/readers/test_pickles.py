"""Pickles are read without running them, and judged by what they name."""

import io
import os
import pickle
from pathlib import Path

import pytest
from dropdock.rules.header import Damaged, Header
from dropdock.rules.readers import torchfile
from dropdock.rules.readers.globals import Global, judge
from dropdock.rules.readers.pickles import Pickled, walk
from dropdock.rules.terms import Condition
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import Call, Pickler, Stub, Whole, stubs, write_torch_legacy, write_torch_zip

TENSORS = {"a.weight": ("F16", (4, 8)), "a.bias": ("F32", (4,))}


def walked(raw: bytes) -> Pickled | Damaged:
    return walk(io.BytesIO(raw))


def trust(raw: bytes) -> Condition | str:
    found = walked(raw)
    return found.trust if isinstance(found, Pickled) else found.reason


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_act_is_unsafe_and_does_not_act(tmp_path: Path, protocol: int) -> None:
    """In every protocol the call is found, and it is not made."""
    target = tmp_path / "made"
    assert trust(pickle.dumps({"x": Evil(str(target))}, protocol)) is Condition.UNSAFE
    assert not target.exists()


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("torch._utils _rebuild_tensor_v2", Condition.OK),
        ("torch FloatStorage", Condition.OK),
        ("torch bfloat16", Condition.OK),
        ("collections OrderedDict", Condition.OK),
        ("numpy.core.multiarray scalar", Condition.OK),
        ("numpy._core.multiarray _reconstruct", Condition.OK),
        ("pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint", Condition.OK),
        ("ultralytics.nn.tasks DetectionModel", Condition.NEEDS_TRUST),
        ("torch.nn.modules.conv Conv2d", Condition.NEEDS_TRUST),
        ("torch.nn.modules.utils _ntuple", Condition.UNSAFE),
        ("ultralytics.utils.checks check_requirements", Condition.UNSAFE),
        ("torch.hub load_state_dict_from_url", Condition.UNSAFE),
        ("torch load", Condition.UNSAFE),
        ("builtins eval", Condition.UNSAFE),
        ("builtins getattr", Condition.UNSAFE),
        ("collections OrderedDict.__init__.__globals__", Condition.UNSAFE),
        ("torch.nn.modules.conv Conv2d.__init__.__globals__", Condition.UNSAFE),
        ("some.package Thing", Condition.UNSAFE),
        ("os system", Condition.UNSAFE),
        ("posix system", Condition.UNSAFE),
    ],
)
def test_globals_are_judged_by_an_allow_list(label: str, expected: Condition) -> None:
    """Builders of tensors are plain, classes of known packages need trust, and whatever no list names is unsafe."""
    module, _, name = label.partition(" ")
    assert judge(Global(module, name)) is expected


@pytest.mark.parametrize(
    "raw",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x04true\x85R.",
        b"\x80\x02\x82\x01.",
        b"\x80\x04Nh\x00\x93.",
        b"cos\nsystem\n(S'true'\ntR",
    ],
    ids=["global", "inst", "obj", "memoised names", "extension", "computed name", "no stop"],
)
def test_tricks_are_unsafe(raw: bytes) -> None:
    """Each way to name something callable is seen, memo or no memo, whole or cut off after the call."""
    assert trust(raw) is Condition.UNSAFE


def test_tensors_come_out(tmp_path: Path) -> None:
    """Names, dtypes and shapes are those of the state dict, below wrappers, in both of torch's layouts."""
    for value in (stubs(TENSORS), {"state_dict": stubs(TENSORS), "epoch": 3}, {"params_ema": stubs(TENSORS)}):
        for found in (
            torchfile.read_zip(write_torch_zip(tmp_path / "z.pt", value)),
            torchfile.read_legacy(write_torch_legacy(tmp_path / "l.pt", value)),
        ):
            assert isinstance(found, Header)
            assert (dict(found.tensors), found.trust) == (TENSORS, Condition.OK)


def test_whole_modules_need_trust_and_give_their_tensors(tmp_path: Path) -> None:
    """A module pickled as an object is flattened to the names that state_dict() would give."""
    conv = Whole("torch.nn.modules.conv.Conv2d", {"weight": Stub("F16", (8, 3, 3, 3))})
    value = {"model": Whole("ultralytics.nn.tasks.DetectionModel", {"0": conv})}
    found = torchfile.read_zip(write_torch_zip(tmp_path / "y.pt", value))
    assert isinstance(found, Header)
    assert (found.trust, dict(found.tensors)) == (Condition.NEEDS_TRUST, {"0.weight": ("F16", (8, 3, 3, 3))})


def test_two_pickles_in_one_zip_are_unsafe(tmp_path: Path) -> None:
    """A second data.pkl, in whatever folder or case, makes it unclear what would be loaded."""
    path = write_torch_zip(tmp_path / "x.pt", stubs(TENSORS), more={"other/DATA.pkl": b"N."})
    found = torchfile.read_zip(path)
    assert isinstance(found, Header)
    assert (found.trust, found.reason) == (Condition.UNSAFE, "two-pickles")


def test_headers_that_disagree_are_unsafe(tmp_path: Path) -> None:
    """A member whose own header names another file than the directory does is a trick."""
    path = write_torch_zip(tmp_path / "x.pt", stubs(TENSORS))
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"archive/data.pkl", b"archive/date.pkl", 1))
    found = torchfile.read_zip(path)
    assert isinstance(found, Header)
    assert (found.trust, found.reason) == (Condition.UNSAFE, "header-mismatch")


@pytest.mark.parametrize("place", range(5))
def test_every_pickle_of_a_stream_is_judged(tmp_path: Path, place: int) -> None:
    """A legacy stream is five pickles, each loaded as it comes: one that calls something is unsafe, though the rest is damaged for it."""
    parts = [pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {}, {"a": 1}, [])]
    parts[place] = b"cos\nsystem\n(S'true'\ntR."
    (tmp_path / "l.pt").write_bytes(b"".join(parts))
    found = torchfile.read_legacy(tmp_path / "l.pt")
    assert isinstance(found, Header)
    assert (found.trust, found.reason) == (Condition.UNSAFE, "runs-code")


def test_cut_files_are_damage(tmp_path: Path) -> None:
    """A ZIP without its end and a legacy stream without its storages are truncated."""
    for path, read in (
        (write_torch_zip(tmp_path / "z.pt", stubs(TENSORS)), torchfile.read_zip),
        (write_torch_legacy(tmp_path / "l.pt", stubs(TENSORS)), torchfile.read_legacy),
    ):
        os.truncate(path, path.stat().st_size - 10)
        found = read(path)
        assert isinstance(found, Damaged)
        assert found.reason == "truncated-data"


def test_shared_containers_do_not_explode() -> None:
    """A pickle of nested pairs that share one list 2^40 times is walked in its own size."""
    raw = (
        b"\x80\x02]q\x00"
        + b"".join(b"]q" + bytes([i]) + b"(h" + bytes([i - 1]) + b"h" + bytes([i - 1]) + b"e" for i in range(1, 41))
        + b"."
    )
    assert isinstance(walked(raw), Pickled)


def test_a_call_beside_tensors_is_found() -> None:
    """A state dict with one call in it is unsafe, whatever else it holds."""
    assert trust(Pickler().dumps({**stubs(TENSORS), "x": Call("builtins", "eval", "1")})) is Condition.UNSAFE


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise(raw: bytes) -> None:
    """Random opcodes are walked or refused, never an exception."""
    assert isinstance(walked(b"\x80\x02" + raw), Pickled | Damaged)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**4), st.binary(min_size=1, max_size=5))
def test_mutated_pickles_never_raise(at: int, patch: bytes) -> None:
    """A good pickle with some bytes overwritten is walked or refused, never an exception."""
    raw = bytearray(Pickler().dumps({"state_dict": stubs(TENSORS), "x": [1, (2, None)], "y": 2**70}))
    raw[at % len(raw) : at % len(raw) + len(patch)] = patch
    assert isinstance(walked(bytes(raw)), Pickled | Damaged)
