"""A header's keys, searchable by name, by name with any block number, and by part. Made once for a header, in one pass.

What must hold: a question costs a dictionary look-up, whatever the header's size; keys that quantisation adds are not seen;
"part" means the sub-model that a prefix names (diffusion, vae, text), and a key belongs to one part only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

from .header import Shape, Tensor

# a number that is a whole component of a dotted key: what tells one block from the next
NUMBER = re.compile(r"(?<![^.\n])\d+(?![^.\n])")

# first component -> (prefix, part), the longest prefix first
PREFIXES: dict[str, tuple[tuple[str, str], ...]] = {
    "model": (("model.diffusion_model.", "diffusion"),),
    "first_stage_model": (("first_stage_model.", "vae"),),
    "vae": (("vae.", "vae"),),
    "cond_stage_model": (("cond_stage_model.", "text"),),
    "conditioner": (("conditioner.embedders.", "text"),),
    "text_encoders": (("text_encoders.", "text"),),
    "te": (("te.", "text"),),
    "text_encoder": (("text_encoder.", "text"),),
    "text_encoder_2": (("text_encoder_2.", "text"),),
    "text_encoder_3": (("text_encoder_3.", "text"),),
    "text_embedding_projection": (("text_embedding_projection.", "text"),),
    "audio_vae": (("audio_vae.", "vae"),),
    "vocoder": (("vocoder.", "vae"),),
    "model_ema": (("model_ema.", "ema"),),
}
WEAK = ("_orig_mod.", "module.", "model.model.", "diffusion_model.", "transformer.", "unet.", "net.", "model.", "text_encoder.", "vae.",
        "first_stage_model.", "control_model.", "adapter.", "text_model.", "language_model.", "ema_model.", "generator.")  # fmt: skip
# tensors that quantisation puts beside the weights
_SIDE = (
    ".scale_weight", ".scale_input", ".weight_scale", ".weight_scale_2", ".input_scale", ".comfy_quant", ".absmax",
    ".quant_map", ".nested_absmax", ".nested_quant_map", ".wscales", ".wtscale", ".wzeros", ".smooth", ".smooth_orig",
    ".lora_down", ".lora_up", ".proj_down", ".proj_up", ".wcscales", ".quant_state.bitsandbytes__nf4",
    ".quant_state.bitsandbytes__fp4",
)  # fmt: skip
_SIDE_TAILS = frozenset(side.rpartition(".")[2] for side in _SIDE)


_INNER = re.compile(r"\.\d+(?=[.\n])")  # NUMBER but for the first component; a literal start makes it several times as fast
_FIRST = re.compile(r"\n\d+(?=[.\n])")


def general_names(names: Iterable[str]) -> list[str]:
    """Each name with `*` for every block number, in one go over all of them. Pure."""
    text = _INNER.sub(".*", "\n" + "\n".join(names) + "\n")
    return _FIRST.sub("\n*", text).split("\n")[1:-1]


@dataclass(slots=True)
class KeyIndex:
    """Keys and shapes of one part. `exact` is the mapping itself; the other tables are made when first asked for."""

    exact: Mapping[str, Tensor]
    _groups: dict[str, list[str]] = field(default_factory=dict)
    _text: str = ""
    _blocks: dict[str, frozenset[int]] = field(default_factory=dict)
    _shapes: frozenset[Shape] | None = None

    def groups(self) -> dict[str, list[str]]:
        """Name with `*` for every block number -> the keys it stands for."""
        if not self._groups and self.exact:
            for name, pattern in zip(self.exact, general_names(self.exact), strict=False):
                self._groups.setdefault(pattern, []).append(name)
        return self._groups

    def text(self) -> str:
        """All patterns, one a line, for questions about a part of a name."""
        if not self._text:
            self._text = "\n" + "\n".join(self.groups()) + "\n"
        return self._text

    def shapes(self, pattern: str, general: str, only: re.Pattern[str] | None) -> Iterable[Shape]:
        """Shapes of the keys that `pattern` names; `general` is it with every number as `*`, `only` checks fixed numbers."""
        if pattern == "**":
            return self.every_shape()
        if "*" not in pattern:
            found = self.exact.get(pattern)
            return () if found is None else (found[1],)
        names = self.groups().get(general, ())
        return (self.exact[n][1] for n in names if only is None or only.fullmatch(n))

    def every_shape(self) -> frozenset[Shape]:
        """The shapes that occur, each once."""
        if self._shapes is None:
            self._shapes = frozenset(t[1] for t in self.exact.values())
        return self._shapes

    def blocks(self, prefix: str) -> frozenset[int]:
        """The numbers that stand right behind `prefix` (which ends with a dot)."""
        if prefix not in self._blocks:
            size, start = len(prefix), NUMBER.sub("*", prefix) + "*"
            names = chain.from_iterable(names for pattern, names in self.groups().items() if pattern.startswith(start))
            found = {n[size:].partition(".")[0] for n in names if n.startswith(prefix)}
            self._blocks[prefix] = frozenset(int(f) for f in found if f.isdecimal() and len(f) < 7)
        return self._blocks[prefix]


@dataclass(frozen=True, slots=True)
class Parts:
    """A header's keys split by part. `whole` has every key as it stands in the file (without quantisation's own)."""

    whole: KeyIndex
    named: Mapping[str, KeyIndex]
    carried: tuple[str, ...]  # the prefixes that keys of the named parts have

    @property
    def rest(self) -> KeyIndex:
        """What belongs to no named part."""
        if not self.carried:
            return self.whole
        return KeyIndex({key: tensor for key, tensor in self.whole.exact.items() if not key.startswith(self.carried)})


def split(tensors: Mapping[str, Tensor]) -> Parts:
    """Split keys by component prefix. Pure; keys are copied only where something is taken away."""
    whole = _plain(tensors)
    named: dict[str, dict[str, Tensor]] = {}
    carried: list[str] = []
    for first in {key.partition(".")[0] for key in whole} & PREFIXES.keys():
        for prefix, part in PREFIXES[first]:
            found = {key[len(prefix) :]: tensor for key, tensor in whole.items() if key.startswith(prefix)}
            if found:
                named.setdefault(part, {}).update(found)
                carried.append(prefix)
    return Parts(KeyIndex(whole), {k: KeyIndex(v) for k, v in named.items()}, tuple(carried))


def _plain(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors without those that quantisation adds, and without torch.compile's name for what it wraps."""
    if not _SIDE_TAILS.isdisjoint({key.rpartition(".")[2] for key in tensors}):
        tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith(_SIDE)}
    if any("_orig_mod." in key for key in islice(tensors, 8)):
        tensors = {key.replace("_orig_mod.", ""): tensor for key, tensor in tensors.items()}
    return tensors


