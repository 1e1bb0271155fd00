"""Makers of small model files: real headers, and a hole where the data would be, so that a 20 GB model costs a few kilobytes.

What must hold: the bytes are those that the real tools write (safetensors, llama.cpp's GGUF, torch.save), because the readers
are tested against them; nothing here imports torch. Tensors are given as name -> (dtype, shape), shapes in row-major order.
"""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import struct
import zlib
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

Tensors = Mapping[str, tuple[str, Sequence[int]]]
BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
GGML = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
    "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210),
    "I32": (26, 1, 4), "BF16": (30, 1, 2),
}  # fmt: skip
STORAGE = {
    "F32": "FloatStorage",
    "F16": "HalfStorage",
    "BF16": "BFloat16Storage",
    "F64": "DoubleStorage",
    "I64": "LongStorage",
    "U8": "ByteStorage",
}


# ---------------------------------------------------------------- safetensors


def safetensors_header(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> tuple[bytes, int]:
    """The file's first bytes (length and header), and how many bytes of data follow."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    at = 0
    for name, (dtype, shape) in tensors.items():
        end = at + prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, at


def write_safetensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file whose data is a hole."""
    head, data = safetensors_header(tensors, metadata)
    return _write(path, head, len(head) + data)


def _write(path: Path, head: bytes, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head[:size])
        file.truncate(size)
    return path


# ---------------------------------------------------------------- GGUF


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: object) -> tuple[int, bytes]:
    """The GGUF type number of a value and its bytes."""
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return (4, struct.pack("<I", value)) if 0 <= value < 1 << 32 else (11, struct.pack("<q", value))
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _text(value)
    assert isinstance(value, list)
    items = [_value(v) for v in value]
    kind = items[0][0] if items else 4
    return 9, struct.pack("<IQ", kind, len(items)) + b"".join(raw for _, raw in items)


