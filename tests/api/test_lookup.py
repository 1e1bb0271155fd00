"""Ordering look-ups over HTTP: models by any name, all of them, refusals; and what CivitAI said stands in the model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from aiohttp.test_utils import TestClient
from dropdock.api.lookup import LOOKUP, MOST, Ordered
from dropdock.rules.terms import Published
from dropdock.store import lookups

SHA = "ab" * 32  # the model of `full`
WHAT = Published(
    7, 8, "A style", "v1", "LORA", "Model", "Pony", "a.safetensors", ("blue hat",), True, "https://civitai.com/models/7"
)


@dataclass
class FakeLookups:
    """The daemon as far as this route asks it."""

    answer: Ordered = field(default_factory=lambda: Ordered(True, 1, 42))
    asked: list[Sequence[str] | None] = field(default_factory=list)

    async def order(self, sha256s: Sequence[str] | None) -> Ordered:
        self.asked.append(sha256s)
        return self.answer


@pytest.fixture
def fake() -> FakeLookups:
    return FakeLookups()


@pytest.fixture
async def asker(face, full, fake, aiohttp_client) -> AsyncIterator[TestClient]:  # type: ignore[no-untyped-def]
    app = face.app()
    app[LOOKUP] = fake
    yield await aiohttp_client(app)


async def post(client: TestClient, body: object) -> tuple[int, dict[str, object]]:
    answer = await client.post("/api/v1/models/lookup", json=body)
    return answer.status, await answer.json()


@pytest.mark.parametrize("name", [SHA, SHA[:6], "a.safetensors"])
async def test_a_model_is_ordered_by_any_of_its_names(asker: TestClient, fake: FakeLookups, name: str) -> None:
    """202 with the job; each content is ordered once, however often it is named."""
    assert await post(asker, {"models": [name, SHA]}) == (202, {"count": 1, "job": 42, "until": None, "models": [SHA]})
    assert fake.asked == [[SHA]]


async def test_all_are_ordered(asker: TestClient, fake: FakeLookups) -> None:
    """`all` names none."""
    assert (await post(asker, {"all": True}))[0] == 202 and fake.asked == [None]


async def test_while_it_is_off_it_says_how_to_switch_it_on(asker: TestClient, fake: FakeLookups) -> None:
    """409 with the line of the configuration."""
    fake.answer = Ordered(False)
    status, said = await post(asker, {"all": True})
    assert status == 409 and "civitai: {enabled: true}" in str(said["detail"])


@pytest.mark.parametrize(
    "body",
    [
        {}, {"models": []}, {"models": "x"}, {"models": [1]}, {"models": [SHA], "all": True}, {"all": "yes"}, {"all": False},
        {"models": [SHA] * (MOST + 1)},
    ],
)  # fmt: skip
async def test_a_body_that_says_nothing_clear_is_refused(asker: TestClient, fake: FakeLookups, body: object) -> None:
    """400, and nobody was asked."""
    assert (await post(asker, body))[0] == 400 and fake.asked == []


async def test_a_name_of_nothing_is_refused(asker: TestClient, fake: FakeLookups) -> None:
    """404, and nobody was asked for the others either."""
    assert (await post(asker, {"models": [SHA, "nobody.safetensors"]}))[0] == 404 and fake.asked == []


async def test_what_it_said_stands_in_the_model(asker: TestClient, face) -> None:  # type: ignore[no-untyped-def]
    """Null before; then name, trigger words and page; then that it is not known."""

    async def said() -> object:
        return (await (await asker.get(f"/api/v1/models/{SHA}")).json())["civitai"]

    assert await said() is None
    await face.store.write(lookups.answered, SHA, WHAT, 5.0)
    assert await said() == {
        "at": 5.0, "known": True, "note": "", "name": "A style", "version": "v1", "type": "LORA", "base": "Pony", "file": "a.safetensors",
        "words": ["blue hat"], "nsfw": True, "page": "https://civitai.com/models/7", "model_id": 7, "version_id": 8,
    }  # fmt: skip
    await face.store.write(lookups.answered, SHA, None, 6.0)
    assert await said() == {"at": 6.0, "known": False, "note": ""}