def without_prefix(index: KeyIndex, deep: int = 2) -> Iterator[KeyIndex]:
    """The same keys with a wrapper's prefix taken off, for every such prefix that at least half of them carry; wrappers may nest."""
    names = list(index.exact)
    sample = "\n" + "\n".join(names[:: max(1, len(names) // 16)])  # a prefix of half the keys is among these
    for prefix in WEAK:
        if "\n" + prefix not in sample:
            continue
        stripped = {k[len(prefix) :]: t for k, t in index.exact.items() if k.startswith(prefix)}
        if len(stripped) * 2 >= len(names):
            found = KeyIndex(stripped)
            yield found
            if deep > 1:
                yield from without_prefix(found, deep - 1)


# what a text or vision encoder's keys hold right behind the names that tools put before them, and the table's name for it
ANCHORS = (
    ("text_model.encoder.layers.", "text_model.encoder.layers."),
    ("vision_model.encoder.layers.", "vision_model.encoder.layers."),
    ("visual.transformer.resblocks.", "visual.transformer.resblocks."),
    ("transformer.resblocks.", "transformer.resblocks."),
    ("encoder.block.", "encoder.block."),
    ("layers.0.self_attn.", "model.layers.0.self_attn."),
    ("encoder.layers.0.self_attn.", "text_model.encoder.layers.0.self_attn."),
)


def at_anchor(index: KeyIndex) -> Iterator[KeyIndex]:
    """An encoder's keys as the table names them, whatever stands before: `clip_l.transformer.`, `model.language_model.`, nothing."""
    for anchor, wanted in ANCHORS:
        table = wanted.removesuffix(anchor)
        # a model of language and pictures has two halves that are named alike: each place is tried
        for before in list(dict.fromkeys(k.partition(anchor)[0] for k in index.exact if anchor in k))[:4]:
            if before == table or not (before == "" or before.endswith(".")):
                continue
            moved = {table + k[len(before) :]: t for k, t in index.exact.items() if k.startswith(before)}
            # what does not carry the name (a vision half beside it) stays as it is
            yield KeyIndex({**{k: t for k, t in index.exact.items() if not k.startswith(before)}, **moved})