def gguf_header(tensors: Tensors, metadata: Mapping[str, object] | None = None, **counts: int) -> tuple[bytes, int]:
    """The file's first bytes up to the data (alignment 32), and the size of the data. counts: tensor_count, kv_count."""
    pairs = dict(metadata or {})
    out = [b"GGUF", struct.pack("<IQQ", 3, counts.get("tensor_count", len(tensors)), counts.get("kv_count", len(pairs)))]
    for key, value in pairs.items():
        kind, raw = _value(value)
        out += [_text(key), struct.pack("<I", kind), raw]
    at = 0
    for name, (dtype, shape) in tensors.items():
        number, block, width = GGML[dtype]
        dims = list(reversed(shape)) or [1]
        out += [_text(name), struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, at)]
        at += -(-(prod(shape) // block * width) // 32) * 32
    head = b"".join(out)
    return head + b"\0" * (-len(head) % 32), at


def write_gguf(path: Path, tensors: Tensors, metadata: Mapping[str, object] | None = None) -> Path:
    """A GGUF version 3 whose data is a hole."""
    head, data = gguf_header(tensors, metadata)
    return _write(path, head, len(head) + data)


# ---------------------------------------------------------------- pickles


class Call:
    """A global that the pickle would call with these arguments, if anybody loaded it."""

    def __init__(self, module: str, name: str, *args: object) -> None:
        self.module, self.name, self.args = module, name, args


class Whole:
    """A whole module as torch pickles it: a class and its parts."""

    def __init__(self, cls: str, parts: Mapping[str, object]) -> None:
        self.cls, self.parts = cls, parts


class Stub:
    """A tensor as torch pickles it."""

    def __init__(self, dtype: str, shape: Sequence[int]) -> None:
        self.dtype, self.shape = dtype, tuple(shape)


class Pickler:
    """Writes protocol-2 opcodes by hand. `sizes` collects (dtype, elements) of each storage, in order of their keys."""

    def __init__(self, legacy: bool = False) -> None:
        self.sizes: list[tuple[str, int]] = []
        self.legacy = legacy

    def dumps(self, value: object) -> bytes:
        return b"\x80\x02" + self.of(value) + b"."

    def of(self, value: object) -> bytes:
        if isinstance(value, Stub):
            return self._tensor(value)
        if isinstance(value, Call):
            return _global(value.module, value.name) + self.of(tuple(value.args)) + b"R"
        if isinstance(value, Whole):
            module, _, name = value.cls.rpartition(".")
            return _global(module, name) + b")\x81" + self.of(self._state(value)) + b"b"
        if isinstance(value, Mapping):
            return b"}(" + b"".join(self.of(k) + self.of(v) for k, v in value.items()) + b"u"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.of, value)) + b"t"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.of, value)) + b"e"
        return pickle.dumps(value, 2)[2:-1]  # numbers, text, None: one opcode and its memo

    @staticmethod
    def _state(value: Whole) -> dict[str, object]:
        tensors = {k: v for k, v in value.parts.items() if isinstance(v, Stub)}
        return {"training": False, "_parameters": tensors, "_modules": {k: v for k, v in value.parts.items() if k not in tensors}}

    def _tensor(self, stub: Stub) -> bytes:
        key = str(len(self.sizes))
        self.sizes.append((stub.dtype, prod(stub.shape)))
        storage = b"(" + self.of("storage") + _global("torch", STORAGE[stub.dtype]) + self.of(key) + self.of("cpu")
        storage += self.of(prod(stub.shape)) + (b"N" if self.legacy else b"") + b"tQ"
        strides = tuple(prod(stub.shape[i + 1 :]) for i in range(len(stub.shape)))
        rest = self.of(0) + self.of(stub.shape) + self.of(strides) + b"\x89" + _global("collections", "OrderedDict") + b")R"
        return _global("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + rest + b"tR"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stubs(tensors: Tensors) -> dict[str, object]:
    """The tensors as a pickle's state_dict."""
    return {name: Stub(dtype, shape) for name, (dtype, shape) in tensors.items()}


def write_torch_zip(path: Path, value: object, root: str = "archive", more: Mapping[str, bytes] | None = None) -> Path:
    """What torch.save writes: `value` may hold Stub, Call and Whole. more are further members, by full name."""
    pickler = Pickler()
    members: list[tuple[str, bytes | int]] = [(f"{root}/data.pkl", pickler.dumps(value)), (f"{root}/version", b"3\n")]
    members += [(f"{root}/data/{i}", count * BYTES[dtype]) for i, (dtype, count) in enumerate(pickler.sizes)]
    members += list((more or {}).items())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        directory = b""
        for name, content in members:
            raw, size = name.encode(), content if isinstance(content, int) else len(content)
            crc = 0 if isinstance(content, int) else zlib.crc32(content)
            fields = (0, 0, 0, 0, crc, size, size, len(raw))
            directory += struct.pack("<4s2H4H3I5H2I", b"PK\x01\x02", 0, 0, *fields, 0, 0, 0, 0, 0, file.tell()) + raw
            file.write(struct.pack("<4s5H3I2H", b"PK\x03\x04", 0, *fields, 0) + raw)
            if isinstance(content, int):
                file.seek(size, 1)
            else:
                file.write(content)
        at = file.tell()
        file.write(directory + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, len(members), len(members), len(directory), at, 0))
    return path


def write_torch_legacy(path: Path, value: object) -> Path:
    """What torch.save wrote before 1.6: pickles one after the other, then the storages."""
    pickler = Pickler(legacy=True)
    body = pickler.dumps(value)
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, info)) + body
    head += pickle.dumps([str(i) for i in range(len(pickler.sizes))], 2)
    return _write(path, head, len(head) + sum(8 + count * BYTES[dtype] for dtype, count in pickler.sizes))


# ---------------------------------------------------------------- the header corpus


