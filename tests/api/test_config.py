"""The configuration over HTTP, and the two probes."""

from dropdock.api.ports import Reload


async def test_a_reload_answers_with_its_changes(face, client):
    """What was taken over comes back, a line each."""
    face.control.reloaded = Reload(changes=("trash: 1 -> 2",))
    async with client.post("/api/v1/config/reload") as answer:
        assert (answer.status, await answer.json()) == (200, {"changes": ["trash: 1 -> 2"]})


async def test_a_refused_reload_names_every_problem(face, client):
    """A bad file is a problem document with all its mistakes."""
    face.control.reloaded = Reload(problems=("c.yaml:1:1: x: bad", "c.yaml:2:1: y: bad"))
    async with client.post("/api/v1/config/reload") as answer:
        body = await answer.json()
        assert answer.status == 422 and body["type"].endswith("#bad-config")
        assert body["problems"] == ["c.yaml:1:1: x: bad", "c.yaml:2:1: y: bad"]


async def test_the_settings_in_force_are_shown(client):
    """As the daemon tells them, which replaces secrets."""
    async with client.get("/api/v1/config") as answer:
        assert (await answer.json())["server"] == {"port": 8484, "api_key": "***"}
    async with client.get("/api/v1/config?x=1") as answer:
        assert answer.status == 400


async def test_the_probes_tell_alive_from_ready(face, client, aiohttp_client):
    """A daemon that starts is alive and not ready; one whose writer hangs is not alive. Neither says more, nor asks for a key."""
    from dataclasses import replace

    client = await aiohttp_client(face.app(api_key="k" * 32))
    face.control.state = replace(face.control.state, ready=False)
    async with client.get("/api/v1/ready") as ready, client.get("/api/v1/live") as live:
        assert (ready.status, live.status) == (503, 200)
    face.control.state, face.control.dead = replace(face.control.state, ready=True), ("database writer",)
    async with client.get("/api/v1/ready") as ready, client.get("/api/v1/live") as live:
        assert (ready.status, live.status) == (200, 503)
        assert await live.json() == {"status": "failing"}
