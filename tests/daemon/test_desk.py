"""A desk: who is urgent goes first, what is down or missing is waited for, a turn is given up, a card is left to who needs it more."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from captions_made import home_of, odd_engine, take, texts
from dropdock.daemon import courtesy, desk, session
from dropdock.daemon.captioning import Captioning
from dropdock.daemon.cards import CardState
from dropdock.rules.terms import Lane
from dropdock.store import jobs
from dropdock.store.jobs import NewJob
from house_made import Home, Opened, opened
from odd import use_odd_workers
from pictures_made import picture

GB = 1_000_000_000


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    use_odd_workers(monkeypatch, tmp_path)
    return home_of(tmp_path, "odd")


@pytest.fixture
async def house(home):
    async with opened(home) as house:
        yield house


@asynccontextmanager
async def working(house: Opened):
    """The caption lane at work."""
    house.hire(Lane.CAPTION)
    try:
        async with asyncio.timeout(25):
            yield
    finally:
        await house.dismiss()


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def drop(house: Opened, *names: str) -> None:
    await take(house, {f"{name}.png": picture(n, (64, 64)) for n, name in enumerate(names)})


def states(house: Opened) -> dict[str, tuple[str, str]]:
    return {s.name: (s.state, s.note) for s in house.captioning.states()}


async def waiting(house: Opened) -> list[tuple[int, str | None]]:
    return [(j.attempts, j.error) for j in await house.store.read(jobs.listing, state="open", lane="caption")]


async def test_a_picture_dropped_now_overtakes_a_bulk(house, tmp_path):
    """Thirty wait and two are looked at: one that is dropped then is the third to be written."""
    (tmp_path / "gate").touch()
    odd_engine(house, gate=str(tmp_path / "gate"), ahead=2)
    await drop(house, *(f"bulk{n:02d}" for n in range(30)))
    async with working(house):
        await until(lambda: any(len(w.flight) == 2 for w in house.captioning.workers))
        payload = {"dataset": "cats", "rel": "bulk29.png", "captioner": "odd", "set": "main", "only": "all"}
        await house.store.enqueue(NewJob("now", Lane.CAPTION, "now", payload, priority=10))
        (tmp_path / "gate").unlink()
        await until(lambda: len(texts(house.home)) == 30)
    named = [h.path.name for h in await house.told() if h.event == "performed" and h.verb == "caption"]
    assert named.index("bulk29.png") <= 4, named


async def test_a_service_that_is_down_costs_no_attempt(house, tmp_path):
    """Its pictures stay queued and the state says what it waits for; asked again when it is up, all are written."""
    (tmp_path / "down").touch()
    odd_engine(house, down=str(tmp_path / "down"))
    await drop(house, "a", "b", "c", "d", "e")
    async with working(house):
        await until(lambda: states(house).get("odd", ("", ""))[0] == "waits")
        assert states(house)["odd"][1].startswith("waits: connection refused, again in ")
        await until(lambda: all(not w.flight for w in house.captioning.workers))
        while await waiting(house) != [(0, "connection refused")] * 5:
            await asyncio.sleep(0.01)
        (tmp_path / "down").unlink()
        house.captioning.try_again()
        await until(lambda: len(texts(house.home)) == 5)
    assert await waiting(house) == []


def test_who_is_refused_again_waits_longer():
    """30 s, 60 s, 120 s, at most five minutes; refusals of pictures that were in flight together are one."""
    patience, waits = session.Patience(), []
    for _ in range(6):
        waits.append(patience.refused(30.0, "no answer"))
        assert patience.refused(30.0, "no answer") == waits[-1]
        patience.until = 0.0
    assert waits == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0] and patience.why == "waits: no answer"


async def test_a_missing_model_fails_no_picture(house, tmp_path):
    """One clear line in the state and in the jobs; once it is there, all are written."""
    odd_engine(house, missing=str(tmp_path / "model"))
    await drop(house, "a", "b", "c")
    async with working(house):
        await until(lambda: states(house).get("odd", ("", ""))[0] == "broken")
        assert states(house)["odd"][1].startswith("captioner odd cannot start: no such model, again in ")
        assert all(s.stuck for s in house.captioning.states())
        while {e for _, e in await waiting(house)} != {"captioner odd cannot start: no such model"}:
            await asyncio.sleep(0.01)
        assert await waiting(house) == [(0, "captioner odd cannot start: no such model")] * 3
        (tmp_path / "model").touch()
        house.captioning.try_again()
        await until(lambda: len(texts(house.home)) == 3)


async def cancel_all(house: Opened) -> None:
    for job in await house.store.read(jobs.listing, state="open", lane="caption"):
        await house.store.write(jobs.cancel, job.id, house.store.now())
        house.lanes.cancel(job.id)
    house.lanes.wake()


@pytest.mark.parametrize("option", ["down", "missing"])
async def test_a_captioner_waits_no_more_once_nobody_asks_it(house, tmp_path, option):
    """Its pictures are cancelled while its service is down, or its model missing: the state says nothing of waiting any more."""
    (tmp_path / "down").touch()
    odd_engine(house, **{option: str(tmp_path / option)})
    await drop(house, "a", "b")
    async with working(house):
        await until(lambda: any(s.stuck for s in house.captioning.states()))
        await cancel_all(house)
        await until(lambda: not any(s.stuck for s in house.captioning.states()))
        assert states(house)["odd"] in (("idle", ""), ("ready", ""))
        await take(house, {"c.png": picture(9, (64, 64))}, "dogs")
        await until(lambda: any(s.stuck for s in house.captioning.states()))


async def test_one_that_waits_for_its_turn_gives_up_with_its_pictures(house, monkeypatch):
    """Cancelled while another captioner has the turn: it is idle, and its model is not loaded when the turn is free."""
    odd_engine(house)
    await drop(house, "a")
    async with house.captioning.around.turns.taken("other", "", 0, lambda: None), working(house):
        await until(lambda: states(house).get("odd", ("", ""))[1] == desk.WAITS)
        await cancel_all(house)
        await until(lambda: states(house)["odd"] == ("idle", ""))
        assert house.captioning.workers == []


async def test_a_captioner_that_the_config_mends_is_made_anew(house, tmp_path):
    """Its options are others after a reload: the waiting pictures are given to the new one."""
    odd_engine(house, broken=True)
    await drop(house, "a")
    async with working(house):
        await until(lambda: states(house).get("odd", ("", ""))[0] == "broken")
        odd_engine(house)
        house.lanes.wake()
        await until(lambda: len(texts(house.home)) == 1)


async def test_one_that_dies_at_every_picture_is_broken(house, monkeypatch):
    """After a few deaths without an answer it is the captioner's fault: the other pictures keep their attempts."""
    monkeypatch.setattr(session, "DEATHS", 3)
    odd_engine(house)
    await drop(house, *(f"crash{n}" for n in range(8)))
    async with working(house):
        await until(lambda: states(house).get("odd", ("", ""))[0] == "broken")
        while any(j.state == "running" for j in await house.store.read(jobs.listing, lane="caption")):
            await asyncio.sleep(0.01)
        assert sorted(a for a, _ in await waiting(house)) == [0] * 7 + [1]


