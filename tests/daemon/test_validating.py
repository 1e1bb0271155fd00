"""Validating what lies on the disk: damaged, missing and changed pictures are findings, the rest goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from captions_made import home_of, take
from dropdock.api.validation import Wish
from dropdock.daemon.validating import Validating
from dropdock.handlers import disk
from dropdock.rules.terms import Departure
from dropdock.rules.validation import Limits
from dropdock.store import datasets
from house_made import opened
from pictures_made import picture


async def test_a_text_that_somebody_deleted_is_missing(tmp_path: Path) -> None:
    """The store keeps its words; what lies there is what a trainer reads."""
    home = home_of(tmp_path)
    async with opened(home) as house:
        await take(house, {"0.png": picture(1, (600, 520)), "0.txt": b"a cat"})
        gone = home.datasets / "cats/0.txt"
        gone.unlink()
        await house.conveyor.depart([Departure("datasets", gone)])
        rows = [r async for r in Validating(house.house).validate(Wish("cats", "main", Limits(), False))]
    assert [(r["rel"], r["finding"]) for r in rows if "finding" in r] == [("0.png", "caption missing")]


@pytest.mark.parametrize("decode", [True, False])
async def test_files_are_looked_at_as_they_lie_there(tmp_path: Path, decode: bool) -> None:
    """One gone, one changed, one damaged where it was recorded whole; only decoding finds that one."""
    home = home_of(tmp_path)
    async with opened(home) as house:
        await take(
            house, {f"{n}.png": picture(n, (600, 520)) for n in range(4)} | {f"{n}.txt": f"text {n}".encode() for n in range(4)}
        )
        cats = home.datasets / "cats"
        (cats / "0.png").unlink()
        (cats / "1.png").write_bytes(b"another")
        damaged = cats / "2.png"
        damaged.write_bytes(picture(2, (600, 520))[:2000])
        row = next(i for i in await house.store.read(datasets.items, "cats") if i.rel == "2.png")
        stamp = disk.stamp(damaged)  # as if it had come so
        await house.store.write(
            lambda c: c.execute("UPDATE items SET size=?, mtime_ns=?, ino=?, dev=? WHERE id=?",
                                (stamp.size, stamp.mtime_ns, stamp.ino, stamp.dev, row.id))
        )  # fmt: skip
        wish = Wish("cats", "main", Limits(), decode)
        rows = [r async for r in Validating(house.house).validate(wish)]
    found = [(r["rel"], r["finding"]) for r in rows if "finding" in r]
    assert found == [("0.png", "gone"), ("1.png", "changed"), *([("2.png", "corrupt")] if decode else [])]
    assert rows[-1] == {"end": True, "set": "main", "pictures": 4, "errors": 1 + decode, "warnings": 1}
