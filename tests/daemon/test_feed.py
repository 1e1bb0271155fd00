"""The feed: every line of history once, in order, as soon as it is durable; who falls behind is let go and can resume."""

import asyncio

import pytest
from dropdock.daemon import feed as module
from dropdock.store import history
from dropdock.store.history import Happening
from house_made import Home, Opened, opened


@pytest.fixture
async def house(tmp_path):
    async with opened(Home(tmp_path)) as house:
        house.spawn(house.feed.pump())
        yield house


async def tell(house: Opened, *notes: str) -> None:
    def work(c):
        for note in notes:
            history.tell(c, Happening("test", note=note), 1.0)

    await house.store.db.write(work)


async def take(events, count: int) -> list[str]:
    async with asyncio.timeout(10):
        return [str((await anext(events)).data["note"]) for _ in range(count)]


async def test_a_listener_hears_what_happens_from_now_on(house):
    """In order, with the ids of history; what was before is not repeated."""
    await tell(house, "before")
    async with asyncio.timeout(5):
        while house.feed._last < 1:
            await asyncio.sleep(0)
    async with house.feed.subscribe(None) as events:
        await tell(house, "a", "b")
        found = [await anext(events) for _ in range(2)]
        assert [(e.id, e.data["note"]) for e in found] == [(2, "a"), (3, "b")]


async def test_a_listener_resumes_without_gap_or_repetition(house, monkeypatch):
    """From any id, while more is being told: each later line exactly once, in order."""
    monkeypatch.setattr(module, "BATCH", 7)
    notes = [str(n) for n in range(60)]
    await tell(house, *notes[:30])
    for after in (0, 1, 13, 29, 30):
        async with house.feed.subscribe(after) as events:
            telling = asyncio.create_task(tell(house))
            assert await take(events, 30 - after) == notes[after:30]
            await telling
    async with house.feed.subscribe(10) as events:
        more = asyncio.create_task(self_paced(house, notes[30:]))
        assert await take(events, 50) == notes[10:]
        await more


async def self_paced(house: Opened, notes: list[str]) -> None:
    for note in notes:
        await tell(house, note)
        await asyncio.sleep(0)


async def test_a_slow_listener_is_let_go_and_loses_nothing(house, monkeypatch):
    """Behind by more than LAG it ends; resuming from its last id it hears all that it missed, once."""
    monkeypatch.setattr(module, "LAG", 5)
    notes = [str(n) for n in range(40)]
    heard: list[str] = []
    async with house.feed.subscribe(None) as events:
        await tell(house, "first")
        heard += await take(events, 1)
        await tell(house, *notes)
        async with asyncio.timeout(5):
            while house.feed._last < 41:
                await asyncio.sleep(0)
        rest = [str(e.data["note"]) async for e in events]
        heard += rest
        assert len(rest) < 40 and house.feed._listeners == set()
    async with house.feed.subscribe(len(heard)) as events:
        heard += await take(events, 41 - len(heard))
    assert heard == ["first", *notes]


async def test_a_fast_listener_beside_a_slow_one_hears_all(house, monkeypatch):
    """One that reads is not hurt by one that does not."""
    monkeypatch.setattr(module, "LAG", 50)
    async with house.feed.subscribe(None) as slow, house.feed.subscribe(None) as fast:
        for n in range(80):
            await tell(house, str(n))
            assert await take(fast, 1) == [str(n)]
        assert len([e async for e in slow]) <= 50


async def test_passing_events_have_no_id_and_are_nobodys_history(house):
    """Progress reaches who listens, in its place between the lines, and is not kept."""
    house.feed.pass_on("progress", {"note": "nobody listens"})
    async with house.feed.subscribe(None) as events:
        house.feed.pass_on("progress", {"note": "half"})
        event = await anext(events)
        assert (event.id, event.type, event.data) == (None, "progress", {"note": "half"})
    assert await house.told() == [] and house.feed._listeners == set()


async def test_nobody_hears_of_what_did_not_happen(house):
    """A write that is rolled back is not told."""

    def bad(c):
        history.tell(c, Happening("test", note="never"), 1.0)
        raise ValueError

    async with house.feed.subscribe(None) as events:
        with pytest.raises(ValueError):
            await house.store.db.write(bad)
        await tell(house, "really")
        assert await take(events, 1) == ["really"]
