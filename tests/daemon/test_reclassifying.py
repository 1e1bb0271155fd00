"""Told again what it is: from memory, by newer rules or newer words; a person's word wins, records, history and held files follow."""

import json

import pytest
from dropdock.daemon import reclassifying
from dropdock.daemon.overriding import set_type
from dropdock.handlers.hashing import Cancelled
from dropdock.rules import classify
from dropdock.rules.compact import table_version
from dropdock.rules.terms import Condition, Evidence, Facts, Lane
from dropdock.store import codec, headers, jobs, models
from house_made import Home, opened, sha
from model_files import write_safetensors

ODD = {f"mystery.layers.{n}.weight": ("F16", (7, 9)) for n in range(6)}
LORA = {
    f"lora_unet_down_blocks_{i}_attentions_0_transformer_blocks_0_attn2_to_k.{part}": ("F16", shape)
    for i in (1, 2)
    for part, shape in (("lora_down.weight", (8, 2048)), ("lora_up.weight", (640, 8)), ("alpha", ()))
}
VAGUE = {"a.lora_down.weight": ("F16", (4, 640)), "a.lora_up.weight": ("F16", (640, 4))}  # a LoRA of whatever has such a layer
CIVITAI = (Evidence("civitai", "base=sdxl", 0.85, "CivitAI calls it SDXL 1.0"),)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def newer(monkeypatch):
    """Rules of a higher version, under which what nothing named is a LoRA for sdxl."""

    def rise() -> None:
        real = classify.classify

        def classified(header, stem, parents=(), outside=()):
            found = real(header, stem, parents, outside)
            if found.known:
                return found
            from dataclasses import replace

            sure = {"type": 0.97, "base": 0.97}
            model = replace(found.model, type="lora", base="sdxl", roles=("lora",), confidences=sure)
            return classify.Classified(model, (Evidence("structure", "type=lora", 0.97, "a new row knows it"),), (), True)

        monkeypatch.setattr("dropdock.rules.identify.classify", classified)
        version = table_version() + 1
        monkeypatch.setattr(reclassifying, "table_version", lambda: version)

    return rise


async def test_a_stored_model_s_header_is_kept(home):
    """Stored or tracked: its header, the version of the rules and their verdict are kept, and its sidecars' words with them."""
    new = write_safetensors(home.inbox / "new.safetensors", LORA)
    info = home.drop("new.civitai.info", json.dumps({"baseModel": "Pony", "model": {"type": "LORA"}}).encode())
    old = write_safetensors(home.library / "old.safetensors", VAGUE)
    digests = sha(new), sha(old)
    async with opened(home) as house:
        await house.arrive(new, info)
        await house.arrive(old)
        await house.work()
        first, second = [await house.store.read(headers.get, digest) for digest in digests]
        assert first.packed and second.packed
        assert (first.version, second.version) == (table_version(), table_version())
        assert first.verdict.startswith("lora sdxl ") and list(first.said) == ["sidecars"]
        assert not second.said and await house.store.read(headers.stale, table_version()) == 0
        assert await house.reclassifier.look(digests) == []  # and asked again it says the very same
        row = await house.store.read(models.get, digests[0])
        assert codec.loads(Facts, row.facts).model.subfamily == "pony"


async def test_newer_rules_need_no_disk(home, newer):
    """The rules rise: what was held for want of a name is told from its kept header, with the hub's disk unplugged, and goes its way."""
    path = write_safetensors(home.inbox / "odd.safetensors", ODD)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        assert (await house.file(path)).state == "held"
    newer()
    home.hub.rename(home.root / "unplugged")
    async with opened(home) as house:
        await house.reclassifier.start()
        (job,) = await house.store.claim(Lane.CPU, house.house.owner, 1)
        await house.reclassifier.perform(job, lambda share: None)
        (home.root / "unplugged").rename(home.hub)
        await house.work()
        row, model = await house.file(path), await house.store.read(models.get, digest)
        assert (model.type, model.base, model.confidence, model.condition) == ("lora", "sdxl", 0.97, "ok")
        assert (row.state, row.type, row.rule) == ("done", "lora", "models we are sure of")
        assert model.wanted == "*"
        (line,) = [r for r in await house.told() if r.verb == "reclassify"]
        assert line.sha256 == digest and "type unknown -> lora, base unknown -> sdxl" in line.note
        await house.reclassifier.start()  # and now nothing is stale any more
        assert not await house.store.read(jobs.listing, state="open")


async def test_a_person_s_word_still_wins(home, newer):
    """Told that it is a VAE for flux1, it stays one, whatever the newer rules say; they are seen in the verdict that is kept."""
    path = write_safetensors(home.inbox / "odd.safetensors", ODD)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        await set_type(house.house, digest, "vae", "flux1")
        await house.work()
        newer()
        await house.reclassifier.start()
        await house.work()
        model = await house.store.read(models.get, digest)
        assert (model.type, model.base, model.confidence) == ("vae", "flux1", 1.0)
        assert "override" in {e.source for e in codec.loads(Facts, model.facts).evidence}
        assert (await house.store.read(headers.get, digest)).verdict.startswith("lora sdxl")


