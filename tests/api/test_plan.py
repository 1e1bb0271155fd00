"""The plan over HTTP: a path or a library, bounded, and nothing for what is neither."""

from pathlib import Path

import pytest
from dropdock.api.plan import PAGE, PLANS, Plan


class FakePlans:
    """Knows one library and one path."""

    def __init__(self):
        self.asked = []

    def library(self, name):
        return Path("/lib") if name == "models" else None

    async def plan(self, path, most):
        self.asked.append((path, most))
        unit = {"path": f"{path}/a", "steps": []}
        return Plan([unit], True, [("/lib/b", "Permission denied")]) if path == Path("/lib") else None


@pytest.fixture
async def plans():
    return FakePlans()


@pytest.fixture
async def client(face, plans, aiohttp_client):
    app = face.app()
    app[PLANS] = plans
    return await aiohttp_client(app)


@pytest.mark.parametrize("body", [{"path": "/lib"}, {"library": "models"}])
async def test_a_path_and_a_library_are_planned(client, plans, body):
    """The units, whether there are more, and what could not be read."""
    answer = await client.post("/api/v1/plan", json=body)
    assert await answer.json() == {
        "units": [{"path": "/lib/a", "steps": []}], "more": True, "unreadable": [{"path": "/lib/b", "why": "Permission denied"}],
    }  # fmt: skip
    await client.post("/api/v1/plan", json={**body, "limit": 7})
    assert plans.asked == [(Path("/lib"), PAGE), (Path("/lib"), 7)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"path": "/lib", "library": "models"}, 400), ({"path": "lib"}, 400), ({"path": "/a\0b"}, 400), ({"path": 3}, 400),
        ({"path": "/lib", "limit": 0}, 400), ({"path": "/lib", "limit": True}, 400), ({"path": "/lib", "limt": 3}, 400),
        ({"library": "none"}, 404), ({"library": 3}, 404), ({"path": "/elsewhere"}, 404),
    ],
)  # fmt: skip
async def test_what_cannot_be_planned_is_refused(client, body, status):
    """Neither or both, no plain path, a limit that is none, a word that is not known; and what is not there."""
    assert (await client.post("/api/v1/plan", json=body)).status == status