def load_corpus(path: Path) -> list[dict[str, object]]:
    """The cases of a corpus of headers (one JSON object a line, gzipped); tests/data/README.md says what the fields mean."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_case(folder: Path, case: Mapping[str, object]) -> Path:
    """Write one case as the file (or folder) that a user would have."""
    path = folder / str(case.get("filename", case.get("path")))
    if case["format"] == "diffusers-dir":
        files = case["files"]
        assert isinstance(files, list)
        for one in files:
            write_case(path, {**one, "filename": one["path"]})
        return path
    form = case["format"]
    if form == "text":
        raw = str(case["text"]).encode()
        return _write(path, raw, len(raw))
    if form == "raw":
        raw = base64.b64decode(str(case.get("raw_b64", "")))
        return _write(path, raw, int(str(case.get("size_bytes", len(raw)))))
    return _write_model(path, case)


def _write_model(path: Path, case: Mapping[str, object]) -> Path:
    tensors: Tensors = case.get("tensors") or {}  # type: ignore[assignment]
    corrupt: Mapping[str, object] = case.get("corrupt") or {}  # type: ignore[assignment]
    metadata: Mapping[str, str] | None = case.get("metadata")  # type: ignore[assignment]
    if str(case["format"]).startswith("pickle"):
        return _write_pickle(path, case, tensors)
    if case["format"] == "gguf":
        counts = {k: int(str(v)) for k, v in corrupt.items() if k.endswith("_count")}
        head, data = gguf_header(tensors, metadata, **counts)
        head = str(corrupt.get("magic", "GGUF")).encode("latin1") + head[4:]
    else:
        head, data = safetensors_header(tensors, metadata)
        if "header_text" in corrupt:
            raw = str(corrupt["header_text"]).encode()
            head, data = struct.pack("<Q", len(raw)) + raw, int(str(corrupt.get("data_bytes", 0)))
        if "header_len" in corrupt:
            head = struct.pack("<Q", int(str(corrupt["header_len"]))) + head[8:]
    size = len(head) + data + int(str(corrupt.get("append", 0)))
    size = int(str(corrupt.get("truncate_to", size))) - int(str(corrupt.get("truncate_tail", 0)))
    return _write(path, head, size)


def _write_pickle(path: Path, case: Mapping[str, object], tensors: Tensors) -> Path:
    how: Mapping[str, object] = case.get("pickle") or {}  # type: ignore[assignment]
    body: object = stubs(tensors)
    if how.get("modules"):
        body = _modules(tensors, how["modules"])  # type: ignore[arg-type]
    for key in reversed(how.get("nest") or []):  # type: ignore[call-overload]
        body = {key: body}
    if how.get("string_to_param"):
        body = {"string_to_token": {"*": 265}, "string_to_param": body, "name": how["string_to_param"]}
    if isinstance(how.get("extra"), Mapping) and isinstance(body, Mapping):
        body = {**body, **how["extra"]}  # type: ignore[dict-item]
    call = how.get("call")
    if isinstance(call, Mapping):
        evil = Call(call["module"], call["name"], *call["args"])
        body = {"x": evil, **body} if isinstance(body, Mapping) and not call.get("bare") else evil
    if case["format"] == "pickle-legacy":
        return write_torch_legacy(path, body)
    return write_torch_zip(path, body, str(how.get("root", "archive")))


def _modules(tensors: Tensors, classes: Mapping[str, str]) -> Whole:
    """Flat names as nested modules, each of the class that its place in the tree asks for."""
    tree: dict[str, object] = {}
    for name, (dtype, shape) in tensors.items():
        *path, leaf = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})  # type: ignore[assignment]
        node[leaf] = Stub(dtype, shape)

    def build(node: dict[str, object], depth: int) -> Whole:
        parts = {k: build(v, depth + 1) if isinstance(v, dict) else v for k, v in node.items()}
        inner = any(isinstance(v, Whole) for v in parts.values())
        kind = (
            "top" if depth == 0 else "seq" if depth == 1 else "block" if inner else "leaf_conv" if len(parts) < 3 else "leaf_bn"
        )
        return Whole(classes[kind], parts)

    return build(tree, 0)
