"""A header becomes a model's type, base and the rest, with the evidence for each. Pure: the same header, the same answer.

What must hold: the tensors decide and everything else only confirms, picks among what the tensors leave open, or is reported
as a conflict. A family that the table does not have is `unknown`, with "looks like" evidence, never a relative's name.
How sure each source is stands in confidence.py and names.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from . import names
from .confidence import rank
from .header import Header
from .key_index import KeyIndex, Parts, Under, at_anchor, split, without_prefix
from .lora_shapes import LoraLayers, as_layers, named_as_lora, read_layers
from .precision import precision_of
from .predicates import Asked
from .recent import Recent
from .signatures import LIKELY, SURE, Match, find
from .terms import Evidence, ModelFacts

AskFor = Callable[[str, KeyIndex], tuple[Match, ...]]
SHARD = re.compile(r"-\d{5}-of-\d{5}$")  # Hugging Face's name for one of several files that are one model
WORTH = 20  # tensors from which on an answer is worth keeping
PART_KEYS = 10  # a VAE or a text encoder has more tensors than a stray key or two
WORDS = ("name", "folder")  # sources that a person types
AGREE = {SURE: "key names, widths and block counts agree", LIKELY: "key names and widths agree, the block count does not"}


@dataclass(frozen=True, slots=True)
class Classified:
    """The answer. `known` is False when no signature names the file."""

    model: ModelFacts
    evidence: tuple[Evidence, ...]
    conflicts: tuple[str, ...]
    known: bool


@dataclass(frozen=True, slots=True)
class _Structure:
    """What the tensors say: a type, the match that names the base (None: nothing does), and relatives."""

    type: str
    match: Match | None
    relatives: tuple[Match, ...] = ()
    lora: LoraLayers | None = None
    roles: tuple[str, ...] = ()
    clash: str = ""  # what the file holds that does not belong into one file: it has relatives then, and no match


@dataclass(slots=True)
class _Findings:
    """Evidence and conflicts as they come together."""

    evidence: list[Evidence] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def classify(header: Header, stem: str, parents: Sequence[str] = (), outside: Sequence[Evidence] = ()) -> Classified:
    """Classify a header. stem is the file's name without suffix, parents its folders, the nearest first.

    outside is evidence that does not stand in the file: a config beside it, CivitAI's answer.
    """
    structure, precision = _tensors_say(header)
    if structure.match is None and structure.lora is None and not structure.clash and SHARD.search(stem):
        structure = _shard(header) or structure
    found = _Findings([e for e in outside if e.says.startswith("said-")])  # words that mean nothing to us are shown all the same
    _say_structure(structure, header, found)
    embedded = [*names.by_metadata(header.metadata), *outside]
    words = [*names.by_name(stem), *names.by_folder(parents)]
    base, base_confidence = _base(structure, header, embedded, words, found)
    kind, type_confidence = _type(structure, [*embedded, *words], found)
    subfamily, sub_confidence = _subfamily(structure, stem, header, base, [*embedded, *words], found)
    match = structure.match
    confidences = {"type": type_confidence, "base": base_confidence}
    if match and match.variant:
        confidences["variant"] = match.strength
    if subfamily:
        confidences["subfamily"] = sub_confidence
    model = ModelFacts(
        container=header.container,
        type=kind,
        base=base,
        variant=match.variant if match else None,
        subfamily=subfamily,
        precision=precision,
        lora_format=structure.lora.format if structure.lora else None,
        roles=() if kind == "unknown" else (kind, *(r for r in structure.roles if r != kind)),
        confidences=confidences,
    )
    return Classified(model, tuple(found.evidence), tuple(found.conflicts), kind != "unknown")


# ---------------------------------------------------------------- the tensors


_RECENT: Recent[tuple[_Structure, str | None]] = Recent()


def _tensors_say(header: Header) -> tuple[_Structure, str | None]:
    """Structure and precision, which are the same for the same tensors; of a pickle and a GGUF more than those decides."""
    if header.container != "safetensors" or len(header.tensors) < WORTH:
        return _structure(header), precision_of(header)
    return _RECENT.get(header.tensors, header.metadata.get("general.architecture", ""), lambda: _small(header))


def _small(header: Header) -> tuple[_Structure, str | None]:
    found = _structure(header)
    if found.lora is not None:  # its layers were asked about, and are not asked about again
        found = replace(found, lora=replace(found.lora, index=KeyIndex({})))
    return found, precision_of(header)


def _structure(header: Header) -> _Structure:
    parts = split(header.tensors)
    classes = "\n".join(header.classes)

    def ask(part: str, index: KeyIndex) -> tuple[Match, ...]:
        return find(part, Asked(index, parts.whole, header.metadata, classes))

    beside = None
    # a diffusion model, or a file of a LoRA trainer's names alone, is none of these, and asking would cost as much as all the rest
    if parts.diffusion is None and ("lora_controlnet" in parts.whole.exact or not named_as_lora(parts.whole.exact)):
        beside = _best(ask("other", parts.whole)) or _first(ask("other", v) for v in without_prefix(parts.whole))
    elif parts.control is not None:  # a controlnet may come with the whole model that it was trained on
        beside = _best(ask("other", parts.control))
    if beside:
        return _Structure(beside.signature.type, beside, roles=beside.roles)
    lora = read_layers(parts.whole)
    if lora:
        return _lora(lora, find("lora", Asked(lora.index, parts.whole, header.metadata)))
    found = _model(parts, ask)
    if parts.control is not None and found.match is not None:  # no controlnet that we know: the whole is a relative
        return replace(found, match=replace(found.match, strength=min(found.match.strength, LIKELY)))
    return found


def _shard(header: Header) -> _Structure | None:
    """Some blocks of a diffusion model: their layers' widths name a family, though not surely; the rest is in other files."""
    parts = split(header.tensors)
    kind = "checkpoint" if parts.diffusion and parts.others else "diffusion_model"
    layers = as_layers((parts.diffusion or parts.rest).exact)
    matches = find("lora", Asked(layers, layers, header.metadata))
    best = next((m for m in matches if m.strength >= LIKELY and len(m.signature.bases) == 1), None)
    return _Structure(kind, replace(best, strength=LIKELY)) if best else None


