"""The durable queue: lanes, priorities, an idempotency key, attempts with backoff, leases.

What must hold: while a job of a key is open (queued, running, paused) no second one is made; a claim is one statement; a job is
finished only by the owner that claimed it; leases of a dead process are void at the next start and cost no attempt.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..rules.terms import Job, JobState, Lane
from .codec import dumps, printable

BACKOFF = (10.0, 60.0, 300.0, 900.0, 3600.0)  # seconds before the 2nd, 3rd, ... attempt
LEASE = 120.0  # seconds; the lane renews it every quarter
COLUMNS = "id, key, lane, state, payload, title, priority, attempts, max_attempts, progress, error, run_at, created, finished"
OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be queued. `delay` is seconds from now."""

    key: str
    lane: Lane
    title: str
    payload: Mapping[str, object]
    priority: int = 0
    max_attempts: int = 3
    delay: float = 0.0


def enqueue(c: sqlite3.Connection, job: NewJob, now: float) -> int | None:
    """Queue a job; None when one of its key is open already."""
    row = c.execute(
        """INSERT INTO jobs(key, lane, state, title, payload, priority, run_at, max_attempts, created)
           VALUES (?,?,'queued',?,?,?,?,?,?)
           ON CONFLICT(key) WHERE state IN ('queued','running','paused') DO NOTHING RETURNING id""",
        (
            printable(job.key),
            job.lane,
            printable(job.title),
            dumps(job.payload),
            job.priority,
            now + job.delay,
            job.max_attempts,
            now,
        ),
    ).fetchone()
    return row[0] if row else None


def claim(c: sqlite3.Connection, lane: Lane, owner: str, now: float, limit: int = 1) -> list[Job]:
    """Take up to `limit` due jobs of a lane: highest priority first, then the oldest."""
    rows = c.execute(
        f"""UPDATE jobs SET state='running', owner=?, lease_until=?, attempts=attempts+1, progress=NULL, error=NULL
            WHERE id IN (SELECT id FROM jobs WHERE state='queued' AND lane=? AND run_at<=?
                         AND NOT EXISTS (SELECT 1 FROM paused_lanes p WHERE p.lane=jobs.lane)
                         ORDER BY priority DESC, run_at, id LIMIT ?)
            RETURNING {COLUMNS}""",
        (owner, now + LEASE, lane, now, limit),
    ).fetchall()
    return sorted((job_row(r) for r in rows), key=lambda j: (-j.priority, j.run_at, j.id))


def next_due(c: sqlite3.Connection, lane: Lane) -> float | None:
    """When the earliest queued job of a lane is due, in epoch seconds."""
    row = c.execute("SELECT min(run_at) FROM jobs WHERE state='queued' AND lane=?", (lane,)).fetchone()
    return row[0] if row else None


def longest_due(c: sqlite3.Connection, now: float) -> dict[str, float]:
    """Lane -> seconds that its longest due job waits for a worker."""
    rows = c.execute("SELECT lane, min(run_at) FROM jobs WHERE state='queued' AND run_at<=? GROUP BY lane", (now,))
    return {lane: now - at for lane, at in rows}


def finish(c: sqlite3.Connection, job_id: int, owner: str | None, now: float) -> bool:
    """Mark a job done; False when it is no longer this owner's (cancelled meanwhile). Owner None: whoever had it is dead."""
    done = c.execute(
        """UPDATE jobs SET state='done', progress=1, finished=?1, lease_until=NULL
           WHERE id=?2 AND ((?3 IS NULL AND state IN ('queued','running','paused')) OR (owner=?3 AND state='running'))""",
        (now, job_id, owner),
    )
    return done.rowcount == 1


def step(c: sqlite3.Connection, job_id: int, payload: Mapping[str, object]) -> None:
    """Keep how far a job of several actions came, in the transaction that records the action."""
    c.execute("UPDATE jobs SET payload=? WHERE id=?", (dumps(payload), job_id))


def fail(c: sqlite3.Connection, job_id: int, owner: str, error: str, now: float, *, retry: bool) -> JobState:
    """Record a failed attempt: queued again with backoff while attempts are left and `retry`, else failed for good.

    Returns the state the job has then: that of a job which was cancelled meanwhile, or is another owner's by now, is left as it is.
    """
    attempts, most = c.execute("SELECT attempts, max_attempts FROM jobs WHERE id=?", (job_id,)).fetchone()
    again = retry and attempts < most
    state = JobState.QUEUED if again else JobState.FAILED
    run_at = now + BACKOFF[min(attempts - 1, len(BACKOFF) - 1)] if again else now
    done = c.execute(
        "UPDATE jobs SET state=?, error=?, run_at=?, lease_until=NULL, finished=? WHERE id=? AND owner=? AND state='running'",
        (state, printable(error[:2000]), run_at, None if again else now, job_id, owner),
    )
    if done.rowcount:
        return state
    return JobState(c.execute("SELECT state FROM jobs WHERE id=?", (job_id,)).fetchone()[0])


