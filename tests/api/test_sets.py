"""Caption sets and their texts over HTTP: made, changed, activated, read and written; what cannot be is refused with its reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp.test_utils import TestClient
from dropdock.api.captions import TEXTS, Preview
from dropdock.api.sets import SETS
from dropdock.rules.captions import Edit, Style
from dropdock.rules.terms import Caption
from dropdock.store import datasets, sets

CATS = "/api/v1/datasets/cats"


@dataclass
class FakeTexts:
    """The daemon as far as these routes ask it."""

    asked: list[object] = field(default_factory=list)
    busy: bool = False
    refusal: str = ""

    async def activate(self, slug: str, name: str) -> int | None:
        self.asked.append((slug, name))
        return None if self.busy else 7

    async def write(self, slug: str, item: int, name: str, text: str | None) -> str:
        self.asked.append((slug, item, name, text))
        return self.refusal

    async def edit(self, slug: str, name: str, edit: Edit) -> int | None:
        self.asked.append((slug, name, edit))
        return None if self.busy else 8

    async def preview(self, slug: str, name: str, edit: Edit) -> Preview:
        return Preview(1, 2, (("0.png", "a", "b"),))

    def mistake(self, edit: Edit) -> str:
        return "nothing is to be changed" if edit == Edit() else ""


@pytest.fixture
def fake() -> FakeTexts:
    return FakeTexts()


@pytest.fixture
async def asker(face, full, fake, aiohttp_client) -> AsyncIterator[TestClient]:  # type: ignore[no-untyped-def]
    """`cats` has the active set `main`, with one imported text, and `tags`, with a generated one."""
    await face.store.write(sets.create, "cats", "tags", "tagger", Style(kind="tags", trigger="x"), 5.0)
    await face.store.write(datasets.put_caption, Caption("cats", "1.png", "tags", "One, two", "generated", "tagger"), 6.0)
    app = face.app()
    app[SETS] = app[TEXTS] = fake
    yield await aiohttp_client(app)


async def ask(client: TestClient, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    answer = await client.request(method, f"{CATS}{path}", **({} if body is None else {"json": body}))
    return answer.status, await answer.json()


async def test_sets_tell_their_counts(asker: TestClient) -> None:
    """The active one first, with style and captioner."""
    _, found = await ask(asker, "GET", "/sets")
    main, tags = found["sets"]  # type: ignore[misc]
    assert (main["name"], main["active"], main["imported"], main["pictures"]) == ("main", True, 1, 3)
    assert tags["style"] == {"kind": "tags", "trigger": "x"} and tags["captioner"] == "tagger" and tags["created"] == 5.0
    assert (await ask(asker, "GET", "/sets/tags"))[1] == tags


async def test_a_set_is_made_changed_and_forgotten(asker: TestClient) -> None:
    """A style is laid over what is there, null takes a part back; the active set cannot go."""
    status, made = await ask(asker, "POST", "/sets", {"name": "prose", "style": {"kind": "natural", "trigger": "ohwx"}})
    assert status == 201 and made["style"] == {"kind": "natural", "trigger": "ohwx"}
    _, changed = await ask(asker, "PATCH", "/sets/prose", {"name": "long", "style": {"trigger": None, "max_length": 300}})
    assert (changed["name"], changed["style"]) == ("long", {"kind": "natural", "max_length": 300})
    assert (await ask(asker, "DELETE", "/sets/long"))[1] == {"deleted": "long", "captions": 0}
    assert (await ask(asker, "DELETE", "/sets/main"))[0] == 409
    assert (await ask(asker, "POST", "/sets", {"name": "tags"}))[0] == 409
    assert (await ask(asker, "PATCH", "/sets/tags", {"name": "main"}))[0] == 409


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/sets", {}),
        ("POST", "/sets", {"name": "a/b"}),
        ("POST", "/sets", {"name": " a"}),
        ("POST", "/sets", {"name": ".."}),
        ("POST", "/sets", {"name": "a", "what": 1}),
        ("POST", "/sets", {"name": "a", "style": {"kind": "odd"}}),
        ("POST", "/sets", {"name": "a", "style": {"what": 1}}),
        ("POST", "/sets", {"name": "a", "captioner": 3}),
        ("PATCH", "/sets/tags", {"style": {"max_length": -1}}),
        ("POST", "/sets/tags/edit", {}),
        ("POST", "/sets/tags/edit", {"remove": [""]}),
        ("POST", "/sets/tags/edit", {"find": "a", "dry_run": 1}),
        ("PUT", "/items/1/captions/tags", {"text": " "}),
        ("PUT", "/items/1/captions/tags", {"text": "a", "source": "generated"}),
    ],
)
async def test_what_cannot_be_used_is_refused(asker: TestClient, fake: FakeTexts, method: str, path: str, body: object) -> None:
    """400 with a sentence; nothing is asked of the daemon."""
    status, answer = await ask(asker, method, path, body)
    assert status == 400 and answer["detail"] and not fake.asked


@pytest.mark.parametrize(
    "path", ["/sets/none", "/sets/none/captions", "/items/99/captions", "/items/x/captions", "/items/3/captions/tags", "x/sets"]
)
async def test_what_is_not_there_is_not_found(asker: TestClient, path: str) -> None:
    """Sets, pictures, texts, datasets."""
    assert (await ask(asker, "GET", path))[0] == 404


async def test_activating_is_a_job(asker: TestClient, fake: FakeTexts) -> None:
    """202 with its number; nothing for the active one; 409 while another change goes on."""
    status, answer = await ask(asker, "POST", "/sets/tags/activate")
    assert (status, answer["job"], fake.asked) == (202, 7, [("cats", "tags")])
    assert (await ask(asker, "POST", "/sets/main/activate"))[1]["job"] is None
    fake.busy = True
    assert (await ask(asker, "POST", "/sets/tags/activate"))[0] == 409


async def test_texts_are_listed_and_searched(asker: TestClient) -> None:
    """By words or path, without case; by source; by picture over all sets."""
    _, found = await ask(asker, "GET", "/sets/tags/captions?search=ONE")
    (row,) = found["captions"]  # type: ignore[misc]
    assert (row["rel"], row["text"], row["source"], row["captioner"], row["at"]) == (
        "1.png",
        "One, two",
        "generated",
        "tagger",
        6.0,
    )
    for query, count in (
        ("search=zzz", 0),
        ("search=1.PNG", 1),
        ("source=manual", 0),
        ("source=generated", 1),
        (f"after={row['item']}", 0),
    ):
        assert len((await ask(asker, "GET", f"/sets/tags/captions?{query}"))[1]["captions"]) == count, query  # type: ignore[arg-type]
    _, both = await ask(asker, "GET", f"/items/{row['item']}/captions")
    assert [c["set"] for c in both["captions"]] == ["tags"] and both["rel"] == "1.png"  # type: ignore[union-attr]
    assert (await ask(asker, "GET", f"/items/{row['item']}/captions/tags"))[1] == row


async def test_a_text_is_written_and_forgotten_by_the_daemon(asker: TestClient, fake: FakeTexts) -> None:
    """Its refusal is the answer's sentence."""
    assert (await ask(asker, "PUT", "/items/2/captions/tags", {"text": " new "}))[0] == 200
    assert (await ask(asker, "DELETE", "/items/2/captions/tags"))[1]["deleted"]
    assert fake.asked == [("cats", 2, "tags", "new"), ("cats", 2, "tags", None)]
    fake.refusal = "it was edited outside"
    status, answer = await ask(asker, "PUT", "/items/2/captions/tags", {"text": "new"})
    assert status == 409 and answer["detail"] == "It was edited outside."


async def test_a_change_of_many_is_shown_unless_it_is_meant(asker: TestClient, fake: FakeTexts) -> None:
    """`dry_run` is true when nothing is said."""
    body = {"find": "a", "replace": "b", "prepend": ["x"]}
    _, shown = await ask(asker, "POST", "/sets/tags/edit", body)
    assert shown["changed"] == 1 and shown["examples"] == [{"rel": "0.png", "before": "a", "after": "b"}] and not fake.asked
    status, answer = await ask(asker, "POST", "/sets/tags/edit", {**body, "dry_run": False})
    assert (status, answer["job"]) == (202, 8) and fake.asked == [("cats", "tags", Edit("a", "b", False, ("x",)))]
    fake.busy = True
    assert (await ask(asker, "POST", "/sets/tags/edit", {**body, "dry_run": False}))[0] == 409
