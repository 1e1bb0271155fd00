"""The queue: list jobs, and cancel, pause, resume or retry one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from ..rules.terms import JobState, Lane
from ..store import jobs
from . import views
from .keys import CONTROL, STORE
from .ports import Control
from .problems import Refused
from .queries import Query, number

Verb = Callable[[Control, int], Awaitable[bool]]
VERBS: dict[str, Verb] = {
    "cancel": lambda control, job_id: control.cancel_job(job_id),
    "pause": lambda control, job_id: control.pause_job(job_id),
    "resume": lambda control, job_id: control.resume_job(job_id),
    "retry": lambda control, job_id: control.retry_job(job_id),
}


async def listing(request: web.Request) -> web.Response:
    """Jobs by id, a page at a time; `state=open` means queued, running and paused ones."""
    query = Query(request, "state", "lane", "limit", "after")
    limit = query.limit()
    rows = await request.app[STORE].read(
        jobs.listing,
        state=query.choice("state", ("open", *JobState)),
        lane=query.choice("lane", tuple(Lane)),
        after=query.integer("after") or 0,
        limit=limit,
    )
    return views.answer({"jobs": [views.job(r) for r in rows], "next": rows[-1].id if len(rows) == limit else None})


async def one(request: web.Request) -> web.Response:
    """One job."""
    return views.answer(await _view(request, number(request)))


async def act(request: web.Request) -> web.Response:
    """Cancel, pause, resume or retry a job, and answer with the job as it is then."""
    job_id = number(request)
    verb = request.match_info["verb"]
    done = await VERBS[verb](request.app[CONTROL], job_id)
    job = await _view(request, job_id)
    if not done:
        raise Refused("not-now", f"A job that is {job['state']} cannot be told to {verb}.", state=job["state"])
    return views.answer(job)


async def _view(request: web.Request, job_id: int) -> views.View:
    row = await request.app[STORE].read(jobs.get, job_id)
    if row is None:
        raise Refused("not-found", f"There is no job {job_id}: jobs that are done are forgotten after a while.")
    return views.job(row)


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [
        web.get("/api/v1/jobs", listing),
        web.get("/api/v1/jobs/{id}", one),
        web.post("/api/v1/jobs/{id}/{verb:cancel|pause|resume|retry}", act),
    ]
