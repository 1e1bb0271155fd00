"""A file dropped twice under one name: before and after the first was taken, the same content and another. Nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dropdock.rules.terms import Lane
from house_made import Home, Opened, opened, sha
from model_files import write_safetensors
from pictures_made import picture

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}
RULES = "pipelines: {inbox: [{name: p, when: {kind: image}, do: [dataset]}, {name: m, when: {kind: model}, do: [store]}]}\n"


def model(path: Path, n: int) -> Path:
    write_safetensors(path, LORA)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([n]))
    return path


def image(path: Path, n: int) -> Path:
    path.write_bytes(picture(n))
    return path


async def taken(house: Opened, path: Path) -> None:
    await house.arrive(path)
    await house.work(Lane.HASH, Lane.CPU)


@pytest.mark.parametrize(("make", "name"), [(model, "a.safetensors"), (image, "a.png")], ids=["model", "picture"])
@pytest.mark.parametrize("same", [True, False], ids=["same", "other"])
@pytest.mark.parametrize("first_taken", [True, False], ids=["after", "before"])
async def test_a_name_that_is_dropped_twice(
    tmp_path: Path, make: Callable[[Path, int], Path], name: str, same: bool, first_taken: bool
) -> None:
    """Each content is kept once: what came again is in the trash, what replaced a file nobody had taken is what counts."""
    home = Home(tmp_path, RULES)
    path = home.inbox / "cats" / name
    path.parent.mkdir()
    async with opened(home) as house:
        make(path, 1)
        first = sha(path)
        await house.arrive(path)
        if first_taken:
            await house.work(Lane.HASH, Lane.CPU)
            assert not path.exists()
            path.parent.mkdir(exist_ok=True)
        else:
            path.unlink()  # a replacement by somebody else's hand: those bytes are theirs to lose
        make(path, 1 if same else 2)
        second = sha(path)
        await taken(house, path)
        assert not path.exists() and (first == second) is same
        row = await house.file(path)
        assert row.end in ("hub", "dataset", "trash") and row.end_at is not None
        kept = [p for root in (home.hub, home.datasets) for p in root.rglob("*") if p.is_file() and p.suffix == path.suffix]
        kept = [p for p in kept if ".dropdock" not in p.parts]
        assert sorted(sha(p) for p in kept) == sorted({first, second} if first_taken else {second})
        assert {first, second} <= home.bytes_below() if first_taken else second in home.bytes_below()
        assert set((await house.jobs()).values()) == {"done"} and home.staging_left() == []
