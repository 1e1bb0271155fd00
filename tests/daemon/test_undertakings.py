"""Undos that go on: one at a time a line, answered soon, remembered when they ended; and the command that waits for them."""

from __future__ import annotations

import asyncio

import pytest
from dropdock.api.undo import Answer, Going
from dropdock.daemon.commands import undo as command
from dropdock.daemon.undertakings import Undertakings
from dropdock.daemon.undoing import Undoer
from house_made import Home, opened
from pictures_made import picture, zipped

RULES = 'pipelines: {inbox: [{name: zips, when: {kind: archive}, do: [{unpack: {dataset: "{stem}"}}]}]}\n'


class Slow:
    """A worker whose undos end when told."""

    def __init__(self):
        self.asked, self.end = [], asyncio.Event()

    async def undo(self, line):
        self.asked.append(line)
        await self.end.wait()
        if line == 13:
            raise RuntimeError("unlucky")
        return Answer(True, f"undone: line {line}") if line < 100 else None

    def progress(self, line):
        return (line, 100)


async def test_a_long_undo_is_told_as_going_and_asked_for_once(tmp_path):
    """Two wishes for one line are one undo; both hear how far it is; afterwards its answer stands, until it is forgotten."""
    async with opened(Home(tmp_path)) as house:
        slow = Slow()
        works = Undertakings(house.store, slow, patience=0)
        assert await works.undo(7) == Going(7, 100) == await works.undo(7) and slow.asked == [7]
        slow.end.set()
        while isinstance(found := await works.undoing(7), Going):
            await asyncio.sleep(0)
        assert found == Answer(True, "undone: line 7") == await works.undoing(7)
        assert await works.undoing(8) is None


async def test_a_surprise_is_told_to_whoever_waits_and_forgotten(tmp_path):
    """The next wish begins anew."""
    async with opened(Home(tmp_path)) as house:
        slow = Slow()
        works = Undertakings(house.store, slow, patience=60)
        slow.end.set()
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await works.undo(13)
        assert slow.asked == [13, 13] and await works.undoing(13) is None and await works.undo(100) is None


async def test_progress_is_of_the_moves_and_the_answer_outlives_a_restart(tmp_path):
    """A real archive is given back: the moves are counted up to all of them; another process knows that it was undone."""
    home = Home(tmp_path, RULES)
    path = zipped(home.inbox / "cats.zip", {f"{n}.png": picture(n) for n in range(5)})
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        line = next(r.id for r in await house.told() if r.verb == "unpack" and r.undoable)
        undoer, counted = Undoer(house.house, house.performer, house.projection, lambda path: None), []

        class Counting(dict):
            def __setitem__(self, key, value):
                counted.append(value)
                super().__setitem__(key, value)

        undoer._moved = Counting()
        works = Undertakings(house.store, undoer, patience=60)
        answer = await works.undo(line)
        assert answer.done and counted == [(n, 6) for n in range(7)] and undoer.progress(line) == (0, 0)
    async with opened(home) as house:
        again = await Undertakings(house.store, Slow()).undoing(line)
        assert again.done and f"undone: line {line}" in again.note


def test_the_command_waits_as_long_as_it_goes_on(monkeypatch):
    """One POST, then GETs until the answer is there."""

    class Client:
        def __init__(self):
            self.said = [
                {"going": True, "done": 1, "total": 0},
                {"going": True, "done": 2, "total": 9},
                {"note": "undone: line 4"},
            ]
            self.asked = []

        def post(self, path):
            self.asked.append(("POST", path))
            return self.said.pop(0)

        def get(self, path):
            self.asked.append(("GET", path))
            return self.said.pop(0)

    for seen in (False, True):  # without a terminal, and with a bar
        monkeypatch.setattr(command.sys.stderr, "isatty", lambda seen=seen: seen, raising=False)
        client = Client()
        assert command._waited(client, 4) == {"note": "undone: line 4"}
        assert client.asked == [("POST", "/history/4/undo"), *[("GET", "/history/4/undo")] * 2]
