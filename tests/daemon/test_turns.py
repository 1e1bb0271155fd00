"""Turns: never more than there are, never two on one card; by priority, then in order; a holder hears that somebody waits."""

import asyncio

import pytest
from dropdock.daemon.turns import Turns
from hypothesis import given
from hypothesis import strategies as st


class Holder:
    """Somebody who wants a turn, and holds it until told."""

    def __init__(self, turns: Turns, name: str, card: str = "", priority: int = 0) -> None:
        self.turns, self.name, self.card, self.priority = turns, name, card, priority
        self.held, self.leave, self.wanted = asyncio.Event(), asyncio.Event(), 0
        self.task = asyncio.create_task(self.hold())

    async def hold(self) -> None:
        async with self.turns.taken(self.name, self.card, self.priority, self.hear) as self.turn:
            self.held.set()
            await self.leave.wait()

    def hear(self) -> None:
        self.wanted += 1


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_turn_goes_by_priority_then_in_order():
    """a has it; c waits with a higher priority than b: c is next, then b. a hears of it."""
    turns = Turns(1)
    a = Holder(turns, "a")
    await settle()
    assert turns.wanted(a.turn) is None
    b, c = Holder(turns, "b"), Holder(turns, "c", priority=10)
    await settle()
    assert a.held.is_set() and not b.held.is_set() and not c.held.is_set() and a.wanted and turns.wanted(a.turn) == 10
    a.leave.set()
    await settle()
    assert c.held.is_set() and not b.held.is_set()
    c.leave.set()
    await settle()
    assert b.held.is_set()
    b.leave.set()
    await asyncio.gather(a.task, b.task, c.task)


async def test_who_wants_no_turn_any_more_never_gets_one():
    """b gives up while a has it: b goes on without a turn, and c is next."""
    turns, lost = Turns(1), asyncio.Event()
    a = Holder(turns, "a")
    await settle()

    async def b() -> bool:
        async with turns.taken("b", "", 5, lambda: None, lost) as turn:
            return turn.granted.is_set()

    task = asyncio.create_task(b())
    c = Holder(turns, "c")
    await settle()
    assert not task.done()
    lost.set()
    assert await task is False
    a.leave.set()
    await settle()
    assert c.held.is_set()
    c.leave.set()
    await asyncio.gather(a.task, c.task)


async def test_two_turns_but_one_card():
    """Two may be loaded, not both on one card; who is on another card is not disturbed."""
    turns = Turns(2)
    a, b, c = Holder(turns, "a", "cuda:0"), Holder(turns, "b", "cuda:0"), Holder(turns, "c", "cuda:1")
    await settle()
    assert (a.held.is_set(), b.held.is_set(), c.held.is_set()) == (True, False, True)
    assert turns.wanted(a.turn) == 0
    a.leave.set()
    await settle()
    assert b.held.is_set() and turns.wanted(c.turn) is None
    for holder in (b, c):
        holder.leave.set()
    await asyncio.gather(a.task, b.task, c.task)


async def test_who_gives_up_waiting_is_forgotten():
    """Cancelled while it waits: the holder is not disturbed any more, and the turn goes to the next one."""
    turns = Turns(1)
    a, b, c = Holder(turns, "a"), Holder(turns, "b"), Holder(turns, "c")
    await settle()
    b.task.cancel()
    await asyncio.gather(b.task, return_exceptions=True)
    a.leave.set()
    await settle()
    assert c.held.is_set() and turns.wanted(c.turn) is None
    c.leave.set()
    await asyncio.gather(a.task, c.task)


async def test_more_turns_are_given_at_once_and_fewer_are_asked_back():
    """Resized to two, the second one has its turn; resized to one, both hear that one is wanted."""
    turns = Turns(1)
    a, b = Holder(turns, "a"), Holder(turns, "b")
    await settle()
    turns.resize(2)
    await settle()
    assert b.held.is_set()
    turns.resize(1)
    assert turns.wanted(a.turn) == 0 and b.wanted
    for holder in (a, b):
        holder.leave.set()
    await asyncio.gather(a.task, b.task)


@given(
    st.lists(st.tuples(st.sampled_from(["", "cuda:0", "cuda:1"]), st.integers(0, 2)), min_size=1, max_size=12), st.integers(1, 4)
)
def test_everybody_has_a_turn_and_never_too_many(wishes, size):
    """Whoever wants what, in any order of leaving: at most `size` at once, one a card, and in the end everybody had theirs."""

    async def go() -> None:
        turns, holders = Turns(size), []
        for n, (card, priority) in enumerate(wishes):
            holders.append(Holder(turns, str(n), card, priority))
        left = list(holders)
        while left:
            await settle()
            holding = [h for h in left if h.held.is_set()]
            cards = [h.card for h in holding if h.card]
            assert 1 <= len(holding) <= size and len(cards) == len(set(cards))
            holding[-1].leave.set()
            await holding[-1].task
            left.remove(holding[-1])

    asyncio.run(go())


@pytest.mark.parametrize("size", [1, 3])
async def test_a_holder_that_dies_gives_its_turn_back(size):
    """An exception inside is no lost turn."""
    turns = Turns(size)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            async with turns.taken("a", "cuda:0", 0, lambda: None):
                raise ZeroDivisionError
