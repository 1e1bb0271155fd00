"""Look-ups in a house with a real database, against CivitAI on loopback: refined after the answer, patient in trouble, silent when off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from civitai_site import CivitaiSite, page, status, text, version
from dropdock.daemon.lanes import Lanes
from dropdock.daemon.lookups import FIRST_PAUSE, ODD_ENOUGH, REFUSED_FOR, Lookups
from dropdock.handlers.civitai import Time
from dropdock.rules.terms import Facts, Job, JobState, Lane
from dropdock.store import codec, jobs, lookups, models
from dropdock.store.rows import ModelRow
from house_made import Home, Opened, opened, sha
from model_files import write_safetensors

VAGUE = {"a.lora_down.weight": ("F16", (4, 640)), "a.lora_up.weight": ("F16", (640, 4))}  # a LoRA of whatever has such a layer
SURE = {
    f"lora_unet_down_blocks_{i}_attentions_0_transformer_blocks_0_attn2_to_k.{part}": ("F16", shape)
    for i in (1, 2)
    for part, shape in (("lora_down.weight", (8, 2048)), ("lora_up.weight", (640, 8)), ("alpha", ()))
}
DAY = 86_400.0


@dataclass
class Asking:
    """A house whose net lane asks the site; pauses take no time, and chance is always the most."""

    home: Home
    house: Opened
    site: CivitaiSite
    lookups: Lookups

    async def drop(self, name: str, tensors: dict[str, tuple[str, tuple[int, ...]]], note: str = "") -> str:
        """A model arrives and is worked on; its digest."""
        path = write_safetensors(self.home.inbox / f"{name}.safetensors", tensors, {"note": note} if note else None)
        digest = sha(path)
        await self.house.arrive(path)
        await self.house.work()
        return digest

    async def ask(self) -> None:
        """What waits is asked for, until the net lane has nothing that is due."""
        await self.lookups.look()
        await self.house.work(Lane.NET)
        await self.lookups.look()
        await self.house.work()

    async def model(self, digest: str) -> ModelRow:
        row = await self.house.store.read(models.get, digest)
        assert row is not None
        return row

    async def job(self) -> Job:
        """The newest job that asks."""
        return [j for j in await self.house.store.read(jobs.listing, limit=1000) if j.title == "ask CivitAI"][-1]


@pytest.fixture
def site() -> CivitaiSite:
    return CivitaiSite()


@asynccontextmanager
async def asking(root: Path, site: CivitaiSite, more: str = "") -> AsyncIterator[Asking]:
    async with TestServer(site.app()) as server:
        home = Home(root, f"civitai: {{enabled: true, url: '{server.make_url('')}', timeout: 5 s{more}}}\n")

        async def no_pause(seconds: float) -> None:
            return None

        async with opened(home) as house:
            asker = Lookups(house.house, house.reclassifier.refine, Time(home.clock, home.clock, no_pause, lambda: 1.0), apart=0)

            async def perform(job: Job, tick: Callable[[float], None]) -> None:
                await (asker.perform if "civitai" in job.payload else house.performer.perform)(job, tick)
                asker.noticed(job)

            house.lanes = Lanes(house.house, house.feed, perform)
            house.store.on_jobs = house.lanes.wake
            try:
                yield Asking(home, house, site, asker)
            finally:
                await asker.close()


async def test_placed_by_what_is_known_and_refined_by_the_answer(tmp_path: Path, site: CivitaiSite) -> None:
    """before: a LoRA whose layers leave the base open is held -> CivitAI knows it -> its record says so and it is wanted by the apps."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", VAGUE)
        path = a.home.inbox / "style.safetensors"
        assert ((await a.house.file(path)).state, (await a.model(digest)).base) == ("held", "unknown")
        assert site.asked == []
        site.versions[digest] = version(digest, "Illustrious")
        await a.ask()
        row = await a.model(digest)
        facts = codec.loads(Facts, row.facts)
        assert (row.type, row.base, row.subfamily, row.wanted) == ("lora", "sdxl", "illustrious", "*")
        assert (await a.house.file(path)).state == "done"
        assert any(e.source == "civitai" and "Illustrious" in e.text for e in facts.evidence)
        told = [line.note for line in await a.house.told() if line.event == "lookup"]
        assert told == ["CivitAI knows it: A style v1.0, Illustrious"]
        found = await a.house.store.read(lookups.published, digest)
        assert found is not None and (found.words, found.file, found.model) == (("blue hat",), "style.safetensors", 101)
        assert site.asked == ["POST ids 1", f"GET {digest.upper()}"]
        assert await a.house.store.read(lookups.waiting, lookups.Remembered(DAY, DAY), a.home.clock(), 5) == []


