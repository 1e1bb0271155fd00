"""What belongs together in an app's folders: files beside a model, a GGUF encoder and its mmproj, the two halves of a Wan 2.2 model.

What must hold: names only, nothing is opened. Apps write into what stands beside a link, in the link's own folder, so previews and
metadata are copied there, never linked into our hub; a config that an app only reads is linked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from .globs import fold

LINKED = frozenset({".yaml", ".yml"})  # a checkpoint's config: A1111 and ComfyUI look for the checkpoint's stem beside it
# Previews as ComfyUI, A1111, Forge and SwarmUI find them (NAME.png, NAME.preview.png, NAME.thumb.jpg); metadata as A1111 (.json),
# Civitai-Helper (.civitai.info), StabilityMatrix (.cm-info.json) and SwarmUI (.swarm.json) find it.
COPIED = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".webm", ".info", ".json"})
# Lora-Manager's names the file by its absolute path, and a checksum file names bytes that an app may rewrite: both stay in the hub.
_STAYS = re.compile(r"\.metadata\.json|\.sha256|\.md5", re.IGNORECASE)
_QUANT = re.compile(r"[-_.](?:ud[-_])?(?:i?q\d\w*|tq\d\w*|bf16|fp?16|fp?32|fp8\w*|mxfp4\w*)$", re.IGNORECASE)
_NOISE = re.compile(r"(high|low)(?=[ _.-]?noise)", re.IGNORECASE)


class Beside(StrEnum):
    """How a file that lies beside a model in the hub comes to stand beside its link."""

    LINKED = "linked"
    COPIED = "copied"
    NOT = "not"


def beside(name: str) -> Beside:
    """How a companion of this name is deployed."""
    suffix = Path(name).suffix.casefold()
    if _STAYS.search(name) or suffix not in LINKED | COPIED:
        return Beside.NOT
    return Beside.LINKED if suffix in LINKED else Beside.COPIED


# ---------------------------------------------------------------- GGUF text encoders and their vision half


def bare_name(name: str) -> str:
    """A GGUF file's name without suffix and quantisation, folded: what ComfyUI-GGUF looks for in an mmproj's name."""
    return fold(_unquantised(Path(name).stem))


def mmproj_names(encoders: Iterable[str], mmprojs: Iterable[str]) -> dict[str, str]:
    """For each mmproj the name under which its encoder finds it; one that fits already, or fits none, is left out.

    ComfyUI-GGUF's loader lists the folder of the encoder's link for a .gguf whose name holds "mmproj" and the encoder's bare name.
    A name that says nothing but "mmproj" belongs to the only encoder there is, and to none when there are several.
    """
    known = sorted({(bare_name(name), Path(name).stem) for name in encoders})
    found: dict[str, str] = {}
    for name in sorted(mmprojs):
        said = fold(Path(name).stem)
        if "mmproj" in said and any(bare in said for bare, _ in known):
            continue
        rest = re.sub(r"[-_.]+", "-", bare_name(name).replace("mmproj", "").replace("model", "")).strip("-")
        fits = {bare: stem for bare, stem in known if not rest or rest in re.sub(r"[-_.]+", "-", bare)}
        if len(fits) == 1:
            found[name] = f"{_unquantised(next(iter(fits.values())))}-mmproj{_quant_of(name)}.gguf"
    return found


def _unquantised(stem: str) -> str:
    while (shorter := _QUANT.sub("", stem)) != stem:
        stem = shorter
    return stem


def _quant_of(name: str) -> str:
    found = _QUANT.search(Path(name).stem)
    return f"-{found[0][1:]}" if found else ""


# ---------------------------------------------------------------- pairs


def other_half(name: str) -> str | None:
    """The name of the other half of a Wan 2.2 model (high and low noise are two files), in the same letters; None for any other."""
    found = _NOISE.search(name)
    if found is None:
        return None
    word = found[0]
    swapped = "low" if word.casefold() == "high" else "high"
    swapped = swapped.upper() if word.isupper() else swapped.capitalize() if word[0].isupper() else swapped
    return name[: found.start()] + swapped + name[found.end() :]


def lone_halves(names: Mapping[str, str], there: Iterable[str]) -> dict[str, str]:
    """Of models (SHA-256 -> name), those whose other half is not among the names that are `there`, with a note that says so."""
    have = {fold(name) for name in there}
    found = {}
    for sha256, name in names.items():
        other = other_half(name)
        if other is not None and fold(other) not in have:
            found[sha256] = f"half of a pair: {other} is not here"
    return found