def _lora(lora: LoraLayers, matches: tuple[Match, ...]) -> _Structure:
    # equals stand in the table's order: a row that names one family comes before one that leaves it open
    sure = [replace(m, strength=LIKELY) if lora.halved else m for m in matches if m.strength >= LIKELY]
    best = next((m for m in sure if len(m.signature.bases) == 1), sure[0] if sure else None)
    return _Structure("lora", best, () if best else matches, lora)


def _model(parts: Parts, ask: AskFor) -> _Structure:
    """A diffusion model (with what else is in the file), else a VAE, else a text encoder, else relatives."""
    seen: list[Match] = []
    others = parts.others >= PART_KEYS
    for view in _views(parts):
        matches = ask("diffusion", view)
        best = _best(matches)
        if best:
            rival = _rival(parts, view, best, ask)
            if rival:
                clash = f"it holds two diffusion models, of {best.signature.bases[0]} and of {rival.signature.bases[0]}"
                return _Structure("unknown", None, (best, rival), clash=clash)
            kind = "checkpoint" if others and view is not parts.whole else best.signature.type
            return _Structure(kind, best, roles=best.roles)
        seen += matches
    if parts.diffusion is not None and others:
        return _Structure("checkpoint", None, tuple(seen))
    for part in ("vae", "text"):
        for view in chain((parts.whole,), without_prefix(parts.whole), at_anchor(parts.whole) if part == "text" else ()):
            matches = ask(part, view)
            best = _best(matches)
            if best and min(parts.vae, parts.text) >= PART_KEYS:
                return _Structure(
                    "unknown", None, (best,), clash="it holds a VAE and a text encoder, but no diffusion model that is known"
                )
            if best:
                return _Structure(best.signature.type, best, roles=best.roles)
            seen += matches
    return _Structure("unknown", None, tuple(seen))


def _rival(parts: Parts, view: KeyIndex, best: Match, ask: AskFor) -> Match | None:
    """A diffusion model of another family in what a prefix leaves aside. Bare keys are one model: its row sees what is not its own."""
    if not isinstance(view, Under) or parts.control is not None:
        return None
    left = parts.loose if view is parts.diffusion else parts.loose - len(view)
    if left < WORTH:
        return None
    mine = set() if view is parts.diffusion else set(view.full_names())
    rest = KeyIndex({key: tensor for key, tensor in parts.rest.exact.items() if key not in mine})
    rival = _first(ask("diffusion", index) for index in chain((rest,), without_prefix(rest)))
    return rival if rival and rival.signature.bases != best.signature.bases else None