async def test_nothing_leaves_while_it_is_off(tmp_path: Path, site: CivitaiSite) -> None:
    """Off: no job, no request, by itself or by order; a job that was queued before it was switched off asks nobody."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", VAGUE)
        await a.lookups.look()
        a.home.text = a.home.text.replace("enabled: true", "enabled: false")
        a.house.house.config = a.home.config
        await a.house.work(Lane.NET)
        assert (await a.job()).state is JobState.DONE
        assert not (await a.lookups.order([digest])).enabled and not (await a.lookups.order(None)).enabled
        await a.drop("other", SURE)
        await a.ask()
        assert site.asked == [] and [j.state for j in await a.house.store.read(jobs.listing, state="open")] == []


async def test_tensors_win_and_the_conflict_is_shown(tmp_path: Path, site: CivitaiSite) -> None:
    """An uploader's wrong word changes neither base nor sub-family, and stands as a conflict in the record."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", SURE)
        site.versions[digest] = version(digest, "Flux.1 Kontext")
        await a.ask()
        row = await a.model(digest)
        assert (row.base, row.subfamily) == ("sdxl", None)
        assert any("Flux.1 Kontext" in text for text in codec.loads(Facts, row.facts).conflicts)


async def test_unknown_is_remembered_for_a_while(tmp_path: Path, site: CivitaiSite) -> None:
    """Asked once; again when the time is over; then known, and refined."""
    async with asking(tmp_path, site, ", remember_unknown: 2 days") as a:
        digest = await a.drop("style", VAGUE)
        await a.ask()
        await a.ask()
        assert site.asked == ["POST ids 1"]
        a.home.clock.at += 2 * DAY + 1
        site.versions[digest] = version(digest, "Pony")
        await a.ask()
        assert site.asked[1:] == ["POST ids 1", f"GET {digest.upper()}"] and (await a.model(digest)).subfamily == "pony"


async def test_what_is_gone_from_the_site_is_taken_back(tmp_path: Path, site: CivitaiSite) -> None:
    """Known, then unpublished: by the next answer its word counts no longer."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", VAGUE)
        site.versions[digest] = version(digest, "Pony")
        await a.ask()
        del site.versions[digest]
        a.home.clock.at += 31 * DAY
        await a.ask()
        assert ((await a.model(digest)).base, await a.house.store.read(lookups.published, digest)) == ("unknown", None)


async def test_many_are_asked_for_in_batches(tmp_path: Path, site: CivitaiSite) -> None:
    """Five contents, two a job: three jobs, one at a time, and nobody is asked for twice."""
    async with asking(tmp_path, site, ", batch: 2") as a:
        digests = [await a.drop(f"n{n}", SURE, note=str(n)) for n in range(5)]
        site.versions[digests[3]] = version(digests[3], "SDXL 1.0")
        await a.ask()
        assert sorted(site.asked) == sorted(["POST ids 2", "POST ids 2", "POST ids 1", f"GET {digests[3].upper()}"])
        assert await a.house.store.read(lookups.counts) == (1, 4)


async def test_a_copy_that_comes_later_needs_no_question(tmp_path: Path, site: CivitaiSite) -> None:
    """The same bytes dropped again under another name are not held: what CivitAI said of them is remembered."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", VAGUE)
        site.versions[digest] = version(digest, "Pony")
        await a.ask()
        asked = list(site.asked)
        await a.drop("copy", VAGUE)
        await a.ask()
        assert (await a.house.file(a.home.inbox / "copy.safetensors")).state == "done" and site.asked == asked


async def test_trouble_that_passes_puts_the_job_off(tmp_path: Path, site: CivitaiSite) -> None:
    """500s: the job waits longer each time, costs no attempt, says why, and asks when it is due; the file is where it was."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", VAGUE)
        site.versions[digest] = version(digest, "Pony")
        site.always(status(500))
        await a.ask()
        job = await a.job()
        assert (job.state, job.run_at - a.home.clock(), job.attempts) == (JobState.QUEUED, FIRST_PAUSE, 0)
        assert job.error is not None and "500" in job.error
        a.home.clock.at = job.run_at
        await a.ask()
        job = await a.job()
        assert job.run_at - a.home.clock() == 2 * FIRST_PAUSE and (await a.model(digest)).base == "unknown"
        site.scripts = []
        a.home.clock.at = job.run_at
        await a.ask()
        assert (await a.model(digest)).base == "sdxl" and (await a.job()).state is JobState.DONE


async def test_retry_after_is_kept_also_when_somebody_orders(tmp_path: Path, site: CivitaiSite) -> None:
    """429 with an hour: nobody asks before, not by order either, and the order says until when."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", VAGUE)
        site.always(status(429, **{"Retry-After": "3600"}))
        await a.ask()
        until = a.home.clock() + 3600
        ordered = await a.lookups.order([digest])
        assert (ordered.count, ordered.until, (await a.job()).run_at) == (1, until, until) and ordered.job == (await a.job()).id
        await a.ask()
        assert site.asked == ["POST ids 1"]