def defer(c: sqlite3.Connection, job_id: int, owner: str, why: str, until: float) -> None:
    """Put a claimed job off without costing it an attempt: what it waits for is not its fault."""
    c.execute(
        """UPDATE jobs SET state='queued', attempts=attempts-1, run_at=?, error=?, lease_until=NULL
           WHERE id=? AND owner=? AND state='running'""",
        (until, printable(why), job_id, owner),
    )


def hurry(c: sqlite3.Connection, why: str, now: float) -> None:
    """Jobs that were put off for a reason that begins so are due now."""
    c.execute("UPDATE jobs SET run_at=?1 WHERE state='queued' AND run_at>?1 AND substr(error, 1, length(?2))=?2", (now, why))


def release(c: sqlite3.Connection, job_id: int, owner: str) -> None:
    """Put a claimed job back as if it had not been claimed (a stopping daemon, a batch mate's crash)."""
    c.execute(
        "UPDATE jobs SET state='queued', attempts=attempts-1, lease_until=NULL WHERE id=? AND owner=? AND state='running'",
        (job_id, owner),
    )


def release_all(c: sqlite3.Connection, job_ids: Sequence[int], owner: str) -> None:
    """The same for several."""
    for job_id in job_ids:
        release(c, job_id, owner)


def void_leases(c: sqlite3.Connection) -> int:
    """At start: every running job belonged to a process that is dead, since we hold the lock. It costs them no attempt."""
    return c.execute(
        "UPDATE jobs SET state='queued', attempts=max(0, attempts-1), lease_until=NULL, owner=NULL WHERE state='running'"
    ).rowcount


def sweep(c: sqlite3.Connection, now: float) -> int:
    """Return jobs whose lease ran out (their worker hangs); the attempt counts, and after the last one the job has failed."""
    return c.execute(
        """UPDATE jobs SET lease_until=NULL, state=CASE WHEN attempts < max_attempts THEN 'queued' ELSE 'failed' END,
             error='its worker did not answer any more', finished=CASE WHEN attempts < max_attempts THEN NULL ELSE ?1 END
           WHERE state='running' AND lease_until < ?1""",
        (now,),
    ).rowcount


def overdue(c: sqlite3.Connection, now: float) -> bool:
    """Whether a lease ran out."""
    return c.execute("SELECT 1 FROM jobs WHERE state='running' AND lease_until < ? LIMIT 1", (now,)).fetchone() is not None


def renew(c: sqlite3.Connection, owner: str, now: float) -> None:
    """Renew the leases of everything this owner runs."""
    c.execute("UPDATE jobs SET lease_until=? WHERE state='running' AND owner=?", (now + LEASE, owner))


def progress(c: sqlite3.Connection, job_id: int, fraction: float) -> None:
    """Keep the progress of a running job, 0..1."""
    c.execute("UPDATE jobs SET progress=? WHERE id=? AND state='running'", (fraction, job_id))


def cancel(c: sqlite3.Connection, job_id: int, now: float) -> Job | None:
    """Cancel an open job; returns it as it was, None when it is not open. A running one is stopped by the lane."""
    job = get(c, job_id)
    if job is None or job.state not in OPEN:
        return None
    c.execute("UPDATE jobs SET state='cancelled', finished=?, lease_until=NULL WHERE id=?", (now, job_id))
    return job


def park(c: sqlite3.Connection, job_id: int, why: str) -> None:
    """Hold back an open job whatever it does: what it had begun waits for a disk."""
    c.execute(
        "UPDATE jobs SET state='paused', error=?, lease_until=NULL WHERE id=? AND state IN ('queued','running')",
        (printable(why), job_id),
    )


def pause(c: sqlite3.Connection, job_id: int) -> bool:
    """Hold back a queued job."""
    return c.execute("UPDATE jobs SET state='paused' WHERE id=? AND state='queued'", (job_id,)).rowcount == 1


def resume(c: sqlite3.Connection, job_id: int) -> bool:
    """Queue a paused job again."""
    return c.execute("UPDATE jobs SET state='queued' WHERE id=? AND state='paused'", (job_id,)).rowcount == 1


def retry(c: sqlite3.Connection, job_id: int, now: float) -> bool:
    """Queue a failed or cancelled job again with fresh attempts; False when it is open, done, or its key is open again."""
    try:
        done = c.execute(
            """UPDATE jobs SET state='queued', attempts=0, run_at=?, error=NULL, finished=NULL
               WHERE id=? AND state IN ('failed','cancelled')""",
            (now, job_id),
        )
    except sqlite3.IntegrityError:
        return False
    return done.rowcount == 1


def pause_lane(c: sqlite3.Connection, lane: Lane, paused: bool) -> None:
    """Pause or resume a whole lane; what runs in it ends first."""
    if paused:
        c.execute("INSERT OR IGNORE INTO paused_lanes VALUES (?)", (lane,))
    else:
        c.execute("DELETE FROM paused_lanes WHERE lane=?", (lane,))


def paused_lanes(c: sqlite3.Connection) -> list[str]:
    """The lanes that are paused."""
    return [r[0] for r in c.execute("SELECT lane FROM paused_lanes ORDER BY lane")]


