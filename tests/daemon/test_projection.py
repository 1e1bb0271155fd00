"""The projection on a real disk and a real database: links of one model at once, of all of them, and what stands in the way."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.daemon.deploying import Deploying
from dropdock.daemon.projection import Projection
from dropdock.daemon.telling import Telling
from dropdock.store import links
from dropdock.store.rows import LinkRow
from house_made import Opened, opened
from kept_models import home_of, keep, tree


async def states(o: Opened, **filters: object) -> dict[str, str]:
    """Place below the home -> state of every recorded link that has a place."""
    rows: list[LinkRow] = await o.store.read(links.listing, **filters)
    return {str(r.at.relative_to(o.home.root)): r.state for r in rows if r.at.is_absolute()}


async def test_links_are_made_once_and_go_with_the_wish(tmp_path: Path) -> None:
    """before: nothing -> wanted: a link in each enabled target -> again: no commit, no line -> unwanted: gone."""
    async with opened(home_of(tmp_path)) as o:
        model = await keep(o, "a.safetensors")
        await o.projection.project_some([model.sha256])
        assert tree(tmp_path) == {"ComfyUI/models/loras/a.safetensors": "link", "forge/models/Lora/a.safetensors": "link"}
        before = len(await o.told())
        await o.projection.project()
        assert len(await o.told()) == before == 2
        await o.store.write(links.deploy, model.sha256, [], False, ["comfyui", "forge", "kit"])
        await o.projection.project_some([model.sha256])
        assert tree(tmp_path) == {} and await states(o) == {}
        rows = await o.store.read(lambda c: c.execute("SELECT note, sha256 FROM history WHERE event = 'unlinked'").fetchall())
        said = {(f"{name}: a.safetensors is taken away", model.sha256) for name in ("comfyui", "forge")}
        assert {tuple(row) for row in rows} == said


async def test_one_change_looks_at_its_own_places_alone(tmp_path: Path) -> None:
    """A link that somebody took away is not missed when another model changes; the full look mends it."""
    async with opened(home_of(tmp_path)) as o:
        first = await keep(o, "a.safetensors")
        await o.projection.project()
        gone = tmp_path / "ComfyUI/models/loras/a.safetensors"
        gone.unlink()
        second = await keep(o, "b.safetensors")
        await o.projection.project_some([second.sha256])
        assert not gone.is_symlink() and (gone.parent / "b.safetensors").is_symlink()
        await o.projection.project()
        assert gone.resolve() == first.blob.resolve()


async def test_names_stay_when_others_come_and_go_one_by_one(tmp_path: Path) -> None:
    """The second of a name gets part of its digest, keeps it when the first leaves, and the full look changes nothing."""
    async with opened(home_of(tmp_path)) as o:
        first, second = await keep(o, "x.safetensors"), await keep(o, "X.pt")
        for model in (first, second):
            await o.projection.project_some([model.sha256])
        folder = tmp_path / "ComfyUI/models/loras"
        names = {"x.safetensors", f"X-{second.sha256[:8]}.pt"}
        assert set(os.listdir(folder)) == names
        await o.projection.project()
        assert set(os.listdir(folder)) == names
        await o.store.write(links.deploy, first.sha256, [], False, [])
        await o.projection.project_some([first.sha256])
        await o.projection.project()
        assert os.listdir(folder) == [f"X-{second.sha256[:8]}.pt"]


async def test_many_models_are_looked_at_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More models than a portion holds, of one name: each has its link, and a model that changes meanwhile is not forgotten."""
    monkeypatch.setattr("dropdock.daemon.projection.PORTION", 3)
    async with opened(home_of(tmp_path)) as o:
        made = [await keep(o, f"{'x' * n}.safetensors") for n in range(1, 9)]
        late = await keep(o, "late.safetensors")
        o.projection.ask(late.sha256)
        await o.projection.project()
        assert len(await states(o, target="comfyui")) == len(made) + 1


