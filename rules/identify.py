"""What is this file (or folder)? Its kind by content, and what its header says. A few kilobytes are read, never the data.

What must hold: the kind follows the content; a suffix only decides what a file that is nothing else was meant to be, so that
a broken download called .safetensors is a damaged model and not an unknown file. Bad input is data: whatever stands in the
file, the answer is Facts with a condition and a reason. OSError alone is raised, when the path cannot be opened.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import names
from .classify import Classified, classify
from .header import Damaged, Header, Tensor
from .readers import gguf, images, safetensors, torchfile
from .readers.archives import ARCHIVE_SUFFIXES, list_archive
from .readers.folders import LFS, ModelFolder, folder_size, is_model_folder, missing_siblings, read_folder
from .readers.sidecars import evidence_beside
from .readers.text import CAPTION_SUFFIXES, MAX_CAPTION, caption_text
from .readers.zipdir import read_directory
from .terms import Condition, Evidence, Facts, Kind, Known, ModelFacts

MODEL_SUFFIXES = frozenset({".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pt2", ".pth"})  # nothing else is called so
MAYBE_PICKLE = MODEL_SUFFIXES | {".bin", ".pkl", ".pickle"}
PICKLED = MAYBE_PICKLE - {".safetensors", ".sft", ".gguf"}
STRICT_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})
STRICT_ARCHIVES = ARCHIVE_SUFFIXES - {".gz", ".bz2", ".xz", ".7z", ".rar"}
PICKLE_STARTS = (b"c", b"(", b"}", b"]", b"i", b"\x80")  # the first opcodes of a pickle of any protocol


def identify(path: Path, companions: tuple[Path, ...] = ()) -> Facts:
    """What `path` is. companions are the files that came with it (sidecars among them, such as a .civitai.info, are asked).

    Raises OSError only when the path cannot be opened or was removed.
    """
    if path.is_dir():
        return _identify_folder(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    outside = evidence_beside(companions)
    if safetensors.announced(head):
        return _model(path, size, safetensors.read_header(path), outside)
    if images.sniff(head[:16]):
        return _image(path, size)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip(path, size, outside)
    if _is_model(head, path):
        return _model(path, size, _read_model(path, head), outside)
    return _rest(path, size, head, outside)


def model_folder(path: Path) -> bool:
    """Is this folder one model (so that it is one unit)? False when it is none, or cannot be listed."""
    try:
        return is_model_folder(path)
    except OSError:
        return False


def known_as(facts: Facts, known: Known) -> Facts:
    """The facts as the user corrected them: an override of type or base wins with confidence 1, but never over damage."""
    model = facts.model
    if model is None or facts.condition in (Condition.INVALID, Condition.UNSAFE) or not (known.type or known.base):
        return facts
    confidences, evidence = dict(model.confidences), list(facts.evidence)
    for axis, value in (("type", known.type), ("base", known.base)):
        if value:
            confidences[axis] = 1.0
            evidence.append(Evidence("override", f"{axis}={value}", 1.0, f"you said that its {axis} is {value}"))
    kind = known.type or model.type
    roles = (kind, *(r for r in model.roles if r != kind)) if kind != "unknown" else model.roles
    corrected = replace(model, type=kind, base=known.base or model.base, roles=roles, confidences=confidences)
    if corrected.base != model.base:  # finer names within a family that it is not
        kept = {axis: sure for axis, sure in confidences.items() if axis not in ("variant", "subfamily")}
        corrected = replace(corrected, variant=None, subfamily=None, confidences=kept)
    condition, reason = facts.condition, facts.reason
    if condition is Condition.UNKNOWN and kind != "unknown":
        condition, reason = Condition.OK, None
    return replace(facts, model=corrected, evidence=tuple(evidence), condition=condition, reason=reason)


# ---------------------------------------------------------------- kinds


def _invalid(path: Path, kind: Kind, size: int, damage: Damaged, model: ModelFacts | None = None) -> Facts:
    said = Evidence("structure", f"damage={damage.reason}", 1.0, damage.text)
    return Facts(path, kind, size, Condition.INVALID, damage.reason, model=model, evidence=(said,))


def _image(path: Path, size: int) -> Facts:
    found = images.read_image(path)
    if isinstance(found, Damaged):
        return _invalid(path, Kind.IMAGE, size, found)
    text = f"a {found.format} picture of {found.width} x {found.height} pixels"
    return Facts(path, Kind.IMAGE, size, image=found, evidence=(Evidence("structure", "kind=image", 1.0, text),))


def _archive(path: Path, size: int) -> Facts:
    found = list_archive(path)
    if isinstance(found, Damaged):
        return _invalid(path, Kind.ARCHIVE, size, found)
    text = f"a {found.format} archive of {len(found.members)} files"
    return Facts(path, Kind.ARCHIVE, size, archive=found, evidence=(Evidence("structure", "kind=archive", 1.0, text),))


def _zip(path: Path, size: int, outside: tuple[Evidence, ...]) -> Facts:
    """A ZIP is a model when torch wrote it, whatever it is called, or when it is called so and hides pickles; an archive otherwise."""
    with path.open("rb") as file:
        members = read_directory(file, size)
    if isinstance(members, Damaged):
        kind = Kind.MODEL if path.suffix.lower() in MAYBE_PICKLE else Kind.ARCHIVE
        return _invalid(path, kind, size, members, ModelFacts("torch-zip") if kind is Kind.MODEL else None)
    if torchfile.is_torch_zip(members):
        return _model(path, size, torchfile.read_zip(path), outside)
    hiding = torchfile.read_zip(path) if path.suffix.lower() in PICKLED else None
    return _model(path, size, hiding, outside) if isinstance(hiding, Header) else _archive(path, size)


def _is_model(head: bytes, path: Path) -> bool:
    """GGUF and pickles by their magic; a safetensors file with an impossible length by its brace and its name."""
    suffix = path.suffix.lower()
    if head[:4] == b"GGUF":
        return True
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return (
            suffix in MAYBE_PICKLE
            or head.startswith(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19")
            or head[2:3] in b"c}(](\x95X\x8cU"
        )
    return head[8:9] == b"{" and suffix in (".safetensors", ".sft")


def _read_model(path: Path, head: bytes) -> Header | Damaged:
    if head[:4] == b"GGUF":
        return gguf.read_header(path)
    if safetensors.announced(head):
        return safetensors.read_header(path)
    if head[:1] == b"\x80":
        return torchfile.read_legacy(path)
    return safetensors.read_header(path)


def _rest(path: Path, size: int, head: bytes, outside: tuple[Evidence, ...]) -> Facts:
    """Nothing that the first bytes announce: a tar, a caption, an old pickle, something meant to be a model, or other."""
    suffix = path.suffix.lower()
    if head[257:262] == b"ustar" or head[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7"):
        found = _archive(path, size)
        if found.condition is Condition.OK or suffix in STRICT_ARCHIVES or path.stem.endswith(".tar"):
            return found
    if suffix in MODEL_SUFFIXES:
        return _meant_as_model(path, size, head, outside)
    if (
        suffix in PICKLED and head[:1] in PICKLE_STARTS
    ):  # a .bin or .pkl may be anything: it is a model when all of it is a pickle
        found_header = torchfile.read_legacy(path)
        if isinstance(found_header, Header):
            return _model(path, size, found_header, outside)
    if suffix in STRICT_ARCHIVES:
        return _invalid(path, Kind.ARCHIVE, size, _what_it_is(head, size, "not-an-archive", "an archive"))
    if suffix in STRICT_IMAGES:
        return _invalid(path, Kind.IMAGE, size, _what_it_is(head, size, "not-an-image", "a picture"))
    if suffix in CAPTION_SUFFIXES and size <= MAX_CAPTION:
        with path.open("rb") as file:
            if caption_text(file.read(MAX_CAPTION + 1)) is not None:
                return Facts(path, Kind.CAPTION, size, evidence=(Evidence("structure", "kind=caption", 1.0, "a short text"),))
    return Facts(path, Kind.OTHER, size)


def _what_it_is(head: bytes, size: int, reason: str, wanted: str) -> Damaged:
    if size == 0:
        return Damaged("empty", "the file is empty")
    if head.startswith(LFS):
        return Damaged("lfs-pointer", "this is a Git LFS pointer, a few lines of text that stand for the real file")
    if head.lstrip()[:200].lower().startswith((b"<!doctype html", b"<html")):
        return Damaged(reason, f"this is a web page, not {wanted}: the download went wrong")
    if not head.strip(b"\0"):
        return Damaged("zeros", "the file begins with zeros only: the download reserved its room but never filled it")
    return Damaged(reason, f"the content is not that of {wanted}")


def _meant_as_model(path: Path, size: int, head: bytes, outside: tuple[Evidence, ...]) -> Facts:
    """The name says model and the magic does not."""
    suffix = path.suffix.lower()
    found = _without_magic(path, size, head)
    if isinstance(found, Header):
        return _model(path, size, found, outside)
    container = {".gguf": "gguf", ".safetensors": "safetensors", ".sft": "safetensors"}.get(suffix, "torch-zip")
    return _invalid(path, Kind.MODEL, size, found, ModelFacts(container))


def _without_magic(path: Path, size: int, head: bytes) -> Header | Damaged:
    """What is called a model and begins as none: an old pickle without a header byte, or something broken."""
    suffix = path.suffix.lower()
    damage = _what_it_is(head, size, "not-a-model", "a model")
    if suffix not in (".safetensors", ".sft", ".gguf") and head[:1] in PICKLE_STARTS:
        found = torchfile.read_legacy(path)
        if isinstance(found, Header):
            return found
    if suffix in (".safetensors", ".sft") and damage.reason == "not-a-model" and 0 < size < 10:
        damage = Damaged("truncated-header", f"the file ends after {size} bytes, inside its header")
    return damage


# ---------------------------------------------------------------- models


def _model(path: Path, size: int, header: Header | Damaged, outside: tuple[Evidence, ...]) -> Facts:
    if isinstance(header, Damaged):
        return _invalid(path, Kind.MODEL, size, header, ModelFacts(_container(path)))
    return model_facts(path, size, header, outside, missing_siblings(path))


def model_facts(path: Path, size: int, header: Header, outside: tuple[Evidence, ...], missing: tuple[str, ...]) -> Facts:
    """What the rules say of a file's header. outside is what its sidecars say, missing the shards that are not beside it. Pure."""
    parents = [p.name for p in path.parents][:4]
    found = classify(header, path.stem, parents, outside)
    condition, reason, text = _condition(header, found)
    if missing and condition in (Condition.OK, Condition.UNKNOWN):
        condition, reason, text = (
            Condition.INCOMPLETE,
            "missing-shards",
            f"{len(missing)} shards are missing, the first {missing[0]}",
        )
    evidence = found.evidence + ((Evidence("structure", f"condition={condition}", 1.0, text),) if text else ())
    return Facts(path, Kind.MODEL, size, condition, reason, model=found.model, evidence=evidence, conflicts=found.conflicts)


