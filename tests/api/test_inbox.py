"""Uploads: complete files appear under safe names, all of a request together, and nothing else ever stands in the inbox."""

import asyncio
import errno
import os
import unicodedata
from pathlib import Path

import pytest
import structlog
from aiohttp import ClientSession, web
from dropdock.api import inbox, upload
from dropdock.rules.ignores import Ignores
from hypothesis import given
from hypothesis import strategies as st


def form(*files):
    """A form as curl and browsers write it: names raw in UTF-8, with quotes and backslashes as curl escapes them."""
    lines = b""
    for name, content in files:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode()
        lines += b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + quoted + b'"\r\n'
        lines += b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n"
    return lines + b"--b--\r\n"


def tree(folder: Path):
    """Name -> content of all that lies in a folder."""
    return {p.name: p.read_bytes() for p in folder.iterdir()}


async def send(client, data, status=201, query="", **headers):
    headers = {"Content-Type": "multipart/form-data; boundary=b"} | headers
    answer = await client.post("/api/v1/inbox" + query, data=data, headers=headers)
    assert answer.status == status, await answer.text()
    return await answer.json(content_type=None)


async def test_files_land_in_the_inbox_whole(face, client):
    """Several files of one request lie in the inbox byte for byte, larger ones than any body limit too."""
    big = os.urandom(3 << 20)
    found = await send(client, form(("x.zip", big), ("y.txt", b"hello")))
    assert tree(face.box) == {"x.zip": big, "y.txt": b"hello"}
    assert [(f["name"], f["size"]) for f in found["files"]] == [("x.zip", len(big)), ("y.txt", 5)]
    assert found["files"][0]["path"] == str(face.box / "x.zip")


async def test_a_taken_name_gets_a_number(face, client):
    """Nothing is overwritten: neither an earlier upload, nor a folder, nor a dangling link of that name."""
    (face.box / "y").mkdir()
    (face.box / "z").symlink_to("/nowhere")
    await send(client, form(("x.tar.gz", b"1"), ("x.tar.gz", b"2")))
    await send(client, form(("x.tar.gz", b"3"), ("y", b"4"), ("z", b"5")))
    lies = {p.name: p.read_bytes() for p in face.box.iterdir() if p.is_file()}
    assert lies == {"x.tar.gz": b"1", "x (2).tar.gz": b"2", "x (3).tar.gz": b"3", "y (2)": b"4", "z (2)": b"5"}


@pytest.mark.parametrize(
    ("given_name", "lands_as"),
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\x.zip", "x.zip"),
        (".hidden.zip", "hidden.zip"),
        ("...zip", "zip"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("猫.zip", "猫.zip"),
        ("a\tb.zip", "ab.zip"),
        ("-rf", "-rf"),
    ],
)
async def test_a_name_cannot_leave_the_inbox(face, client, given_name, lands_as):
    """Whatever path a sender writes, the file lands in the inbox itself under the last part of it."""
    await send(client, form((given_name, b"x")))
    assert tree(face.box) == {lands_as: b"x"}
    assert {p.name for p in face.box.parent.iterdir()} <= {"inbox", "dropdock.db", "dropdock.db-wal", "dropdock.db-shm"}


@pytest.mark.parametrize(
    ("written", "lands_as"),
    [
        (b"a%22b%0Ac.zip", 'a"bc.zip'),
        (b"a%0D%0Ab.zip", "ab.zip"),
        (b"%0A.%22x%22.zip", '"x".zip'),
        (b"100%25.zip", "100%25.zip"),
        (b"a%2Fb%00.zip", "a%2Fb%00.zip"),
    ],
)
async def test_a_name_that_was_escaped_for_the_form_is_read_back(face, client, written, lands_as):
    """Quotes and line ends as browsers and curl write them; every other percent sign is the sender's own."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + written + b'"\r\n\r\n'
    await send(client, head + b"x\r\n--b--\r\n")
    assert tree(face.box) == {lands_as: b"x"}


@pytest.mark.parametrize("name", ["..", "/", "\\", ".", "x.part", "x.zip.crdownload", "Thumbs.db", "__MACOSX", "x~"])
async def test_a_name_that_never_arrives_is_refused(face, client, name):
    """A name that is none, or that watches ignore, is refused with a reason instead of lying there for ever."""
    found = await send(client, form(("good.zip", b"1"), (name, b"x")), 400)
    assert found["type"] == "docs/api.md#bad-upload"
    assert tree(face.box) == {}


@given(st.text(max_size=600))
def test_any_name_becomes_a_safe_one_or_none(text):
    """For every text: one component, not hidden, no control characters, room for a number, and the same when made safe again."""
    name = upload.safe_name(text)
    if name is None:
        return
    assert name == Path(name).name and not name.startswith(".")
    assert not any(unicodedata.category(ch) in ("Cc", "Cf") for ch in name)
    assert len(name.encode()) <= upload.LONGEST
    assert upload.safe_name(name) == name
    part = upload.part_path(Path("/in"), name)
    assert len(part.name.encode()) <= 255 and Ignores().skip(part.name, False)


async def test_a_huge_name_is_cut_and_keeps_its_suffix(face, client):
    """A name longer than file systems take is shortened before its suffix; a second one still gets its number."""
    for _ in range(2):
        await send(client, form(("ü" * 400 + ".safetensors", b"x")))
    names = sorted(tree(face.box), key=len)
    assert all(n.endswith(".safetensors") and len(n.encode()) <= 255 for n in names)
    assert len(names) == 2 and names[1].endswith(" (2).safetensors")


async def test_a_broken_off_upload_leaves_nothing(face, client):
    """While it comes, an upload lies under a name that never arrives; when the sender breaks off, nothing is left."""
    _, writer = await asyncio.open_connection("127.0.0.1", client.port)
    head = "POST /api/v1/inbox HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000000"
    body = '\r\n\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="x.zip"\r\n\r\n'
    writer.write((head + body).encode() + b"x" * 3_000_000)
    await writer.drain()
    await until(lambda: any(p.stat().st_size > 0 for p in face.box.iterdir()))
    (part,) = face.box.iterdir()
    assert Ignores().skip(part.name, False)
    writer.transport.abort()
    await until(lambda: not list(face.box.iterdir()))


CUT = (  # what a sender had sent when it went away
    b"--b\r\nContent-Disposition: form-data",
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.zip"\r\n\r\n' + b"x" * 1000,
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.zip"\r\n\r\n' + b"x" * 3_000_000,
)


@pytest.fixture
async def port(face):
    """Where the face listens as the daemon serves it: unlike aiohttp's test server, its handlers are told of a lost sender."""
    runner = web.AppRunner(face.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize("sent", CUT, ids=["half a head", "a little", "much"])
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_sender_that_goes_away_is_nobodys_fault(face, port, monkeypatch, caplog, sent, how):
    """However far it came, politely or not: not a word in the log, and nothing in the inbox."""
    begun, ended = asyncio.Event(), asyncio.Event()
    real = inbox._parts

    async def parts(request):
        begun.set()
        try:
            async for part in real(request):
                yield part
        finally:
            ended.set()

    monkeypatch.setattr(inbox, "_parts", parts)
    head = "POST /api/v1/inbox HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000000"
    with structlog.testing.capture_logs() as told:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + b"\r\n\r\n" + sent)
        await begun.wait()
        await until(lambda: len(sent) < 2000 or any(p.stat().st_size > 0 for p in face.box.iterdir()))
        writer.transport.abort() if how == "abort" else writer.close()
        await ended.wait()
        await until(lambda: not list(face.box.iterdir()))
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/api/v1/health") as answer:
            assert answer.status == 200  # and by now the server has said what it had to say of the other one
    assert (told, caplog.messages) == ([], [])


@pytest.mark.parametrize("tail", [b"", b"\r\n", b"\r\n--b\r\n", b"\r\n--", b"\r\n--b\r\nContent-Disposition"])
async def test_a_form_without_its_end_leaves_nothing(face, client, tail):
    """A body whose last boundary is missing is no complete upload, even when its length is as announced."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.zip"\r\n\r\ndata' + tail
    found = await send(client, body, 400)
    assert found["type"] == "docs/api.md#bad-upload"
    assert tree(face.box) == {}


@pytest.mark.parametrize(
    ("body", "type_", "status"),
    [
        (b"PK", "application/zip", 415),
        (b"", "multipart/form-data", 400),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 400),
        (b"nonsense", "multipart/form-data; boundary=b", 400),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\nv\r\n--b--\r\n', "multipart/form-data; boundary=b", 400),
        (
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            400,
        ),
    ],
)
async def test_what_is_no_form_of_files_is_refused(face, client, body, type_, status):
    """Another type, no form, a form without files, an encoded file: each is refused, and nothing is left."""
    await send(client, body, status, **{"Content-Type": type_})
    assert tree(face.box) == {}


async def test_an_unknown_inbox_is_not_found(face, client):
    """The watch that is named must be an inbox; without any inbox there is nowhere to put a file."""
    await send(client, form(("x", b"x")), 404, "?watch=library")
    await send(client, form(("x", b"x")), 201, "?watch=inbox")
    face.control.box = None
    await send(client, form(("x", b"x")), 404)


async def test_free_space_is_kept(face, aiohttp_client):
    """An upload that would not leave what must stay free is refused before a byte is written."""
    client = await aiohttp_client(face.app(min_free=2**60))
    found = await send(client, form(("x", b"x" * 100)), 507)
    assert found["needed"] > found["free"]
    assert tree(face.box) == {}


async def test_a_full_disk_leaves_nothing(face, client, monkeypatch):
    """When the disk turns full underway, the answer says so and nothing is left."""

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(upload, "finish", full)
    found = await send(client, form(("x", b"x")), 507)
    assert found["type"] == "docs/api.md#no-space"
    assert tree(face.box) == {}


async def test_a_disk_that_fails_between_two_names_is_told_with_what_appeared(face, client, monkeypatch):
    """None is named before all are complete; when the second name is refused, the answer has the first, and no part is left."""
    real = upload.publish

    def failing(part, name):
        assert len(list(face.box.glob(".*"))) == (3 if name == "1" else 2), "all the others are complete"
        if name == "2":
            raise OSError(errno.EIO, "Input/output error")
        return real(part, name)

    monkeypatch.setattr(upload, "publish", failing)
    found = await send(client, form(("1", b"a"), ("2", b"b"), ("3", b"c")), 503)
    assert found["type"] == "docs/api.md#inbox-unavailable" and [f["name"] for f in found["files"]] == ["1"]
    assert tree(face.box) == {"1": b"a"}


async def test_a_missing_inbox_folder_is_said(face, client):
    """A folder that was unmounted or removed is no surprise: the answer says that it cannot be written."""
    face.box.rmdir()
    assert (await send(client, form(("x", b"x")), 503))["type"] == "docs/api.md#inbox-unavailable"


def test_a_volume_without_hard_links_still_overwrites_nothing(tmp_path, monkeypatch):
    """Where a second name cannot be made, the free name is taken first and the file renamed over it."""

    def refuse(*args, **kwargs):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "x.zip").write_bytes(b"old")
    part = upload.part_path(tmp_path, "x.zip")
    part.write_bytes(b"new")
    assert upload.publish(part, "x.zip").name == "x (2).zip"
    assert tree(tmp_path) == {"x.zip": b"old", "x (2).zip": b"new"}


def test_leftovers_of_a_killed_daemon_are_cleared(tmp_path):
    """Only our own part files go: another program's stay, and so does a folder of such a name."""
    ours = upload.part_path(tmp_path, "x.zip")
    ours.write_bytes(b"half")
    (tmp_path / ".y.zip.part").write_bytes(b"theirs")
    upload.part_path(tmp_path, "folder").mkdir()
    assert upload.clear_leftovers(tmp_path) == 1
    assert not ours.exists() and len(list(tmp_path.iterdir())) == 2


async def until(true):
    """Wait for a truth about the disk; the suite's time limit is the end of patience."""
    while not true():
        await asyncio.sleep(0.01)
