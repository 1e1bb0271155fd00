"""Captioning a dataset over HTTP: what is asked for is checked before anything begins; a run can be seen, held back and ended."""

import pytest
from dropdock.api.captioning import CAPTIONS, Progress, style_of, wish_of
from dropdock.api.problems import Refused
from dropdock.rules.captions import Style
from dropdock.store import datasets, jobs, runs
from dropdock.store.runs import NewRun


class Runs:
    """The daemon's side, over the real store."""

    def __init__(self, store) -> None:
        self.store, self.again = store, 0

    async def begin(self, wish: NewRun):
        if wish.captioner != "basic":
            return f"There is no captioner `{wish.captioner}`."
        return await self.store.read(runs.get, await self.store.write(runs.create, wish, 3, 5.0))

    async def order(self, run_id: int, verb: str) -> bool:
        if verb == "cancel":
            return await self.store.write(runs.cancel, run_id, 6.0) is not None
        return await self.store.write({"pause": runs.pause, "resume": runs.resume}[verb], run_id)

    async def prioritise(self, run_id: int, priority: int) -> bool:
        return await self.store.write(runs.prioritise, run_id, priority)

    def progress(self, run) -> Progress:
        return Progress(run.done + run.failed, 2.0, 0.5)

    def try_again(self) -> None:
        self.again += 1


@pytest.fixture
async def asked(face, full, aiohttp_client):
    """A client of a face with a dataset `cats` of three pictures."""
    app = face.app()
    app[CAPTIONS] = Runs(face.store)
    client = await aiohttp_client(app)
    client.runs = app[CAPTIONS]
    return client


async def test_a_run_from_its_wish_to_its_end(asked, face):
    """Begun, listed, seen with its progress, fed, its pictures listed, paused, resumed, moved up, cancelled."""
    answer = await asked.post(
        "/api/v1/datasets/cats/caption", json={"set": "tags", "trigger": "ohwx", "style": {"max_length": 80}}
    )
    run = await answer.json()
    assert answer.status == 202 and (run["state"], run["only"], run["total"], run["with"]) == ("running", "missing", 3, "basic")
    assert run["style"] == {"trigger": "ohwx", "max_length": 80} and (run["per_second"], run["eta"]) == (2.0, 0.5)
    row = await face.store.read(runs.get, run["id"])
    await face.store.write(runs.feed, row, await face.store.read(runs.next_pictures, row, 9), True, 5.0)
    (one,) = await face.store.write(jobs.claim_for, "basic", "me", 9e9, 1)
    await face.store.write(jobs.fail, one.id, "me", "too ugly", 6.0, retry=False)
    now = await (await asked.get(f"/api/v1/captioning/{run['id']}")).json()
    assert (now["failed"], now["done"], now["progress"]) == (1, 0, 0.3333)
    items = (await (await asked.get(f"/api/v1/captioning/{run['id']}/items?state=failed")).json())["items"]
    assert [(i["rel"], i["error"]) for i in items] == [("1.png", "too ugly")]
    assert (await (await asked.post(f"/api/v1/captioning/{run['id']}/pause")).json())["state"] == "paused"
    assert (await asked.post(f"/api/v1/captioning/{run['id']}/pause")).status == 409
    assert (await (await asked.post(f"/api/v1/captioning/{run['id']}/resume")).json())["state"] == "running"
    moved = await asked.post(f"/api/v1/captioning/{run['id']}/priority", json={"priority": 7})
    assert (await moved.json())["priority"] == 7
    assert await face.store.read(jobs.top_for, "basic") == 7
    assert (await (await asked.post(f"/api/v1/captioning/{run['id']}/cancel")).json())["state"] == "cancelled"
    assert (await asked.post(f"/api/v1/captioning/{run['id']}/priority", json={"priority": 1})).status == 409
    found = (await (await asked.get("/api/v1/captioning?state=open")).json())["runs"]
    assert found == [] and len((await (await asked.get("/api/v1/captioning?dataset=CATS")).json())["runs"]) == 1


async def test_an_imported_caption_is_no_missing_one(asked, face):
    """0.png came with its text: a run for what is missing picks the two others."""
    assert await face.store.read(runs.count, NewRun("cats", "basic"), "caption") == 2
    assert await face.store.read(runs.count, NewRun("cats", "basic", picks="all"), "caption") == 2
    assert await face.store.read(runs.count, NewRun("cats", "basic", picks="all", overwrite=True), "caption") == 3
    assert await face.store.read(datasets.has_caption, "cats", "0.png", "main")


async def test_what_cannot_be_begun_is_refused(asked):
    """Another captioner, another run, a body that is none."""
    assert (await asked.post("/api/v1/datasets/cats/caption", json={"with": "nobody"})).status == 404
    assert (await asked.get("/api/v1/captioning/99")).status == 404
    assert (await asked.post("/api/v1/captioning/99/cancel")).status == 404
    assert (await asked.post("/api/v1/datasets/cats/caption", json=[1])).status == 400


async def test_captioners_may_be_asked_to_try_again(asked):
    """One order for all that wait."""
    assert (await asked.post("/api/v1/captioning/retry")).status == 202 and asked.runs.again == 1


@pytest.mark.parametrize(
    "body, named",
    [
        ({"wiht": "basic"}, "wiht"),
        ({"only": "some"}, "only"),
        ({"only": "below"}, "below"),
        ({"only": "below", "below": 2}, "below"),
        ({"only": "all", "below": 0.5}, "below"),
        ({"below": True}, "below"),
        ({"pictures": ["a.png"]}, "pictures"),
        ({"pictures": [0]}, "pictures"),
        ({"priority": 1000}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"overwrite_edited": "yes"}, "overwrite_edited"),
        ({"trigger": 5}, "trigger"),
        ({"prompt": "x" * 5000}, "prompt"),
        ({"style": "poem"}, "kind"),
        ({"style": 3}, "style"),
        ({"style": {"rhyme": True}}, "rhyme"),
        ({"style": {"prefix": "a"}}, "prefix"),
        ({"style": {"replace": {"a": 1}}}, "replace"),
        ({"style": {"escape": 1}}, "escape"),
        ({"style": {"existing": "eat"}}, "existing"),
        ({"style": {"max_length": -1}}, "max_length"),
    ],
)
def test_a_wish_with_a_mistake_names_it(body, named):
    """Refused with the name of what is wrong."""
    with pytest.raises(Refused, match=named):
        wish_of("cats", body)


def test_a_full_wish_is_understood():
    """Every member, and `below` alone means `only: below`."""
    body = {"with": "qwen", "set": "prose", "below": 0.6, "prompt": "what?", "style": "tags", "overwrite_edited": True}
    wish = wish_of("cats", {**body, "pictures": [3, 1, 3], "priority": -5})
    style = Style("tags", "what?")
    assert wish == NewRun("cats", "qwen", "prose", "below", 0.6, style, (3, 1), True, -5)
    assert style_of({"style": {"exclude": ["x"], "replace": {"a": ""}, "implied": False}}) == Style(
        exclude=("x",), replace={"a": ""}, implied=False
    )
