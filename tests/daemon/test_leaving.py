"""Departures wait where something settles: a rename is told as one, a deletion a moment later, and only of what is still gone."""

from __future__ import annotations

from pathlib import Path

from dropdock.daemon.leaving import MARGIN, Leaving
from dropdock.rules.terms import Departure, Lane
from house_made import Home, opened
from model_files import write_safetensors

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}


class Ear:
    def __init__(self) -> None:
        self.now, self.told = 100.0, list[Path]()
        self.leaving = Leaving(self.tell, lambda: self.now)

    async def tell(self, departures) -> None:
        self.told += [d.path for d in departures]


async def test_where_nothing_settles_it_is_told_at_once(tmp_path: Path) -> None:
    """No rename can be meant."""
    ear = Ear()
    await ear.leaving.put([Departure("w", tmp_path / "a")], None)
    assert ear.told == [tmp_path / "a"] and await ear.leaving.due() is None


async def test_where_something_settles_it_waits_and_what_is_back_is_not_told(tmp_path: Path) -> None:
    """Nothing before the time; then what is gone, once; what lies there again never."""
    ear, gone, back = Ear(), tmp_path / "gone", tmp_path / "back"
    for _ in range(2):
        await ear.leaving.put([Departure("w", gone), Departure("w", back)], 2.0)
    at = await ear.leaving.due()
    assert at == 102.0 + MARGIN and ear.told == []
    back.write_bytes(b"x")
    ear.now = at
    assert await ear.leaving.due() is None and ear.told == [gone]


async def test_a_rename_is_one_line_of_history(tmp_path: Path) -> None:
    """The old name's departure comes first, as the watcher sees it: it waits, the row follows, and there is nothing left to depart."""
    home = Home(tmp_path)
    old, new = write_safetensors(home.library / "a.safetensors", LORA), home.library / "b.safetensors"
    async with opened(home) as house:
        now = [0.0]
        leaving = Leaving(house.conveyor.depart, lambda: now[0])
        await house.arrive(old)
        await house.work(Lane.HASH)
        before, lines = await house.file(old), len(await house.told())
        old.rename(new)
        await leaving.put([Departure("library", old)], 2.0)
        await house.arrive(new)
        now[0] = 60.0
        assert await leaving.due() is None
        assert [r.event for r in await house.told()][lines:] == ["renamed"] and (await house.file(new)).id == before.id
