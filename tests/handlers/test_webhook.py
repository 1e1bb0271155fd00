"""webhook: the record arrives as JSON, anything but 2xx is a failure, and no error tells the address's secret."""

import aiohttp
import pytest
from aiohttp import web
from dropdock.handlers.task import Failure
from dropdock.handlers.webhook import send, shown

SECRET = "/hook/T0KEN?key=S3CRET"


@pytest.fixture
async def server(aiohttp_server):
    got = []

    async def take(request):
        got.append(await request.json())
        status = int(request.query.get("status", 200))
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    app = web.Application()
    app.router.add_post("/hook/T0KEN", take)
    found = await aiohttp_server(app)
    found.got = got
    return found


async def test_the_record_arrives(server):
    """A 200 is done, and only host and port are told."""
    url = str(server.make_url(SECRET))
    async with aiohttp.ClientSession() as session:
        said = await send(session, url, {"file": {"name": "ä.png"}}, 5.0)
    assert server.got == [{"file": {"name": "ä.png"}}] and said.endswith("answered 200") and "S3CRET" not in said


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_other_answers_are_failures(server, status):
    """Redirects are not followed: they would tell somebody whom the configuration does not name."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Failure, match=f"answered {status}") as error:
            await send(session, str(server.make_url(f"{SECRET}&status={status}")), {}, 5.0)
    assert "S3CRET" not in str(error.value) and "T0KEN" not in str(error.value)


async def test_nobody_there_is_a_failure_without_the_address(unused_tcp_port):
    """A refused connection names the host only."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Failure, match="cannot be told") as error:
            await send(session, f"http://user:pass@127.0.0.1:{unused_tcp_port}{SECRET}", {}, 5.0)
    assert "S3CRET" not in str(error.value) and "pass" not in str(error.value)


def test_an_address_is_shown_by_host_and_port():
    """No user, no path, no query."""
    assert shown("https://me:pw@box.lan:9000/x?k=1") == "https://box.lan:9000"