async def test_a_persons_file_is_told_once_and_left(tmp_path: Path) -> None:
    """Same content adoptable, other content conflict, a link of somebody's foreign; each has one line of history and a note."""
    async with opened(home_of(tmp_path)) as o:
        folder = tmp_path / "ComfyUI/models/loras"
        folder.mkdir(parents=True)
        (folder / "same.safetensors").write_bytes(b"same.safetensors")
        (folder / "other.safetensors").write_bytes(b"mine")
        (folder / "foreign.safetensors").symlink_to("/somewhere")
        for name in ("same", "other", "foreign"):
            await keep(o, f"{name}.safetensors", wanted="comfyui")
        before = tree(tmp_path)
        await o.projection.project()
        await o.projection.project()
        assert sorted((await states(o, problems=True)).values()) == ["adoptable", "conflict", "foreign"]
        assert tree(tmp_path) == before
        told = [row for row in await o.told() if row.event == "linked"]
        assert len(told) == 3 and all(row.note for row in told)


async def test_a_swapped_link_is_the_apps_file_from_then_on(tmp_path: Path) -> None:
    """An app that put its own file in our link's place: told as a conflict, kept when the model is undeployed."""
    async with opened(home_of(tmp_path)) as o:
        model = await keep(o, "a.safetensors", wanted="comfyui")
        await o.projection.project()
        at = tmp_path / "ComfyUI/models/loras/a.safetensors"
        at.unlink()
        at.write_bytes(b"rewritten by the app")
        await o.projection.project()
        row = (await o.store.read(links.listing, problems=True))[0]
        assert (row.state, row.ours) == ("conflict", False) and "app" in row.note
        await o.store.write(links.deploy, model.sha256, [], False, [])
        await o.projection.project()
        assert at.read_bytes() == b"rewritten by the app"


async def test_previews_are_copies_that_an_app_may_write(tmp_path: Path) -> None:
    """before: preview and config beside the blob -> a copy and a link -> the app writes its own: left, and kept at undeploying."""
    async with opened(home_of(tmp_path)) as o:
        model = await keep(o, "a.safetensors", beside=("a.png", "a.yaml", "a.metadata.json"), wanted="comfyui")
        await o.projection.project()
        folder = tmp_path / "ComfyUI/models/loras"
        assert {p.name: p.is_symlink() for p in folder.iterdir()} == {"a.safetensors": True, "a.yaml": True, "a.png": False}
        (folder / "a.png").write_bytes(b"drawn by the app")
        await o.projection.project()
        assert (model.blob.parent / "a.png").read_bytes() == b"a.png" and not await states(o, problems=True)
        await o.store.write(links.deploy, model.sha256, [], False, [])
        await o.projection.project()
        assert os.listdir(folder) == ["a.png"]


async def test_an_unchanged_copy_is_ours_without_a_read(tmp_path: Path) -> None:
    """A copy as we left it goes with its model, though nothing was compared."""
    async with opened(home_of(tmp_path)) as o:
        model = await keep(o, "a.safetensors", beside=("a.png",), wanted="comfyui")
        await o.projection.project()
        await o.store.write(links.deploy, model.sha256, [], False, [])
        fresh = Projection(o.house)
        fresh._digest = lambda path: pytest.fail(f"{path} was read")  # type: ignore[method-assign,assignment]
        await fresh.project()
        assert tree(tmp_path) == {}


async def test_a_vision_half_is_renamed_when_its_encoder_comes(tmp_path: Path) -> None:
    """An mmproj alone has its own name; with its encoder, both stand in one folder under names that match."""
    async with opened(home_of(tmp_path)) as o:
        half = await keep(o, "mmproj-F16.gguf", "mmproj", "clip")
        await o.projection.project_some([half.sha256])
        encoder = await keep(o, "Qwen2.5-VL-7B-Q8_0.gguf", "llm", "qwen2vl")
        await o.projection.project_some([encoder.sha256])
        folder = tmp_path / "ComfyUI/models/text_encoders"
        assert set(os.listdir(folder)) == {"Qwen2.5-VL-7B-Q8_0.gguf", "Qwen2.5-VL-7B-mmproj-F16.gguf"}


