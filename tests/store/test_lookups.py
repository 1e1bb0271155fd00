"""Look-ups in a real database: what waits, what is remembered for how long, and what a person's order changes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from dropdock.rules.terms import Condition, Facts, Kind, Model, ModelFacts, Published
from dropdock.store import lookups, models
from dropdock.store.database import migrations
from dropdock.store.lookups import LookupRow, Remembered

KEEP = Remembered(known=1000.0, unknown=100.0)
WHAT = Published(7, 8, "A ställe", "v1", "LORA", "Model", "Pony", "a.safetensors", ("blue hat", "red"), True, "http://x/models/7")


def digest(n: int) -> str:
    return f"{n:064x}"


@pytest.fixture
def c() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    for _, script in migrations():
        made.executescript(script)
    return made


def keep(c: sqlite3.Connection, n: int, condition: Condition = Condition.OK, folder: bool = False) -> str:
    path = Path(f"/hub/{n}.safetensors")
    facts = Facts(path, Kind.MODEL, 10, condition, model=ModelFacts("safetensors", "lora"))
    models.keep(c, Model(digest(n), "x", 10, path.name, path, facts, folder=folder), path, 1.0)
    return digest(n)


def test_new_contents_wait_and_answers_are_remembered(c: sqlite3.Connection) -> None:
    """Known ones stand longer than unknown ones; then they wait again."""
    a, b = keep(c, 1), keep(c, 2)
    assert lookups.waiting(c, KEEP, 5000.0, 10) == [b, a]
    assert lookups.answered(c, a, WHAT, 5000.0) is None
    lookups.answered(c, b, None, 5000.0)
    assert lookups.waiting(c, KEEP, 5100.0, 10) == []
    assert lookups.waiting(c, KEEP, 5101.0, 10) == [b]
    assert lookups.waiting(c, KEEP, 6001.0, 10) == [b, a]
    assert lookups.of(c, a) == LookupRow(a, 5000.0, WHAT) and lookups.published(c, b) is None
    assert lookups.counts(c) == (1, 1)


def test_folders_and_damaged_files_are_not_asked_for(c: sqlite3.Connection) -> None:
    """A folder's digest is no file's; what is damaged or dangerous is nobody's model. Not by order either."""
    keep(c, 1, folder=True), keep(c, 2, Condition.UNSAFE), keep(c, 3, Condition.INVALID)
    unsure = keep(c, 4, Condition.UNKNOWN)
    assert lookups.waiting(c, KEEP, 5000.0, 10) == [unsure]
    assert lookups.ask(c, None, 5000.0) == [unsure]
    assert lookups.ask(c, [digest(1), digest(9)], 5000.0) == []


def test_an_order_goes_first_and_ends_with_the_answer(c: sqlite3.Connection) -> None:
    """What a person asks for waits before all others, though its answer is fresh; then it is remembered again."""
    a, b, z = keep(c, 1), keep(c, 2), keep(c, 3)
    lookups.answered(c, a, WHAT, 5000.0)
    assert lookups.ask(c, [a], 5001.0) == [a]
    assert lookups.waiting(c, KEEP, 5001.0, 2) == [a, z]
    assert lookups.published(c, a) == WHAT
    assert lookups.answered(c, a, WHAT, 5002.0) == WHAT
    assert lookups.waiting(c, KEEP, 5002.0, 10) == [z, b]


def test_an_answer_that_cannot_be_used_takes_nothing_away(c: sqlite3.Connection) -> None:
    """What was known stays, with the reason beside it; a plain unknown takes it away."""
    a = keep(c, 1)
    lookups.answered(c, a, WHAT, 5000.0)
    lookups.answered(c, a, None, 5001.0, "the answer is about another file")
    assert lookups.of(c, a) == LookupRow(a, 5001.0, WHAT, "the answer is about another file")
    lookups.answered(c, a, None, 5002.0)
    assert lookups.of(c, a) == LookupRow(a, 5002.0, None)


def test_one_that_is_gone_is_asked_for_only_by_name(c: sqlite3.Connection) -> None:
    """A library file that was deleted is nobody's question any more, unless somebody names it; it is one again when it is back."""
    here, gone = keep(c, 1), digest(2)
    path = Path("/library/2.safetensors")
    facts = Facts(path, Kind.MODEL, 10, Condition.OK, model=ModelFacts("safetensors", "lora"))
    models.keep(c, Model(gone, "x", 10, path.name, path, facts, in_hub=False), path, 1.0)
    assert lookups.waiting(c, KEEP, 5000.0, 10) == [here]
    assert lookups.ask(c, None, 5000.0) == [here]
    assert lookups.ask(c, [gone], 5001.0) == [gone]
    assert lookups.waiting(c, KEEP, 5001.0, 10) == [gone, here]
    lookups.answered(c, gone, None, 5002.0), lookups.answered(c, here, None, 5002.0)
    assert lookups.waiting(c, KEEP, 6002.0, 10) == [here]
    c.execute(
        """INSERT INTO files(watch, folder, name, size, mtime_ns, ino, dev, present, state, kind, condition, why, sha256, note, tags,
           first_seen, last_seen) VALUES ('l', '/library', 'b', 10, 1, 1, 1, 1, 'left', 'model', 'ok', '', ?, '', '', 1, 1)""",
        (gone,),
    )
    assert lookups.waiting(c, KEEP, 6002.0, 10) == [gone, here]
