"""The names of a tagger's scores, in the order of its outputs, from any of the files that taggers come with.

CSV (tag_id,name,category,count, sometimes best_threshold), JSON in the shapes of tag_mapping.json, metadata.json, tags.json and
model_vocabulary.json, and plain text with a name a line. What must hold: nothing is assumed of where a category begins; a name may hold
quotes, brackets and backslashes; a score without a name is kept as '' and never becomes a tag.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CODES = {
    "0": "general", "1": "artist", "3": "copyright", "4": "character", "5": "meta", "6": "quality", "7": "model",
    "9": "rating", "10": "year",
}  # fmt: skip
MAX_BYTES = 64_000_000  # more than any published vocabulary by a factor of eight


class NoLabels(ValueError):
    """A label file that does not read; the text is for people."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names and categories by output; `thresholds` are the model's own for each tag, None where it has none."""

    names: tuple[str, ...]
    categories: tuple[str, ...]
    thresholds: tuple[float | None, ...] = ()


def read(path: Path) -> Vocabulary:
    """The vocabulary of a file. Raises NoLabels."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise NoLabels(f"{path.name} is too large for a list of tags")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise NoLabels(f"{path.name} does not read: {error}") from None
    form = {".csv": from_csv, ".json": from_json}.get(path.suffix.lower(), from_lines)
    try:
        found = form(text)
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise NoLabels(f"{path.name} is no list of tags: {error}") from None
    if not found.names:
        raise NoLabels(f"{path.name} names no tags")
    return found


def from_lines(text: str) -> Vocabulary:
    """A name a line; all of them general."""
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    return Vocabulary(names, ("general",) * len(names))


def from_csv(text: str) -> Vocabulary:
    """With a head that has at least `name`; a category is a code of Danbooru or a word."""
    rows = csv.DictReader(io.StringIO(text))
    if "name" not in (rows.fieldnames or ()):
        raise ValueError("it has no column `name`")
    names, categories, thresholds = [], [], []
    for row in rows:
        names.append((row["name"] or "").strip())
        categories.append(_category(row.get("category") or "0"))
        own = row.get("best_threshold")
        thresholds.append(float(own) if own else None)
    return Vocabulary(tuple(names), tuple(categories), tuple(thresholds) if any(t is not None for t in thresholds) else ())


def _category(word: object) -> str:
    text = str(word).strip().lower()
    return CODES.get(text, "general" if text in ("", "none") else text)


def from_json(text: str) -> Vocabulary:
    """Any of: index -> {tag, category}; {idx_to_tag, tag_to_category}, also deeper; category -> names; a list of names or of objects."""
    found = json.loads(text)
    pairs = _pairs(found)
    return Vocabulary(tuple(name for name, _ in pairs), tuple(category for _, category in pairs))


def _pairs(found: object) -> list[tuple[str, str]]:
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [_pair(item) for item in found]
    if not isinstance(found, Mapping):
        raise ValueError("neither a list nor a mapping")
    for deeper in ("dataset_info", "tag_mapping", "vocabulary", "tags"):
        if isinstance(found.get(deeper), (Mapping, list)):
            return _pairs(found[deeper])
    if isinstance(names := found.get("idx_to_tag") or found.get("id_to_tag"), (Mapping, list)):
        of = found.get("tag_to_category") or {}
        ordered = list(names) if isinstance(names, list) else _by_index(names)
        return [(str(name), _category(of.get(name, "general") if isinstance(of, Mapping) else "general")) for name in ordered]
    if all(str(key).isdigit() for key in found) and found:
        return [_pair(item) for item in _by_index(found)]
    if found and all(isinstance(value, list) for value in found.values()):
        return [(_pair(item)[0], _category(category)) for category, items in found.items() for item in items]
    if found and all(isinstance(value, int) for value in found.values()):  # name -> index
        return [(str(name), "general") for name, _ in sorted(found.items(), key=lambda item: item[1])]
    raise ValueError("of no known shape")


def _by_index(found: Mapping[object, object]) -> list[object]:
    """The values in the order of their numbers. A hole is a score without a name."""
    by = {int(str(key)): value for key, value in found.items()}
    if max(by) > 10 * len(by) + 100:
        raise ValueError("its numbers have holes")
    return [by.get(n, "") for n in range(max(by) + 1)]


def _pair(item: object) -> tuple[str, str]:
    if isinstance(item, Mapping):
        name = next((item[key] for key in ("tag", "name", "tag_name", "label") if key in item), "")
        return str(name), _category(item.get("category", "general"))
    return str(item), "general"
