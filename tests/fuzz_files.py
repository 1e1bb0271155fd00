"""Files for fuzzing the readers: a small sound one of each kind, and ways to break it.

What must hold: the same number gives the same bytes on every machine, so that a case can be had again; seeds are small, so that a
mutation hits what is read.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from model_files import Call, stubs, write_gguf, write_safetensors, write_torch_legacy, write_torch_zip
from PIL import Image

TENSORS = {
    "double_blocks.0.img_attn.norm.key_norm.scale": ("BF16", (128,)),
    "img_in.weight": ("BF16", (64, 8)),
    "lora_unet_x.lora_down.weight": ("F16", (4, 8)),
    "a": ("F32", ()),
}
KNOWN = {
    "general.architecture": "flux",
    "general.alignment": 32,
    "list": ["a", "b", "c"],
    "numbers": [1, 2, 3],
    "f": 0.5,
    "t": True,
}
NASTY = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 62) - 1, (1 << 63) - 1, (1 << 64) - 1]
WORDS = [
    b'"', b"\\u0000", b"{", b"}", b"[" * 200, b'{"a":' * 200, b"]", b",", b"-1", b"1e999", b"null", b"true", b"__metadata__", b"F99",
    b"9" * 400, b"\xff\xfe", b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"GGUF", b"\x80\x02", b"\x80\x05\x95", b"c",
    b"cos\nsystem\n", b"\x93", b"R", b"(", b"t", b"q\x00", b"r\xff\xff\xff\xff", b"\x8a\xff", b"\x8b\xff\xff\xff\x7f", b"b", b"u", b".",
    b"../../x", b"/etc/passwd", b"\0" * 64, b"data.pkl", b"IHDR", b"IDAT", b"IEND", b"\xff\xd9", b"\xff\xc0", b"ustar", b"..",
]  # fmt: skip


def _picture(form: str) -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").resize((24, 16)).convert("RGB").save(out, form)
    return out.getvalue()


def _zipped(**how: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **how) as archive:  # type: ignore[arg-type]
        for name, data in (("a/one.png", _picture("PNG")), ("a/one.txt", b"1girl, smile"), ("../up.txt", b"x")):
            archive.writestr(
                zipfile.ZipInfo(name), data, archive.compression
            )  # with no clock in it: bytes that are the same tomorrow
    return out.getvalue()


def _tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("one.txt", "ü" * 60 + ".txt", "deep/" * 30 + "two.png"):
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
    return out.getvalue()


def _written(write: Callable[[Path], Path]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / "x").read_bytes()


def seeds() -> dict[str, bytes]:
    """Name -> a sound file of that kind; the names' suffixes are those that such files have."""
    nested: dict[str, object] = {"state_dict": stubs(TENSORS), "epoch": 3, "args": {"lr": 0.1, "names": ["a", ("b", None)]}}
    tar = _tarred()
    return {
        "plain.safetensors": _written(lambda p: write_safetensors(p, TENSORS, {"modelspec.architecture": "flux-1-dev/lora"})),
        "bare.safetensors": _written(lambda p: write_safetensors(p, TENSORS)),
        "model.gguf": _written(lambda p: write_gguf(p, TENSORS, KNOWN)),
        "zip.pth": _written(lambda p: write_torch_zip(p, nested)),
        "evil.ckpt": _written(lambda p: write_torch_zip(p, {"x": Call("os", "system", "true"), **stubs(TENSORS)})),
        "legacy.pt": _written(lambda p: write_torch_legacy(p, nested)),
        "stored.zip": _zipped(compression=zipfile.ZIP_STORED),
        "packed.zip": _zipped(compression=zipfile.ZIP_DEFLATED),
        "plain.tar": tar,
        "a.tar.gz": gzip.compress(tar, mtime=0),
        "a.tar.bz2": bz2.compress(tar),
        "a.tar.xz": lzma.compress(tar),
        **{f"picture.{form.lower()}": _picture(form) for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")},
    }


def _flip(raw: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)


def _number(raw: bytearray, rng: random.Random) -> None:
    size = rng.choice((1, 2, 4, 8))
    at = rng.randrange(len(raw))
    raw[at : at + size] = struct.pack("<Q" if rng.random() < 0.8 else ">Q", rng.choice(NASTY))[:size]


def _word(raw: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(raw))
    raw[at : at + rng.choice((0, 0, 1, 4, 16))] = rng.choice(WORDS)


def _cut(raw: bytearray, rng: random.Random) -> None:
    del raw[rng.randrange(len(raw)) :]


def _lose(raw: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(raw))
    del raw[at : at + rng.randrange(1, 64)]


def _double(raw: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(raw))
    piece = raw[at : at + rng.randrange(1, 128)]
    raw[at:at] = piece * rng.choice((1, 2, 30))


def _digit(raw: bytearray, rng: random.Random) -> None:
    places = [n for n, byte in enumerate(raw[:4096]) if 0x30 <= byte <= 0x39]
    if places:
        raw[rng.choice(places)] = rng.randrange(0x30, 0x3A)


MUTATIONS = (_flip, _number, _word, _cut, _lose, _double, _digit)


def case(number: int, sound: dict[str, bytes]) -> tuple[str, bytes]:
    """The name and bytes of a broken file; the same for the same number."""
    rng = random.Random(number)
    name = rng.choice(sorted(sound))
    raw = bytearray(sound[name])
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        if raw:
            rng.choice(MUTATIONS)(raw, rng)
    if (
        name.endswith(".safetensors") and rng.random() < 0.5 and len(raw) > 8
    ):  # a length that fits what follows: the JSON is what is read
        text = bytes(raw[8:])
        raw[:8] = struct.pack("<Q", min(len(text), len(text.rstrip(b"\0"))))
    if rng.random() < 0.1:  # a name that says something else
        name = rng.choice(sorted(sound))
    return name, bytes(raw)