async def test_a_lone_half_is_reported_until_the_other_comes(tmp_path: Path) -> None:
    """The high half is linked and said to lack the low one; the low one's coming takes the note away."""
    async with opened(home_of(tmp_path)) as o:
        high = await keep(o, "wan2.2_high_noise.safetensors", "diffusion_model", "wan", wanted="comfyui")
        await o.projection.project_some([high.sha256])
        rows = await o.store.read(links.listing, problems=True)
        assert [(r.state, r.note) for r in rows] == [("ok", "half of a pair: wan2.2_low_noise.safetensors is not here")]
        low = await keep(o, "wan2.2_low_noise.safetensors", "diffusion_model", "wan", wanted="comfyui")
        await o.projection.project_some([low.sha256])
        assert await states(o, problems=True) == {}


async def test_an_adopted_place_is_kept_linked(tmp_path: Path) -> None:
    """The place a model was adopted from is wanted whatever the targets say, and mended when the link is taken away."""
    async with opened(home_of(tmp_path)) as o:
        model = await keep(o, "a.safetensors", wanted=None)
        at = tmp_path / "library" / "mine.safetensors"
        await o.store.write(links.adopt_place, model.sha256, at)
        await o.projection.project_some([model.sha256])
        assert at.resolve() == model.blob.resolve()
        at.unlink()
        await o.projection.project()
        assert at.is_symlink() and tree(tmp_path) == {}
        assert (await o.told())[-1].note == "mine.safetensors"


# ---------------------------------------------------------------- orders


def orders(o: Opened) -> Deploying:
    return Deploying(o.house, o.projection, Telling(o.house))


async def test_a_plan_touches_nothing(tmp_path: Path) -> None:
    """What enabling would do, conflicts included, for this target alone; no file, no row, no line changes."""
    async with opened(home_of(tmp_path)) as o:
        await keep(o, "a.safetensors", beside=("a.png",))
        await keep(o, "b.safetensors")
        await o.projection.project()
        (tmp_path / "kit/models/loras").mkdir(parents=True)
        (tmp_path / "kit/models/loras/b.safetensors").write_bytes(b"mine")
        before, told = tree(tmp_path), await o.told()
        steps = await orders(o).plan("kit")
        assert [(s.do, Path(s.at).name) for s in steps] == [
            ("link", "a.safetensors"),
            ("copy", "a.png"),
            ("conflict", "b.safetensors"),
        ]
        assert (tree(tmp_path), await o.told()) == (before, told)
        with pytest.raises(KeyError):
            await orders(o).plan("nobody")


async def test_a_switch_outlives_a_restart_and_ends_with_a_new_word(tmp_path: Path) -> None:
    """Disabled at run time: links gone, also after a restart; once the configuration says something new it holds."""
    home = home_of(tmp_path)
    async with opened(home) as o:
        await keep(o, "a.safetensors")
        await o.projection.project()
        await orders(o).enable("forge", False)
        await orders(o).enable("kit", True)
        await o.projection.project()
        assert {path.split("/")[0] for path in tree(tmp_path)} == {"ComfyUI", "kit"}
    async with opened(home) as o:
        assert [(s.target.name, s.target.enabled, s.configured) for s in await orders(o).list_targets()] == [
            ("comfyui", True, True),
            ("forge", False, True),
            ("kit", True, False),
        ]
    forge = f"path: {tmp_path / 'forge'}"
    home.text = home.text.replace("enabled: false", "enabled: true").replace(forge, f"enabled: false, {forge}")
    async with opened(home) as o:
        assert [s.target.enabled for s in await orders(o).list_targets()] == [True, False, True]


@pytest.mark.parametrize(
    ("now", "targets", "on", "after"),
    [
        (None, [], True, "*"),
        (None, ["forge"], True, "forge"),
        ("forge", ["comfyui"], True, "comfyui,forge"),
        ("*", ["forge"], True, "*"),
        ("*", ["forge"], False, "comfyui,kit"),
        ("forge", ["forge"], False, None),
        (None, ["forge"], False, None),
        ("*", [], False, None),
    ],
)
def test_who_wants_a_model_after_an_order(now: str | None, targets: list[str], on: bool, after: str | None) -> None:
    """No target named means all; all but one becomes the names of the others."""
    assert links.wanted_after(now, targets, on, ["comfyui", "forge", "kit"]) == after


