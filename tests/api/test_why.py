"""`why` over HTTP: a path in plain form, and nothing for what is no path."""

import pytest
from dropdock.api.why import WHY, Reason


class FakeWhy:
    """Answers with the path it was asked for."""

    async def why(self, path):
        return [Reason("file", f"about {path}")]


@pytest.fixture
async def client(face, aiohttp_client):
    app = face.app()
    app[WHY] = FakeWhy()
    return await aiohttp_client(app)


async def test_a_path_is_asked_for_in_its_plain_form(client):
    """Dots are resolved by the text alone, before anybody is asked."""
    answer = await (await client.get("/api/v1/why?path=/in/./x/../a.png")).json()
    assert answer == {"path": "/in/a.png", "why": [{"about": "file", "text": "about /in/a.png"}]}


@pytest.mark.parametrize("query", ["", "?path=a.png", "?path=/a%00b", "?path=/" + "x" * 5000, "?wo=/a"])
async def test_what_is_no_path_is_refused(client, query):
    """Missing, relative, with a NUL, too long, misspelt."""
    assert (await client.get(f"/api/v1/why{query}")).status == 400
