"""The way back of one line of history: which moves take it back as the disk is now, or why that cannot be.

What must hold: nothing is changed here; a file that is not as we left it is never moved; a picture that goes takes the text that came
from us along, and a text that a person edited since stays and is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ..handlers import disk
from ..handlers.task import Places
from ..rules.terms import Aside, Back, End, Ended, Move
from ..store.deeds import Picture
from ..store.rows import AsideRow, DeedRow


class Impossible(Exception):
    """It cannot be taken back; the message is the reason, for a person."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the store and the configuration say about a line that is to be undone. `trash` is seconds, `now` epoch seconds."""

    places: Places
    datasets: Path
    trash: float
    now: float
    token: str
    asides: Mapping[Path, AsideRow]  # what is or was kept aside, by where it lies
    pictures: Mapping[str, Mapping[str, Picture]]  # dataset -> rel -> picture
    others: Mapping[str, int]  # dataset -> how many pictures it has besides
    later: Sequence[DeedRow] = ()  # what was done with the same file since
    rewanted: tuple[str, ...] = ()  # contents whose targets were changed since
    rewanting: int | None = None  # the line that did so last, where that is known
    became: Mapping[Path, Path] = field(
        default_factory=dict
    )  # blobs that were changed in place -> where those bytes are kept now
    switched: str = ""  # why a target is not as it was switched, where the line is about one


@dataclass(slots=True)
class Way:
    """The moves back and what they make true, while they are gathered."""

    moves: list[Move] = field(default_factory=list)
    there: list[Move] = field(default_factory=list)  # moves that an undo which could not be finished has made already
    ended: list[Ended] = field(default_factory=list)
    aside: list[Aside] = field(default_factory=list)
    items: list[tuple[str, str]] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def give_back(self, move: Move, row: AsideRow | None = None) -> None:
        """A file returns to where it came from."""
        self.moves.append(move)
        if row is not None:
            self.restored.append(row.id)

    def put_away(self, move: Move, reason: str, until: float) -> None:
        """A file of ours goes to the trash."""
        self.moves.append(move)
        self.ended.append(Ended(move.src, End.TRASH, move.dst, reason))
        self.aside.append(Aside(End.TRASH, move.dst, move.src, reason, until))

    def in_order(self) -> None:
        """A move over something is never taken back, so it comes last; only what the link that it replaces points to goes behind it,
        so that an app finds its file at every moment."""
        linked = {at for move in self.moves if move.over for at in _named_by(move.dst)}
        self.moves.sort(key=lambda move: (not move.over and move.src.resolve() in linked, move.over))

    def backs(self, watch_of: Callable[[Path], str | None]) -> tuple[Back, ...]:
        """The paths that lie again where they came from, under a watch."""
        found = []
        for move in (*self.there, *self.moves):
            watch = watch_of(move.dst)
            if watch is not None and disk.OWN not in move.dst.parts and move.stamp is not None:
                found.append(Back(move.dst, move.stamp, watch))
        return tuple(found)


def way_back(row: DeedRow, r: Remembered) -> Way:
    """How a line is taken back, looked at on the disk. Raises Impossible, or OSError when the disk cannot be asked."""
    way = Way()
    _wishes(row, r, way)
    by_source = {move.src: move for move in row.moves}
    concerned = _pictures(row, r, by_source, way)
    for move in row.moves:
        if move.src not in concerned:
            _one(move, row, r, way)
    way.in_order()
    if not (way.moves or way.there) and row.moves:
        raise Impossible("nothing of it is as it was left: " + "; ".join(way.notes))
    return way


def _wishes(row: DeedRow, r: Remembered, way: Way) -> None:
    """Who wants which model, and which target is on: taken back as far as nobody has said anything new since."""
    if r.switched:
        raise Impossible(r.switched)
    if not r.rewanted:
        return
    assert row.deed is not None
    by = f": undo line {r.rewanting} first" if r.rewanting is not None else ": use `dropdock deploy` or `undeploy`"
    if len(r.rewanted) == len(row.deed.wanted):
        raise Impossible(f"who wants {'this model' if len(r.rewanted) == 1 else 'these models'} was changed since{by}")
    way.notes.append(f"{len(r.rewanted)} of {len(row.deed.wanted)} models left as they are: who wants them was changed since")