async def test_a_worker_that_was_killed_while_idle_costs_nobody_anything(house):
    """The memory killer took it between two pictures: the next one has a new process and its text at the first attempt."""
    odd_engine(house)
    await drop(house, "a")
    async with working(house):
        await until(lambda: len(texts(house.home)) == 1 and states(house)["odd"][0] == "ready")
        (worker,) = house.captioning.workers
        os.kill(worker.pid, signal.SIGKILL)
        await until(lambda: not worker.alive)
        payload = {"dataset": "cats", "rel": "a.png", "captioner": "odd", "set": "main", "only": "all"}
        (job,) = await house.store.enqueue(NewJob("again", Lane.CAPTION, "again", payload))
        while (found := await house.store.read(jobs.get, job)).state != "done":
            assert found.attempts <= 1
            await asyncio.sleep(0.01)


async def test_an_idle_model_is_unloaded(house):
    """After `idle_unload` without a picture there is no process, and the next picture loads it again."""
    odd_engine(house, idle_unload=0.2)
    await drop(house, "a")
    async with working(house):
        await until(lambda: len(texts(house.home)) == 1)
        await until(lambda: house.captioning.workers == [] and states(house)["odd"][0] == "idle")
        await take(house, {"b.png": picture(9, (64, 64))}, "dogs")
        await until(lambda: len(texts(house.home)) == 2)


async def test_two_local_captioners_take_turns(house, tmp_path):
    """One turn for two: never both loaded, both are served, and who is idle gives way at once."""
    config = house.house.config
    odd = replace(config.captioners["odd"], engine="odd", options={})
    house.house.config = replace(config, captioners={**config.captioners, "odd": odd, "text": replace(odd, name="text")})
    await drop(house, "a", "b")
    payload = {"dataset": "cats", "set": "other", "captioner": "text", "only": "all"}
    await house.store.enqueue(*(NewJob(f"t{n}", Lane.CAPTION, n, {**payload, "rel": f"{n}.png"}) for n in "ab"))
    loaded = 0
    async with working(house):
        while [*await waiting(house)]:
            loaded = max(loaded, len(house.captioning.workers))
            await asyncio.sleep(0.005)
    assert loaded == 1


class TwoCards:
    """Two cards whose memory a test fills."""

    def __init__(self, free: int = 20 * GB) -> None:
        self.free, self.busy = free, 0

    def count(self) -> int:
        return 2

    def state(self, index: int) -> CardState | None:
        return CardState(self.free, 24 * GB, self.busy)


def with_cards(house: Opened, cards: TwoCards, size: int = 1) -> None:
    house.captioning = Captioning(house.house, house.lanes, size, cards)


