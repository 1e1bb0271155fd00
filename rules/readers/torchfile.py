"""Files of torch.save: the ZIP of today, the stream of pickles before torch 1.6, and a bare pickle. Never unpickled.

What must hold: the one `*/data.pkl` is stored, unencrypted, and both its headers agree, else the file is unsafe, because a
scanner and torch could read two different pickles; what else could be loaded as a pickle is judged too (hidden.py). At most 64 MB
of pickle are walked. A legacy stream must have room for its storages, else it is cut off. Layout: torch/serialization.py.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import BinaryIO

from ..header import Damaged, Header
from ..terms import Condition
from . import hidden
from .bounded import Bounded
from .canonical import BITS
from .pickles import Pickled, walk
from .zipdir import ZipMember, data_at, read_directory

MAX_PICKLE = 64 << 20
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def is_torch_zip(members: tuple[ZipMember, ...]) -> bool:
    """Does this ZIP directory belong to torch.save (or TorchScript)? Pure."""
    return any(map(_is_data, members))


def _is_data(member: ZipMember) -> bool:
    """Is it called data.pkl, in any case? torch's own ZIP reader (miniz) asks for it without regard to that."""
    return re.split(rb"[/\\]", member.raw)[-1].lower() == b"data.pkl"


def read_zip(path: Path) -> Header | Damaged:
    """Read the header of a torch ZIP, or what one that only is called so hides. Raises OSError only when it cannot be opened or read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        members = read_directory(file, size)
        if isinstance(members, Damaged):
            return members
        pickles = [m for m in members if _is_data(m)]
        if not pickles:
            return hidden.instead(file, size, members) or Damaged("not-a-model", "the ZIP holds no data.pkl")
        trick = _trick(file, pickles)
        if trick:
            return Header("torch-zip", size, {}, trust=Condition.UNSAFE, reason=trick.reason, why=trick.text)
        where = data_at(file, pickles[0])
        if isinstance(where, Damaged) or pickles[0].size > MAX_PICKLE:
            return Damaged("pickle-too-large", f"data.pkl is {pickles[0].size} bytes long; more than {MAX_PICKLE} is not read")
        file.seek(where)
        walked = walk(io.BytesIO(file.read(pickles[0].size)))
        more = hidden.beside(file, size, members, pickles)
    if more is not None and more.trust is Condition.UNSAFE and not (isinstance(walked, Pickled) and walked.trust is more.trust):
        return more
    if isinstance(walked, Damaged):
        return walked
    if any(m.name.endswith("/constants.pkl") for m in members) and walked.trust is not Condition.UNSAFE:
        return _header(
            "torch-zip", size, walked, Condition.NEEDS_TRUST, "torchscript", "a TorchScript program: it needs your trust"
        )
    if more is not None and walked.trust is Condition.OK:
        return _header("torch-zip", size, walked, more.trust, more.reason, more.why)
    return _header("torch-zip", size, walked)


def _trick(file: BinaryIO, pickles: list[ZipMember]) -> Damaged | None:
    """What makes this ZIP mean different things to different readers."""
    if len(pickles) > 1:
        return Damaged("two-pickles", "the ZIP holds more than one data.pkl, so it is not clear which would be loaded")
    if pickles[0].encrypted or pickles[0].method != 0:
        return Damaged("packed-pickle", "data.pkl is compressed or encrypted, which torch.save never does")
    if pickles[0].packed != pickles[0].size:
        return Damaged("header-mismatch", "data.pkl claims two different sizes")
    where = data_at(file, pickles[0])
    return where if isinstance(where, Damaged) else None


def _header(
    container: str, size: int, walked: Pickled, trust: Condition | None = None, reason: str | None = None, why: str = ""
) -> Header:
    return Header(
        container,
        size,
        walked.tensors,
        trust=trust or walked.trust,
        reason=reason or walked.reason,
        why=why or walked.why,
        classes=walked.classes,
        top=walked.top,
    )


def read_legacy(path: Path) -> Header | Damaged:
    """Read a legacy torch stream or a bare pickle. Raises OSError only when the file cannot be opened or read."""
    with path.open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        file = Bounded(raw, MAX_PICKLE)
        first = walk(file)
        if isinstance(first, Damaged):
            return _cut(first, file, size)
        if first.value != MAGIC:
            return _header("torch-legacy", size, first)
        return _read_stream(file, size)


def _cut(damage: Damaged, file: Bounded, size: int) -> Damaged:
    if file.spent:
        return Damaged("pickle-too-large", f"the pickle is longer than {MAX_PICKLE} bytes, which is not read")
    return Damaged("truncated-data", "the pickle ends in the middle") if file.tell() >= size else damage


def _read_stream(file: Bounded, size: int) -> Header | Damaged:
    """After the magic number: protocol, system info, the object, the storage keys, then the storages themselves."""
    walked: list[Pickled] = []
    for _ in range(4):
        part = walk(file)
        if isinstance(part, Damaged):
            return _cut(part, file, size)
        if part.trust is Condition.UNSAFE:  # whatever else is wrong with it: each is loaded as it comes
            return _header("torch-legacy", size, part)
        walked.append(part)
    protocol, _, body, _ = walked
    if protocol.value != PROTOCOL:
        return Damaged("bad-pickle", f"the torch protocol {protocol.value!r} is not known")
    needed = file.tell() + sum(8 + count * BITS.get(dtype, 0) // 8 for dtype, count in body.storages.values())
    if needed > size:
        return Damaged("truncated-data", f"{needed - size} of {needed} bytes are missing")
    return _header("torch-legacy", size, body)
