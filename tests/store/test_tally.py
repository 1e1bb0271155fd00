"""The tally: what a status counts is kept up to date by the database itself, whoever changes a row and however."""

import sqlite3
from pathlib import Path

from dropdock.rules.terms import Lane
from dropdock.store import files, jobs
from dropdock.store.database import migrations
from dropdock.store.jobs import NewJob
from hypothesis import given, settings
from hypothesis import strategies as st

WORKS = st.lists(st.tuples(st.sampled_from(["enqueue", "claim", "finish", "fail", "cancel", "prune", "file", "lead", "end", "drop"]),
                           st.integers(0, 5)), max_size=40)  # fmt: skip


def database(until: int = 99) -> sqlite3.Connection:
    c = sqlite3.connect(":memory:", isolation_level=None)
    c.execute("PRAGMA foreign_keys=ON")
    for number, script in migrations():
        if number <= until:
            c.executescript(script)
    return c


def do(c: sqlite3.Connection, work: str, n: int) -> None:
    """One change, by the store's own words where it has one."""
    lane = [Lane.CPU, Lane.HASH][n % 2]
    match work:
        case "enqueue":
            jobs.enqueue(c, NewJob(f"k{n}", lane, "t", {}), 1.0)
        case "claim":
            jobs.claim(c, lane, "me", 2.0, n)
        case "finish":
            jobs.finish(c, n, None, 3.0)
        case "fail":
            c.execute("UPDATE jobs SET state='failed' WHERE id=?", (n,))
        case "cancel":
            jobs.cancel(c, n, 3.0)
        case "prune":
            jobs.prune(c, 9.0)
        case "file":
            c.execute(
                """INSERT INTO files(watch, folder, name, size, mtime_ns, ino, dev, state, first_seen, last_seen)
                   VALUES ('w','/w',?,0,0,0,0,'queued',0,0)
                   ON CONFLICT(watch, folder, name) WHERE present = 1 DO UPDATE SET state='done', lead=NULL""",
                (f"f{n}",),
            )
        case "lead":
            c.execute("UPDATE files SET lead=(SELECT min(id) FROM files) WHERE id=? AND id>(SELECT min(id) FROM files)", (n,))
        case "end":
            files.hold(c, n, "why")
        case "drop":
            c.execute("DELETE FROM files WHERE id=?", (n,))


@settings(max_examples=60, deadline=None)
@given(WORKS)
def test_the_tally_is_what_counting_says(works: list[tuple[str, int]]) -> None:
    """After any changes, leads that go and take their companions' lead with them included, the tally equals a count of all rows."""
    c = database()
    for work, n in works:
        do(c, work, n)
    assert files.counts(c) == dict(c.execute("SELECT state, count(*) FROM files WHERE lead IS NULL GROUP BY state"))
    found = [(lane, state, n) for lane, of in jobs.counts(c).items() for state, n in of.items()]
    assert sorted(found) == sorted(c.execute("SELECT lane, state, count(*) FROM jobs GROUP BY lane, state"))


def test_a_database_of_before_is_counted_once() -> None:
    """The migration starts from what is there."""
    c = database(until=4)
    jobs.enqueue(c, NewJob("a", Lane.CPU, "t", {}), 1.0)
    do(c, "file", 1)
    c.executescript(dict(migrations())[5])
    assert jobs.counts(c) == {"cpu": {"queued": 1}} and files.counts(c) == {"queued": 1}


def test_the_ends_of_many_files_at_once(tmp_path: Path) -> None:
    """Those that are known, each with its end; others are left out."""
    c = database()
    do(c, "file", 1)
    do(c, "file", 2)
    files.hold(c, 1, "why")
    assert files.ends(c, [1, 2, 77]) == {1: ("held", None), 2: (None, None)}
