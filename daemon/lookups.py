"""Look-ups: contents that CivitAI was not asked for yet are asked for in the background, and what it says makes them told anew.

What must hold: nothing is sent while `civitai.enabled` is false; no file waits for an answer; a content's word is with the rules before
its answer counts as had, so that a crash asks again rather than forget; trouble that passes puts the job off, for as long as the site says
or longer each time, and trouble that a person must mend stops the asking until the configuration changes, a day is over, or somebody
orders it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import aiohttp
import structlog

from .. import __version__
from ..api.lookup import Ordered
from ..handlers.civitai import Civitai, Failed, Pace, Site, Time, Trouble, Unknown
from ..handlers.task import Failure
from ..rules.civitai import Misfit, evidence
from ..rules.terms import Evidence, Job, Lane, Published
from ..store import jobs, lookups
from ..store.history import Happening, tell
from ..store.jobs import NewJob
from ..store.lookups import Remembered
from .config import CivitaiConfig
from .house import House

KEY = "civitai"  # of the one open job, and what its payload is known by
GATHER = 1.0  # seconds: what arrives together is asked for together
BEAT = 3600.0  # seconds between two looks at what grew old
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 6 * 3600.0  # seconds that the job is put off: doubled while the trouble lasts
REFUSED_FOR = 86_400.0  # seconds that nothing is asked by itself after a refusal
BACKGROUND, ORDERED = -1, 5  # priority of what nobody and of what somebody waits for
APART = 0.5  # seconds between the beginnings of two requests
ODD_ENOUGH = 5  # odd answers, or jobs that met trouble, after which it is not by chance
_log = structlog.get_logger()


class Refine(Protocol):
    """Tell again what a content is, with what CivitAI says of it now (None: what it said before)."""

    async def __call__(self, sha256: str, said: Sequence[Evidence] | None, *, unit: int | None = None) -> object: ...


class Lookups:
    """`noticed` a finished job, `run` as a task, `perform` the job, `order` is a person's."""

    def __init__(self, house: House, refine: Refine, clock: Time | None = None, apart: float = APART) -> None:
        self._house, self._refine, self._time, self._apart = house, refine, clock or Time(), apart
        self._session: aiohttp.ClientSession | None = None
        self._asked: tuple[CivitaiConfig, Civitai] | None = None
        self._ended: set[int] = set()  # files whose work ended, to be looked at
        self._wake = asyncio.Event()
        self._bad = 0  # jobs in a row that met trouble
        self._limited_until = self._refused_until = 0.0  # epoch seconds

    # ------------------------------------------------------------ when

    def noticed(self, job: Job) -> None:
        """A job of a file ended: its model may be new, or one that CivitAI was asked for already."""
        if "file" in job.payload:
            self._ended.add(int(str(job.payload["file"])))
        self._wake.set()

    def follow(self) -> None:
        """The configuration changed: a refusal may be mended."""
        self._refused_until = 0.0
        self._bad = 0
        self._wake.set()

    async def run(self) -> None:
        """Look at what ended and queue what waits, for ever; the session ends with it."""
        self._wake.set()
        try:
            while True:
                with contextlib.suppress(TimeoutError):  # from time to time: answers grow old
                    async with asyncio.timeout(BEAT):
                        await self._wake.wait()
                await self._time.pause(GATHER)
                self._wake.clear()
                await self.look()
        finally:  # by then the workers are told to stop too
            await self.close()

    async def look(self) -> None:
        """Decide again what was held before all was known of it, and queue the job when something is to be asked for."""
        ended, self._ended = self._ended, set()
        for file_id, sha256 in await self._house.store.read(lookups.late, ended) if ended else ():
            await self._refine(sha256, None, unit=file_id)  # it came, or was held, without what was known of its content
        store, c = self._house.store, self._house.config.civitai
        if not c.enabled or store.now() < self._refused_until:
            return
        waiting = await store.read(lookups.waiting, _kept(c), store.now(), 1)
        if waiting:
            await store.enqueue(_job(BACKGROUND, self._limited_until - store.now()))

    async def order(self, sha256s: Sequence[str] | None) -> Ordered:
        """Ask for these contents (None: all) now, whatever is remembered. Nothing is queued while it is switched off."""
        store, c = self._house.store, self._house.config.civitai
        if not c.enabled:
            return Ordered(False)
        now = store.now()
        patient = now < self._limited_until

        def work(db: sqlite3.Connection) -> tuple[int, int | None]:
            found = lookups.ask(db, sha256s, now)
            if not found:
                return 0, None
            job = jobs.enqueue(db, _job(ORDERED, self._limited_until - now), now)
            return len(found), job or lookups.hurry(db, KEY, now if not patient else self._limited_until)

        count, job = await store.db.write(work)
        store.on_jobs()
        return Ordered(True, count, job, self._limited_until if patient else None)

    # ------------------------------------------------------------ the job

    async def perform(self, job: Job, tick: Callable[[float], None]) -> None:
        """Ask for one batch, and queue the next. Raises Failure for trouble that only a person can mend."""
        store, c = self._house.store, self._house.config.civitai
        batch = await store.read(lookups.waiting, _kept(c), store.now(), c.batch) if c.enabled else []
        trouble = await self._batch(self._client(c), batch, tick) if batch else None
        if trouble is None:
            self._bad, self._limited_until = 0, 0.0
            await self._next(job)
        elif trouble.passing:
            await self._put_off(job, trouble)
        else:
            self._refused_until = store.now() + REFUSED_FOR
            raise Failure(trouble.reason)

    async def _batch(self, client: Civitai, batch: Sequence[str], tick: Callable[[float], None]) -> Failed | None:
        """Ask which of them are known, then for each of those; what stopped it, if anything did."""
        tick(0.0)
        known = await client.known(batch)
        if isinstance(known, Failed):
            return known
        for sha256 in batch:
            if sha256 not in known:
                await self._keep(sha256, Unknown())
        odd: dict[str, Failed] = {}
        had = 0
        for done, sha256 in enumerate(sha256 for sha256 in batch if sha256 in known):
            tick(done / len(known))
            answer = await client.version(sha256)
            if isinstance(answer, Failed) and answer.trouble not in (Trouble.ODD, Trouble.LARGE):
                return answer
            if isinstance(answer, Failed):
                odd[sha256] = answer
                if not had and len(odd) == ODD_ENOUGH:
                    break
            else:
                await self._keep(sha256, answer)
                had += 1
        return await self._odd(odd, known_good=had > 0)

    async def _odd(self, odd: Mapping[str, Failed], known_good: bool) -> Failed | None:
        """Odd answers: of these files, when others were answered or it has been so for long; else of the site, to be asked again."""
        if odd and not known_good and self._bad < ODD_ENOUGH:
            return next(iter(odd.values()))
        for sha256, answer in odd.items():
            await self._keep(sha256, Misfit(answer.reason))
        return None

    async def _keep(self, sha256: str, answer: Published | Unknown | Misfit) -> None:
        """One answer: the rules hear of it first, then it counts as had."""
        store = self._house.store
        if isinstance(answer, Published):
            await self._refine(sha256, evidence(answer))
        elif isinstance(answer, Unknown) and await store.read(lookups.published, sha256) is not None:
            await self._refine(sha256, ())  # it is there no longer, so its word is taken back
        now = store.now()

        def work(c: sqlite3.Connection) -> None:
            new = answer if isinstance(answer, Published) else None
            before = lookups.answered(c, sha256, new, now, answer.reason if isinstance(answer, Misfit) else "")
            if new is not None and new != before:
                note = f"CivitAI knows it: {' '.join(filter(None, (new.name, new.release)))}, {new.base or 'no base said'}"
                tell(c, Happening("lookup", None, "lookup", "done", note=note, sha256=sha256), now)

        await store.db.write(work)

    async def _next(self, job: Job) -> None:
        """The job is done; what still waits is the next one's, in the same transaction."""
        store, c = self._house.store, self._house.config.civitai
        now = store.now()

        def work(db: sqlite3.Connection) -> None:
            jobs.finish(db, job.id, self._house.owner, now)
            if c.enabled and lookups.waiting(db, _kept(c), now, 1):
                jobs.enqueue(db, _job(job.priority), now)

        await store.db.write(work)
        store.on_jobs()

    async def _put_off(self, job: Job, trouble: Failed) -> None:
        """Later, without costing the job an attempt: as long as the site says, and longer each time."""
        store = self._house.store
        wait = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._bad, 20)) * (0.5 + self._time.chance() / 2)
        until = store.now() + max(wait, trouble.after or 0.0)
        self._bad += 1
        if trouble.trouble is Trouble.LIMITED:
            self._limited_until = until
        _log.warning("CivitAI gives no answer now", reason=trouble.reason, seconds=round(until - store.now()))
        await store.write(jobs.defer, job.id, self._house.owner, trouble.reason, until)
        store.on_jobs()

    # ------------------------------------------------------------ the client

    def _client(self, c: CivitaiConfig) -> Civitai:
        """The client of the present configuration; no session is open before the first question."""
        if self._session is None:
            agent = {"User-Agent": f"dropdock/{__version__}"}
            self._session = aiohttp.ClientSession(headers=agent, cookie_jar=aiohttp.DummyCookieJar())
        if self._asked is None or self._asked[0] != c:
            site = Site(c.url, c.token.reveal() if c.token else "", c.timeout)
            self._asked = c, Civitai(self._session, site, Pace(apart=self._apart, clock=self._time), self._time)
        return self._asked[1]

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()


def _job(priority: int, delay: float = 0.0) -> NewJob:
    return NewJob(KEY, Lane.NET, "ask CivitAI", {KEY: True}, priority, max_attempts=1, delay=max(0.0, delay))


def _kept(c: CivitaiConfig) -> Remembered:
    return Remembered(c.remember, c.remember_unknown)
