"""A header's keys, searchable by name, by name with any block number, and by part. Made once for a header, in one pass.

What must hold: a question costs a dictionary look-up, whatever the header's size; keys that quantisation adds are not seen;
"part" means the sub-model that a prefix names (diffusion, vae, text), and a key belongs to one part only.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import chain, islice, repeat
from math import prod

from .header import Shape, Tensor

# a number that is a whole component of a dotted key: what tells one block from the next
NUMBER = re.compile(r"(?<![^.\n])\d+(?![^.\n])")

# prefix -> part
PREFIXES = {
    "model.diffusion_model.": "diffusion",
    "first_stage_model.": "vae",
    "vae.": "vae",
    "cond_stage_model.": "text",
    "conditioner.embedders.": "text",
    "text_encoders.": "text",
    "te.": "text",
    "text_encoder.": "text",
    "text_encoder_2.": "text",
    "text_encoder_3.": "text",
    "text_embedding_projection.": "text",
    "audio_vae.": "vae",
    "vocoder.": "vae",
    "model_ema.": "ema",
}
WEAK = ("_orig_mod.", "module.", "model.model.", "diffusion_model.", "transformer.", "unet.", "net.", "model.", "text_encoder.", "vae.",
        "first_stage_model.", "control_model.", "adapter.", "text_model.", "language_model.", "ema_model.", "generator.",
        "state_dict.", "model_state_dict.", "state_dict_ema.", "params_ema.", "params.", "ema.",
        "generator_ema.", "dit.")  # fmt: skip
CONTROL = "control_model."
# tensors that quantisation puts beside the weights
_SIDE = (
    ".scale_weight", ".scale_input", ".weight_scale", ".weight_scale_2", ".input_scale", ".comfy_quant", ".absmax",
    ".quant_map", ".nested_absmax", ".nested_quant_map", ".wscales", ".wtscale", ".wzeros", ".smooth", ".smooth_orig",
    ".lora_down", ".lora_up", ".proj_down", ".proj_up", ".wcscales", ".quant_state.bitsandbytes__nf4",
    ".quant_state.bitsandbytes__fp4", "._scale", "._shift", ".output_scale", ".svd_up", ".svd_down", ".zero_point", ".qzeros",
    ".g_idx", ".scales", ".scaled_zeros",
)  # fmt: skip
# what tools call a weight that holds several 4-bit values in each number: quanto, HQQ, GPTQ and AWQ
_PACKED = ("._data._data", ".W_q", ".qweight")
_BYTES = {"I16": 2, "I32": 4, "U32": 4}
_BARE = dict.fromkeys(map(ord, "0123456789*"))
_ANY_NUMBER = r"(?<![^.\n])(?:\d+|\*)(?![^.\n])"


def without_numbers(name: str) -> str:
    """A name without digits and `*`. Pure."""
    return name.translate(_BARE)


@functools.lru_cache(maxsize=8192)
def bare(line: str) -> str:
    """A line of the table without digits and `*`; kept, so never asked of a file's names, of which there is no end. Pure."""
    return without_numbers(line)


_BARE_SIDE = tuple(map(bare, (*_SIDE, *_PACKED)))


def bare_names(names: Collection[str]) -> list[str]:
    """Each name without digits and `*`: what all blocks have in common, found in one go over all names. Pure."""
    found = "\n".join(names).translate(_BARE).split("\n")
    return found if len(found) == len(names) else list(map(without_numbers, names))


@functools.lru_cache(maxsize=8192)
def numbered(pattern: str) -> re.Pattern[str]:
    """The names, or parts of names, that a line of the table stands for: a component `*` is any number."""
    return re.compile(_ANY_NUMBER.join(map(re.escape, pattern.split("*"))), re.ASCII)