async def test_every_card_has_its_worker(house, tmp_path):
    """`device: cuda` on a machine with two cards and room for two: both look at pictures at the same time."""
    with_cards(house, TwoCards(), size=2)
    (tmp_path / "gate").touch()
    odd_engine(house, device="cuda", gate=str(tmp_path / "gate"), ahead=2)
    await drop(house, *"abcdef")
    async with working(house):
        await until(lambda: [len(w.flight) for w in house.captioning.workers] == [2, 2])
        assert sorted(w.device for w in house.captioning.workers) == ["cuda:0", "cuda:1"]
        (tmp_path / "gate").unlink()
        await until(lambda: len(texts(house.home)) == 6)


async def test_a_full_card_is_waited_for(house, monkeypatch):
    """Less memory than `min_free`: nothing is loaded, the state says so; freed, it works."""
    monkeypatch.setattr(desk, "BEAT", 0.05)
    cards = TwoCards(free=GB)
    with_cards(house, cards)
    odd_engine(house, device="cuda:1", min_free=2 * GB)
    await drop(house, "a")
    async with working(house):
        await until(lambda: states(house).get("odd", ("", ""))[0] == "waits")
        assert states(house)["odd"][1] == "waits for memory: 1 GB of the card are free, 2 GB are wanted"
        assert house.captioning.workers == []
        cards.free = 3 * GB
        await until(lambda: len(texts(house.home)) == 1)


async def test_a_busy_card_means_the_cpu_where_that_is_said(house):
    """`when_busy: cpu`: the picture does not wait, and the state says where it was done and why."""
    cards = TwoCards()
    cards.busy = 99
    with_cards(house, cards)
    odd_engine(house, device="cuda:0", when_busy="cpu")
    await drop(house, "a")
    async with working(house):
        await until(lambda: len(texts(house.home)) == 1)
        assert [w.device for w in house.captioning.workers] == ["cpu"]
        assert states(house)["odd"][1] == "on the CPU: waits for the card: it is busy (99 %)"


class Comfy:
    """A ComfyUI that serves GET /queue."""

    def __init__(self) -> None:
        self.running, self.asked, self.auth = 0, 0, ""

    async def queue(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.auth = request.headers.get("Authorization", "")
        return web.json_response({"queue_running": [[0]] * self.running, "queue_pending": [[1]] * (2 * self.running)})


@pytest.fixture
async def comfy(aiohttp_server):
    """Served on loopback; `url` is its address."""
    comfy, app = Comfy(), web.Application()
    app.router.add_get("/queue", comfy.queue)
    server = await aiohttp_server(app)
    comfy.url = str(server.make_url("")).rstrip("/")
    return comfy


def with_comfy(house: Opened, comfy: Comfy) -> None:
    from dropdock.daemon.config import AppAddress, Secret

    house.house.config = replace(house.house.config, apps={"comfyui": AppAddress(comfy.url, Secret("me:secret"))})


async def test_a_queue_in_comfyui_is_waited_for(house, comfy, monkeypatch):
    """While it makes pictures nothing is loaded; asked every few seconds; when it is through, the captions come."""
    monkeypatch.setattr(desk, "BEAT", 0.05)
    monkeypatch.setattr(courtesy, "BEAT", 0.5)
    comfy.running = 1
    with_cards(house, TwoCards())
    odd_engine(house, device="cuda:0")
    with_comfy(house, comfy)
    await drop(house, "a")
    async with working(house):
        await until(lambda: states(house).get("odd", ("", ""))[1] == "waits for ComfyUI: 3 in its queue")
        assert comfy.auth.startswith("Basic ") and house.captioning.workers == []
        comfy.running = 0
        await until(lambda: len(texts(house.home)) == 1)


async def test_a_loaded_model_leaves_the_card_to_comfyui(house, comfy, monkeypatch, tmp_path):
    """A picture is begun there in the middle of a bulk: what is in hand is finished, the model goes, and comes back afterwards."""
    monkeypatch.setattr(desk, "BEAT", 0.05)
    monkeypatch.setattr(courtesy, "BEAT", 0.5)
    (tmp_path / "gate").touch()
    with_cards(house, TwoCards())
    odd_engine(house, device="cuda:0", gate=str(tmp_path / "gate"), ahead=2)
    with_comfy(house, comfy)
    await drop(house, *"abcdefgh")
    async with working(house):
        await until(lambda: any(w.flight for w in house.captioning.workers))
        comfy.running = 1
        await until(lambda: not any(task.get_name() == "courtesy odd" for task in asyncio.all_tasks()))  # it has heard of it
        (tmp_path / "gate").unlink()
        await until(lambda: states(house)["odd"][1] == "waits for ComfyUI: 3 in its queue" and not house.captioning.workers)
        assert 0 < len(texts(house.home)) < 8
        comfy.running = 0
        await until(lambda: len(texts(house.home)) == 8)


async def test_who_runs_on_the_cpu_asks_nobody(house, comfy):
    """A captioner without a card does not care what the card does."""
    comfy.running = 1
    odd_engine(house)
    with_comfy(house, comfy)
    await drop(house, "a")
    async with working(house):
        await until(lambda: len(texts(house.home)) == 1)
    assert comfy.asked == 0
