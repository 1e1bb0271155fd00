"""Backlog: 100,000 queued jobs. How many are claimed and finished a second, and how long history and status take meanwhile.

Goal: p99 of both answers < 20 ms. The store is a real one, written by its own functions: 100,000 files, each with its queued job. Workers
claim one job each and record its Outcome with its line of history, as lanes do; the questions are what the API asks of the store. Beside
it: the same claims and finishes by one plain sqlite3 connection with a commit for each, as a queue in SQLite is usually written.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from _bench import Figure, check, report, scratch
from decided import percentile
from dropdock.api.history import lines
from dropdock.api.status import counts
from dropdock.daemon.interpreter import tune
from dropdock.rules.terms import Action, Facts, ImageFacts, Kind, Lane, Outcome, Stamp, Status, Verdict
from dropdock.store import history, jobs
from dropdock.store.database import Database
from dropdock.store.files import Unit
from dropdock.store.jobs import NewJob
from dropdock.store.store import Entry, Store

JOBS, BATCH = 100_000, 1000
WORKERS = 4
SECONDS = 6.0
ASK_EVERY = 0.02  # seconds between two questions of one kind
GOAL = 0.020


def unit(n: int) -> Unit:
    lead = Path(f"/inbox/{n % 100:02}/{n:06}.png")
    facts = Facts(lead, Kind.IMAGE, 4096, image=ImageFacts("png", 64, 64))
    verdict = Verdict("pictures", (Action("dataset", {"dataset": "x"}),), (), "inbox", "kind image")
    payload = {"actions": [{"verb": "dataset", "params": {"dataset": "x"}}], "step": 0}
    job = NewJob(f"perform:{n}", Lane.CPU, f"dataset: {lead.name}", payload, priority=5)
    return Unit("inbox", lead, {lead: Stamp(4096, n, n, 1)}, facts, verdict, job, "queued")


async def fill(store: Store) -> None:
    for at in range(0, JOBS, BATCH):
        await store.take([unit(n) for n in range(at, at + BATCH)])


async def worker(store: Store, until: float) -> int:
    """Claim, finish, record; how many."""
    done = 0
    while time.perf_counter() < until:
        for job in await store.claim(Lane.CPU, "bench", 1):
            file_id = int(str(job.payload["file"]))
            await store.record(Entry("dataset", Outcome(Status.DONE, "done"), None, None, file_id, job.id, "bench"))
            done += 1
    return done


async def asker(ask: Callable[[], Awaitable[object]], until: float) -> list[float]:
    """Seconds that each answer took."""
    took = []
    while time.perf_counter() < until:
        begun = time.perf_counter()
        await ask()
        took.append(time.perf_counter() - begun)
        await asyncio.sleep(ASK_EVERY)
    return took


async def busy(store: Store) -> tuple[float, list[float], list[float]]:
    """(jobs a second, seconds of each history, seconds of each status)."""
    until = time.perf_counter() + SECONDS
    found = await asyncio.gather(
        asker(lambda: store.read(lines, None, 100, None), until),
        asker(lambda: store.read(counts), until),
        *(worker(store, until) for _ in range(WORKERS)),
    )
    return sum(n for n in found[2:] if isinstance(n, int)) / SECONDS, found[0], found[1]


def plain(path: Path) -> float:
    """Jobs a second of one connection that commits every claim and every finish."""
    c = sqlite3.connect(path, isolation_level=None)
    c.execute("PRAGMA synchronous=FULL")
    until, done = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < until:
        for job in jobs.claim(c, Lane.CPU, "plain", time.time()):
            jobs.finish(c, job.id, "plain", time.time())
            history.tell(c, history.Happening("performed", None, "dataset", "done", job_id=job.id), time.time())
            done += 1
    c.close()
    return done / SECONDS


async def measure(home: Path) -> tuple[float, float, list[float], list[float]]:
    path = home / "dropdock.db"
    async with Database(path) as database:
        store = Store(database)
        await fill(store)
        first = await busy(store)
        floor = await asyncio.to_thread(plain, path)
        second = await busy(store)
        queued = (await store.read(jobs.counts))["cpu"]["queued"]
    check(queued > JOBS // 10, "the queue ran empty")
    return (first[0] + second[0]) / 2, floor, first[1] + second[1], first[2] + second[2]


def main() -> None:
    tune()  # as the daemon does
    with scratch() as home:
        rate, floor, lines_took, counts_took = asyncio.run(measure(home))
    rows, figures = [], []
    for name, took in (("history, 100 lines", lines_took), ("status, all counts", counts_took)):
        p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
        rows.append([name, f"{len(took)}", p50 * 1e3, p99 * 1e3])
        figures.append(
            Figure(f"{name}, p99 with {JOBS:,} jobs at work", f"< {GOAL * 1e3:.0f} ms", f"{p99 * 1e3:.1f} ms", p99 < GOAL)
        )
    figures.append(Figure("jobs claimed and finished", "", f"{rate:,.0f}/s ({rate / floor:.1f}x of a commit for each)", None))
    notes = (
        f"{JOBS:,} files with a queued job each; {WORKERS} workers, each question asked every {ASK_EVERY * 1e3:.0f} ms. "
        f"{rate:,.0f} jobs/s are claimed and finished, {floor:,.0f}/s by the plain loop, which records less."
    )
    report("Backlog", ["question", "asked", "p50 ms", "p99 ms"], rows, notes, figures)


if __name__ == "__main__":
    main()