def prune(c: sqlite3.Connection, before: float) -> int:
    """Forget done and cancelled jobs that ended before a time. Failed ones are kept until they are retried."""
    return c.execute("DELETE FROM jobs WHERE state IN ('done','cancelled') AND finished < ?", (before,)).rowcount


def get(c: sqlite3.Connection, job_id: int) -> Job | None:
    """One job by id."""
    row = c.execute(f"SELECT {COLUMNS} FROM jobs WHERE id=?", (job_id,)).fetchone()
    return job_row(row) if row else None


def listing(
    c: sqlite3.Connection, *, state: str | None = None, lane: str | None = None, after: int = 0, limit: int = 100
) -> list[Job]:
    """Jobs by id from behind `after`; `state` may be 'open'."""
    where, args = ["id > ?"], [after]
    more: list[object] = []
    if state == "open":
        where.append("state IN ('queued','running','paused')")
    elif state:
        where.append("state = ?")
        more.append(state)
    if lane:
        where.append("lane = ?")
        more.append(lane)
    rows = c.execute(f"SELECT {COLUMNS} FROM jobs WHERE {' AND '.join(where)} ORDER BY id LIMIT ?", (*args, *more, limit))
    return [job_row(r) for r in rows]


def counts(c: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Lane -> state -> how many."""
    found: dict[str, dict[str, int]] = {}
    for lane, state, n in c.execute("SELECT lane, state, n FROM tally WHERE what='job' AND n>0"):
        found.setdefault(lane, {})[state] = n
    return found


def job_row(v: Any) -> Job:
    """A row of COLUMNS."""
    return Job(
        v[0], v[1], Lane(v[2]), JobState(v[3]), json.loads(v[4]), v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13]
    )  # fmt: skip


# ---------------------------------------------------------------- captions


_FOR = "state='queued' AND lane='caption' AND json_extract(payload, '$.captioner')"  # as the index jobs_captioner has it


def claim_for(c: sqlite3.Connection, captioner: str, owner: str, now: float, limit: int) -> list[Job]:
    """Take up to `limit` due jobs of one captioner: highest priority first, then the oldest. None while the lane is paused."""
    rows = c.execute(
        f"""UPDATE jobs SET state='running', owner=?, lease_until=?, attempts=attempts+1, progress=NULL, error=NULL
            WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_captioner WHERE {_FOR}=? AND run_at<=?
                         AND NOT EXISTS (SELECT 1 FROM paused_lanes WHERE lane='caption')
                         ORDER BY priority DESC, run_at, id LIMIT ?)
            RETURNING {COLUMNS}""",
        (owner, now + LEASE, captioner, now, limit),
    ).fetchall()
    return sorted((job_row(r) for r in rows), key=lambda j: (-j.priority, j.run_at, j.id))


def next_due_for(c: sqlite3.Connection, captioner: str) -> float | None:
    """When the earliest queued job of a captioner is due, in epoch seconds; None: there is none, or the lane is paused."""
    row = c.execute(
        f"""SELECT min(run_at) FROM jobs INDEXED BY jobs_captioner WHERE {_FOR}=?
            AND NOT EXISTS (SELECT 1 FROM paused_lanes WHERE lane='caption')""",
        (captioner,),
    ).fetchone()
    return row[0] if row else None


def captioners_asked(c: sqlite3.Connection) -> list[str]:
    """The captioners that queued jobs ask for; one look into the index for each, however many jobs there are."""
    return [
        row[0]
        for row in c.execute(
            f"""WITH RECURSIVE found(name) AS (
                  SELECT min(json_extract(payload, '$.captioner')) FROM jobs INDEXED BY jobs_captioner WHERE {_FOR} IS NOT NULL
                  UNION ALL
                  SELECT (SELECT min(json_extract(payload, '$.captioner')) FROM jobs INDEXED BY jobs_captioner
                          WHERE {_FOR} > found.name)
                  FROM found WHERE found.name IS NOT NULL)
                SELECT name FROM found WHERE name IS NOT NULL"""
        )
    ]


def top_for(c: sqlite3.Connection, captioner: str) -> int:
    """The highest priority that waits for a captioner; 0 when nothing does."""
    row = c.execute(
        f"SELECT priority FROM jobs INDEXED BY jobs_captioner WHERE {_FOR}=? ORDER BY priority DESC LIMIT 1", (captioner,)
    ).fetchone()
    return int(row[0]) if row else 0


def waiting_for(c: sqlite3.Connection, captioner: str) -> int:
    """How many jobs are queued for a captioner."""
    (found,) = c.execute(f"SELECT count(*) FROM jobs INDEXED BY jobs_captioner WHERE {_FOR}=?", (captioner,)).fetchone()
    return int(found)


def say_why(c: sqlite3.Connection, captioner: str, why: str, limit: int = 200) -> None:
    """Write into the next jobs of a captioner why they wait; it costs them nothing."""
    c.execute(
        f"""UPDATE jobs SET error=? WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_captioner WHERE {_FOR}=?
            ORDER BY priority DESC, run_at, id LIMIT ?)""",
        (printable(why[:2000]), captioner, limit),
    )
