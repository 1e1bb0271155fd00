"""Courtesy: where a captioner runs, and what it waits for. The waiting itself is proved at the desk (test_desk.py)."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aiohttp import web
from dropdock.daemon import cards as cards_of
from dropdock.daemon.cards import CardState, NoCards, Nvml
from dropdock.daemon.config import AppAddress
from dropdock.daemon.courtesy import Courtesy, card_of, devices
from house_made import Home, opened


class Cards:
    """A machine with some cards."""

    def __init__(self, count: int, free: int = 10, busy: int = 0) -> None:
        self._count, self._state = count, CardState(free, 100, busy)

    def count(self) -> int:
        return self._count

    def state(self, index: int) -> CardState | None:
        return self._state if index < self._count else None


@pytest.mark.parametrize(
    "device, count, found",
    [
        (None, 2, ("",)),
        ("auto", 2, ("auto",)),
        ("cpu", 2, ("cpu",)),
        ("cuda", 1, ("cuda",)),
        ("cuda", 3, ("cuda:0", "cuda:1", "cuda:2")),
        ("cuda:1", 3, ("cuda:1",)),
        (("cuda:0", "cuda:1", "cuda:0"), 0, ("cuda:0", "cuda:1")),
        ("cuda:0, cpu", 1, ("cuda:0", "cpu")),
    ],
)
def test_where_a_captioner_runs(device, count, found):
    """One worker for each device that is named; `cuda` alone is every card there is."""
    assert devices({} if device is None else {"device": device}, Cards(count)) == found


@pytest.mark.parametrize(
    "device, count, card",
    [
        ("", 1, ""),
        ("cpu", 1, ""),
        ("auto", 0, ""),
        ("auto", 1, "cuda:0"),
        ("cuda", 0, "cuda:0"),
        ("cuda:3", 0, "cuda:3"),
        ("CUDA:1", 0, "cuda:1"),
        ("cudaX", 1, ""),
    ],
)
def test_which_card_a_device_means(device, count, card):
    """`auto` is the first card where there is one."""
    assert card_of(device, Cards(count)) == card


@pytest.fixture
async def house(tmp_path):
    async with opened(Home(tmp_path)) as house:
        yield house.house


@pytest.mark.parametrize(
    "cards, said",
    [
        (Cards(1, free=10), ""),
        (Cards(1, free=4), "waits for memory"),
        (Cards(1, busy=90), "it is busy (90 %)"),
        (NoCards(), ""),
    ],
)
async def test_memory_and_load_of_a_card(house, cards, said):
    """Too little memory or another's work is told; a card that cannot be asked keeps nobody waiting."""
    found = await Courtesy(house, cards).before("cuda:0", 5)
    assert said in found and bool(found) is bool(said)
    assert await Courtesy(house, cards).before("", 5) == ""


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=404),
        web.Response(text="no JSON"),
        web.json_response([1]),
        web.json_response({"queue_running": 5}),
        web.HTTPFound("http://127.0.0.1:1/elsewhere"),
    ],
)
async def test_an_app_that_is_something_else_keeps_nobody_waiting(house, aiohttp_server, answer):
    """Another server at that address, or another version: as if nothing was there."""

    async def queue(request: web.Request) -> web.StreamResponse:
        if isinstance(answer, web.HTTPException):
            raise answer
        return answer

    app = web.Application()
    app.router.add_get("/queue", queue)
    server = await aiohttp_server(app)
    url = str(server.make_url("")).rstrip("/")
    house.config = replace(house.config, apps={"comfyui": AppAddress(url)})
    assert await Courtesy(house, NoCards()).during("cuda:0") == ""


async def test_an_app_that_is_off_keeps_nobody_waiting(house):
    """Nobody listens there."""
    house.config = replace(house.config, apps={"comfyui": AppAddress("http://127.0.0.1:9")})
    assert await Courtesy(house, NoCards()).during("cuda:0") == ""


# ---------------------------------------------------------------- NVIDIA's library


class Error(Exception):
    """What the library raises."""


def library(**changes: object) -> SimpleNamespace:
    """pynvml as far as it is asked: one card of 24 bytes."""

    def fail(*_: object) -> None:
        raise Error

    found = {
        "NVMLError": Error,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda n: n,
        "nvmlDeviceGetMemoryInfo": lambda h: SimpleNamespace(free=7, total=24),
        "nvmlDeviceGetUtilizationRates": lambda h: SimpleNamespace(gpu=50),
    }
    return SimpleNamespace(**{**found, **{name: fail if value is None else value for name, value in changes.items()}})


def test_a_card_is_asked(monkeypatch):
    """Its memory and load; a card that is not there, or does not answer, is None; one in parts has no load."""
    monkeypatch.setitem(sys.modules, "pynvml", library())
    assert cards_of.cards().state(0) == CardState(7, 24, 50) and cards_of.cards().state(1) is None
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetUtilizationRates=None))
    assert Nvml().state(0) == CardState(7, 24, 0)
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetMemoryInfo=None))
    assert Nvml().state(0) is None and Nvml().count() == 1


def test_without_a_driver_or_the_package_there_are_no_cards(monkeypatch):
    """And nobody hears of it."""
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlInit=None))
    assert cards_of.cards().count() == 0
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert cards_of.cards().count() == 0 and cards_of.cards().state(0) is None
