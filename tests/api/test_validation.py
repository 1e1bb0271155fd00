"""Validation over HTTP: rows as they come, wishes checked first."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
from aiohttp.test_utils import TestClient
from dropdock.api.validation import VALIDATOR, Wish
from dropdock.rules.captions import Style
from dropdock.rules.validation import Limits
from dropdock.store import sets


@dataclass
class FakeValidator:
    """The daemon as far as this route asks it."""

    asked: list[Wish] = field(default_factory=list)

    async def validate(self, wish: Wish) -> AsyncIterator[Mapping[str, object]]:
        self.asked.append(wish)
        yield {"looked": 0}
        yield {"end": True}


@pytest.fixture
def fake() -> FakeValidator:
    return FakeValidator()


@pytest.fixture
async def asker(face, full, fake, aiohttp_client) -> AsyncIterator[TestClient]:  # type: ignore[no-untyped-def]
    await face.store.write(sets.create, "cats", "tags", "", Style(trigger="ohwx"), 5.0)
    app = face.app()
    app[VALIDATOR] = fake
    yield await aiohttp_client(app)


async def test_what_is_not_said_is_the_sets(asker: TestClient, fake: FakeValidator) -> None:
    """The active set, its trigger, the usual limits; each can be said."""
    answer = await asker.post("/api/v1/datasets/CATS/validate", json={})
    assert [json.loads(line) for line in (await answer.text()).splitlines()] == [{"looked": 0}, {"end": True}]
    await asker.post("/api/v1/datasets/cats/validate", json={"set": "tags"})
    await asker.post(
        "/api/v1/datasets/cats/validate", json={"set": "tags", "trigger": "", "least": 64, "aspect": 3, "decode": False}
    )
    assert fake.asked == [
        Wish("cats", "main", Limits(), True),
        Wish("cats", "tags", Limits(trigger="ohwx"), True),
        Wish("cats", "tags", Limits(64, 3.0, ""), False),
    ]


@pytest.mark.parametrize("body", [{"what": 1}, {"least": -1}, {"aspect": 0.5}, {"least": "x"}, {"decode": 1}, {"trigger": 1}])
async def test_what_cannot_be_used_is_refused(asker: TestClient, fake: FakeValidator, body: dict[str, object]) -> None:
    """Before anything is looked at."""
    assert (await asker.post("/api/v1/datasets/cats/validate", json=body)).status == 400 and not fake.asked


async def test_what_is_not_there_is_not_found(asker: TestClient) -> None:
    """Dataset and set."""
    assert (await asker.post("/api/v1/datasets/dogs/validate", json={})).status == 404
    assert (await asker.post("/api/v1/datasets/cats/validate", json={"set": "none"})).status == 404
