"""Sidecars: what other tools wrote down beside a model of its type and base. Words, so they only confirm or pick, as all words do.

What must hold: at most MAX_CONFIG bytes are read of each, only of regular files, and nothing in them can do more than be believed or
not: what is no JSON object, or no text where text is expected, says nothing. Written by: Civitai-Helper (.civitai.info: CivitAI's own
answer), StabilityMatrix (.cm-info.json: ConnectedModelInfo), Lora-Manager (.metadata.json: base_model, and CivitAI's answer under
`civitai`), A1111 and Forge (.json: the user's "sd version").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .. import names
from ..terms import Evidence
from .folders import read_json

SUFFIXES = (".civitai.info", ".cm-info.json", ".metadata.json", ".json")  # the longer ones first
SAID = 0.5  # what a tool guessed or a person chose in a list
MAX_WORD = 100  # characters of a name of a type or base
_SD_VERSIONS = {"sd1": "sd15", "sd2": "sd2", "sdxl": "sdxl", "flux": "flux1"}  # A1111's and Forge's list of "sd version"


def evidence_beside(companions: Iterable[Path]) -> tuple[Evidence, ...]:
    """What the sidecars among a model's companions say, in the order of the names. A file that cannot be read says nothing."""
    return tuple(e for path in sorted(companions) for e in _said(path))


def sidecars_of(model: Path) -> tuple[Path, ...]:
    """The sidecars that lie beside a model's file, by the names that tools give them: `x.json` and `x.safetensors.json`."""
    found = (model.with_name(base + suffix) for base in dict.fromkeys((model.stem, model.name)) for suffix in SUFFIXES)
    return tuple(path for path in found if path.is_file() and not path.is_symlink())


def _said(path: Path) -> list[Evidence]:
    name = path.name.lower()
    suffix = next((s for s in SUFFIXES if name.endswith(s)), None)
    if suffix is None or not path.is_file():
        return []
    info = read_json(path)
    if not info:
        return []
    if suffix == ".cm-info.json":
        return names.by_civitai(_civitai(_word(info, "BaseModel"), _word(info, "ModelType")), path.name)
    if suffix == ".metadata.json":
        return _lora_manager(info, path.name)
    return _civitai_answer(info, path.name) or _sd_version(info, path.name)


def _word(info: Mapping[str, object], key: str) -> str:
    """A short text of an object; "" where there is none."""
    value = info.get(key)
    return value[:MAX_WORD] if isinstance(value, str) else ""


def _civitai(base: str, kind: str) -> dict[str, object]:
    return {"baseModel": base, "model": {"type": kind}}


def _civitai_answer(info: Mapping[str, object], where: str) -> list[Evidence]:
    model = info.get("model")
    kind = _word(model, "type") if isinstance(model, Mapping) else ""
    return names.by_civitai(_civitai(_word(info, "baseModel"), kind), where)


def _lora_manager(info: Mapping[str, object], where: str) -> list[Evidence]:
    """CivitAI's answer when it was asked; else the tool's own guess at the base."""
    asked = info.get("civitai")
    found = _civitai_answer(asked, where) if isinstance(asked, Mapping) else []
    said = _word(info, "base_model")
    base = names.architecture(said) if said and not found else None
    return found or ([Evidence("sidecar", f"base={base}", SAID, f"{where} says that its base is {said!r}")] if base else [])


def _sd_version(info: Mapping[str, object], where: str) -> list[Evidence]:
    said = _word(info, "sd version")
    base = _SD_VERSIONS.get(said.lower())
    return [Evidence("sidecar", f"base={base}", SAID, f"{where} says that its sd version is {said}")] if base else []
