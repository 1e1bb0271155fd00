"""Is everything as it should be? The demo's own judge: it looks at the disk, and believes the daemon's word only where it must.

What must hold: every promise of the demo has its line here; a check that cannot be made is a failed one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..rules.terms import End
from .client import Row
from .demo_stage import DATASET, OWN_FILE, PLACES, Drop, Stage
from .samples import CAPTION

LEFT_OUT = {"Thumbs.db": "junk", "._forest.jpg": "junk", "broken.jpg": "broken"}
SAME = ("forest.jpg", "forest2.jpg")  # one of the two is an exact duplicate
NEAR = ("sea.png", "sea2.jpg")


@dataclass(frozen=True, slots=True)
class Told:
    """What the daemon says at the end: its rows of files, of the dataset's pictures, and of what is kept aside."""

    files: tuple[Row, ...]
    items: tuple[Row, ...]
    aside: tuple[Row, ...]

    def file(self, path: Path) -> Row:
        """The row of a dropped path; empty when there is none."""
        return next((row for row in self.files if row.get("path") == str(path)), {})


def wrongs(stage: Stage, told: Told) -> list[str]:
    """Everything that is not as it should be, a sentence each; none when all is right."""
    found = [problem for drop in stage.drops for problem in _end(stage, told, drop)]
    found += [*_dataset(stage, told), *_links(stage, told), *_aside(stage, told)]
    if stage.mark.exists():
        found.append("the code in the hostile pickle ran")
    staging = [p for p in stage.home.rglob(".dropdock/staging/*")]
    return [*found, *(f"left behind in staging: {p.relative_to(stage.home)}" for p in staging)]


def _end(stage: Stage, told: Told, drop: Drop) -> Iterator[str]:
    """One dropped file has its one recorded end, and its bytes are found there."""
    path = stage.inbox / drop.name
    row = told.file(path)
    if row.get("end") != drop.end:
        yield f"{drop.name}: ended as {row.get('end') or row.get('state') or 'unknown'}, expected {drop.end}"
        return
    at = _kept_zip(told, path) if drop.end is End.DATASET else Path(str(row.get("end_at")))
    if at is None or not at.is_file():
        yield f"{drop.name}: its bytes are not where the daemon says"
    elif at.stat().st_size != drop.size or (drop.sha256 and _sha256(at) != drop.sha256):
        yield f"{drop.name}: its bytes have changed"
    if (drop.end is End.LEFT) != path.exists():
        yield f"{drop.name}: {'gone from' if drop.end is End.LEFT else 'still in'} the inbox"
    if drop.type and (row.get("type"), row.get("base")) != (drop.type, drop.base):
        yield f"{drop.name}: taken for {row.get('type')} {row.get('base')}, it is {drop.type} {drop.base}"
    if drop.end is End.HUB and at is not None:
        sha256 = str(row.get("sha256"))
        if at != stage.home / "hub" / sha256[:2] / sha256 / drop.name or (drop.sha256 and sha256 != drop.sha256):
            yield f"{drop.name}: not in the hub under its SHA-256"


def _kept_zip(told: Told, path: Path) -> Path | None:
    """A ZIP whose content is a dataset now: itself it is in the trash."""
    rows = (row for row in told.aside if row.get("original") == str(path) and row.get("place") == End.TRASH)
    return next((Path(str(row.get("path"))) for row in rows), None)


def expected_pictures(stage: Stage) -> dict[str, bytes]:
    """The pictures that the dataset should have, by their path in it. Of two exact duplicates the first is named."""
    found = {}
    for name, data in stage.members.items():
        parts = PurePosixPath(name).parts[1:]
        if parts and parts[-1] not in LEFT_OUT and not name.endswith(".txt") and not name.startswith("__MACOSX"):
            found["/".join(parts)] = data
    del found[SAME[1]]
    return found


def _dataset(stage: Stage, told: Told) -> Iterator[str]:
    """The dataset has every good picture once, byte for byte, each with its caption; the imported text is kept."""
    expected = expected_pictures(stage)
    on_disk = {p.relative_to(stage.dataset).as_posix(): p for p in stage.dataset.rglob("*") if p.is_file()}
    pictures = {SAME[0] if rel == SAME[1] else rel: path for rel, path in on_disk.items() if not rel.endswith(".txt")}
    for rel in sorted(expected.keys() ^ pictures.keys()):
        yield f"dataset {DATASET}: {rel} is {'missing' if rel in expected else 'there and should not be'}"
    for rel in expected.keys() & pictures.keys():
        path = pictures[rel]
        if path.read_bytes() != expected[rel]:
            yield f"dataset {DATASET}: {rel} is not byte for byte as it came"
        caption = path.with_suffix(".txt")
        if not caption.is_file() or not caption.read_text("utf-8").strip():
            yield f"dataset {DATASET}: {rel} has no caption beside it"
    own = stage.dataset / "asleep.txt"
    if own.is_file() and own.read_text("utf-8").strip() != CAPTION:
        yield f"dataset {DATASET}: the caption that came with asleep.jpg was not kept"
    flagged = [i for i in told.items if i.get("rel") in NEAR and "near-duplicate" in str(i.get("flags"))]
    if len(flagged) != 1:
        yield f"dataset {DATASET}: the near duplicate is not flagged"


def _links(stage: Stage, told: Told) -> Iterator[str]:
    """Each app has one link to each model, in the right folder, that leads into the hub; nobody's own file is touched."""
    for target, places in PLACES.items():
        app = stage.app(target)
        links = {p for p in app.rglob("*") if p.is_symlink()}
        for drop in (d for d in stage.drops if d.type):
            at = app / places[drop.type] / drop.name
            kept = Path(str(told.file(stage.inbox / drop.name).get("end_at")))
            if at not in links:
                yield f"{target}: no link for {drop.name} in {places[drop.type]}"
            elif at.resolve() != kept.resolve() or not at.exists():
                yield f"{target}: {drop.name} leads to {at.readlink()}"
            links.discard(at)
        for path in sorted(links):
            yield f"{target}: nobody asked for the link {path.relative_to(app)}"
        for folder in places.values():
            own = app / folder / OWN_FILE
            if not own.is_file() or own.is_symlink() or own.read_text("utf-8") != "my own\n":
                yield f"{target}: the user's own {folder}/{OWN_FILE} was touched"


def _aside(stage: Stage, told: Told) -> Iterator[str]:
    """The broken picture and the pickle are in quarantine, each with a reason."""
    kept = {Path(str(row.get("path"))): row for row in told.aside if row.get("place") == End.QUARANTINE}
    for name in ("broken.jpg", *(d.name for d in stage.drops if d.end is End.QUARANTINE)):
        rows = [row for path, row in kept.items() if path.name == name and path.is_file()]
        if len(rows) != 1 or not rows[0].get("reason"):
            yield f"{name}: not in quarantine with a reason"
    if len(kept) != 2:
        yield f"there are {len(kept)} things in quarantine, expected 2"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
