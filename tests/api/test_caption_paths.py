"""Handing pictures over to the daemon: only lists that lie in its own folder, never a path; answers a line each."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
from aiohttp.test_utils import TestClient
from dropdock.api.caption_paths import PATH_CAPTIONS

TOKEN = "ab" * 16


@dataclass
class FakePaths:
    """The daemon as far as this route asks it."""

    asked: list[str] = field(default_factory=list)
    refusal: str = ""

    async def take(self, token: str) -> AsyncIterator[Mapping[str, object]] | str | None:
        self.asked.append(token)
        return self.refusal or (self._rows() if token == TOKEN else None)

    async def _rows(self) -> AsyncIterator[Mapping[str, object]]:
        yield {"id": 0, "text": "a"}
        yield {"end": True}


@pytest.fixture
def fake() -> FakePaths:
    return FakePaths()


@pytest.fixture
async def asker(face, fake, aiohttp_client) -> AsyncIterator[TestClient]:  # type: ignore[no-untyped-def]
    app = face.app()
    app[PATH_CAPTIONS] = fake
    yield await aiohttp_client(app)


async def test_answers_come_a_line_each(asker: TestClient) -> None:
    """As JSON objects."""
    answer = await asker.post("/api/v1/caption", json={"list": TOKEN})
    assert answer.content_type == "application/x-ndjson"
    assert [json.loads(line) for line in (await answer.text()).splitlines()] == [{"id": 0, "text": "a"}, {"end": True}]


@pytest.mark.parametrize("body", [{}, {"list": "../x"}, {"list": 1}, {"list": TOKEN, "path": "/etc"}, {"path": "/etc/a.png"}])
async def test_no_path_is_taken(asker: TestClient, fake: FakePaths, body: dict[str, object]) -> None:
    """Only the name of a list; anything else is refused before the daemon hears of it."""
    answer = await asker.post("/api/v1/caption", json=body)
    assert answer.status == 400 and not fake.asked


async def test_an_unknown_list_and_a_refusal(asker: TestClient, fake: FakePaths) -> None:
    """404, and 400 with the daemon's own sentence."""
    assert (await asker.post("/api/v1/caption", json={"list": "0" * 32})).status == 404
    fake.refusal = "nobody is there"
    answer = await asker.post("/api/v1/caption", json={"list": TOKEN})
    assert answer.status == 400 and (await answer.json())["detail"] == "nobody is there"
