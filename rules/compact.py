"""The compact header: all that classifying needs of a model's file or folder, as a few kilobytes that outlive the file.

What must hold: what the rules say of a compact header is, to the last byte, what they say of the file that it was read from; packing
the same header twice gives the same bytes; what is unpacked never grows beyond MAX_PLAIN, and bytes that are none of ours are None.
Format: zlib (RFC 1950) around one JSON object, in the header's own order, because the first of equal tensors may decide.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .header import Damaged, Header, Tensor
from .identify import folder_facts, header_of, merged_folder, model_facts
from .names import ARCHITECTURE, HISTORY
from .readers.folders import ModelFolder, missing_siblings
from .readers.sidecars import evidence_beside
from .signatures import TABLES
from .terms import Condition, Evidence, Facts

FORMAT = 1  # of the packed bytes: another one is read anew from the file
CODE = 1  # raised when classify.py answers otherwise from the same tables: everything is asked again
_VERSION = re.compile(r"^version: *(\d+)", re.MULTILINE)
MAX_PACKED = 1 << 20  # bytes that the store keeps of one header; a published model takes 1 to 60 kB
MAX_PLAIN = 32 << 20  # bytes that one may unpack to
MAX_VALUE, MAX_HISTORY = 16 << 10, 200_000  # characters that are kept of a metadata value, and of one that tells of the training


@dataclass(frozen=True, slots=True)
class Compact:
    """A header, what only its surroundings tell (`folder`: it is a folder that is one model; missing shards), and its sidecars' words."""

    header: Header
    folder: ModelFolder | None = None
    missing: tuple[str, ...] = ()
    said: tuple[Evidence, ...] = ()


def table_version() -> int:
    """The version of all that decides: it rises with the version of any signature table, and with CODE."""
    found = (
        _VERSION.search(path.read_text("utf-8")) for path in TABLES.glob("signatures*.yaml")
    )  # asked at each start: not parsed
    return CODE + sum(int(line[1]) for line in found if line)


def read_compact(path: Path, companions: Sequence[Path] = ()) -> Compact | None:
    """The compact header of a model's file or folder; None for what is no model, or is damaged. Raises OSError when it is gone."""
    if path.is_dir():
        found = merged_folder(path)
        if found is None or isinstance(found, Damaged) or isinstance(found[1], Damaged):
            return None
        folder = found[0]
        inside = tuple(Path(w.relative_to(path)) for w in folder.weights)
        return Compact(_slim(found[1]), replace(folder, weights=inside))
    header = header_of(path)
    if not isinstance(header, Header):
        return None
    # as identify does: of a file that cannot be trusted nobody asks for its shards
    missing = missing_siblings(path) if header.trust is Condition.OK else ()
    return Compact(_slim(header), None, missing, evidence_beside(companions))


def facts_of(compact: Compact, path: Path) -> Facts:
    """What the present rules say of a compact header that lay at `path`. The disk is not touched. Pure."""
    if compact.folder is not None:
        return folder_facts(path, compact.folder, compact.header)
    return model_facts(path, compact.header.size, compact.header, compact.said, compact.missing)


def _slim(header: Header) -> Header:
    """Without what no rule reads: pictures and long texts in the metadata are cut."""
    most = {**dict.fromkeys(HISTORY, MAX_HISTORY), **dict.fromkeys(ARCHITECTURE, None)}
    return replace(header, metadata={key: value[: most.get(key, MAX_VALUE)] for key, value in header.metadata.items()})


# ---------------------------------------------------------------- bytes


def pack(compact: Compact) -> bytes | None:
    """A compact header as canonical bytes; None when they are more than MAX_PACKED. `said` is not in them: it is kept beside."""
    h, f = compact.header, compact.folder
    whole = {
        "format": FORMAT,
        "container": h.container,
        "size": h.size,
        "tensors": [[name, dtype, *shape] for name, (dtype, shape) in h.tensors.items()],
        "metadata": dict(h.metadata),
        "trust": [h.trust.value, h.reason, h.why],
        "classes": list(h.classes),
        "top": list(h.top),
        "missing": list(compact.missing),
        "folder": None
        if f is None
        else [f.kind, f.class_name, [w.as_posix() for w in f.weights], list(f.missing), f.size, list(f.empty)],
    }
    plain = json.dumps(whole, separators=(",", ":")).encode()  # lone surrogates of a pickle's names stay escaped
    if len(plain) > MAX_PLAIN:
        return None
    packed = zlib.compress(plain, 6)
    return packed if len(packed) <= MAX_PACKED else None


def unpack(packed: bytes, said: tuple[Evidence, ...] = ()) -> Compact | None:
    """The compact header back from its bytes; None when they are none of ours, damaged, or of another format."""
    try:
        reader = zlib.decompressobj()
        plain = reader.decompress(packed, MAX_PLAIN)
        if not reader.eof:
            return None
        whole = json.loads(plain)
        return _compact(whole, said) if isinstance(whole, dict) and whole.get("format") == FORMAT else None
    except (zlib.error, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None


def _compact(whole: Mapping[str, object], said: tuple[Evidence, ...]) -> Compact:
    trust, folder = _list(whole["trust"]), whole["folder"]
    header = Header(
        container=str(whole["container"]),
        size=_whole(whole["size"]),
        tensors=dict(map(_tensor, _list(whole["tensors"]))),
        metadata=_texts(whole["metadata"]),
        trust=Condition(str(trust[0])),
        reason=None if trust[1] is None else str(trust[1]),
        why=str(trust[2]),
        classes=tuple(map(str, _list(whole["classes"]))),
        top=tuple(map(str, _list(whole["top"]))),
    )
    of = None if folder is None else _folder(_list(folder))
    return Compact(header, of, tuple(map(str, _list(whole["missing"]))), said)


def _folder(row: list[object]) -> ModelFolder:
    weights = tuple(Path(str(w)) for w in _list(row[2]))
    empty = tuple(map(str, _list(row[5]))) if len(row) > 5 else ()  # older rows do not tell
    return ModelFolder(str(row[0]), str(row[1]), weights, tuple(map(str, _list(row[3]))), _whole(row[4]), empty)


def _tensor(row: object) -> tuple[str, Tensor]:
    name, dtype, *shape = _list(row)
    return str(name), (str(dtype), tuple(map(_whole, shape)))


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("a mapping is expected")
    return {str(key): str(text) for key, text in value.items()}


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a list is expected")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("a whole number is expected")
    return value