def _views(parts: Parts) -> Iterator[KeyIndex]:
    """Where a diffusion model's keys may stand: under its prefix, bare beside other parts, or under a wrapper's prefix."""
    if parts.diffusion is not None:
        yield parts.diffusion
    elif (rest := parts.rest).exact:
        yield rest
        yield from without_prefix(rest)


def _best(matches: Sequence[Match]) -> Match | None:
    return next((m for m in matches if m.strength >= LIKELY), None)


def _first(answers: Iterator[tuple[Match, ...]]) -> Match | None:
    return next((best for best in map(_best, answers) if best), None)


def _base_named(match: Match, header: Header) -> tuple[str, ...]:
    """A match's bases; `$key` in the table stands for the metadata's value."""
    return tuple(header.metadata.get(b[1:], "unknown") if b.startswith("$") else b for b in match.signature.bases)


def _say_structure(structure: _Structure, header: Header, found: _Findings) -> None:
    match = structure.match
    if structure.lora:
        text = f"{structure.lora.share:.0%} of its tensors are low-rank pairs ({structure.lora.format})"
        found.evidence.append(Evidence("structure", "type=lora", SURE, text))
    if match:
        bases = _base_named(match, header)
        why = match.signature.text or AGREE[match.strength]
        if not structure.lora:
            text = f"its tensors make it a {structure.type.replace('_', ' ')}: {why}"
            found.evidence.append(Evidence("structure", f"type={structure.type}", match.strength, text))
        if len(bases) == 1 and bases[0] != "unknown":
            found.evidence.append(
                Evidence("structure", f"base={bases[0]}", match.strength, f"the tensors are those of {bases[0]}: {why}")
            )
        elif len(bases) > 1:
            text = f"the layers fit {' and '.join(bases)}; the tensors cannot tell which"
            found.evidence.extend(Evidence("structure", f"looks-like={b}", 0.5, text) for b in bases)
    for base in dict.fromkeys(b for m in structure.relatives for b in _base_named(m, header)):
        text = structure.clash or (
            f"some key names are those of {base}, but the widths or other modules are not: a relative, or a family not known yet"
        )
        found.evidence.append(Evidence("structure", f"looks-like={base}", 0.5, text))
    if structure.clash:
        found.conflicts.append(structure.clash)
    if structure.type == "checkpoint" and not match:
        found.evidence.append(Evidence("structure", "type=checkpoint", LIKELY, "it holds a diffusion model and other parts"))


# ---------------------------------------------------------------- the axes


def _base(
    structure: _Structure, header: Header, embedded: list[Evidence], words: list[Evidence], found: _Findings
) -> tuple[str, float]:
    match = structure.match
    said = [e for e in (*embedded, *words) if e.says.startswith("base=")]
    if match is None:
        return _base_unsaid(structure, said, found)
    bases = _base_named(match, header)
    if match.signature.also and any(e.says.partition("=")[2] in match.signature.also for e in said):
        if match.signature.unsure:  # the tensors fit the relative as well: they may not vote for the first of the two
            found.evidence[:] = [e for e in found.evidence if not (e.source == "structure" and e.says.startswith("base="))]
        bases += match.signature.also
    if len(bases) > 1:
        return _pick(bases, said, found)
    base, veto = bases[0], set[str]()
    for item in said:
        value = item.says.partition("=")[2]
        if value == base or value in match.signature.members:
            found.evidence.append(item)
        elif item.source == "gguf" and names.fits_coarse(value, base):
            found.evidence.append(Evidence(item.source, f"base={base}", item.weight / 2, f"{item.text}, as {base} files do"))
        else:
            veto.add(value)
            _contradict(item, f"the tensors are those of {base}", found)
    # where the tensors fit a relative as well, a name does not make it sure: whoever took it for the family named it so
    counted = [e for e in found.evidence if e.source not in WORDS] if match.signature.unsure else found.evidence
    ranked = rank(counted, "base", frozenset(veto | set(match.signature.members)))
    return (ranked[0][0], ranked[0][1]) if ranked and base != "unknown" else (base, 0.0)