async def test_deploying_one_and_all(tmp_path: Path) -> None:
    """An order names what it changes, asks for those links, and refuses a target that is not there."""
    async with opened(home_of(tmp_path)) as o:
        one, two = await keep(o, "a.safetensors", wanted=None), await keep(o, "b.safetensors", wanted=None)
        assert await orders(o).deploy(one.sha256, ["forge"], True) == [one.sha256]
        assert await orders(o).deploy(None, [], True) == [one.sha256, two.sha256]
        assert await orders(o).deploy(None, [], True) == []
        await o.projection.project()
        assert len(tree(tmp_path)) == 4
        with pytest.raises(KeyError):
            await orders(o).deploy(None, ["nobody"], True)


async def test_a_target_that_is_off_for_a_while_keeps_its_names(tmp_path: Path) -> None:
    """Off and on: each model has the name it had, whatever its digest; one that came meanwhile takes no name that is promised."""
    async with opened(home_of(tmp_path)) as o:
        for name in ("X.pt", "x.safetensors"):  # the first of them has the greater digest
            await keep(o, name)
            await o.projection.project()
        before = tree(tmp_path)
        assert {"ComfyUI/models/loras/X.pt", "ComfyUI/models/loras/x-77caaf16.safetensors"} <= before.keys()
        await o.store.write(links.switch, "comfyui", False, True)
        await o.projection.project()
        assert not [at for at in tree(tmp_path) if at.startswith("ComfyUI")]
        await o.store.write(links.switch, "comfyui", True, True)
        late = await keep(o, "x.ckpt")
        await o.projection.project_some([late.sha256])
        assert [at for at in tree(tmp_path) if at.startswith("ComfyUI")] == [f"ComfyUI/models/loras/x-{late.sha256[:8]}.ckpt"]
        await o.projection.project()
        assert {at for at in tree(tmp_path) if not at.endswith(".ckpt")} == before.keys()


async def test_a_target_that_lies_elsewhere_keeps_its_names(tmp_path: Path) -> None:
    """The names are those of the target, not those of its path."""
    async with opened(home_of(tmp_path)) as o:
        for name in ("X.pt", "x.safetensors"):
            await keep(o, name)
            await o.projection.project()
        (moved := tmp_path / "kit" / "ComfyUI").mkdir()
        targets = tuple(replace(t, path=moved) if t.name == "comfyui" else t for t in o.house.config.targets)
        o.house.config = replace(o.house.config, targets=targets)
        await o.projection.project()
        assert {"kit/ComfyUI/models/loras/X.pt", "kit/ComfyUI/models/loras/x-77caaf16.safetensors"} <= tree(tmp_path).keys()


async def test_a_name_that_was_given_up_is_free(tmp_path: Path) -> None:
    """A model that nobody wants keeps no name from others; wanted again, it gets the one it had while that is free."""
    async with opened(home_of(tmp_path)) as o:
        known = ["comfyui", "forge", "kit"]
        first = await keep(o, "x.safetensors")
        await o.projection.project()
        await o.store.write(links.deploy, first.sha256, [], False, known)
        await o.projection.project()
        second = await keep(o, "X.pt")
        await o.projection.project()
        assert "ComfyUI/models/loras/X.pt" in tree(tmp_path)
        await o.store.write(links.deploy, first.sha256, [], True, known)
        await o.projection.project()
        late = f"ComfyUI/models/loras/x-{first.sha256[:8]}.safetensors"
        assert late in tree(tmp_path)
        for on in (False, True):
            for model in (second, first) if on else (first, second):
                await o.store.write(links.deploy, model.sha256, [], on, known)
            await o.projection.project()
        assert {late, "ComfyUI/models/loras/X.pt"} <= tree(tmp_path).keys()