def _one(move: Move, row: DeedRow, r: Remembered, way: Way) -> None:
    """One of the moves that the action left for its undo."""
    aside = r.asides.get(move.src)
    if not disk.is_there(move.src):
        if move.over and move.stamp is not None and disk.is_there(move.dst) and disk.stamp(move.dst) == move.stamp:
            way.there.append(move)
            way.restored += [aside.id] if aside is not None and aside.state == "kept" else []
            return
        raise Impossible(_missing(move, aside, r))
    found = disk.stamp(move.src)
    if move.stamp is not None and found != move.stamp:
        raise Impossible(f"{move.src} changed since")
    move = replace(move, stamp=found)
    if disk.OWN in move.dst.parts:
        free = disk.free_name(move.dst.parent, move.dst.name)
        way.put_away(replace(move, dst=free), f"undone: {row.verb}", r.now + r.trash)
        return
    if disk.is_there(move.dst):
        if not move.over or not _link_into(move.dst, r.places.hub):
            raise Impossible(f"something stands at {move.dst} now: move it away first")
        move = replace(move, replaces=disk.stamp(move.dst))
    else:
        move = replace(move, over=False, replaces=None)
    way.give_back(move, aside if aside is not None and aside.state == "kept" else None)
    if row.verb == "move" and disk.OWN not in move.src.parts:  # it was known where it lay
        way.ended.append(Ended(move.src, End.MOVED, move.dst, f"undone: {row.verb}"))


def _missing(move: Move, aside: AsideRow | None, r: Remembered) -> str:
    if aside is not None and aside.state != "kept":
        return f"{move.dst.name} was {aside.state} already, from the {aside.place}"
    for line in r.later:
        if any(m.dst == move.src for m in line.moves):
            return f"a later action depends on it: undo {line.id} ({line.verb}) first"
    if move.src in r.became:
        return f"it was changed in the hub since, and is kept as {r.became[move.src]}: copy that to {move.dst} to have a file there again"
    return f"{move.src} is not there any more"


def _link_into(path: Path, hub: Path) -> bool:
    """Whether a link into the hub stands there, or a folder of nothing but such links."""
    if path.is_symlink():
        return hub in path.parent.joinpath(path.readlink()).parents
    inside = [p for p in path.rglob("*") if p.is_symlink() or not p.is_dir()] if path.is_dir() else []
    return bool(inside) and all(p.is_symlink() and hub in p.parent.joinpath(p.readlink()).parents for p in inside)


def _named_by(path: Path) -> set[Path]:
    """What a link points to; of a folder of links the folders that hold what they point to, too."""
    if path.is_symlink():
        return {path.resolve()}
    ends = {p.resolve() for p in path.rglob("*") if p.is_symlink()} if path.is_dir() else set()
    return {folder for end in ends for folder in (end, *end.parents)}


# ---------------------------------------------------------------- pictures of datasets


def _pictures(row: DeedRow, r: Remembered, by_source: Mapping[Path, Move], way: Way) -> set[Path]:
    """Pictures leave their dataset: to where they came from, else to the trash. Returns the paths that were dealt with."""
    assert row.deed is not None
    done: set[Path] = set()
    lost, changed, kept = [], [], []
    folder = time.strftime("%Y-%m-%d", time.gmtime(r.now)) + f"-{r.token}"
    slot = r.places.root_of(r.datasets) / disk.OWN / End.TRASH / folder
    staying = dict(r.others)
    for slug, rel in row.deed.items:
        path = r.datasets / slug / PurePosixPath(rel)
        text = path.with_suffix(".txt")
        done |= {path, text}
        picture = r.pictures.get(slug, {}).get(rel)
        if picture is None or not disk.is_there(path):
            lost.append(rel)
            continue
        if disk.stamp(path) != picture.stamp:
            changed.append(rel)
            staying[slug] += 1
            continue
        _leave(path, by_source.get(path), slot / slug / PurePosixPath(rel), row, r, way)
        way.items.append((slug, rel))
        if disk.is_there(text) and not _text(text, picture, by_source.get(text), slot / slug / PurePosixPath(rel), row, r, way):
            kept.append(text.name)
            staying[slug] += 1
    way.datasets += [slug for slug, count in staying.items() if count == 0]
    for names, said in ((lost, "not in the dataset any more"), (changed, "changed since, so left there"),
                        (kept, "the text was edited since, so left there")):  # fmt: skip
        if names:
            way.notes.append(f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}: {said}")
    if row.verb == "dataset" and row.deed.items and not way.items:
        raise Impossible("; ".join(way.notes))
    return done


def _text(text: Path, picture: Picture, back: Move | None, slot: Path, row: DeedRow, r: Remembered, way: Way) -> bool:
    """The text beside a picture that leaves goes along when it is as we left it; False when it stays."""
    if picture.source in (None, "manual") or disk.stamp(text) != picture.text:
        return False
    _leave(text, back, slot.with_suffix(".txt"), row, r, way)
    return True


def _leave(path: Path, back: Move | None, slot: Path, row: DeedRow, r: Remembered, way: Way) -> None:
    if back is None:
        way.put_away(Move(path, slot, disk.stamp(path)), f"undone: {row.verb}", r.now + r.trash)
    elif disk.is_there(back.dst):
        raise Impossible(f"something stands at {back.dst} now: move it away first")
    else:
        way.give_back(Move(path, back.dst, disk.stamp(path)))
        way.ended.append(Ended(path, End.MOVED, back.dst, f"undone: {row.verb}"))