def _base_unsaid(structure: _Structure, said: list[Evidence], found: _Findings) -> tuple[str, float]:
    """No signature names the base. Of a LoRA, which may patch anything, words may; of a whole model they may not."""
    not_these = {b for m in structure.relatives for b in m.signature.bases}
    if structure.lora is None:
        found.evidence.extend(
            Evidence(e.source, "looks-like=" + e.says.partition("=")[2], e.weight / 2, e.text + ", but its tensors are not known")
            for e in said
        )
        return "unknown", 0.0
    for item in said:
        # where the parts do not tell the layers' widths, widths contradict nobody
        if item.says.partition("=")[2] in not_these and not structure.lora.vague:
            _contradict(item, "the layers' widths are not that family's", found)
        else:
            found.evidence.append(item)
    ranked = rank(found.evidence, "base")
    base, confidence = ranked[0] if ranked else ("unknown", 0.0)
    if not any(e.source in ("civitai", "sidecar") and e.says == f"base={base}" for e in found.evidence):
        confidence = min(confidence, LIKELY)  # one writer's words, however often he says them, show no tensor
    return (base, confidence) if confidence >= names.NAME_BASE else ("unknown", 0.0)


def _pick(bases: tuple[str, ...], said: list[Evidence], found: _Findings) -> tuple[str, float]:
    """The tensors fit several families: what the file says of itself picks one, or its name does at 0.6."""
    for item in said:
        value = item.says.partition("=")[2]
        choice = next((b for b in bases if b == value or (item.source == "gguf" and names.fits_coarse(value, b))), None)
        if choice is None:
            _contradict(item, f"the layers fit only {' or '.join(bases)}", found)
            continue
        weight = 1 - (1 - 0.5) * (1 - item.weight) if item.source != "name" else names.NAME_SUBFAMILY
        found.evidence.append(Evidence(item.source, f"base={choice}", round(weight, 4), item.text))
    ranked = rank(found.evidence, "base")
    return ranked[0] if ranked and ranked[0][1] > 0 else ("unknown", 0.0)


def _contradict(item: Evidence, against: str, found: _Findings) -> None:
    """Words against tensors: what the file says of itself is a conflict worth showing, a mere name is only remarked."""
    value = item.says.partition("=")[2]
    found.evidence.append(Evidence(item.source, f"not-{item.says}", 0.0, f"{item.text}, but {against}"))
    if item.source not in ("name", "folder"):
        found.conflicts.append(f"{item.text}, which means {value}; but {against}")


def _type(structure: _Structure, said: list[Evidence], found: _Findings) -> tuple[str, float]:
    for item in said:
        if not item.says.startswith("type="):
            continue
        agrees = item.says == f"type={structure.type}" or item.says.partition("=")[2] in structure.roles
        if agrees:
            found.evidence.append(item)
        elif structure.type != "unknown":
            _contradict(item, f"the tensors make it a {structure.type.replace('_', ' ')}", found)
    if structure.type == "unknown":
        return "unknown", 0.0
    others = {e.says.partition("=")[2] for e in found.evidence if e.says.startswith("type=")} - {structure.type}
    ranked = rank(found.evidence, "type", frozenset(others))
    return structure.type, ranked[0][1] if ranked else 0.0


def _subfamily(
    structure: _Structure, stem: str, header: Header, base: str, said: list[Evidence], found: _Findings
) -> tuple[str | None, float]:
    """Sub-families are never visible in tensors; of a group of identical VAEs the name may tell the member."""
    match = structure.match
    if match and match.signature.members:
        members = {f"base={m}": m for m in match.signature.members}
        hits = [Evidence(e.source, f"subfamily={members[e.says]}", 0.6, e.text) for e in said if e.says in members]
    else:
        hits = names.subfamilies(stem, header.metadata, base) + [e for e in said if e.says.startswith("subfamily=")]
        if any(e.source == "civitai" and e.says.startswith("base=") and e.says != f"base={base}" for e in said):
            hits = [e for e in hits if e.source != "civitai"]  # it is of a base that this is not
    found.evidence.extend(hits)
    ranked = rank(hits, "subfamily")
    return (ranked[0][0], ranked[0][1]) if ranked and ranked[0][1] > 0 else (None, 0.0)
