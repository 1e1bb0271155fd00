"""What CivitAI says of one content: its answer reduced to what is used, and that as evidence. Pure.

What must hold: an answer is somebody else's text, so every field is checked, bounded and kept to one printable line, and an answer about
another file is none; a base that the table (tables/civitai.yaml) does not have is told in its own words and taken for nothing; the
weights are below what tensors say, since uploaders type these fields by hand.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .signatures import TABLES, load_yaml
from .terms import Evidence, Published

CIVITAI_BASE, CIVITAI_SUBFAMILY = 0.85, 0.9
LONGEST = 200  # characters of one text that is kept
WORDS = 50  # trigger words that are kept
LARGEST_ID = 2**53  # what JSON's numbers hold exactly
_SIGNS = re.compile(r"[^a-z0-9]+")
_BASELESS = ("text encoder", "upscaler")  # files whose base is their own and not that of the model they came with


@dataclass(frozen=True, slots=True)
class Misfit:
    """An answer that cannot be used, and why in a sentence."""

    reason: str


def fold(text: str) -> str:
    """Lower case, with every sign a dash: how the table's strings are compared."""
    return _SIGNS.sub("-", text.casefold()).strip("-")


@functools.cache
def table(section: str) -> Mapping[str, tuple[str, ...]]:
    """A section of the table by folded string. Raises signatures.TableError when the file is no table."""
    rows = load_yaml(TABLES / "civitai.yaml").get(section)
    if not isinstance(rows, dict):
        return {}
    return {fold(str(k)): tuple(map(str, v)) if isinstance(v, list) else (str(v),) for k, v in rows.items()}


# ---------------------------------------------------------------- reading


def read_ids(value: object) -> frozenset[str] | None:
    """The SHA-256 (lower case) that `POST by-hash/ids` knows, of its answer [{modelVersionId, modelId, hash}, …].

    None when the answer does not say which (an older site answers with ids alone), so that each has to be asked for. Raises nothing; an
    answer of another shape is None too.
    """
    if not isinstance(value, list):
        return None
    found = [row.get("hash") if isinstance(row, dict) else None for row in value]
    if any(not isinstance(text, str) for text in found):
        return None
    return frozenset(str(text).lower() for text in found)


def read_version(value: object, sha256: str, site: str = "") -> Published | Misfit:
    """What is used of one model version, the answer to `GET by-hash/{sha256}`; a Misfit when it is about another file, or is none.

    site is where the model's page is, like https://civitai.com.
    """
    if not isinstance(value, dict):
        return Misfit("the answer is no model version")
    model, version = _number(value.get("modelId")), _number(value.get("id"))
    file = next((f for f in _objects(value.get("files")) if _sha256(f) == sha256.lower()), None)
    if file is None:
        return Misfit("the answer is about another file")
    if model is None or version is None:
        return Misfit("the answer has no ids")
    about = value.get("model")
    about = about if isinstance(about, dict) else {}
    page = f"{site.rstrip('/')}/models/{model}?modelVersionId={version}" if site else ""
    return Published(
        model,
        version,
        name=line(about.get("name")),
        release=line(value.get("name")),
        type=line(about.get("type")),
        file_type=line(file.get("type")),
        base=line(value.get("baseModel")),
        file=line(file.get("name")),
        words=_words(value.get("trainedWords")),
        nsfw=about.get("nsfw") is True,
        page=page,
    )


def line(value: object) -> str:
    """A text of the answer as one bounded line without control characters; "" for anything that is no text."""
    if not isinstance(value, str):
        return ""
    short = value[: 4 * LONGEST]  # before the work, so that a text of megabytes costs no more
    return " ".join("".join(c if c.isprintable() else " " for c in short).split())[:LONGEST]


def _words(value: object) -> tuple[str, ...]:
    given = value[: 2 * WORDS] if isinstance(value, list) else ()
    return tuple(dict.fromkeys(word for item in given if (word := line(item))))[:WORDS]


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < LARGEST_ID else None


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    yield from (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))


def _sha256(file: Mapping[str, object]) -> str:
    hashes = file.get("hashes")
    found = hashes.get("SHA256") if isinstance(hashes, dict) else None
    return found.lower() if isinstance(found, str) else ""


# ---------------------------------------------------------------- evidence


def evidence(published: Published) -> tuple[Evidence, ...]:
    """What an answer says about type, base and sub-family."""
    p = published
    return tuple(said(p.type, p.base, f"{p.name} {p.release}".strip(), p.file_type))


def said(type: str, base: str, where: str, file_type: str = "") -> Iterator[Evidence]:
    """CivitAI's own words as evidence: type and base as it writes them, and where they stand (a page, or a saved answer)."""
    at = f" ({where})" if where else ""
    kind = table("files").get(fold(file_type)) or table("types").get(fold(type))
    shown = file_type if table("files").get(fold(file_type)) else type
    if kind:
        yield Evidence("civitai", f"type={kind[0]}", CIVITAI_BASE, f"CivitAI calls it a {shown}{at}")
    if not base or fold(base) == "other":
        return
    text = f"CivitAI calls it {base}{at}"
    row = () if shown.casefold() in _BASELESS else table("bases").get(fold(base), ())
    if not row:
        yield Evidence("civitai", f"said-base={base}", 0.0, f"{text}, which is taken for no base")
        return
    if len(row) > 1:
        yield Evidence("civitai", f"subfamily={row[1]}", CIVITAI_SUBFAMILY, text)
    yield Evidence("civitai", f"base={row[0]}", CIVITAI_BASE, text)
