"""Foresight: what was found out of a unit is used once, for that very unit on that very ground."""

from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.daemon import foresight as module
from dropdock.daemon.foresight import PATIENCE, Foresight, Ground
from dropdock.rules.pipeline import Pipeline
from dropdock.rules.terms import Facts, Kind, Known, Mode, Stamp, Verdict, Watch
from dropdock.store.files import Unit

LEAD = Path("/in/a.png")
WATCH = Watch("in", Path("/in"), Mode.INBOX)
RULES = Pipeline("inbox")
GROUND = Ground(WATCH, RULES, {LEAD: Stamp(1, 2, 3, 4)}, (5,), Known(watch=WATCH))


def unit(lead: Path = LEAD) -> Unit:
    return Unit("in", lead, {lead: Stamp(1, 2, 3, 4)}, Facts(lead, Kind.IMAGE, 1), Verdict(None), None, "left")


def test_it_is_used_once() -> None:
    """On the same ground the unit comes back as it was decided, and is forgotten then."""
    foresight, kept = Foresight(), unit()
    foresight.keep(GROUND, kept)
    same = replace(GROUND, stamps=dict(GROUND.stamps), known=Known(watch=WATCH))
    assert foresight.take(LEAD, same) is kept and foresight.take(LEAD, same) is None and len(foresight) == 0


@pytest.mark.parametrize(
    "other",
    [
        {"watch": replace(WATCH)},
        {"pipeline": Pipeline("inbox")},
        {"stamps": {LEAD: Stamp(1, 9, 3, 4)}},
        {"stamps": {LEAD: Stamp(1, 2, 3, 4), Path("/in/a.txt"): Stamp(1, 2, 9, 4)}},
        {"changed": (6,)},
        {"known": Known(seen=True, watch=WATCH)},
    ],
    ids=["a watch read anew", "rules read anew", "stamp", "companion", "change time", "memory"],
)
def test_whatever_differs_is_found_out_anew(other: dict[str, object]) -> None:
    """Nothing is used on another ground, nor kept for later."""
    foresight = Foresight()
    foresight.keep(GROUND, unit())
    assert foresight.take(LEAD, replace(GROUND, **other)) is None  # type: ignore[arg-type]
    assert foresight.take(LEAD, GROUND) is None


def test_the_number_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room nothing more is kept, and what was kept stays; a unit looked at again takes its own place."""
    monkeypatch.setattr(module, "KEPT", 2)
    foresight = Foresight()
    paths = [Path(f"/in/{n}.png") for n in range(3)]
    for path in (*paths, paths[0]):
        foresight.keep(GROUND, unit(path))
    assert foresight.room == 0
    assert [foresight.take(path, GROUND) is not None for path in paths] == [True, True, False]


def test_what_never_settles_is_forgotten() -> None:
    """A unit that was deleted before it settled is dropped with a later one."""
    now = [100.0]
    foresight = Foresight(lambda: now[0])
    foresight.keep(GROUND, unit())
    now[0] += PATIENCE
    foresight.keep(GROUND, unit(Path("/in/b.png")))
    assert len(foresight) == 1 and foresight.take(LEAD, GROUND) is None