def header_of(path: Path) -> Header | Damaged | None:
    """The header of a file as `identify` reads it; None for what is no model. Raises OSError when the path cannot be opened."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
        if not safetensors.announced(head) and head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            members = read_directory(file, size)
            zipped = not isinstance(members, Damaged) and torchfile.is_torch_zip(members)
            found = torchfile.read_zip(path) if zipped or path.suffix.lower() in PICKLED else None
            return found if zipped or isinstance(found, Header) else None
    if safetensors.announced(head) or _is_model(head, path):
        return _read_model(path, head)
    suffix = path.suffix.lower()
    if head[:1] not in PICKLE_STARTS or suffix not in PICKLED or images.sniff(head[:16]):
        return None
    found = torchfile.read_legacy(path)
    return found if isinstance(found, Header) or suffix in MODEL_SUFFIXES else None


def _container(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    return {b"GGUF": "gguf", b"PK\x03\x04": "torch-zip"}.get(head, "torch-legacy" if head[:1] == b"\x80" else "safetensors")


def _condition(header: Header, found: Classified) -> tuple[Condition, str | None, str]:
    if header.trust is not Condition.OK:
        return header.trust, header.reason, header.why
    if not found.known:
        return Condition.UNKNOWN, "no-signature", "no family in the table has such tensors"
    return Condition.OK, None, ""


# ---------------------------------------------------------------- folders


def _identify_folder(path: Path) -> Facts:
    found = merged_folder(path)
    if found is None:
        return Facts(path, Kind.OTHER, 0, folder=True)
    if isinstance(found, Damaged):
        return replace(_invalid(path, Kind.MODEL, folder_size(path), found, ModelFacts("diffusers")), folder=True)
    folder, merged = found
    if isinstance(merged, Damaged):
        return replace(_invalid(path, Kind.MODEL, folder.size, merged, ModelFacts("diffusers")), folder=True)
    return folder_facts(path, folder, merged)


def merged_folder(path: Path) -> tuple[ModelFolder, Header | Damaged] | Damaged | None:
    """What a folder that is one model holds, and the headers of its weights as one; None for a folder that is none."""
    if not model_folder(path):
        return None
    folder = read_folder(path)
    return folder if isinstance(folder, Damaged) else (folder, _merge(folder))


def folder_facts(path: Path, folder: ModelFolder, merged: Header) -> Facts:
    """What the rules say of a folder that is one model. Pure."""
    outside = tuple(names.by_config(folder.class_name)) if folder.kind == "pipeline" else ()
    found = classify(merged, path.name, [p.name for p in path.parents][:4], outside)
    if folder.kind == "pipeline":
        found = _as_pipeline(found, folder)
    condition, reason, text = _condition(merged, found)
    lacks = _lacking(folder) if condition in (Condition.OK, Condition.UNKNOWN) else None
    if lacks is not None:
        condition, (reason, text) = Condition.INCOMPLETE, lacks
    evidence = found.evidence + ((Evidence("structure", f"condition={condition}", 1.0, text),) if text else ())
    return Facts(
        path,
        Kind.MODEL,
        folder.size,
        condition,
        reason,
        model=found.model,
        evidence=evidence,
        conflicts=found.conflicts,
        folder=True,
    )


def _lacking(folder: ModelFolder) -> tuple[str, str] | None:
    """What a folder lacks that says of itself what belongs in it: the reason and a sentence. None: nothing."""
    if folder.missing:
        return "missing-shards", f"{len(folder.missing)} parts are missing, the first {folder.missing[0]}"
    if "." in folder.empty:
        return "no-weights", "the folder has a config and no weights"
    if folder.empty:
        return "no-weights", f"{', '.join(folder.empty)}: the folder is there and its weights are not"
    return None


def _merge(folder: ModelFolder) -> Header | Damaged:
    """The headers of all shards as one. Damage in one is damage of the whole."""
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    first: Header | None = None
    for path in folder.weights:
        with path.open("rb") as file:
            head = file.read(512)
        if head[:2] == b"PK":
            found = torchfile.read_zip(path)
        elif safetensors.announced(head) or _is_model(head, path):
            found = _read_model(path, head)
        else:
            found = _without_magic(path, path.stat().st_size, head)
        if isinstance(found, Damaged):
            return Damaged(found.reason, f"{path.name}: {found.text}")
        if first is None or found.trust is not Condition.OK:
            first = found
        tensors.update(found.tensors)
        metadata.update(found.metadata)
    container = "diffusers" if folder.kind == "pipeline" else first.container if first else "safetensors"
    if first is None:
        return Header(container, folder.size, {})
    return replace(first, container=container, tensors=tensors, metadata=metadata, size=folder.size)


def _as_pipeline(found: Classified, folder: ModelFolder) -> Classified:
    """A pipeline's base is its main part's; its type is its own. Without readable weights its class name tells the base."""
    model = found.model
    base, sure = model.base, model.confidences.get("base", 0.0)
    said = next((e for e in names.by_config(folder.class_name)), None)
    evidence = tuple(e for e in found.evidence if not e.says.startswith("type="))
    if base == "unknown" and said and not folder.weights:
        base, sure = said.says.partition("=")[2], said.weight
        evidence = (said,)
    text = f"its model_index.json makes it a pipeline ({folder.class_name or 'no class name'})"
    evidence = (Evidence("config", "type=diffusers_pipeline", 0.97, text), *evidence)
    confidences = {**model.confidences, "type": 0.97, "base": sure}
    pipeline = replace(model, type="diffusers_pipeline", base=base, roles=("diffusers_pipeline",), confidences=confidences)
    return Classified(pipeline, evidence, found.conflicts, True)