class KeyIndex:
    """Keys and shapes of one part. `exact` is the mapping itself; the other tables are made when first asked for."""

    def __init__(self, exact: Mapping[str, Tensor]) -> None:
        self._exact = exact
        self._groups: dict[str, list[str]] | None = None
        self._tops: frozenset[str] | None = None
        self._text = ""
        self._told: dict[str, bool] = {}
        self._fitting: dict[str, frozenset[Shape]] = {}
        self._blocks: dict[str, frozenset[int]] = {}
        self._shapes: frozenset[Shape] | None = None

    @property
    def exact(self) -> Mapping[str, Tensor]:
        """The keys as they are, with dtype and shape."""
        return self._exact

    def groups(self) -> Mapping[str, list[str]]:
        """Bare name -> keys that are so called; they may differ in more than blocks (attn1, attn2): ask `has`."""
        if self._groups is None:
            self._groups = defaultdict(list)
            for name, short in zip(self._exact, bare_names(self._exact), strict=True):
                self._groups[short].append(name)
        return self._groups

    def tops(self) -> frozenset[str]:
        """What stands before the first dot of the bare names that have one: the modules at the top."""
        if self._tops is None:
            self._tops = frozenset(group.partition(".")[0] for group in self.groups() if "." in group)
        return self._tops

    def names(self, short: str) -> Collection[str]:
        """The keys of a group."""
        return self.groups().get(short, ())

    def every_name(self) -> Collection[str]:
        """All keys."""
        return self._exact.keys()

    def carrying(self, prefix: str) -> int:
        """How many keys begin with `prefix`."""
        groups, short = self.groups(), bare(prefix)
        return sum(sum(map(str.startswith, groups[g], repeat(prefix))) for g in groups if g.startswith(short))

    def shape(self, name: str) -> Shape:
        """A key's shape."""
        return self._exact[name][1]

    def present(self, keys: Set[str]) -> Collection[str]:
        """Those of `keys` that there are."""
        return keys & self._exact.keys()

    def has(self, pattern: str) -> bool:
        """Is there a key that `pattern` names, `*` in it being any block's number?"""
        return any(True for _ in self._matching(pattern))

    def _matching(self, pattern: str) -> Iterable[str]:
        return filter(numbered(pattern).fullmatch, self.names(bare(pattern)))

    def says(self, text: str) -> bool:
        """Does some key, with `*` for block numbers, contain `text`?"""
        if text not in self._told:
            self._told[text] = self._says(text, bare(text))
        return self._told[text]

    def _says(self, text: str, short: str) -> bool:
        if not self._text:
            self._text = "\n" + "\n".join(self.groups()) + "\n"
        if short not in self._text:
            return False
        names = chain.from_iterable(self.names(group) for group in self.groups() if short in group)
        return any(map(numbered(text).search, names)) if "*" in text else any(text in name for name in names)

    def shapes(self, pattern: str) -> Collection[Shape]:
        """Shapes of the keys that `pattern` names, each once; `**` names all."""
        if pattern == "**":
            return self.every_shape()
        if pattern not in self._fitting:
            names = self._matching(pattern) if "*" in pattern else self.present({pattern})
            self._fitting[pattern] = frozenset(map(self.shape, names))
        return self._fitting[pattern]

    def every_shape(self) -> frozenset[Shape]:
        """The shapes that occur, each once."""
        if self._shapes is None:
            self._shapes = frozenset(t[1] for t in self.exact.values())
        return self._shapes

    def blocks(self, prefix: str) -> frozenset[int]:
        """The numbers that stand right behind `prefix` (which ends with a dot)."""
        if prefix not in self._blocks:
            size, start = len(prefix), bare(prefix)
            names = chain.from_iterable(self.names(group) for group in self.groups() if group.startswith(start))
            ends = {n[size : size + 7] for n in names if n.startswith(prefix)}  # many names, few numbers
            found = {end.partition(".")[0] for end in ends}
            self._blocks[prefix] = frozenset(int(f) for f in found if f.isdecimal() and len(f) < 7)
        return self._blocks[prefix]


class Under(KeyIndex):
    """The keys of another index that begin with a prefix, without it: nothing is copied before somebody wants it all."""

    def __init__(self, base: KeyIndex, prefix: str) -> None:
        super().__init__({})
        self._base: KeyIndex = base._base if isinstance(base, Under) else base
        self._prefix: str = base._prefix + prefix if isinstance(base, Under) else prefix

    def __len__(self) -> int:
        return self._base.carrying(self._prefix)

    @property
    def exact(self) -> Mapping[str, Tensor]:
        if not self._exact:
            cut = len(self._prefix)
            self._exact = {k[cut:]: t for k, t in self._base.exact.items() if k.startswith(self._prefix)}
        return self._exact

    def groups(self) -> Mapping[str, list[str]]:
        if self._groups is None:
            short, cut = bare(self._prefix), len(bare(self._prefix))
            self._groups = {group[cut:]: [] for group in self._base.groups() if group.startswith(short)}
        return self._groups

    def names(self, short: str) -> Collection[str]:
        cut = len(self._prefix)
        return [n[cut:] for n in self._base.names(bare(self._prefix) + short) if n.startswith(self._prefix)]

    def every_name(self) -> Collection[str]:
        cut = len(self._prefix)
        return [n[cut:] for n in self._base.exact if n.startswith(self._prefix)]

    def full_names(self) -> Collection[str]:
        """The same keys with the prefix."""
        return [n for n in self._base.exact if n.startswith(self._prefix)]

    def shape(self, name: str) -> Shape:
        return self._base.shape(self._prefix + name)

    def present(self, keys: Set[str]) -> Collection[str]:
        return [key for key in keys if self._prefix + key in self._base.exact]

    def blocks(self, prefix: str) -> frozenset[int]:
        return self._base.blocks(self._prefix + prefix)


