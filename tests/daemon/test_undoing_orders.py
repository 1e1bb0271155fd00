"""Undo of what a person ordered by hand: deploy, undeploy, enable, disable; and what is said when it cannot be taken back any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.daemon.deploying import Deploying
from dropdock.daemon.telling import Telling
from dropdock.daemon.undoing import Undoer
from dropdock.store import deeds, links, models
from house_made import Home, Opened, opened
from kept_models import home_of, keep, tree


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_of(tmp_path)


@asynccontextmanager
async def ordering(home: Home) -> AsyncIterator[tuple[Opened, Deploying, Undoer]]:
    async with opened(home) as o:
        undoer = Undoer(o.house, o.performer, o.projection, lambda path: None)
        yield o, Deploying(o.house, o.projection, Telling(o.house)), undoer


async def last(o: Opened, verb: str) -> int:
    """The newest line of a verb."""
    return [row.id for row in await o.told() if row.verb == verb and row.undoable][-1]


async def wanted(o: Opened, *shas: str) -> list[str | None]:
    return [await o.store.read(deeds.wanted, sha) for sha in shas]


async def test_a_deploy_by_hand_is_undone_with_its_links(home: Home) -> None:
    """before: nobody wants it -> deployed to one target: a link -> undone: no link, nobody wants it, the model stays."""
    async with ordering(home) as (o, deploying, undoer):
        model = await keep(o, "a.safetensors", wanted=None)
        await deploying.deploy(model.sha256, ["forge"], True)
        await o.projection.project()
        assert tree(home.root) == {"forge/models/Lora/a.safetensors": "link"}
        answer = await undoer.undo(await last(o, "deploy"))
        assert answer is not None and answer.done, answer
        await o.projection.project()
        assert tree(home.root) == {} and await wanted(o, model.sha256) == [None]
        assert await o.store.read(models.get, model.sha256) is not None


async def test_an_undeploy_of_all_gives_each_model_back_to_whom_it_had(home: Home) -> None:
    """One wanted everywhere, one by name, one by nobody: each is as before, and the undone line is marked."""
    async with ordering(home) as (o, deploying, undoer):
        found = [await keep(o, f"{n}.safetensors", wanted=who) for n, who in enumerate(("*", "forge", None))]
        shas = [model.sha256 for model in found]
        await deploying.deploy(None, [], False)
        assert await wanted(o, *shas) == [None, None, None]
        line = await last(o, "undeploy")
        answer = await undoer.undo(line)
        assert answer is not None and answer.done
        assert await wanted(o, *shas) == ["*", "forge", None]
        again = await undoer.undo(line)
        assert again is not None and not again.done and "undone already" in again.note


async def test_what_was_ordered_anew_since_stays_and_is_told(home: Home) -> None:
    """Of two models one was undeployed since: that stays so; where all were, the line to undo first is named."""
    async with ordering(home) as (o, deploying, undoer):
        one, two = await keep(o, "a.safetensors", wanted=None), await keep(o, "b.safetensors", wanted=None)
        await deploying.deploy(None, [], True)
        everything = await last(o, "deploy")
        await deploying.deploy(one.sha256, [], False)
        newer = await last(o, "undeploy")
        answer = await undoer.undo(everything)
        assert answer is not None and answer.done and "1 of 2 models" in answer.note
        assert await wanted(o, one.sha256, two.sha256) == [None, None]
        await deploying.deploy(two.sha256, ["forge"], True)
        mine = await last(o, "deploy")
        await deploying.deploy(two.sha256, ["comfyui"], True)
        refused = await undoer.undo(mine)
        assert refused is not None and not refused.done and f"undo line {await last(o, 'deploy')} first" in refused.note
        assert newer < mine and await wanted(o, two.sha256) == ["comfyui,forge"]


async def test_a_switch_is_undone_until_it_is_switched_again(home: Home) -> None:
    """Disabled: no links -> undone: links again, no switch is kept -> a switch behind another, or a new configuration, is left."""
    async with ordering(home) as (o, deploying, undoer):
        await keep(o, "a.safetensors")
        await o.projection.project()
        there = tree(home.root)
        await deploying.enable("forge", False)
        await o.projection.project()
        assert tree(home.root) == {"ComfyUI/models/loras/a.safetensors": "link"}
        answer = await undoer.undo(await last(o, "disable"))
        assert answer is not None and answer.done
        await o.projection.project()
        assert tree(home.root) == there and await o.store.read(links.switches) == {}
        await deploying.enable("kit", True)
        first = await last(o, "enable")
        await deploying.enable("kit", False)
        refused = await undoer.undo(first)
        assert refused is not None and not refused.done and "switched again" in refused.note


@pytest.mark.parametrize("change", ["gone", "says so"])
async def test_a_switch_that_the_configuration_overtook_is_not_undone(home: Home, change: str) -> None:
    """The target left the configuration, or it says something new of it: the reason is told, nothing changes."""
    async with ordering(home) as (o, deploying, undoer):
        await deploying.enable("kit", True)
        rest = [t for t in o.house.config.targets if t.name != "kit"]
        more = [replace(t, enabled=True) for t in o.house.config.targets if t.name == "kit"] if change == "says so" else []
        o.house.config = replace(o.house.config, targets=(*rest, *more))
        answer = await undoer.undo(await last(o, "enable"))
        assert answer is not None and not answer.done
        assert ("no target kit" if change == "gone" else "something else") in answer.note
        assert await o.store.read(links.switches) == {"kit": (True, False)}
