"""Reclassifying and hashes over HTTP: one, several, all, a dry run; and the list of models by what a person looks for."""

from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.api.models import BANDS
from dropdock.api.reclassify import HASHES, RECLASSIFY, Change, Preview, Told
from dropdock.rules.confidence import Bands
from dropdock.rules.terms import Facts, Hashes, Kind, Model, ModelFacts
from dropdock.store import hashes, headers, models
from dropdock.store.headers import HeaderRow

SHA = "ab" * 32
BEFORE = Told("unknown", "unknown", None, None, 0.0, "unknown")
CHANGE = Change(SHA, "a.safetensors", BEFORE, replace(BEFORE, type="lora", base="sdxl", confidence=0.97, condition="ok"))


class Orders:
    """The daemon as far as these routes ask it."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def look(self, sha256s, dry=False):
        self.asked.append((list(sha256s), dry))
        return [CHANGE]

    async def preview(self, after, limit):
        self.asked.append((after, limit))
        return Preview([CHANGE], 1, 7 if after == 0 else None)

    async def queue(self, everything):
        return 12

    async def known(self, sha256):
        return Hashes(sha256, autov2=sha256[:10]), False

    async def want(self, sha256):
        self.asked.append(sha256)
        return 13


@pytest.fixture
async def asked(face, full, aiohttp_client):
    """A client, and what it made the daemon do."""
    app, orders = face.app(), Orders()
    app[RECLASSIFY] = app[HASHES] = orders
    app[BANDS] = lambda: Bands(0.9, 0.85)
    return await aiohttp_client(app), orders.asked


async def post(client, path, body, status=200):
    answer = await client.post(f"/api/v1{path}", json=body)
    assert answer.status == status, await answer.text()
    return await answer.json()


async def test_models_by_name_are_asked_at_once(asked):
    """Digits or a name, each once; the change is told with both sides and in a line."""
    client, did = asked
    found = await post(client, "/models/reclassify", {"models": ["ababab", "a.safetensors"]})
    assert did == [([SHA], False)]
    (change,) = found["changes"]
    assert change["before"]["type"] == "unknown" and change["after"]["base"] == "sdxl"
    assert change["text"] == "type unknown -> lora, base unknown -> sdxl, condition unknown -> ok, confidence 0.00 -> 0.97"


async def test_all_is_a_job_and_a_dry_run_comes_in_pages(asked):
    """202 with the job; the dry run goes on at `next`."""
    client, did = asked
    assert await post(client, "/models/reclassify", {"all": True}, 202) == {"job": 12}
    first = await post(client, "/models/reclassify", {"all": True, "dry_run": True})
    second = await post(client, "/models/reclassify", {"all": True, "dry_run": True, "after": first["next"]})
    assert (first["next"], second["next"], did) == (7, None, [(0, 100), (7, 100)])


@pytest.mark.parametrize(
    "body",
    [{}, {"all": False}, {"models": []}, {"models": [1]}, {"models": ["a"] * 101}, {"all": True, "models": ["a"]}, {"all": 1},
     {"models": ["a"], "dry_run": 1}, {"all": True, "dry_run": True, "after": "x"}, {"all": True, "dry_run": True, "after": -1}],
)  # fmt: skip
async def test_a_body_that_says_nothing_clear_is_refused(asked, body):
    """400, and nothing is done."""
    client, did = asked
    await post(client, "/models/reclassify", body, 400)
    assert did == []


async def test_an_unknown_model_is_not_found(asked):
    """404 for a name that nothing has."""
    await post(asked[0], "/models/reclassify", {"models": ["nothing"]}, 404)


async def test_hashes_are_asked_for_by_a_job(asked, face):
    """Known ones at once, the others by a job; a folder has none."""
    client, did = asked
    answer = await client.get(f"/api/v1/models/{SHA}/hashes")
    assert (await answer.json())["crc32"] is None
    found = await post(client, "/models/ababab/hashes", {}, 202)
    assert (found["job"], found["autov2"], did) == (13, SHA[:10], [SHA])
    facts = Facts(Path("/in/f"), Kind.MODEL, 1, model=ModelFacts("diffusers"), folder=True)
    folder = Model("cd" * 32, "x", 1, "f", Path("/hub/f"), facts, folder=True)
    await face.store.write(models.keep, folder, Path("/in/f"), 1.0)
    await post(client, "/models/cdcdcd/hashes", {}, 409)


async def test_one_model_shows_its_hashes_and_the_rules_own_verdict(asked, face):
    """Both null until they are known; the band is the word for its confidence."""
    client, _ = asked
    one = await (await client.get(f"/api/v1/models/{SHA}")).json()
    assert (one["hashes"], one["verdict"], one["band"]) == (None, None, "guess")
    await face.store.write(hashes.put, Hashes(SHA, crc32="0badcafe"), 1.0)
    await face.store.write(headers.keep, HeaderRow(SHA, b"", {}, 1, "lora sdxl 0.8000"), 1.0)
    one = await (await client.get(f"/api/v1/models/{SHA}")).json()
    assert (one["hashes"]["crc32"], one["verdict"]) == ("0badcafe", "lora sdxl 0.8000")


async def test_the_list_is_filtered_and_sorted(asked, face):
    """`unsure` are those below probable as the settings have it; every order goes on from page to page."""
    client, _ = asked
    for n, (name, size, sure) in enumerate([("Zebra", 5, 0.95), ("ape", 50, 0.2), ("Bear", 20, 0.9), ("ape", 20, 0.9)]):
        facts = Facts(
            Path(f"/in/{n}"),
            Kind.MODEL,
            size,
            model=ModelFacts("safetensors", "vae", "sd", confidences={"type": sure, "base": sure}),
        )
        await face.store.write(models.keep, Model(f"{n}" * 64, "x", size, name, Path(f"/hub/{n}"), facts), Path(f"/in/{n}"), 1.0)

    async def names(query: str) -> list[str]:
        found, after = [], 0
        while True:
            page = await (await client.get(f"/api/v1/models?{query}&limit=2&after={after}")).json()
            found += [m["sha256"][0] for m in page["models"]]
            after = page["next"]
            if after is None:
                return found

    assert await names("type=vae") == ["0", "1", "2", "3"]
    assert await names("type=vae&sort=name") == ["1", "3", "2", "0"]
    assert await names("type=vae&sort=size") == ["1", "3", "2", "0"]
    assert await names("type=vae&sort=confidence") == ["1", "2", "3", "0"]
    assert await names("unsure=true&sort=name") == ["a", "1"]
    assert await names("base=sd&unsure=false&sort=type") == ["0", "1", "2", "3"]
    assert (await client.get("/api/v1/models?sort=colour")).status == 400