async def test_new_words_are_kept_and_can_be_taken_back(home):
    """CivitAI names the base of a LoRA that its tensors leave open: the record and the held file follow at once, and back again."""
    path = write_safetensors(home.inbox / "x.safetensors", VAGUE)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        assert (await house.file(path)).state == "held"
        change = await house.reclassifier.refine(digest, CIVITAI)
        assert (change.before.base, change.after.base, change.after.confidence) == ("unknown", "sdxl", 0.85)
        assert await house.reclassifier.refine(digest, CIVITAI) is None
        await house.work()
        row = await house.file(path)
        assert (row.state, row.base) == ("done", "sdxl")
        assert (await house.store.read(models.get, digest)).wanted == "*"
        back = await house.reclassifier.refine(digest, ())
        assert back.after.base == "unknown"
        assert await house.reclassifier.refine("0" * 64, CIVITAI) is None


async def test_links_follow(home):
    """A LoRA that turns out to be for another base is asked of the projection; one that stays what it is is not."""
    path = write_safetensors(home.inbox / "x.safetensors", VAGUE)
    digest, asked = sha(path), []
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        again = reclassifying.Reclassifier(house.house, lambda *sha256s: asked.extend(sha256s))
        assert await again.look([digest]) == [] and asked == []
        await again.refine(digest, CIVITAI)
        assert asked == [digest]


async def test_a_dry_run_changes_nothing(home, newer):
    """What would change is told; the records, the history and the version stay."""
    path = write_safetensors(home.inbox / "odd.safetensors", ODD)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        newer()
        before = await house.store.read(models.get, digest), await house.store.read(headers.get, digest), len(await house.told())
        (change,) = await house.reclassifier.look([digest, "0" * 64], dry=True)
        assert change.after.type == "lora" and "condition unknown -> ok" in change.text()
        assert before == (
            await house.store.read(models.get, digest),
            await house.store.read(headers.get, digest),
            len(await house.told()),
        )


async def test_a_model_without_a_header_is_read_once(home):
    """Kept by an older version: the job reads the blob's header and keeps it. One whose blob is gone keeps its record."""
    there = write_safetensors(home.inbox / "there.safetensors", LORA)
    gone = write_safetensors(home.library / "gone.safetensors", VAGUE)
    digests = sha(there), sha(gone)
    async with opened(home) as house:
        await house.arrive(there)
        await house.arrive(gone)
        await house.work()
        await house.store.db.write(lambda c: c.execute("DELETE FROM headers"))
        gone.unlink()
        before = [await house.store.read(models.get, digest) for digest in digests]
        await house.reclassifier.start()
        await house.work()
        assert (await house.store.read(headers.get, digests[0])).packed
        assert await house.store.read(headers.get, digests[1]) is None
        assert before == [await house.store.read(models.get, digest) for digest in digests]
        assert set((await house.jobs()).values()) == {"done"}


async def test_the_job_goes_on_where_it_was(home, newer, monkeypatch):
    """Stopped in the middle, the job has noted how far it came; the next run does only the rest, and progress is a share of all."""
    monkeypatch.setattr(reclassifying, "PORTION", 1)
    paths = [write_safetensors(home.library / f"{n}.safetensors", {**ODD, f"more{n}": ("F16", (2,))}) for n in range(3)]
    async with opened(home) as house:
        for path in paths:
            await house.arrive(path)
        await house.work()
        newer()
        await house.reclassifier.queue(everything=True)
        (job,) = await house.store.claim(Lane.CPU, house.house.owner, 1)
        told = []

        def tick(share: float) -> None:
            told.append(share)
            if len(told) == 3:
                raise Cancelled("stop")

        with pytest.raises(Cancelled):
            await house.reclassifier.perform(job, tick)
        job = await house.store.read(jobs.get, job.id)
        assert job.payload["done"] == 2 and [round(t, 2) for t in told] == [0.0, 0.33, 0.67]
        await house.reclassifier.perform(job, told.append)
        assert len(told) == 4 and (await house.store.read(jobs.get, job.id)).state == "done"
        assert [r.verb for r in await house.told()].count("reclassify") == 3


async def test_a_shard_that_waits_stays_incomplete(home):
    """In the hub a shard lies alone, and is asked again without its set: what was missing when it came is not forgotten."""
    path = write_safetensors(home.library / "m-00001-of-00002.safetensors", LORA)
    async with opened(home) as house:
        await house.arrive(path)
        row = await house.file(path)
        old = codec.loads(Facts, row.facts)
        assert old.condition is Condition.INCOMPLETE
        other = codec.loads(Facts, row.facts.replace("m-00001-of-00002", "whole"))
        whole = reclassifying._still_incomplete(
            reclassifying.facts_of(
                reclassifying.read_compact(write_safetensors(home.library / "whole.safetensors", LORA)), other.path
            ),
            old,
        )
        assert (whole.condition, whole.reason) == (Condition.INCOMPLETE, "missing-shards")
        assert whole.evidence[-1].text.startswith("1 shards are missing")