async def test_a_refusal_stops_the_asking_until_something_changes(tmp_path: Path, site: CivitaiSite) -> None:
    """401: one failed job that says what to do; new models start none; a changed configuration, a day, or an order does."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", VAGUE)
        site.scripts = [page(401)]
        await a.ask()
        job = await a.job()
        assert job.state is JobState.FAILED and job.error is not None and "civitai.token" in job.error
        await a.drop("other", SURE)
        await a.ask()
        assert (await a.job()).id == job.id and len(site.asked) == 1
        site.scripts = [page(401)]
        a.lookups.follow()
        await a.ask()
        assert len(site.asked) == 2 and (await a.job()).state is JobState.FAILED
        site.scripts = [page(401)]
        a.home.clock.at += REFUSED_FOR
        await a.ask()
        assert len(site.asked) == 3
        assert (await a.lookups.order([digest])).count == 1
        await a.ask()
        assert (await a.job()).state is JobState.DONE


async def test_an_order_asks_again_at_once(tmp_path: Path, site: CivitaiSite) -> None:
    """Remembered or put off after trouble: an order is asked now; of nothing that can be asked for, nothing is queued."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", VAGUE)
        await a.ask()
        site.versions[digest] = version(digest, "Pony")
        assert (await a.lookups.order([digest])).count == 1
        await a.ask()
        assert (await a.model(digest)).subfamily == "pony"
        site.scripts = [status(500)] * 3
        await a.lookups.order(None)
        await a.ask()
        put_off = await a.job()
        assert put_off.run_at > a.home.clock()
        assert (await a.lookups.order(None)).job == put_off.id and (await a.job()).run_at == a.home.clock()
        await a.ask()
        ordered = await a.lookups.order(["00" * 32])
        assert (ordered.enabled, ordered.count, ordered.job) == (True, 0, None)


async def test_one_odd_answer_holds_nobody_up(tmp_path: Path, site: CivitaiSite) -> None:
    """A page in place of one version, another file's answer for a second: both are noted, the third is known, all is done."""
    async with asking(tmp_path, site) as a:
        digests = [await a.drop(f"n{n}", VAGUE, note=str(n)) for n in range(3)]
        for digest in digests:
            site.versions[digest] = version(digest, "Pony")
        site.versions[digests[1]] = version("ee" * 32, "Pony")
        site.scripts = [lambda request: None, page(), page(), page()]  # the newest is asked for first
        await a.ask()
        notes = [(await a.house.store.read(lookups.of, digest)) for digest in digests]
        assert notes[0] is not None and notes[1] is not None and notes[2] is not None
        assert notes[0].published and notes[1].note == "the answer is about another file" and "web page" in notes[2].note
        assert (await a.job()).state is JobState.DONE


async def test_a_site_that_answers_nothing_well_is_asked_later(tmp_path: Path, site: CivitaiSite) -> None:
    """Half JSON for every version: put off, nothing is noted; after so many times the files are what is odd."""
    async with asking(tmp_path, site) as a:
        digest = await a.drop("style", VAGUE)
        site.versions[digest] = version(digest, "Pony")
        for _ in range(ODD_ENOUGH):
            site.scripts = [lambda request: None, *[text('{"id": 1')] * 3]
            await a.ask()
            assert (await a.job()).state is JobState.QUEUED and await a.house.store.read(lookups.of, digest) is None
            a.home.clock.at = (await a.job()).run_at
        site.scripts = [lambda request: None, *[text('{"id": 1')] * 3]
        await a.ask()
        found = await a.house.store.read(lookups.of, digest)
        assert found is not None and "no whole JSON" in found.note and (await a.job()).state is JobState.DONE


async def test_the_token_goes_nowhere_else(tmp_path: Path, site: CivitaiSite) -> None:
    """Sent as Bearer with every question; not in the database, whatever went wrong."""
    token = "Zebra-4711-token"
    async with asking(tmp_path, site, f", token: {token}") as a:
        digest = await a.drop("style", VAGUE)
        site.versions[digest] = version(digest, "Pony")
        site.scripts = [status(500)] * 3
        await a.ask()
        a.home.clock.at += DAY
        await a.ask()
        site.scripts = [status(403)]
        await a.lookups.order(None)
        await a.ask()
    assert set(site.tokens) == {f"Bearer {token}"}
    kept = b"".join(file.read_bytes() for file in (tmp_path / "data").rglob("*") if file.is_file())
    assert b"Pony" in kept and token.encode() not in kept
