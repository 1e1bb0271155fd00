"""A library's folder that is one model: adopted by a rule, kept linked by the projection, given back by undo, wherever the hub is."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from dropdock.daemon.undoing import Undoer
from dropdock.handlers import disk, swap
from dropdock.store import links, models
from hands import other_volume, snapshot
from house_made import Home, opened
from model_files import write_safetensors

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}
RULES = "pipelines: {library: [{name: take in, when: {kind: model}, do: [adopt]}]}\n"
pytestmark = pytest.mark.skipif(swap._RENAME is None, reason="no renameat2 here")


def pipe(home: Home, name: str = "pipe") -> Path:
    folder = home.library / name
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    (folder / "unet/config.json").write_text("{}")
    write_safetensors(folder / "unet/diffusion_pytorch_model.safetensors", LORA)
    return folder


@pytest.mark.parametrize("far", [False, True])
async def test_a_folder_is_adopted_kept_linked_and_given_back(tmp_path: Path, far: bool) -> None:
    """A link that goes comes again; undone, the folder is whole and held, the hub is empty, and no link is ours any more."""
    with ExitStack() as stack:
        hub = stack.enter_context(other_volume(tmp_path)) / "hub" if far else None
        home = Home(tmp_path, RULES, hub=hub)
        folder = pipe(home)
        before = snapshot(folder)
        async with opened(home) as house:
            await house.arrive(folder)
            await house.work()
            assert (folder / "model_index.json").is_symlink() and (await house.file(folder)).end == "hub"
            assert (await house.file(folder / "unet/config.json")).end == "hub"
            await house.projection.project()
            assert {(row.at, row.ours) for row in await house.store.read(links.listing)} == {(folder / r, True) for r in before}
            (folder / "model_index.json").unlink()
            await house.projection.project()
            assert {rel: (folder / rel).read_bytes() for rel in before} == before
            undoer = Undoer(house.house, house.performer, house.projection, lambda path: None)
            line = next(r.id for r in await house.told() if r.verb == "adopt" and r.undoable)
            answer = await undoer.undo(line)
            assert answer is not None and answer.done, answer
            assert snapshot(folder) == before and not any(p.is_symlink() for p in folder.rglob("*"))
            await house.projection.project()
            await house.arrive(folder)
            row = await house.file(folder)
            assert (row.state, row.present) == ("held", True) and (await house.file(folder / "unet/config.json")).state == "held"
            assert await house.store.read(links.listing) == [] and await house.store.read(models.listing) == []
            assert [p.name for p in home.hub.iterdir() if p.name != disk.OWN] == []


async def test_what_an_app_put_into_the_folder_of_links_is_not_lost(tmp_path: Path) -> None:
    """A file of its own lies between the links: the undo is refused with the reason; without it, it is done."""
    home = Home(tmp_path, RULES)
    folder = pipe(home)
    before = snapshot(folder)
    async with opened(home) as house:
        await house.arrive(folder)
        await house.work()
        (folder / "notes.txt").write_text("mine")
        undoer = Undoer(house.house, house.performer, house.projection, lambda path: None)
        line = next(r.id for r in await house.told() if r.verb == "adopt" and r.undoable)
        answer = await undoer.undo(line)
        assert answer is not None and not answer.done and "something stands at" in answer.note
        assert (folder / "notes.txt").read_text() == "mine"
        (folder / "notes.txt").unlink()
        answer = await undoer.undo(line)
        assert answer is not None and answer.done and snapshot(folder) == before
