"""What `models show` prints of one model: what it is and how sure that is, why, and where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..client import Row
from .common import number, rows, size
from .lookup import lines

_PLAIN = ("type", "base", "variant", "subfamily", "precision", "lora_format", "condition", "reason", "blob", "wanted")
_STANDS = {
    "away": "away: it is on a disk that is not there just now",
    "gone": "gone: nothing has this content any more, what stands here is what is remembered",
    "changed": "changed in the hub by somebody: it is hashed anew",
    "replaced": "replaced: the hub's file has another content now",
}


def shown(answer: Row) -> Iterator[str]:
    """The lines for a person, of the answer of GET /api/v1/models/{sha256}."""
    yield f"sha256       {answer['sha256']}"
    yield from (f"name         {name}" for name in _texts(answer.get("names")) or [str(answer["name"])])
    yield f"size         {size(answer['size'])}"
    yield from (f"{key:12} {answer[key]}" for key in _PLAIN if answer.get(key) is not None)
    yield from (f"{'file':12} {said}" for said in (_STANDS.get(str(answer.get("state"))),) if said)
    facts = _object(answer.get("facts"))
    yield f"confidence   {number(answer['confidence']):.2f} {answer.get('band', '')}{_axes(_object(facts.get('model')))}"
    if answer.get("verdict"):
        yield f"by the rules {answer['verdict']}"
    hashes = _object(answer.get("hashes"))
    yield from (f"{kind:12} {value}" for kind, value in hashes.items() if value and kind != "sha256")
    yield from lines(answer)
    for e in rows(facts, "evidence"):
        yield f"  {e['says']} ({number(e['weight']):g}, {e['source']}): {e['text']}"
    yield from (f"  but {conflict}" for conflict in _texts(facts.get("conflicts")))
    for link in rows(answer, "links"):
        yield f"  {link['state']:10} {link['at']}"


def _axes(model: Mapping[str, object]) -> str:
    """The confidence of each axis: ` (type 0.97, base 0.60)`."""
    found = _object(model.get("confidences"))
    return f" ({', '.join(f'{axis} {number(value):.2f}' for axis, value in found.items())})" if found else ""


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []
