"""Undo and restore over HTTP: done, refused with the reason, unknown."""

import pytest
from dropdock.api.undo import UNDO, Answer, Going
from dropdock.store import history


class FakeUndo:
    """The daemon's undoer as far as the face asks it: 1 can be taken back, 2 cannot, others are not there."""

    def __init__(self, box):
        self.box, self.asked = box, []

    async def undo(self, line):
        self.asked.append(("undo", line))
        ends = {1: Answer(True, "undone: line 1", (self.box / "a.png",)), 2: Answer(False, "it changed since")}
        return Going(3, 9) if line == 7 else ends.get(line)

    async def undoing(self, line):
        return Answer(True, "undone: line 7") if len(self.asked) > 1 else await self.undo(line)

    async def restore(self, aside_id, release):
        self.asked.append(("release" if release else "restore", aside_id))
        return await self.undo(aside_id)


@pytest.fixture
async def undoer(face):
    return FakeUndo(face.box)


@pytest.fixture
async def client(face, undoer, aiohttp_client):
    app = face.app()
    app[UNDO] = undoer
    return await aiohttp_client(app)


@pytest.mark.parametrize("path", ["/api/v1/history/{}/undo", "/api/v1/aside/{}/restore", "/api/v1/aside/{}/release"])
async def test_what_can_be_taken_back_is_and_the_rest_says_why(client, undoer, path):
    """200 with the paths, 409 with the reason, 404 for an id that is none."""
    good = await client.post(path.format(1))
    assert good.status == 200 and (await good.json())["paths"] == [str(undoer.box / "a.png")]
    bad = await client.post(path.format(2))
    assert bad.status == 409 and (await bad.json())["detail"] == "It changed since"
    assert (await client.post(path.format(3))).status == 404 and (await client.post(path.format("x"))).status == 404
    assert undoer.asked[0][0] == path.rsplit("/", 1)[1]


async def test_an_undo_that_goes_on_is_told_and_asked_for_again(client):
    """202 with how far it is and where to ask; then the answer; 404 where none was asked for."""
    first = await client.post("/api/v1/history/7/undo")
    assert first.status == 202 and await first.json() == {"id": 7, "going": True, "done": 3, "total": 9}
    assert (await client.get("/api/v1/history/3/undo")).status == 404
    then = await client.get(first.headers["Location"])
    assert then.status == 200 and (await then.json())["note"] == "undone: line 7"


async def test_what_lies_aside_is_listed_by_its_place(client, full, face):
    """The quarantine has one thing, the trash none; a wrong place is refused."""
    found = await (await client.get("/api/v1/aside?place=quarantine")).json()
    assert [row["reason"] for row in found["aside"]] == ["would run code"]
    assert (await (await client.get("/api/v1/aside?place=trash")).json())["aside"] == []
    assert (await client.get("/api/v1/aside?place=attic")).status == 400
    assert len(await face.store.read(history.kept_aside)) == 1


async def test_a_forced_rescan_says_so_to_the_daemon(client, face, full):
    """`force=true` is handed on, anything else is refused."""
    assert (await client.post("/api/v1/rescan?force=true")).status == 202
    assert (await client.post("/api/v1/watches/inbox/rescan")).status == 202
    assert face.control.asked == [("rescan", None, True), ("rescan", "inbox", False)]
    assert (await client.post("/api/v1/rescan?force=yes")).status == 400
