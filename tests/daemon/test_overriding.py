"""A person's word on a model: it wins, held files are decided again, and the same content comes in right the next time."""

import pytest
from dropdock.daemon.explaining import Explainer
from dropdock.daemon.overriding import set_type
from dropdock.rules.terms import Facts
from dropdock.store import codec, history, jobs, models
from house_made import Home, opened, sha
from model_files import write_safetensors

ODD = {f"mystery.layers.{n}.weight": ("F16", (7, 9)) for n in range(6)}


def _raise(path, error):
    raise error


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


async def test_a_held_model_is_deployed_once_its_type_is_set(home):
    """Unsure: kept in the hub and held. Told what it is: wanted by the targets, no longer held, nothing is stored twice."""
    path = write_safetensors(home.inbox / "odd.safetensors", ODD)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        row = await house.file(path)
        assert (row.state, row.end) == ("held", "hub")
        await set_type(house.house, digest, "lora", "sdxl")
        await house.work()
        row, model = await house.file(path), await house.store.read(models.get, digest)
        assert (row.state, row.end, row.end_at) == ("done", "hub", model.blob)
        assert (model.type, model.base, model.confidence, model.wanted) == ("lora", "sdxl", 1.0, "*")
        assert set((await house.jobs()).values()) == {"done"}


async def test_the_word_is_kept_by_content(home):
    """The same bytes under another name come in as what the person said; half a word leaves the other axis unsure."""
    path = write_safetensors(home.inbox / "odd.safetensors", ODD)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        await set_type(house.house, digest, "lora", None)
        await house.work()
        row, model = await house.file(path), await house.store.read(models.get, digest)
        assert (row.state, model.type, model.wanted) == ("held", "lora", None)
        await set_type(house.house, digest, None, "flux1")
        await house.work()
        model = await house.store.read(models.get, digest)
        assert (model.type, model.base, model.wanted) == ("lora", "flux1", "*")
        again = write_safetensors(home.inbox / "again.safetensors", ODD)
        await house.arrive(again)
        await house.work()
        assert (await house.store.read(models.get, digest)).type == "lora"
        assert set(await house.store.read(models.names, digest)) == {"odd.safetensors", "again.safetensors"}
        assert not await house.store.read(jobs.listing, state="failed")


async def test_the_record_says_the_last_word(home):
    """What is shown of a model follows at once: evidence, sureness, condition and the line of history that names its file."""
    path = write_safetensors(home.inbox / "odd.safetensors", ODD)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        await set_type(house.house, digest, "lora", "wan")
        await set_type(house.house, digest, None, "sdxl")
        model = await house.store.read(models.get, digest)
        facts = codec.loads(Facts, model.facts)
        assert {e.says for e in facts.evidence if e.source == "override"} == {"type=lora", "base=sdxl"}
        assert (model.base, model.confidence, model.condition) == ("sdxl", 1.0, "ok")
        told = [h for h in await house.store.read(history.latest) if h.verb == "set-type"]
        assert {h.path for h in told} == {model.blob}


async def test_what_the_hub_keeps_is_explained_with_the_word(home):
    """A kept file, and a link that leads to it, is known by its place in the hub; one that was written to since is not."""
    path = write_safetensors(home.inbox / "odd.safetensors", ODD)
    digest = sha(path)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        await set_type(house.house, digest, "lora", "sdxl")
        blob = (await house.store.read(models.get, digest)).blob
        link = home.root / "link.safetensors"
        link.symlink_to(blob)
        config = home.config
        with Explainer(config, 1.0, False, _raise) as explainer:
            said = [next(explainer.explain(p)).explanation for p in (blob, link)]
        assert {(m.type, m.base) for m in said} == {("lora", "sdxl")}
        blob.write_bytes(blob.read_bytes() + b"more")
        with Explainer(config, 1.0, False, _raise) as explainer:
            assert next(explainer.explain(blob)).explanation.base == "unknown"
