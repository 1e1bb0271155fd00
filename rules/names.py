"""What words say: metadata, file names and folder names turned into evidence. Never sure, and never against the tensors.

What must hold: words are compared folded (lower case; dash, dot, blank and underscore alike), whole words only in file names,
the longest first; every sentence names where the words stood. The tables are tables/signatures_names.yaml.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from . import civitai
from .signatures import TABLES, load_yaml
from .terms import Evidence

NAME_BASE, NAME_SUBFAMILY, FOLDER_TYPE = 0.3, 0.6, 0.4
MODELSPEC, TRAINER, GGUF, CONFIG = 0.75, 0.7, 0.6, 0.9
MAX_ARCHITECTURE = 200  # characters that are read of a field that names an architecture: real ones have thirty
_SEPARATORS = re.compile(r"[\s._\-+()\[\]]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# keys that a trainer writes, and the file's own words about what it was made from
ARCHITECTURE = ("modelspec.architecture", "ss_base_model_version", "general.architecture")
HISTORY = ("ss_tag_frequency", "ss_sd_model_name", "modelspec.title", "modelspec.merged_from", "ss_output_name", "general.name")


@functools.cache
def words_of(section: str) -> Mapping[str, object]:
    """One section of the table of words. Raises signatures.TableError when it is missing."""
    section_data = load_yaml(TABLES / "signatures_names.yaml").get(section)
    return {fold(str(k)): v for k, v in section_data.items()} if isinstance(section_data, dict) else {}


def fold(text: str) -> str:
    """Lower case, with every separator a dash. Pure."""
    return _SEPARATORS.sub("-", text.lower()).strip("-")


def _fold_name(stem: str) -> str:
    """A file name's words: folded, with borders of CamelCase as separators too."""
    return f"-{fold(stem)}-{fold(_CAMEL.sub('-', stem))}-"


def architecture(value: str) -> str | None:
    """The base that an architecture string means, None when it is not known. Pure."""
    folded = fold(value.partition("/")[0])
    table = words_of("architectures")
    best = max((p for p in table if folded.startswith(p)), key=len, default=None)
    return str(table[best]) if best else None


def by_metadata(metadata: Mapping[str, str]) -> list[Evidence]:
    """What modelspec, a trainer or a GGUF header says about the base and sub-family. Pure."""
    found: list[Evidence] = []
    for key, weight in zip(ARCHITECTURE, (MODELSPEC, TRAINER, GGUF), strict=True):
        value = metadata.get(key, "")[:MAX_ARCHITECTURE]
        base = architecture(value) if value else None
        if base:
            source = "gguf" if key.startswith("general.") else "metadata"
            found.append(Evidence(source, f"base={base}", weight, f"the file's own {key} says {value!r}"))
            folded = fold(value)
            for word, name in words_of("subfamily_in_metadata").items():
                if folded.startswith(word):
                    found.append(Evidence(source, f"subfamily={name}", weight, f"the file's own {key} says {value!r}"))
    suffix = metadata.get("modelspec.architecture", "").partition("/")[2].lower()
    kind = {"lora": "lora", "controlnet": "controlnet", "vae": "vae", "textual-inversion": "embedding"}.get(suffix)
    if kind:
        found.append(Evidence("metadata", f"type={kind}", MODELSPEC, f"the file's own modelspec.architecture ends in /{suffix}"))
    return found


def by_config(class_name: str) -> list[Evidence]:
    """What a diffusers pipeline's _class_name says about the base. Pure."""
    table = load_yaml(TABLES / "signatures_names.yaml").get("classes")
    prefixes = table if isinstance(table, dict) else {}
    best = max((p for p in prefixes if class_name.startswith(p)), key=len, default=None)
    if best is None or "|" in str(prefixes[best]):
        return []
    return [Evidence("config", f"base={prefixes[best]}", CONFIG, f"model_index.json names the pipeline {class_name}")]


def by_civitai(info: Mapping[str, object], where: str) -> list[Evidence]:
    """What CivitAI's answer, saved by a tool as `where`, says about type, base and sub-family. Pure."""
    model = info.get("model")
    kind = civitai.line(model.get("type")) if isinstance(model, Mapping) else ""
    return list(civitai.said(kind, civitai.line(info.get("baseModel")), f"in {where}"))


def by_name(stem: str) -> list[Evidence]:
    """What a file's name says about its base: one answer, or none when it names several. Pure."""
    folded = _fold_name(stem)
    hits = {str(base): word for word, base in _whole_words(folded, words_of("bases"))}
    if len(hits) != 1:
        return []
    base, word = next(iter(hits.items()))
    return [Evidence("name", f"base={base}", NAME_BASE, f"the name has the word {word!r}")]


def by_folder(parents: Iterable[str]) -> list[Evidence]:
    """What the nearest folder of a known name says about the type. Pure."""
    for parent in parents:
        kind = words_of("folders").get(fold(parent))
        if kind:
            return [Evidence("folder", f"type={kind}", FOLDER_TYPE, f"it lies in a folder called {parent!r}")]
    return []


def subfamilies(stem: str, metadata: Mapping[str, str], base: str) -> list[Evidence]:
    """Sub-families of `base` that the name or the training history speaks of. Pure."""
    found: list[Evidence] = []
    for source, text in (
        ("name", _fold_name(stem)),
        ("metadata", _fold_name(" ".join(metadata.get(k, "")[:20000] for k in HISTORY))),
    ):
        for word, entry in _whole_words(text, words_of("subfamilies")):
            name, bases = entry if isinstance(entry, list) else ("", [])
            if base in bases:
                found.append(Evidence(source, f"subfamily={name}", NAME_SUBFAMILY, f"the {source} has the word {word!r}"))
                break
    tags = f"-{fold(metadata.get('ss_tag_frequency', '')[:200000].replace(chr(34), ' '))}-"
    if base == "sdxl" and not found:
        for word, name in words_of("tags").items():
            if f"-{word}-" in tags.replace(",", ""):
                found.append(
                    Evidence("metadata", f"subfamily={name}", NAME_SUBFAMILY, f"it was trained on captions with {word!r}")
                )
                break
    return found


def _whole_words(folded: str, table: Mapping[str, object]) -> list[tuple[str, object]]:
    """The table's entries that stand in the text as whole words, the longest first; what one entry covers is used up."""
    hits: list[tuple[str, object]] = []
    for word in sorted(table, key=len, reverse=True):
        if word in folded and (f"-{word}-" in folded or re.search(rf"-{re.escape(word)}(?=v\d|xl-)", folded)):
            hits.append((word, table[word]))
            folded = folded.replace(f"-{word}-", "--")
    return hits


def fits_coarse(said: str, found: str) -> bool:
    """Is `found` something that people and tools also call `said`? A GGUF of Z-Image says lumina2. Pure."""
    names = words_of("coarse").get(fold(said))
    return said == found or (isinstance(names, list) and found in names)
