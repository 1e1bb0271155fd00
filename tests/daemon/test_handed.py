"""Pictures handed over to a running daemon: one's own list, answers in turns, an end that is always told."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from dropdock.daemon import handed
from dropdock.daemon.config import CaptionerConfig
from dropdock.daemon.handed import Asked, Handed, answer_of, fetch, leave, row_of, withdraw
from dropdock.handlers.captioners.protocol import Answer, Picture
from dropdock.rules.captions import Quality, Style
from house_made import Home, opened
from odd import use_odd_workers


def pictures(*names: str) -> tuple[Picture, ...]:
    return tuple(Picture(n, Path(f"/nowhere/{name}.png"), Style(trigger="x"), existing="y") for n, name in enumerate(names))


@asynccontextmanager
async def house(tmp_path: Path, **options: object) -> AsyncIterator[tuple[Handed, Path]]:
    """Whom lists are handed to, and the data folder they lie in."""
    async with opened(Home(tmp_path / "home")) as it:
        it.house.config.captioners["odd"] = CaptionerConfig("odd", "odd", options)  # type: ignore[index]
        around = it.captioning.around
        yield Handed(it.house, around.turns, around.courtesy), it.house.config.data_dir


async def rows(to: Handed, token: str) -> list[dict[str, object]]:
    found = await to.take(token)
    assert found is not None and not isinstance(found, str), found
    return [dict(row) async for row in found]


def test_a_list_comes_back_once_and_is_nobody_elses(tmp_path: Path) -> None:
    """Whatever the names of the files; mode 0600; a second time there is none."""
    odd_name = Picture(0, Path(os.fsdecode(b"/x/\xff.png")), Style(trigger="t", prefix=("a",)), existing="é", quality=False)
    token = leave(tmp_path, Asked("w", (odd_name,)))
    assert stat.S_IMODE((tmp_path / handed.FOLDER / token).stat().st_mode) == 0o600
    assert fetch(tmp_path, token) == Asked("w", (odd_name,))
    assert fetch(tmp_path, token) is None
    withdraw(tmp_path, token)


def test_lists_that_nobody_asked_about_go(tmp_path: Path) -> None:
    """After a day, when the next one is left; one that is no list is none."""
    old = leave(tmp_path, Asked("w", ()))
    os.utime(tmp_path / handed.FOLDER / old, (1, 1))
    new = leave(tmp_path, Asked("w", ()))
    assert [p.name for p in (tmp_path / handed.FOLDER).iterdir()] == [new]
    (tmp_path / handed.FOLDER / ("0" * 32)).write_text("{}")
    assert fetch(tmp_path, "0" * 32) is None


def test_an_answer_travels_whole() -> None:
    """Text, flags, scores and errors."""
    answer = Answer("a", "", 0.0, ("cut",), Quality({"sharpness": 0.5}, {}, ("dull",), 0.4, "ab" * 8))
    assert answer_of(row_of(pictures("a")[0], answer)) == answer
    assert answer_of(row_of(pictures("a")[0], Answer(error="bad"))) == Answer(error="bad")


async def test_each_picture_is_answered_and_the_end_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bad one with its reason; news in between."""
    use_odd_workers(monkeypatch, tmp_path)
    async with house(tmp_path) as (to, data_dir):
        found = await rows(to, leave(data_dir, Asked("odd", pictures("a", "ugly", "b"))))
    said = {row["id"]: row["text"] or row["error"] for row in found if "id" in row}
    assert said == {0: "a picture of a after x y", 1: "too ugly", 2: "a picture of b after x y"}
    assert found[-1] == {"end": True} and {"note": "loading nothing"} in found


async def test_what_cannot_be_done_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An unknown captioner before anything begins; one that cannot start at the end; no list is None."""
    use_odd_workers(monkeypatch, tmp_path)
    async with house(tmp_path, broken=True) as (to, data_dir):
        assert await to.take("0" * 32) is None
        refused = await to.take(leave(data_dir, Asked("nobody", pictures("a"))))
        assert isinstance(refused, str) and "nobody" in refused
        found = await rows(to, leave(data_dir, Asked("odd", pictures("a"))))
    assert "no such model" in str(found[-1]["stopped"])


async def test_it_waits_for_its_turn_and_gives_it_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """While another captioner has the turn it says so; when somebody waits, the turn is handed over and taken again."""
    use_odd_workers(monkeypatch, tmp_path)
    monkeypatch.setattr(handed, "TURN", 0.0)
    async with house(tmp_path, starts=str(tmp_path / "starts")) as (to, data_dir):
        found = await to.take(leave(data_dir, Asked("odd", pictures(*(f"p{n}" for n in range(20))))))
        assert found is not None and not isinstance(found, str)
        async with aclosing(found) as said:  # type: ignore[type-var]
            async with to._turns.taken("other", "", 0, lambda: None):
                assert await anext(said) == {"note": "waits for its turn"}
                waiting = asyncio.create_task(_turn(to))
                await asyncio.sleep(0)
            seen = [row async for row in said]
            await waiting
        others = len((tmp_path / "starts").read_text().split())
    assert sum("id" in row for row in seen) == 20 and seen[-1] == {"end": True}
    assert others >= 2  # its model was loaded again after the other's turn


async def _turn(to: Handed) -> None:
    async with to._turns.taken("other", "", 0, lambda: None):
        pass


async def test_an_asker_that_goes_away_ends_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The worker is gone and the turn is free again."""
    use_odd_workers(monkeypatch, tmp_path)
    (tmp_path / "gate").touch()
    async with house(tmp_path, gate=str(tmp_path / "gate")) as (to, data_dir):
        found = await to.take(leave(data_dir, Asked("odd", pictures("a", "b"))))
        assert found is not None and not isinstance(found, str)
        async with aclosing(found) as said:  # type: ignore[type-var]
            while (await anext(said)).get("note") != "loading nothing":
                pass
        async with asyncio.timeout(10):
            await _turn(to)