@dataclass(frozen=True, slots=True)
class Parts:
    """A header's keys split by part. `whole` has every key as it stands in the file (without quantisation's own)."""

    whole: KeyIndex
    diffusion: KeyIndex | None
    others: int  # keys of the other named parts
    carried: tuple[str, ...]  # the prefixes that keys of the named parts have
    control: KeyIndex | None = None  # the controlnet beside a diffusion model
    vae: int = 0  # keys of a VAE, and of text encoders, that are named so
    text: int = 0
    loose: int = 0  # keys of no named part

    @property
    def rest(self) -> KeyIndex:
        """What belongs to no named part."""
        if not self.carried:
            return self.whole
        return KeyIndex({key: tensor for key, tensor in self.whole.exact.items() if not key.startswith(self.carried)})


def split(tensors: Mapping[str, Tensor]) -> Parts:
    """Split keys by component prefix. Pure; keys are copied only where something is taken away."""
    whole = _plain(tensors)
    diffusion: KeyIndex | None = None
    carried, sizes = list[str](), dict.fromkeys(PREFIXES.values(), 0)
    starts = whole.tops()
    for prefix, part in PREFIXES.items():
        found = Under(whole, prefix) if bare(prefix).partition(".")[0] in starts else ()
        if size := len(found):
            carried.append(prefix)
            sizes[part] += size
            if part == "diffusion" and isinstance(found, Under):
                diffusion = found
    others = sum(sizes.values()) - sizes["diffusion"]
    control = Under(whole, CONTROL) if diffusion is not None and bare(CONTROL).partition(".")[0] in starts else ()
    return Parts(
        whole,
        diffusion,
        others,
        tuple(carried),
        control if isinstance(control, Under) and len(control) else None,
        sizes["vae"],
        sizes["text"],
        len(whole.exact) - sum(sizes.values()),
    )


def _plain(tensors: Mapping[str, Tensor]) -> KeyIndex:
    """The tensors without those that quantisation adds, and without torch.compile's name for what it wraps."""
    whole = KeyIndex(tensors)
    if any(group.endswith(_BARE_SIDE) for group in whole.groups()):
        tensors = _unpacked(tensors)
    if any("_orig_mod." in key for key in islice(tensors, 8)):
        tensors = {key.replace("_orig_mod.", ""): tensor for key, tensor in tensors.items()}
    return whole if tensors is whole.exact else KeyIndex(tensors)


def _unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without what quantisation adds, 4-bit weights with the width that they stand for. Pure."""
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key.endswith(_SIDE):
            continue
        if key.endswith(".weight._data"):
            found[key.removesuffix("._data")] = tensor
        elif key.endswith(_PACKED):
            found[key] = tensor
            found[_weight_of(key)] = _column(tensor)
        elif key.endswith(".weight") and tensor[0] in ("U8", "U32") and _is_column(key, tensor, tensors):
            found[key] = _column(tensor)
        else:
            packed = tensor[0] == "U8" and key.endswith((".weight", ".weight_packed")) and len(tensor[1]) == 2
            found[key.removesuffix("_packed") if packed else key] = _wide(tensor, tensors, key) if packed else tensor
    return found


def _weight_of(key: str) -> str:
    end = next(end for end in _PACKED if key.endswith(end))
    return key.removesuffix(end).removesuffix(".weight") + ".weight"


def _is_column(key: str, tensor: Tensor, tensors: Mapping[str, Tensor]) -> bool:
    """Does a weight of whole numbers hold several of its values in each: a flat one with zero points (SDNQ), or MLX's?"""
    if tensor[0] == "U8":
        return len(tensor[1]) == 1 and key.removesuffix("weight") + "zero_point" in tensors
    return key.removesuffix("weight") + "scales" in tensors


def _column(tensor: Tensor) -> Tensor:
    """4-bit values as one column of bytes, two in each, which is how bitsandbytes keeps them and how predicates know them."""
    return ("U8", (prod(tensor[1]) * _BYTES.get(tensor[0], 1), 1))


def _wide(tensor: Tensor, tensors: Mapping[str, Tensor], key: str) -> Tensor:
    """A 4-bit weight holds two values in a byte; a scale for each few columns beside it (NVFP4, MXFP4) tells that it is one."""
    scale = tensors.get(key.removesuffix("_packed") + "_scale")
    blocks = scale[1][-1] if scale is not None and len(scale[1]) > 1 else 0
    rows, columns = tensor[1]
    return (tensor[0], (rows, 2 * columns)) if blocks > 1 else tensor


def without_prefix(index: KeyIndex, deep: int = 2) -> Iterator[KeyIndex]:
    """The same keys with a wrapper's prefix taken off, for every such prefix that at least half of them carry; wrappers may nest."""
    names = list(index.every_name())
    sample = "\n" + "\n".join(names[:: max(1, len(names) // 16)])  # a prefix of half the keys is among these
    for prefix in WEAK:
        if "\n" + prefix in sample and len(found := Under(index, prefix)) * 2 >= len(names):
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
