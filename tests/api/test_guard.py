"""Law 9: who may ask. Host, origin and key, on loopback too; and the headers every answer carries."""

import asyncio

import pytest
from dropdock.api.guard import host_name
from dropdock.api.page import PAGE
from hypothesis import given
from hypothesis import strategies as st

KEY = "correct horse"


async def ask(client, method="GET", path="/api/v1/status", **headers):
    answer = await client.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return answer.status


async def raw(client, *lines):
    """The status of a request written by hand, for what no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:8484", "[::1]:8484", "localhost.", "box.example:1"])
async def test_our_own_names_are_answered(face, aiohttp_client, host):
    """Loopback names and the configured ones are ours, with any port and in any case."""
    client = await aiohttp_client(face.app(allowed_hosts=("Box.example",)))
    assert await ask(client, Host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil@127.0.0.1", "localhost:8484/x", "10.0.0.7", "", "[::1", "::1", "a b"]
)
@pytest.mark.parametrize("path", ["/", "/api/v1/health", "/api/v1/status", "/static/app.js", "/nothing"])
async def test_a_rebound_name_is_refused_everywhere(client, host, path):
    """A page whose name was rebound to our address gets 421 (or a bare 400) from every address, the open ones too."""
    assert await ask(client, path=path, Host=host) in (400, 421)


@given(st.text())
def test_a_host_header_never_breaks_the_check(text):
    """Any header gives a plain lower-case name or None, never an error."""
    name = host_name(text)
    assert name is None or (name == name.lower() and not set(name) & set("@/ []"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/v1/rescan"), ("POST", "/api/v1/inbox"), ("GET", "/api/v1/files"), ("POST", "/nothing")]
)
async def test_other_sites_pages_are_refused(face, client, method, path, headers):
    """Neither a write nor a read is answered to a page of another origin, a neighbour port included."""
    assert await ask(client, method, path, **headers) == 403
    assert list(face.box.iterdir()) == []


async def test_the_own_page_and_plain_programs_are_answered(client):
    """The page's own origin may write, and so may curl, which sends none."""
    host = f"127.0.0.1:{client.port}"
    assert await ask(client, "POST", "/api/v1/rescan", Origin=f"http://{host}", Sec_Fetch_Site="same-origin") == 202
    assert await ask(client, "POST", "/api/v1/rescan") == 202


async def test_a_link_on_another_site_may_open_the_page(client):
    """Following a link to the status page is no attack; fetching its data is."""
    assert await ask(client, path="/", Sec_Fetch_Site="cross-site") == 200
    assert await ask(client, path="/api/v1/status", Sec_Fetch_Site="cross-site") == 403


async def test_once_a_key_is_set_it_is_asked_for_everywhere(face, aiohttp_client):
    """Every address but the probes and the empty page needs the key, those that do not exist too."""
    app = face.app(api_key=KEY)
    client = await aiohttp_client(app)
    for route in app.router.routes():
        path = route.resource.canonical.replace("{id}", "1").replace("{verb}", "retry").replace("{name}", "app.js")
        status = await ask(client, route.method, path)
        is_open = path in ("/", "/api/v1/health", "/api/v1/ready", "/api/v1/live") or path.startswith("/static/")
        assert (status == 200) if is_open else (status == 401), (route.method, path)
    odd = ("/api/v1/nothing", "/static/../api/v1/status", "/api%2Fv1/status", "//api/v1/status", "/api/v1/health/../status", "*")
    for target in (*odd, "http://localhost/api/v1/status"):
        assert await raw(client, f"GET {target} HTTP/1.1", "Host: localhost") in (400, 401), target


@pytest.mark.parametrize("hosts", [[], ["localhost", "evil.example"], ["evil.example", "localhost"]])
async def test_no_host_and_two_hosts_are_refused(client, hosts):
    """A request that says no name, or two, is refused: a proxy and we might each believe another one."""
    assert await raw(client, "GET /api/v1/status HTTP/1.1", *(f"Host: {h}" for h in hosts)) in (400, 421)


async def test_an_absolute_address_does_not_stand_in_for_the_host(client):
    """The Host header is what is checked, whatever the request line says."""
    assert await raw(client, "GET http://localhost/api/v1/status HTTP/1.1", "Host: evil.example") == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X_API_Key": KEY}, 200),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": f"bearer {KEY}"}, 200),
        ({"X_API_Key": KEY + "x"}, 401),
        ({"X_API_Key": ""}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"X_API_Key": "ключ"}, 401),
    ],
)
async def test_the_key_is_taken_in_either_header_and_must_be_right(face, aiohttp_client, headers, status):
    """X-API-Key and Bearer both carry it; anything else is 401, with the way to do it in the answer."""
    client = await aiohttp_client(face.app(api_key=KEY))
    assert await ask(client, **headers) == status


async def test_the_key_is_never_printed(face):
    """Settings that end in a log or a trace do not show the key."""
    assert KEY not in repr(face.app(api_key=KEY)) + repr(type(face.settings)(api_key=KEY))


@pytest.mark.parametrize("path", ["/", "/static/style.css", "/api/v1/status", "/api/v1/nothing", "/api/v1/events"])
async def test_every_answer_carries_the_headers(client, path):
    """Answers, errors, the page and streams forbid framing, sniffing and foreign scripts, and name the version."""
    answer = await client.get(path)
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Dropdock-Version"] == "1.2.3"
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer.close()


async def test_the_page_is_served_by_name_only(client):
    """All its files are there, nothing else is, and an unchanged one is not sent again."""
    for name, type_ in PAGE.items():
        answer = await client.get("/" if name == "index.html" else f"/static/{name}")
        assert (answer.status, answer.content_type) == (200, type_)
        again = await client.get(f"/static/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304
    for name in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "app.py", "app.js%00", "/etc/passwd"):
        assert (await client.get(f"/static/{name}")).status == 404


async def test_a_page_has_nothing_inline(client):
    """The policy forbids inline scripts and styles; the page has none to lose, and names no other host."""
    text = await (await client.get("/")).text()
    assert "<style" not in text and "style=" not in text and " on" + "click" not in text
    assert text.count("<script") == text.count('<script type="module" src="/static/')
    assert "//" not in text.replace("<!doctype html>", "").replace("://www.w3.org", "")
